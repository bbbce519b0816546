"""JPEG streams, and what may stand in and around them."""

from __future__ import annotations

import io
import struct
from typing import Any

import imagecodecs
import numpy as np
from PIL import Image

from odd.scene import Levels

QUALITY = 95
START, END = b"\xff\xd8", b"\xff\xd9"


def plain(levels: Levels, *, raw: bool = False, sampled: tuple[int, int] = (1, 1)) -> bytes:
    """A baseline JPEG of `[h, w]`, `[h, w, 1]` or colours `[h, w, 3]`; these as YCbCr, or as they are where `raw`."""
    if levels.ndim == 2 or levels.shape[2] == 1:
        return with_pillow(levels.reshape(levels.shape[:2]))
    inside = "RGB" if raw else "YCBCR"
    subsampling = None if raw else sampled
    pixels = np.ascontiguousarray(levels)
    return bytes(
        imagecodecs.jpeg8_encode(pixels, QUALITY, colorspace="RGB", outcolorspace=inside, subsampling=subsampling)
    )


def with_pillow(levels: Levels, **options: Any) -> bytes:
    """As Pillow writes it: progressive, optimised, with restart intervals, or CMYK."""
    file = io.BytesIO()
    mode = "CMYK" if levels.ndim == 3 and levels.shape[2] == 4 else None
    image = Image.fromarray(np.ascontiguousarray(levels))
    if mode:
        image = Image.frombytes("CMYK", (levels.shape[1], levels.shape[0]), np.ascontiguousarray(levels).tobytes())
    image.save(file, "JPEG", **({"quality": QUALITY} | options))
    return file.getvalue()


def twelve_bits(levels: Levels) -> bytes:
    """An extended JPEG of 12 bits (process 4)."""
    return bytes(imagecodecs.jpeg8_encode(np.ascontiguousarray(levels), QUALITY, bitspersample=12))


def lossless(levels: Levels, *, predictor: int = 1, bits: int | None = None) -> bytes:
    """A lossless JPEG (process 14) with a predictor of 1 to 7."""
    pixels = np.ascontiguousarray(levels)
    return bytes(imagecodecs.jpeg8_encode(pixels, lossless=True, predictor=predictor, bitspersample=bits))


def segment(marker: int, content: bytes) -> bytes:
    """A marker segment."""
    return bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content


def after_start(jpeg: bytes, more: bytes) -> bytes:
    """With further segments behind the first mark, where EXIF stands."""
    return jpeg[:2] + more + jpeg[2:]


def exif(orientation: int, order: str = "<", *, thumbnail: bytes = b"") -> bytes:
    """A block of EXIF that holds an orientation, and perhaps a thumbnail."""
    mark = b"II*\0" if order == "<" else b"MM\0*"
    head = mark + struct.pack(order + "I", 8)
    first = struct.pack(order + "HHHIHH", 1, 274, 3, 1, orientation, 0)
    if not thumbnail:
        return head + first + struct.pack(order + "I", 0)
    second_at = 8 + len(first) + 4
    data_at = second_at + 2 + 3 * 12 + 4
    second = struct.pack(order + "H", 3)
    second += struct.pack(order + "HHIHH", 259, 3, 1, 6, 0)
    second += struct.pack(order + "HHII", 513, 4, 1, data_at) + struct.pack(order + "HHII", 514, 4, 1, len(thumbnail))
    return head + first + struct.pack(order + "I", second_at) + second + struct.pack(order + "I", 0) + thumbnail


def scan_bounds(jpeg: bytes) -> list[tuple[int, int]]:
    """Where the compressed data of each scan begin and end."""
    bounds, at = [], 2
    while jpeg[at + 1] != 0xD9:
        marker, size = jpeg[at + 1], int.from_bytes(jpeg[at + 2 : at + 4], "big")
        at += 2 + size
        if marker == 0xDA:
            start = at
            while jpeg[at] != 0xFF or jpeg[at + 1] in {0, *range(0xD0, 0xD8)}:
                at += 1
            bounds.append((start, at))
    return bounds


def without_restarts(jpeg: bytes, first: int, amount: int) -> bytes:
    """So many restart intervals lost, from the `first` on."""
    start, end = scan_bounds(jpeg)[0]
    marks = [at for at in range(start, end - 1) if jpeg[at] == 0xFF and 0xD0 <= jpeg[at + 1] <= 0xD7]
    return jpeg[: marks[first]] + jpeg[marks[first + amount] :]


def alike(damaged: bytes, whole: bytes) -> bool:
    """Whether a reader that forgives everything finds the same grey levels in both; their colours may differ."""
    try:
        found, right = (imagecodecs.jpeg8_decode(data, outcolorspace="GRAYSCALE") for data in (damaged, whole))
        return bool(np.array_equal(found, right))
    except imagecodecs.Jpeg8Error:
        return False
