"""Turns an image as its EXIF or TIFF orientation asks for; every viewer shows it so."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

ORIENTATION = 274
"""The tag, in EXIF as in TIFF."""


def of_exif(exif: bytes) -> int:
    """The orientation 1..8 that an EXIF block names; 1 where it names none, or is damaged."""
    block = Image.Exif()
    try:
        block.load(exif)
        return int(block.get(ORIENTATION, 1))
    except (ValueError, TypeError, SyntaxError, KeyError, OSError, OverflowError):
        return 1


def upright(pixels: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Pixels `[H, W]` or `[H, W, C]` as they are to be looked at.

    Args:
        pixels: As stored.
        orientation: 1..8, as TIFF 6.0 numbers them; anything else changes nothing.
    """
    if orientation not in range(2, 9):
        return pixels
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    upside_down = orientation in {3, 4, 7, 8}
    mirrored = orientation in {2, 3, 6, 7}
    turned = pixels[:: -1 if upside_down else 1, :: -1 if mirrored else 1]
    return np.ascontiguousarray(turned)
