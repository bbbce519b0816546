"""Images as a browser shows them: a window of their grey levels at 8 bits, and the map as a layer of its own."""

from __future__ import annotations

import io
import threading
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from inspection.errors import SolderwatchError
from inspection.image import GreyImage, Limits, open_stack
from inspection.overlay import lifted
from review.page.archive import Archive
from review.page.seals import Handle

_KEPT_BYTES = 256 * 2**20
_SAMPLED = 512
_WEAK, _STRONG = np.array([255, 221, 0], np.float32), np.array([213, 62, 0], np.float32)
"""Yellow to vermilion over grey: told apart by everybody, as grey has no colour to be mixed up with."""


@dataclass(frozen=True)
class Rendered:
    """A PNG, and which grey levels are black and white in it, in 0..1 of what the file can hold."""

    png: bytes
    low: float
    high: float
    bits: int


class Pictures:
    """Draws pictures; pages that were looked at last stay decoded.

    Args:
        archive: Where the images are.
        limits: What a file may hold.
    """

    def __init__(self, archive: Archive, limits: Limits) -> None:
        self._archive, self._limits = archive, limits
        self._pages: OrderedDict[tuple[Handle, int], GreyImage] = OrderedDict()
        self._kept = 0
        self._lock = threading.Lock()

    def page(self, handle: Handle, page: int) -> GreyImage:
        """A page of an image at full depth, counted from 0.

        Raises:
            SolderwatchError: There is no such image or page, or it is damaged.
        """
        key = handle, page
        with self._lock:
            if found := self._pages.get(key):
                self._pages.move_to_end(key)
                return found
        stack = open_stack(self._archive.image(handle), self._limits)
        if not 0 <= page < len(stack):
            raise SolderwatchError(f"no page {page + 1} of {len(stack)}")
        image = stack[page]
        with self._lock:
            # Another image may come to lie where one is only looked at; of a decision there is one image.
            if handle.decision and key not in self._pages:
                self._pages[key] = image
                self._kept += image.pixels.nbytes
            while self._kept > _KEPT_BYTES and len(self._pages) > 1:
                self._kept -= self._pages.popitem(last=False)[1].pixels.nbytes
        return image

    def render(self, handle: Handle, page: int, window: tuple[float, float] | None, side: int | None) -> Rendered:
        """A page as PNG.

        Args:
            handle: Which image.
            page: From 0.
            window: The grey levels of black and white, in 0..1; None: all but the darkest and brightest half percent.
            side: At most so many pixels a side; None: every pixel.
        """
        image = self.page(handle, page)
        low, high = window or auto_window(image.pixels)
        shown = Image.fromarray(windowed(image.pixels, low, high))
        if side and max(shown.size) > side:
            shown.thumbnail((side, side), Image.Resampling.BILINEAR)
        file = io.BytesIO()
        shown.save(file, "PNG", compress_level=1)
        return Rendered(file.getvalue(), low, high, image.bits)

    def map(self, handle: Handle, page: int) -> bytes:
        """The map as PNG with transparency, to be stretched over the page that it belongs to.

        Raises:
            SolderwatchError: There is none.
        """
        picture = self._archive.map(handle)
        pixels = self.page(handle, page).pixels
        try:
            if picture is None:
                raise SolderwatchError("there is no map")
            heat = lifted(picture, pixels.shape[1], pixels.shape[0])
        except (ValueError, OSError, SyntaxError, Image.DecompressionBombError) as error:
            raise SolderwatchError(f"the map cannot be read: {error}") from None
        layer = np.empty((*heat.shape, 4), np.uint8)
        layer[..., :3] = np.rint(_WEAK + heat[..., None] * (_STRONG - _WEAK))
        layer[..., 3] = np.rint(heat * 255)
        file = io.BytesIO()
        Image.fromarray(layer).save(file, "PNG", compress_level=1)
        return file.getvalue()


def windowed(pixels: NDArray[np.float32], low: float, high: float) -> NDArray[np.uint8]:
    """Grey levels in 0..255: `low` is black, `high` is white, between them straight."""
    levels = (pixels - np.float32(low)) * np.float32(255 / max(high - low, 1e-6))
    return np.asarray(np.rint(np.clip(levels, 0, 255)), np.uint8)


def auto_window(pixels: NDArray[np.float32]) -> tuple[float, float]:
    """The range of all but the darkest and the brightest half percent."""
    down, across = (max(1, side // _SAMPLED) for side in pixels.shape)
    low, high = np.percentile(pixels[::down, ::across], (0.5, 99.5))
    return float(low), float(max(high, low + 1e-4))
