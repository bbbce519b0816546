"""The picture that all files show, and its grey levels in every type of number."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Levels = NDArray[Any]
Grey = NDArray[np.float64]

HEIGHT, WIDTH = 64, 96
GREY_WEIGHTS = np.array([0.299, 0.587, 0.114])
"""How bright red, green and blue are."""

EXACT = 2e-6
"""How far float32 arithmetic may stray, as a share of the full range."""
LOSSY = 0.05
"""What JPEG and its kin may lose at a high quality."""


@dataclass(frozen=True)
class Case:
    """One file and what must become of it.

    Attributes:
        name: The file's name; what stands before the first `_` is its format.
        data: Its bytes.
        pages: The grey levels of its pages, each `[H, W]` in 0..1; None: it must be refused.
        tol: The largest difference allowed.
        note: What is odd about it.
        wrong: What a reason for its refusal may name, any of these words.
        either: Whether it may be refused, too; but never read wrongly. Without right grey levels: or read in any way.
        float_range: What the configuration says of floats.
    """

    name: str
    data: bytes
    pages: tuple[Grey, ...] | None
    tol: float = EXACT
    note: str = ""
    wrong: tuple[str, ...] = ()
    either: bool = False
    float_range: tuple[float, float] | None = None


def scene(page: int = 0, height: int = HEIGHT, width: int = WIDTH) -> Grey:
    """A ramp with one dark and one bright rectangle, `[height, width]` in 0.05..0.95, the same from no other side.

    Each page shows the rectangles elsewhere.
    """
    y, x = np.mgrid[:height, :width]
    grey = 0.15 + 0.6 * x / (width - 1) + 0.1 * y / (height - 1)
    unit = height // 16
    top = (2 + page) * unit
    grey[top : top + 4 * unit, 2 * unit : 8 * unit] = 0.05
    grey[9 * unit : 14 * unit, (12 - page) * unit : (17 - page) * unit] = 0.95
    return np.asarray(grey, np.float64)


def speckle(page: int = 0, height: int = HEIGHT, width: int = WIDTH) -> Grey:
    """The scene with noise, as a detector sees it: no row compresses to nothing."""
    noise = np.random.default_rng(page).normal(0, 0.02, (height, width))
    return np.clip(scene(page, height, width) + noise, 0, 1)


def whole_numbers(grey: Grey, bits: int, *, signed: bool = False) -> tuple[Levels, Grey]:
    """Grey levels as integers of so many bits, and what these are in 0..1."""
    full = 2**bits - 1
    kind = np.uint8 if bits <= 8 else np.uint16 if bits <= 16 else np.uint32 if bits <= 32 else np.uint64
    if bits <= 52:
        levels = np.round(grey * full).astype(np.uint64)
    else:  # a float has no room for that many; the lower half repeats the upper one
        upper = np.round(grey * (2**32 - 1)).astype(np.uint64)
        levels = (upper << np.uint64(32)) | upper
    right = levels.astype(np.longdouble) / full
    if signed:
        half = np.int64(-(2 ** (bits - 1)))
        whole = (levels.astype(np.int64) + half) if bits < 64 else (levels ^ np.uint64(1 << 63)).view(np.int64)
        return whole.astype(f"i{np.dtype(kind).itemsize}"), right.astype(np.float64)
    return levels.astype(kind), right.astype(np.float64)


def floats(grey: Grey, bits: int) -> tuple[Levels, Grey]:
    """Grey levels as floats of so many bits, and what is left of them."""
    levels = grey.astype(f"f{bits // 8}")
    return levels, levels.astype(np.float64)


def coloured(grey: Grey) -> Grey:
    """A picture in colour, `[H, W, 3]`: each colour shows something else."""
    return np.stack([grey, np.clip(grey[::-1], 0, 1), 1 - grey[:, ::-1] * 0.8], axis=2)


def grey_of(colours: Grey) -> Grey:
    """How bright colours `[H, W, 3]` are."""
    return np.asarray(colours @ GREY_WEIGHTS, np.float64)


_BACK: dict[int, Callable[[Levels], Levels]] = {
    2: np.fliplr,
    3: lambda right: np.rot90(right, 2),
    4: np.flipud,
    5: lambda right: right.swapaxes(0, 1),
    6: np.rot90,
    7: lambda right: np.rot90(right, 2).swapaxes(0, 1),
    8: lambda right: np.rot90(right, -1),
}


def stored_for(right: Levels, orientation: int) -> Levels:
    """What a file must store so that its orientation (1 to 8, as in EXIF) shows `right`."""
    return np.ascontiguousarray(_BACK[orientation](right) if orientation in _BACK else right)
