"""Files that end too early, wherever that is: an error or the whole picture, and through the daemon never io."""

from __future__ import annotations

import io
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from harness import Ledger, Nursery
from lines import configure, encode
from numpy.typing import NDArray
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.pixels.encoders.base import get_encoder
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    RLELossless,
)

from inspection.errors import ImageError
from inspection.image import decode

MAX_PIXELS = 1_000_000


def _disc(bits: int, rows: int = 40) -> NDArray[Any]:
    """A disc with noise, so that no byte of it can be guessed from the one before."""
    y, x = np.mgrid[:rows, :40] - 20
    levels = np.where(x**2 + y**2 < 150, 70, 180) + np.random.default_rng(3).integers(-20, 20, (rows, 40))
    return (levels * 257 + 5).astype(np.uint16) if bits == 16 else levels.astype(np.uint8)


def _dicom(syntax: str) -> bytes:
    """A DICOM file of 16 bits, as pydicom writes it."""
    pixels = _disc(16)
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
    meta.MediaStorageSOPInstanceUID = UID("1.2.3")
    dataset = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 0
    dataset.PixelData = pixels.tobytes()
    if syntax in {RLELossless, JPEG2000Lossless}:
        dataset.compress(syntax, generate_instance_uid=False)
    meta.TransferSyntaxUID = UID(syntax)
    file = io.BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    return file.getvalue()


WHOLE: dict[str, Callable[[], bytes]] = {
    "png": lambda: encode(_disc(8), ".png"),
    "png-16": lambda: encode(_disc(16), ".png"),
    "tiff": lambda: encode(_disc(16), ".tif"),
    "tiff-strips": lambda: encode(_disc(16), ".tif", tiffinfo={278: 5}),
    "tiff-lzw": lambda: encode(_disc(8, 90), ".tif", compression="tiff_lzw", strip_size=800),
    "tiff-deflate": lambda: encode(_disc(16), ".tif", compression="tiff_adobe_deflate", strip_size=800),
    "tiff-packbits": lambda: encode(_disc(8), ".tif", compression="packbits", strip_size=800),
    "tiff-big": lambda: encode(_disc(8), ".tif", big_tiff=True),
    "bmp": lambda: encode(_disc(8), ".bmp"),
    "bmp-odd": lambda: encode(_disc(8)[:, :37], ".bmp"),
    "jpeg": lambda: encode(_disc(8), ".jpg", quality=90),
    "jpeg-progressive": lambda: encode(_disc(8), ".jpg", quality=90, progressive=True),
    "jpeg-restarts": lambda: encode(_disc(8), ".jpg", quality=90, restart_marker_rows=1),
    "dicom": lambda: _dicom(ExplicitVRLittleEndian),
    "dicom-deflated": lambda: _dicom(DeflatedExplicitVRLittleEndian),
    "dicom-rle": lambda: _dicom(RLELossless),
    "dicom-jpeg2000": lambda: _dicom(JPEG2000Lossless),
}
DISPENSABLE = 8
"""Bytes at the end that may be an end mark or a padding, and no part of the picture."""


def _whole(kind: str) -> bytes:
    if kind == "dicom-jpeg2000" and not get_encoder(JPEG2000Lossless).is_available:
        pytest.skip("no JPEG 2000 encoder here")
    return WHOLE[kind]()


def _lengths(size: int, long: bool) -> list[int]:
    """Every length, or a sample with the headers and the end."""
    if long:
        return list(range(size))
    sample = random.Random(size).sample(range(size), 60)  # noqa: S311
    return sorted({*range(160), *sample, *range(size - 80, size)})


@pytest.mark.parametrize("kind", WHOLE)
def test_a_cut_file_is_never_another_picture(kind: str, long: bool) -> None:
    """Cut anywhere, a file is an ImageError in one line; only a few last bytes may be missing from a whole picture."""
    data = _whole(kind)
    whole = decode(data, max_pixels=MAX_PIXELS).pixels
    for length in _lengths(len(data), long):
        try:
            image = decode(data[:length], max_pixels=MAX_PIXELS)
        except ImageError as error:
            assert "\n" not in str(error)  # noqa: PT017 - most lengths raise, and that is well
            continue
        assert length >= len(data) - DISPENSABLE, f"decodes from {length} of {len(data)} bytes"
        assert np.array_equal(image.pixels, whole), f"another picture from {length} of {len(data)} bytes"


@pytest.mark.parametrize("kind", WHOLE)
def test_a_file_with_a_hole_at_its_end_is_an_error_or_seen_as_one(kind: str, long: bool) -> None:
    """Full size, and zeros from some byte on: never anything but an ImageError or a picture; compressed: an error."""
    data = _whole(kind)
    compressed = kind.startswith(("png", "jpeg", "tiff-lzw", "tiff-deflate", "dicom-jpeg2000"))
    for length in _lengths(len(data) - 200, long):
        hollow = data[:length] + bytes(len(data) - length)
        try:
            image = decode(hollow, max_pixels=MAX_PIXELS)
        except ImageError:
            continue
        assert np.isfinite(image.pixels).all()
        assert not compressed, f"a picture from {length} of {len(data)} bytes, and zeros"


def test_no_cut_file_gets_a_verdict(
    nursery: Nursery, ledger: Ledger, image: Callable[[int], bytes], long: bool
) -> None:
    """Cut files of all formats end in quarantine with their reason; whole ones between them are judged."""
    configure(ledger.folder, inbox={"quiet_s": 0.3, "scan_s": 0.1})
    daemon = nursery.start(ledger.folder)
    daemon.wait_for("watching")
    rng = random.Random(1)  # noqa: S311
    suffixes = {"jpe": ".jpg", "dic": ".dcm", "tif": ".tif", "bmp": ".bmp", "png": ".png"}
    cut: dict[bytes, str] = {}
    for kind, make in WHOLE.items():
        data = make() if kind != "dicom-jpeg2000" else _whole(kind)
        for length in rng.sample(range(1, len(data) - DISPENSABLE), 25 if long else 2):
            if data[:length] not in cut:  # the headers of some are alike
                cut[data[:length]] = f"{kind}-{length}{suffixes[kind[:3]]}"
                ledger.drop(cut[data[:length]], data[:length])
    for number in range(5):
        ledger.drop(f"whole{number}.png", image(number))
    (ledger.data / "inbox" / "empty.png").touch()
    put_away = [*cut.values(), "empty.png"]
    daemon.wait_for("decision", 5)
    daemon.wait_for("quarantine", len(put_away), seconds=100)
    assert daemon.stop() == 0
    assert sorted(event["file"] for event in daemon.events("quarantine")) == sorted(put_away)
    assert {event["file"] for event in daemon.events("decision")} == {f"whole{number}.png" for number in range(5)}
    assert all(event["error"] for event in daemon.events("quarantine"))
    assert ledger.check_filed()["quarantine"] == len(cut)
    reasons = {path.name for path in (ledger.data / "quarantine").glob("*.error.json")}
    assert reasons == {f"{name}.error.json" for name in put_away}


def test_a_file_cut_after_its_verdict_is_no_matter(
    nursery: Nursery, ledger: Ledger, image: Callable[[int], bytes]
) -> None:
    """The same name, first cut and then whole: the cut one is put away, the whole one judged."""
    daemon = nursery.start(ledger.folder)
    daemon.wait_for("watching")
    whole = image(1)
    ledger.drop("a.png", whole[:700])
    daemon.wait_for("quarantine")
    ledger.drop("a.png", whole)
    (event,) = daemon.wait_for("decision")
    assert event["bytes"] == len(whole)
    assert daemon.stop() == 0
    assert (ledger.data / "quarantine" / "a.png").read_bytes() == whole[:700]
