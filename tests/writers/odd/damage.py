"""Valid files of every format, and what may happen to them on their way; all of it repeatable by a seed."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from odd import bmp, dicom_pressed, jpeg, png, tiff
from odd.dicom import described, encapsulated, native
from odd.scene import Levels, scene, speckle, whole_numbers
from odd.tiff import Page
from odd.tiff_layouts import jpeg_2000, jpeg_page

SMALLEST, LARGEST = 16, 4096
"""Bytes of a hole."""
SIZE = (192, 256)


@dataclass(frozen=True)
class Whole:
    """A valid file.

    Attributes:
        data: Its bytes.
        end: The mark that it ends with.
        pixels: Where grey levels lie as they are, as (start, end): changes there make another picture, no damaged one.
        checked: Whether all of it lies under checksums: then no change of any byte is missed.
        least: The fewest bytes whose loss must be told. The codes of a JPEG find their way again, and where as many
            blocks come out as before, it is another sound JPEG; the more is lost the rarer that is.
    """

    data: bytes
    end: bytes = b""
    pixels: tuple[int, int] | None = None
    checked: bool = False
    least: int = SMALLEST


def whole_files() -> dict[str, Callable[[], Whole]]:
    """What makes one of each format."""
    eight, sixteen = (whole_numbers(speckle(0, *SIZE), bits)[0] for bits in (8, 16))
    floats = speckle(0, *SIZE).astype(np.float32)
    made: dict[str, Callable[[], Whole]] = {
        "png8": lambda: Whole(png.write(eight, 8, size=8192), png.chunk(b"IEND"), checked=True),
        "png16": lambda: Whole(png.write(sixteen, 16, size=8192), png.chunk(b"IEND"), checked=True),
        "png-interlaced": lambda: Whole(png.write(eight, 8, interlaced=True), png.chunk(b"IEND"), checked=True),
        "bmp": lambda: _with_pixels(
            bmp.write(bmp.rows(eight, 8), SIZE[1], SIZE[0], 8, palette=bmp.grey_palette(8)), eight
        ),
        "tiff": lambda: _with_pixels(tiff.write(Page(sixteen, rows=32)), sixteen),
        "tiff-tiles": lambda: _with_pixels(tiff.write(Page(sixteen, tile=(64, 64)), order=">"), sixteen),
        "tiff-float": lambda: _with_pixels(tiff.write(Page(floats)), floats),
        "tiff-jpeg": lambda: Whole(tiff.write(jpeg_page(eight, shared=False, photometric=1, tile=None, rows=64))),
        "tiff-jpeg-tables": lambda: Whole(
            tiff.write(jpeg_page(eight, shared=True, photometric=1, tile=(64, 64), rows=None))
        ),
        "tiff-jpeg2000": lambda: Whole(tiff.write(Page(sixteen, compression=tiff.JPEG2000, encode=jpeg_2000))),
        "tiff-pages": lambda: Whole(_pages()),
        "dicom": lambda: _with_pixels(native(described(sixteen), sixteen), sixteen),
        "dicom-deflated": lambda: Whole(native(described(sixteen), sixteen, "dfl")),
    }
    for name in ("lzw", "deflate", "packbits", "lzma", "zstd"):
        made[f"tiff-{name}"] = lambda name=name: Whole(  # type: ignore[misc]
            tiff.write(Page(sixteen, compression=_COMPRESSIONS[name], rows=32))
        )
    for name, options in _JPEGS.items():
        made[f"jpeg-{name}"] = lambda options=options: Whole(  # type: ignore[misc]
            jpeg.with_pillow(eight, **options), jpeg.END, least=2048 if "progressive" in options else 512
        )
    three = np.dstack([eight, eight[::-1], eight])
    made["jpeg-colour"] = lambda: Whole(jpeg.with_pillow(three), jpeg.END, least=1024)
    for name in ("rle8", "rle16", "jpeg8", "jpegext12", "jpegll16", "jpegls16", "j2k16", "htj2k16"):
        made[f"dicom-{name}"] = lambda name=name: Whole(  # type: ignore[misc]
            _dicom(name), least=512 if name in {"jpeg8", "jpegext12"} else SMALLEST
        )
    return made


_COMPRESSIONS = {
    "lzw": tiff.LZW,
    "deflate": tiff.DEFLATE,
    "packbits": tiff.PACKBITS,
    "lzma": tiff.LZMA,
    "zstd": tiff.ZSTD,
}
_JPEGS: dict[str, dict[str, bool | int]] = {
    "baseline": {},
    "optimised": {"optimize": True},
    "progressive": {"progressive": True},
    "restarts": {"restart_marker_rows": 1},
    "progressive-restarts": {"progressive": True, "restart_marker_rows": 1},
}


def _dicom(name: str) -> bytes:
    uid, allocated, stored, encode, _ = dicom_pressed.GREY[name]
    levels = whole_numbers(speckle(0, *SIZE), stored)[0].astype(f"u{allocated // 8}")
    return encapsulated(described(levels, stored), [encode(levels)], uid)


def _pages() -> bytes:
    slices = [whole_numbers(scene(number), 16)[0] for number in range(4)]
    return tiff.write(*(Page(levels, compression=tiff.DEFLATE, rows=16) for levels in slices))


def _with_pixels(data: bytes, levels: Levels) -> Whole:
    """Where the levels lie as they are; a BMP's palette, too, says what they are."""
    if data[:2] == b"BM":
        return Whole(data, pixels=(54, len(data)))
    start = 8 if data[:2] in {b"II", b"MM"} else len(data) - levels.nbytes
    return Whole(data, pixels=(start, start + levels.nbytes))


Mutation = Callable[[Whole, random.Random], bytes]


def cut(whole: Whole, rng: random.Random) -> bytes:
    """The first part only."""
    return whole.data[: rng.randrange(1, len(whole.data) - 8)]


def cut_with_end(whole: Whole, rng: random.Random) -> bytes:
    """The first part, with the end mark."""
    return cut(whole, rng) + whole.end


def zeroed(whole: Whole, rng: random.Random) -> bytes:
    """A hole of zeros."""
    start, end = _hole(whole, rng)
    return whole.data[:start] + bytes(end - start) + whole.data[end:]


def lost(whole: Whole, rng: random.Random) -> bytes:
    """A part is not there, and what follows it moves up."""
    start, end = _hole(whole, rng)
    return whole.data[:start] + whole.data[end:]


def overwritten(whole: Whole, rng: random.Random) -> bytes:
    """Random bytes instead."""
    start, end = _hole(whole, rng)
    return whole.data[:start] + rng.randbytes(end - start) + whole.data[end:]


def _hole(whole: Whole, rng: random.Random) -> tuple[int, int]:
    """From 16 bytes to 4 KB, but not within levels that are stored as they are."""
    size = len(whole.data)
    while True:
        length = min(round(SMALLEST * (LARGEST / SMALLEST) ** rng.random()), size // 2)
        start = rng.randrange(size - length)
        if not whole.pixels or start + length <= whole.pixels[0] or start >= whole.pixels[1]:
            return start, start + length
        # Holes in plain levels are drawn again, smaller, where the structure is.
        low, high = rng.choice([(0, whole.pixels[0]), (whole.pixels[1], size)])
        if high - low > SMALLEST:
            start = rng.randrange(low, high - SMALLEST + 1)
            return start, rng.randrange(start + SMALLEST, high + 1)


MUTATIONS: dict[str, Mutation] = {
    "cut": cut,
    "cut, end mark put back": cut_with_end,
    "zeroed": zeroed,
    "lost": lost,
    "overwritten": overwritten,
}


def mutated(whole: Whole, kind: str, seed: int) -> bytes:
    """The file after that happened to it, the same for the same seed."""
    return MUTATIONS[kind](whole, random.Random(f"{kind} {seed}"))  # noqa: S311 - no secret
