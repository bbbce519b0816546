"""The map in a sidecar picture, taken off the image below it again: for who wants to lay it over the image himself.

Colours go from yellow to red over grey, so of each pixel red less blue is how much of it is map.
"""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageFilter

LONG_SIDE = 512
"""Pixels; no picture is larger, whatever the image."""

BANNER = 52
"""Pixels above the image, for words."""

TILE = 8
"""Pixels a side of the pattern by which few colours show many."""

OPACITY = 0.65
"""Of the strongest place of a map in full strength."""


def overlay_size(width: int, height: int, room: int) -> tuple[int, int]:
    """How large an image is in a picture: at most `LONG_SIDE` wide and `room` high; small ones are enlarged."""
    scale = min(LONG_SIDE / width, room / height)
    return max(1, round(width * scale)), max(1, round(height * scale))


def lifted(picture: bytes, width: int, height: int) -> NDArray[np.float32]:
    """The map of a sidecar picture, `[h, w]` in 0..1, as bold as it was drawn.

    Args:
        picture: The PNG that `inspection.picture.draw` made.
        width: Of the image, in pixels.
        height: Of the image.

    Raises:
        ValueError: It is no such picture, or of another image.
    """
    across, down = overlay_size(width, height, LONG_SIDE - BANNER)
    with Image.open(io.BytesIO(picture), formats=["PNG"]) as image:
        if image.width < across or image.height != down + BANNER or image.width > 4 * LONG_SIDE:
            raise ValueError(f"no map of an image of {width} x {height} pixels")
        left = (image.width - across) // 2
        shown = image.convert("RGB").crop((left, BANNER, left + across, BANNER + down))
    red, _, blue = shown.split()
    # Averaged over the pattern of the picture's few colours.
    heat = ImageChops.subtract(red, blue).filter(ImageFilter.BoxBlur((TILE - 1) / 2))
    return np.asarray(np.clip(np.asarray(heat, np.float32) / (255 * OPACITY), 0, 1), np.float32)
