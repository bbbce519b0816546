"""The one rule that turns what a file stores into grey levels in 0..1.

Integers span their full range, or the range that the file declares. A declared range that the pixels leave is widened
to the full one, with a note. Floating-point numbers span the range that the configuration gives, else the one that the
file declares, else 0..1; outside of it, and where they are no finite numbers, the file is refused. Colour becomes the
luminance of its three channels; transparency is ignored. Where the file says that its largest value is black, that is
turned over.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inspection.errors import ImageError
from inspection.image import GreyImage

MIN_SIDE = 8
"""Pixels; nothing smaller can show a joint."""

Range = tuple[float, float]

_LUMINANCE = (0.299, 0.587, 0.114)  # ITU-R BT.601
_EXACT_BITS = 16  # float32 holds whole numbers of so many bits, and their quotients are rounded once


@dataclass(frozen=True)
class Meaning:
    """What a file says of its numbers.

    Attributes:
        bits: Of one sample.
        signed: Whether integers go below zero.
        inverted: Whether the largest value is black.
        declared: The values of black and white, if the file says so.
    """

    bits: int
    signed: bool = False
    inverted: bool = False
    declared: Range | None = None

    @property
    def full(self) -> Range:
        """The least and the largest integer."""
        if self.signed:
            return -float(2 ** (self.bits - 1)), float(2 ** (self.bits - 1) - 1)
        return 0.0, float(2**self.bits - 1)


def check_size(width: int, height: int, max_pixels: int) -> None:
    """Refuse what is absurd, before it is decompressed.

    Raises:
        ImageError: Too many pixels, or too few.
    """
    if width * height > max_pixels:
        raise ImageError(f"{width} x {height} pixels are more than inbox.max_pixels ({max_pixels})")
    if min(width, height) < MIN_SIDE:
        raise ImageError(f"{width} x {height} pixels are too few to show a joint ({MIN_SIDE} a side at least)")


def check_pages(count: int, most: int) -> None:
    """Refuse a file of more pages than is sensible.

    Raises:
        ImageError: There are too many.
    """
    if count > most:
        raise ImageError(f"{count} pages are more than inbox.max_pages ({most})")


def to_image(
    samples: NDArray[Any], meaning: Meaning, form: str, *, float_range: Range | None = None, notes: tuple[str, ...] = ()
) -> GreyImage:
    """Stored samples -> a grey image.

    Args:
        samples: `[H, W]`, or with channels last; integers or floating-point numbers.
        meaning: What the file says of them.
        form: Of the file.
        float_range: Black and white of floating-point numbers, by the configuration.
        notes: Of the file.

    Raises:
        ImageError: There are numbers outside of their range, or none; more channels than a grey or colour image has.
    """
    values = _one_channel(samples)
    if samples.dtype.kind == "f":
        low, high = _float_range(values, meaning.declared, float_range)
    else:
        low, high = meaning.full
        if meaning.declared and _holds(meaning.declared, values):
            low, high = meaning.declared
        elif meaning.declared:
            notes += (
                f"grey levels leave the declared range {_words(meaning.declared)}: taken as {_words((low, high))}",
            )
    return GreyImage(_scaled(values, low, high, inverted=meaning.inverted), meaning.bits, form, notes)


def _one_channel(samples: NDArray[Any]) -> NDArray[Any]:
    """Grey as it is; of colour the luminance, exact where the channels are equal."""
    if samples.ndim == 2:
        return samples
    channels = samples.shape[2]
    if channels in {1, 2}:
        return samples[..., 0]
    if channels not in {3, 4}:
        raise ImageError(f"{channels} channels: only grey and colour images can be judged; save the one that counts")
    red, green, blue = (samples[..., channel] for channel in range(3))
    if np.array_equal(red, green) and np.array_equal(green, blue):
        return red
    return luminance(red, green, blue)


def luminance(red: NDArray[Any], green: NDArray[Any], blue: NDArray[Any]) -> NDArray[np.float64]:
    """Of three channels `[H, W]`, in their unit."""
    weighted = [weight * channel for weight, channel in zip(_LUMINANCE, (red, green, blue), strict=True)]
    return weighted[0] + weighted[1] + weighted[2]


def _float_range(values: NDArray[Any], declared: Range | None, configured: Range | None) -> Range:
    if not np.isfinite(values).all():
        raise ImageError("floating-point grey levels that are no finite numbers (NaN or infinity)")
    for known in (configured, None if configured else declared, None if configured else (0.0, 1.0)):
        if known and _holds(known, values):
            return known
    found = _words((float(values.min()), float(values.max())))
    if configured:
        raise ImageError(f"floating-point grey levels {found} outside of inbox.float_range {_words(configured)}")
    raise ImageError(
        f"floating-point grey levels {found} outside of 0..1: set inbox.float_range to the values of black and white"
    )


def _holds(known: Range, values: NDArray[Any]) -> bool:
    return known[0] < known[1] and known[0] <= values.min() and values.max() <= known[1]


def _words(known: Range) -> str:
    return f"{known[0]:.10g}..{known[1]:.10g}"


def _scaled(values: NDArray[Any], low: float, high: float, *, inverted: bool) -> NDArray[np.float32]:
    """Black to white as 0..1; the same for the same picture at any depth, to the last bit up to 16 bits."""
    exact = values.dtype.kind in "bui" and values.dtype.itemsize * 8 <= _EXACT_BITS and high - low < 2**_EXACT_BITS
    kind = np.float32 if exact else np.float64
    if inverted:
        values = np.subtract(high, values, dtype=kind)
    elif low:
        values = np.subtract(values, low, dtype=kind)
    levels: NDArray[np.float32] = np.divide(values, high - low, dtype=kind).astype(np.float32, copy=False)
    return levels
