"""The sidecar picture: the map over the image, with verdict, probability and method readable in it."""

from __future__ import annotations

import functools

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch.nn import functional

from inspection import png, residual
from inspection.inspector import Inspection
from inspection.overlay import BANNER, LONG_SIDE, OPACITY, overlay_size

_NARROWEST = 300
_MARGIN = 8
_COLOURS = {"io": (46, 125, 50), "nio": (198, 40, 40)}
_HEATS = np.arange(256, dtype=np.float32)
_GREENS = np.rint(214 * (1 - _HEATS / 255)).tolist()  # from yellow to red
_SAMPLED = 128  # pixels a side that tell an image's range of grey levels


def draw(pixels: NDArray[np.float32], inspection: Inspection, page: int = 1, pages: int = 1) -> bytes:
    """Draw the picture that lies beside a judged image.

    Args:
        pixels: The grey image `[H, W]` in 0..1; shown with its contrast stretched.
        inspection: What was found out; its map fades with its strength, so an io image does not look alarming.
        page: Which one of its file it is, counted from 1.
        pages: Of the file; of several the picture says which one it shows.

    Returns:
        A PNG file's bytes, at most `LONG_SIDE` pixels a side.
    """
    verdict = inspection.verdict
    first_line, which = f"{verdict.label}  ({verdict.reason})", f"page {page} of {pages}" if pages > 1 else ""
    overlay = overlay_map(pixels, inspection.evidence, inspection.strength, LONG_SIDE - BANNER)
    text_width = round(_font(22).getlength(first_line) + _font(14).getlength(which)) + 4 * _MARGIN
    width = max(overlay.width, _NARROWEST, text_width)
    canvas = Image.new("RGB", (width, overlay.height + BANNER), (24, 24, 24))
    canvas.paste(overlay, ((width - overlay.width) // 2, BANNER))
    write = ImageDraw.Draw(canvas)
    write.rectangle((0, 0, width, BANNER - 1), fill=_COLOURS[verdict.label])
    write.text((_MARGIN, 3), first_line, "white", _font(22))
    write.text((width - _MARGIN, 10), which, "white", _font(14), anchor="ra")
    write.text((_MARGIN, 31), _second_line(inspection), "white", _font(14))
    return png.encode(np.asarray(canvas))


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
    grey = Image.fromarray(_resized(_stretch(pixels), size))
    heat = Image.fromarray(np.rint(evidence * 255).astype(np.uint8)).resize(size, Image.Resampling.BICUBIC)
    mask = heat.point(np.rint(_HEATS * (opacity * OPACITY)).tolist())
    green = heat.point(_GREENS)
    red, blue = Image.new("L", size, 255), Image.new("L", size, 0)
    return Image.merge("RGB", [Image.composite(colour, grey, mask) for colour in (red, green, blue)])


def enlarged(evidence: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """A map `[h, w]` in 0..1 as it is shown over an image of (width, height) `size`, `[H, W]` in 0..1."""
    smooth = Image.fromarray(evidence.astype(np.float32)).resize(size, Image.Resampling.BICUBIC)
    return np.asarray(np.clip(np.asarray(smooth), 0, 1), np.float32)


def _stretch(pixels: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Grey levels in 0..255, over the range of all but the darkest and the brightest half percent of the pixels."""
    down, across = (max(1, side // _SAMPLED) for side in pixels.shape)
    low, high = np.percentile(pixels[::down, ::across], (0.5, 99.5))
    levels = (pixels - np.float32(low)) * np.float32(255 / max(high - low, 1e-6))
    return np.clip(levels, 0, 255, out=levels).astype(np.uint8)


def _resized(levels: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """As Pillow's bicubic does it, in half the time."""
    levels_11HW = torch.from_numpy(levels)[None, None]
    found = functional.interpolate(levels_11HW, size[::-1], mode="bicubic", antialias=True, align_corners=False)
    shown: NDArray[np.uint8] = found[0, 0].numpy()
    return shown


@functools.cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
