"""BMP: read by Pillow, which fills what a run-length code leaves out; so the codes are walked through first."""

from __future__ import annotations

import io
import struct
from dataclasses import replace

import numpy as np
from PIL import Image

from inspection.errors import ImageError
from inspection.image import GreyImage, Limits, Stack
from inspection.reading.levels import Meaning, check_size, to_image

MAGIC = b"BM"

_RLE8, _RLE4 = 1, 2
_END, _JUMP = 1, 2


# The limit on pixels is ours (`max_pixels`), checked before anything is decompressed.
Image.MAX_IMAGE_PIXELS = None


def open_bmp(data: bytes, limits: Limits) -> Stack:
    """See `inspection.image.open_stack`."""
    try:
        image = Image.open(io.BytesIO(data), formats=["BMP"])
    except (OSError, SyntaxError, struct.error) as error:
        raise ImageError("damaged: a BMP whose header cannot be read") from error
    check_size(image.width, image.height, limits.max_pixels)
    return Stack("BMP", [lambda: _decode(data, image)])


def _decode(data: bytes, image: Image.Image) -> GreyImage:
    compression = int(image.info.get("compression", 0))
    if compression in {_RLE8, _RLE4}:
        _check_runs(data, image.width, image.height, nibbles=compression == _RLE4)
    try:
        image.load()
    except OSError as error:
        raise ImageError("cut short: the BMP lacks some of its pixels") from error
    bits = 1 if image.mode == "1" else 8
    samples = np.asarray(image.convert("L") if image.mode in {"1", "L"} else image.convert("RGB"))
    found = to_image(samples, Meaning(8), "BMP")
    return replace(found, bits=bits)


def _check_runs(data: bytes, width: int, height: int, *, nibbles: bool) -> None:
    """See that a run-length code says each pixel, row by row."""
    place = int.from_bytes(data[10:14], "little")
    row = column = 0
    while row < height:
        if place + 2 > len(data):
            raise ImageError("cut short: the BMP ends before its pixels do")
        count, value = data[place], data[place + 1]
        place += 2
        if count:
            column += count
        elif value > _JUMP:
            column += value
            size = (value + 1) // 2 if nibbles else value
            place += size + size % 2
        elif value == _JUMP:
            raise ImageError("the BMP leaves out some of its pixels")
        elif value == _END:
            # The last row needs no end of its own.
            row, column = row + (column > 0), 0
            break
        else:
            if column != width:
                break
            row, column = row + 1, 0
        if column > width:
            break
    if row < height or column > width or place > len(data):
        raise ImageError(f"damaged: the BMP holds {row} of {height} rows of its pixels")
