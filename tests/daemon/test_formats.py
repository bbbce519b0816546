"""One picture, saved in every way: the same verdict and the same map, through a whole daemon."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from harness import Nursery
from numpy.typing import NDArray
from odd import bmp, dicom, dicom_pressed, jpeg, png, tiff
from odd.dicom import described, encapsulated, native
from odd.tiff import Page
from odd.tiff_layouts import jpeg_2000
from PIL import Image

from simulator.simulate import simulate

Levels = NDArray[np.uint8]

FEW, MANY = 8, 200
"""Pictures, without and with `--long`."""


def _wide(levels: Levels) -> NDArray[np.uint16]:
    return levels.astype(np.uint16) * 257


# Each holds exactly v / 255 for each level v: whatever differs then, differs in reading.
EXACT: dict[str, Callable[[Levels], bytes]] = {
    "grey8.png": lambda levels: png.write(levels, 8),
    "grey16-interlaced.png": lambda levels: png.write(_wide(levels), 16, interlaced=True),
    "top-down.bmp": lambda levels: bmp.write(
        bmp.rows(levels, 8, top_down=True), levels.shape[1], -len(levels), 8, palette=bmp.grey_palette(8)
    ),
    "lzw.tif": lambda levels: tiff.write(Page(levels, compression=tiff.LZW, rows=9)),
    "turned.tif": lambda levels: tiff.write(
        Page(np.ascontiguousarray(np.rot90(levels)), tags={274: (tiff.SHORT, (6,))}), order=">"
    ),
    "inverse16.tif": lambda levels: tiff.write(
        Page(65535 - _wide(levels), photometric=tiff.WHITE_IS_ZERO, compression=tiff.DEFLATE, tile=(16, 32)), order=">"
    ),
    "signed16.tif": lambda levels: tiff.write(
        Page((_wide(levels).astype(np.int32) - 32768).astype(np.int16), compression=tiff.LZMA, predictor=2)
    ),
    "u32.tif": lambda levels: tiff.write(Page(levels.astype(np.uint32) * 16843009, compression=tiff.ZSTD), order=">"),
    "float.tif": lambda levels: tiff.write(
        Page((levels / 255).astype(np.float32), compression=tiff.DEFLATE, predictor=3), big=True
    ),
    "jpeg2000.tif": lambda levels: tiff.write(Page(levels, compression=tiff.JPEG2000, encode=jpeg_2000)),
    "plain.dcm": lambda levels: native(described(_wide(levels)), _wide(levels), "ile"),
    "inverse.dcm": lambda levels: native(
        described(255 - levels, PhotometricInterpretation="MONOCHROME1"), 255 - levels, preamble=False
    ),
    "rle.dcm": lambda levels: encapsulated(described(levels), [dicom.rle(levels)], dicom_pressed.RLE),
    "jpeg-lossless.dcm": lambda levels: encapsulated(
        described(_wide(levels)), [jpeg.lossless(_wide(levels), bits=16)], dicom_pressed.LOSSLESS_SV1
    ),
}
LOSSY: dict[str, Callable[[Levels], bytes]] = {
    "jpeg.jpg": lambda levels: jpeg.with_pillow(levels, quality=100),
    "jpeg.dcm": lambda levels: encapsulated(
        described(levels), [jpeg.with_pillow(levels, quality=100)], dicom_pressed.BASELINE
    ),
}


@pytest.fixture
def pictures(tmp_path: Path, draw_disc: Callable[..., Levels], long: bool) -> list[Levels]:
    """Simulated joints and the discs that the model knows, good and defective."""
    count = MANY if long else FEW
    simulate(tmp_path / "joints", io=count // 4, nio=count // 4, seed=3, size=64)
    joints = [np.asarray(Image.open(path)) for path in sorted((tmp_path / "joints").glob("*io/*.png"))]
    rng = np.random.default_rng(5)
    return joints + [draw_disc(rng, void=number % 2 == 0) for number in range(count - len(joints))]


def _filed(data: Path) -> tuple[dict[str, tuple[str, str]], dict[str, NDArray[Any]]]:
    """Verdict and reason, and the map as it is shown, of each image by its name."""
    verdicts, maps = {}, {}
    for record in [*data.glob("io/**/*.json"), *data.glob("nio/**/*.json")]:
        told = json.loads(record.read_text(encoding="utf-8"))
        name = Path(told["file"]).name
        verdicts[name] = (told["verdict"], told["reason"])
        maps[name] = np.asarray(Image.open(record.with_name(f"{name}.cam.png")))
    return verdicts, maps


@pytest.mark.timeout(1200)
def test_the_same_picture_gets_the_same_verdict_and_map(
    nursery: Nursery, line: Path, pictures: list[Levels], long: bool
) -> None:
    """Formats, bit depths, byte orders, polarities and turns make no difference; JPEG only as much as it loses."""
    inbox = line / "data" / "inbox"
    inbox.mkdir(parents=True)
    for number, levels in enumerate(pictures):
        for name, save in (EXACT | LOSSY).items():
            (inbox / f"{number:03d}-{name}").write_bytes(save(levels))
    assert nursery.once(line, seconds=900 if long else 120) == 0
    verdicts, maps = _filed(line / "data")
    seen: set[str] = set()
    for number in range(len(pictures)):
        first = f"{number:03d}-{next(iter(EXACT))}"
        seen.add(verdicts[first][0])
        for name in EXACT:
            assert verdicts[f"{number:03d}-{name}"] == verdicts[first], name
            assert np.array_equal(maps[f"{number:03d}-{name}"], maps[first]), name
        for name in LOSSY:
            saved = f"{number:03d}-{name}"
            assert verdicts[saved] == verdicts[first], name
            assert np.abs(maps[saved].astype(int) - maps[first]).mean() < 4, name
    assert seen == {"io", "nio"}
