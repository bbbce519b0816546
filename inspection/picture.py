"""The sidecar picture: the map over the image, with verdict, probability and method readable in it."""

from __future__ import annotations

import functools
import math

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch.nn import functional

from inspection import png, residual
from inspection.inspector import Inspection
from inspection.overlay import BANNER, LONG_SIDE, OPACITY, TILE, overlay_size

_NARROWEST = 300
_MARGIN = 8
_COLOURS = {"io": (46, 125, 50), "nio": (198, 40, 40)}
_SAMPLED = 128  # pixels a side that tell an image's range of grey levels

# One byte a pixel: that compresses several times faster than three. The 256 colours, in their order:
_INKS = 20  # from the banner's to white, for its text
_AROUND = (24, 24, 24)  # beside a narrow image
_PLAIN = 64  # shades of grey where the map shows nothing
_UNDER = 256 - _INKS - 1 - _PLAIN  # shades of grey under the map, for all its steps together

_STEPS = 9  # from a transparent map to one in full strength


def draw(pixels: NDArray[np.float32], inspection: Inspection, page: int = 1, pages: int = 1) -> bytes:
    """Draw the picture that lies beside a judged image.

    Args:
        pixels: The grey image `[H, W]` in 0..1; shown with its contrast stretched.
        inspection: What was found out; its map fades with its strength, so an io image does not look alarming.
        page: Which one of its file it is, counted from 1.
        pages: Of the file; of several the picture says which one it shows.

    Returns:
        A PNG file's bytes, of 256 colours, at most `LONG_SIDE` pixels a side.
    """
    verdict = inspection.verdict
    first_line, which = f"{verdict.label}  ({verdict.reason})", f"page {page} of {pages}" if pages > 1 else ""
    size = overlay_size(pixels.shape[1], pixels.shape[0], LONG_SIDE - BANNER)
    width = max(size[0], _NARROWEST, _long(first_line, 22) + _long(which, 14) + 4 * _MARGIN)
    canvas = np.full((size[1] + BANNER, width), _INKS, np.uint8)
    banner = canvas[:BANNER]
    banner[:] = 0
    _write(banner, first_line, 22, _MARGIN, 3)
    _write(banner, which, 14, width - _MARGIN - _long(which, 14), 10)
    _write(banner, _second_line(inspection), 14, _MARGIN, 31)
    left, opacity = (width - size[0]) // 2, math.ceil(100 * inspection.strength) / 100
    canvas[BANNER:, left : left + size[0]] = _laid(pixels, inspection.evidence, opacity, size)
    return png.encode(canvas, _colours(opacity, _COLOURS[verdict.label]))


def _second_line(inspection: Inspection) -> str:
    verdict = inspection.verdict
    if inspection.method == residual.NAME:
        novelty = "no number" if verdict.novelty is None else f"{verdict.novelty:.3g}"
        return f"novelty {novelty} (limit 1)   {inspection.method}"
    return f"p(nio) {verdict.probability:.4g}   threshold {verdict.threshold:.4g}   {inspection.method}"


def overlay_map(pixels: NDArray[np.float32], evidence: NDArray[np.float32], opacity: float, height: int) -> Image.Image:
    """Lay a map over an image, from transparent over yellow to red.

    Args:
        pixels: `[H, W]` in 0..1.
        evidence: `[h, w]` in 0..1, stretched over the whole image.
        opacity: In 0..1, of the strongest place.
        height: The result is at most this high and `LONG_SIDE` wide; small images are enlarged to it.
    """
    size = overlay_size(pixels.shape[1], pixels.shape[0], height)
    return Image.fromarray(_colours(opacity, _AROUND)[_laid(pixels, evidence, opacity, size)])


def _laid(
    pixels: NDArray[np.float32], evidence: NDArray[np.float32], opacity: float, size: tuple[int, int]
) -> NDArray[np.uint8]:
    """A map over an image, `[height, width]`, as numbers of `_colours`."""
    grey, heat = _resized(_stretch(pixels), size), _resized(np.rint(evidence * 255).astype(np.uint8), size)
    # The map in steps; what lies between two of them has pixels of both, so that no edge is seen.
    steps = heat * np.uint16(_steps(opacity))
    steps += _bayer()[: size[1], : size[0]]
    steps &= np.uint16(0xFF00)
    steps |= grey
    laid: NDArray[np.uint8] = _numbers(_steps(opacity)).take(steps)
    return laid


def _steps(opacity: float) -> int:
    """As many as a map can show that is so faint, so that the image below it keeps its shades."""
    return math.ceil(_STEPS * opacity)


def _shades(steps: int) -> list[int]:
    """Of grey, at each step of the map, transparent first."""
    return [_PLAIN, *[_UNDER // steps] * steps] if steps else [_PLAIN + _UNDER]


@functools.cache
def _numbers(steps: int) -> NDArray[np.uint8]:
    """The number of the colour of each step and grey level, `[steps + 1, 256]`, flat."""
    shades = _shades(steps)
    firsts = _INKS + 1 + np.cumsum([0, *shades[:-1]])
    levels = np.arange(256) / 255
    rows = [first + np.rint(levels * (count - 1)) for first, count in zip(firsts, shades, strict=True)]
    return np.concatenate(rows).astype(np.uint8)


@functools.lru_cache(maxsize=256)
def _colours(opacity: float, banner: tuple[int, int, int]) -> NDArray[np.uint8]:
    """The 256 colours `[256, 3]`."""
    steps = _steps(opacity)
    white = np.linspace(0, 1, _INKS)[:, None]
    parts = [white * 255 + (1 - white) * np.array(banner), np.array([_AROUND])]
    for step, count in enumerate(_shades(steps)):
        heat = step / max(steps, 1)
        grey, share = np.linspace(0, 255, count)[:, None], heat * opacity * OPACITY
        parts.append(grey * (1 - share) + np.array([255, 214 * (1 - heat), 0]) * share)
    colours = np.rint(np.concatenate(parts)).astype(np.uint8)
    return np.pad(colours, ((0, 256 - len(colours)), (0, 0)))


@functools.cache
def _bayer() -> NDArray[np.uint16]:
    """Thresholds in 0..255, `[LONG_SIDE, LONG_SIDE]`: as many below any level as the level is high, in each tile."""
    tile = np.zeros((1, 1), np.uint16)
    while len(tile) < TILE:
        tile = np.block([[4 * tile, 4 * tile + 2], [4 * tile + 3, 4 * tile + 1]])
    times = LONG_SIDE // TILE
    return np.tile(tile * 4 + 2, (times, times)).astype(np.uint16)


def enlarged(evidence: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """A map `[h, w]` in 0..1 as it is shown over an image of (width, height) `size`, `[H, W]` in 0..1."""
    smooth = Image.fromarray(evidence.astype(np.float32)).resize(size, Image.Resampling.BICUBIC)
    return np.asarray(np.clip(np.asarray(smooth), 0, 1), np.float32)


def _stretch(pixels: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Grey levels in 0..255, over the range of all but the darkest and the brightest half percent of the pixels."""
    down, across = (max(1, side // _SAMPLED) for side in pixels.shape)
    sample = pixels[::down, ::across].ravel()
    beyond = len(sample) // 200
    sample = np.partition(sample, (beyond, len(sample) - 1 - beyond))
    low, high = sample[beyond], sample[-1 - beyond]
    levels: NDArray[np.float32] = (pixels - low) * np.float32(255 / max(high - low, 1e-6))
    return np.clip(levels, 0, 255, out=levels).astype(np.uint8)


def _resized(levels: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """As Pillow's bicubic does it, in half the time."""
    levels_11HW = torch.from_numpy(levels)[None, None]
    found = functional.interpolate(levels_11HW, size[::-1], mode="bicubic", antialias=True, align_corners=False)
    shown: NDArray[np.uint8] = found[0, 0].numpy()
    return shown


def _write(banner: NDArray[np.uint8], text: str, size: int, left: int, top: int) -> None:
    """Write words into a banner, as numbers of its inks; what reaches beyond its end is cut."""
    for word in text.split(" "):
        inks = _word(word, size)
        place = banner[top : top + inks.shape[0], left : left + inks.shape[1]]
        place |= inks[: place.shape[0], : place.shape[1]]
        left += _long(word, size) + _long(" ", size)


@functools.lru_cache(maxsize=256)
def _word(word: str, size: int) -> NDArray[np.uint8]:
    """A word's inks `[h, w]`: all but the numbers of an image are the same in each picture."""
    font = _font(size)
    drawn = Image.new("L", (_long(word, size) + size, 2 * size))
    ImageDraw.Draw(drawn).text((0, 0), word, 255, font)
    return np.asarray(drawn) // np.uint8(256 // _INKS + 1)


@functools.lru_cache(maxsize=256)
def _long(word: str, size: int) -> int:
    """How many pixels a word takes."""
    return round(_font(size).getlength(word))


@functools.cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
