"""JPEG: baseline, progressive, restarts, colours, orientation, what stands around, and every way of losing a part."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import imagecodecs
import numpy as np
from PIL import Image

from odd import jpeg
from odd.jpeg import END, after_start, segment
from odd.scene import LOSSY, Case, grey_of, scene, speckle, stored_for, whole_numbers
from odd.tiff_layouts import smooth_colours

LARGE = (384, 576)
DAMAGED: dict[str, dict[str, Any]] = {
    "baseline": {},
    "optimised": {"optimize": True},
    "progressive": {"progressive": True},
    "restarts": {"restart_marker_rows": 1},
    "progressive_restarts": {"progressive": True, "restart_marker_rows": 1},
}


def kinds() -> Iterator[Case]:
    """Baseline, progressive, optimised, with restart intervals; grey, YCbCr, RGB, CMYK."""
    levels, right = whole_numbers(scene(), 8)
    options: dict[str, dict[str, Any]] = {
        "baseline": {},
        "progressive": {"progressive": True},
        "optimised": {"optimize": True},
        "restart_rows": {"restart_marker_rows": 1},
        "restart_blocks": {"restart_marker_blocks": 3},
        "progressive_restarts": {"progressive": True, "restart_marker_rows": 1},
        "quality100": {"quality": 100},
    }
    colours, bright = whole_numbers(smooth_colours(), 8)
    for name, chosen in options.items():
        yield Case(f"j_{name}.jpg", jpeg.with_pillow(levels, **chosen), (right,), LOSSY)
        for how in ("4:4:4", "4:2:2", "4:2:0"):
            data = jpeg.with_pillow(colours, subsampling=how, **chosen)
            yield Case(f"j_{name}_ycbcr{how.replace(':', '')}.jpg", data, (grey_of(bright),), LOSSY)
    yield Case("j_rgb.jpg", jpeg.plain(colours, raw=True), (grey_of(bright),), LOSSY, note="RGB, not YCbCr")
    ink = np.zeros((*levels.shape, 4), np.uint8)
    ink[..., 3] = 255 - levels
    yield Case("j_cmyk.jpg", jpeg.with_pillow(ink), (right,), LOSSY, note="CMYK as Adobe writes it")
    ycck = bytes(
        imagecodecs.jpeg8_encode(255 - ink, jpeg.QUALITY, colorspace="CMYK", outcolorspace="YCCK", subsampling=(1, 1))
    )
    yield Case("j_ycck.jpg", ycck, (right,), LOSSY, note="YCCK as Adobe writes it")
    yield Case("j_12bit.jpg", jpeg.twelve_bits(whole_numbers(scene(), 12)[0]), (right,), LOSSY, either=True)
    yield Case("j_lossless.jpg", jpeg.lossless(levels, bits=8), (right,), LOSSY, either=True)
    odd = levels[:61, :83]
    for name, chosen in options.items():
        yield Case(f"j_{name}_odd_size.jpg", jpeg.with_pillow(odd, **chosen), (odd / 255,), LOSSY)


def orientations() -> Iterator[Case]:
    """EXIF's orientation, in both byte orders, beside other segments, with a thumbnail."""
    levels, right = whole_numbers(scene(), 8)
    colours, bright = whole_numbers(smooth_colours(), 8)
    for turn in range(1, 9):
        stored = stored_for(levels, turn)
        small = jpeg.with_pillow(np.ascontiguousarray(stored[::4, ::4]))
        for end, order in (("le", "<"), ("be", ">")):
            exif = segment(0xE1, b"Exif\0\0" + jpeg.exif(turn, order))
            data = after_start(jpeg.with_pillow(stored), exif)
            yield Case(f"j_exif{turn}_{end}.jpg", data, (right,), LOSSY, note="EXIF orientation")
            exif = segment(0xE1, b"Exif\0\0" + jpeg.exif(turn, order, thumbnail=small))
            data = after_start(jpeg.with_pillow(stored, progressive=True), exif)
            yield Case(f"j_exif{turn}_{end}_thumbnail.jpg", data, (right,), LOSSY, note="with a thumbnail inside")
        stored = stored_for(colours, turn)
        exif = segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x/>")
        exif += segment(0xE1, b"Exif\0\0" + jpeg.exif(turn))
        data = after_start(jpeg.with_pillow(stored), exif)
        yield Case(f"j_exif{turn}_colour_second.jpg", data, (grey_of(bright),), LOSSY, note="EXIF behind XMP")


def around() -> Iterator[Case]:
    """Comments, filling, and what lies behind the end mark."""
    levels, right = whole_numbers(scene(), 8)
    for name in ("baseline", "progressive"):
        whole = jpeg.with_pillow(levels, progressive=name == "progressive")
        for what, data in {
            "trailing8k": whole + bytes(8192),
            "trailing_text": whole + b"machine 7\n" * 900,
            "trailing_byte": whole + b"\0",
            "trailing_jpeg": whole + jpeg.with_pillow(np.ascontiguousarray(levels[::4, ::4])),
            "comments": after_start(whole, segment(0xFE, b"a comment" * 7000) * 4),
            "applications": after_start(whole, b"".join(segment(0xE3 + n, b"x" * 60000) for n in range(9))),
            "filled": whole[:2] + b"\xff" * 7 + whole[2:],
            "filled_end": whole[:-2] + b"\xff\xff" + END,
        }.items():
            yield Case(f"j_{what}_{name}.jpg", data, (right,), LOSSY, note=what, either=what == "filled_end")
    file = io.BytesIO()
    Image.fromarray(levels).save(file, "MPO", save_all=True, append_images=[Image.fromarray(levels)], quality=95)
    yield Case("j_mpo.jpg", file.getvalue(), (right, right), LOSSY, note="two pictures in one file", either=True)


def damaged() -> Iterator[Case]:
    """Half of the data with the end mark, holes, lost intervals, lost scans: in every kind of JPEG."""
    for noise, picture in (("smooth", scene(0, *LARGE)), ("noisy", speckle(0, *LARGE))):
        levels, _ = whole_numbers(picture, 8)
        for name, chosen in DAMAGED.items():
            whole = jpeg.with_pillow(levels, **chosen)
            for what, data in _damages(whole).items():
                yield Case(f"d_j_{name}_{noise}_{what}.jpg", data, None, note=f"{name}: {what.replace('_', ' ')}")
            colours = np.dstack([levels] * 3)
            for what, data in _damages(jpeg.with_pillow(colours, **chosen)).items():
                yield Case(f"d_j_{name}_{noise}_{what}_colour.jpg", data, None, note=f"{name}, colour: {what}")
        whole = jpeg.with_pillow(levels, restart_marker_rows=1)
        for lost in (1, 8, 10):
            data = jpeg.without_restarts(whole, 5, lost)
            yield Case(f"d_j_restarts_{noise}_lost{lost}.jpg", data, None, note=f"{lost} restart intervals lost")
        whole = jpeg.with_pillow(levels, progressive=True)
        for scans in range(1, len(jpeg.scan_bounds(whole))):
            data = whole[: jpeg.scan_bounds(whole)[scans - 1][1]] + END
            note = f"progressive: only the first {scans} scans are there"
            yield Case(f"d_j_scans{scans}_{noise}.jpg", data, None, note=note)


def _damages(whole: bytes) -> dict[str, bytes]:
    """Damaged ones by what happened to them; left out where nothing is lost, as a lenient reader shows."""
    return {what: data for what, data in _all_damages(whole).items() if not jpeg.alike(data, whole)}


def _all_damages(whole: bytes) -> dict[str, bytes]:
    start, _ = jpeg.scan_bounds(whole)[0]
    _, end = jpeg.scan_bounds(whole)[-1]
    size = end - start

    def at(share: float) -> int:
        return start + int(size * share)

    return {
        "half_eoi": whole[: at(0.5)] + END,
        "quarter_eoi": whole[: at(0.25)] + END,
        "nearly_all_eoi": whole[: at(0.98)] + END,
        "nothing_eoi": whole[:start] + END,
        "half": whole[: at(0.5)],
        "zeros_16": _holed(whole, at(0.5), 16),
        "zeros_200": _holed(whole, at(0.5), 200),
        "zeros_4096": _holed(whole, at(0.3), min(4096, size // 3)),
        "zeros_to_the_end": whole[: at(0.6)] + bytes(end - at(0.6)) + END,
        "lost": whole[: at(0.3)] + whole[at(0.5) :],
        "twice": whole[: at(0.5)] + whole[at(0.3) :],
    }


def _holed(whole: bytes, start: int, size: int) -> bytes:
    return whole[:start] + bytes(size) + whole[start + size :]
