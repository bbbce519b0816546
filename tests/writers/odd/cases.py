"""All files of all formats."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from odd import (
    bmp,
    dicom_around,
    dicom_plain,
    dicom_pressed,
    jpeg_cases,
    png_cases,
    tiff_damage,
    tiff_layouts,
    tiff_pages,
    tiff_ranges,
    tiff_types,
)
from odd.scene import Case

ROOMS: dict[str, tuple[Callable[[], Iterable[Case]], ...]] = {
    "tiff types": (
        tiff_types.cross,
        tiff_types.predictors,
        tiff_types.without_photometric,
        tiff_types.big_tiffs,
    ),
    "tiff layouts": (
        tiff_layouts.layouts,
        tiff_layouts.habits,
        tiff_layouts.colours,
        tiff_layouts.palettes,
        tiff_layouts.bit_orders,
        tiff_layouts.orientations,
        tiff_layouts.jpegs,
        tiff_layouts.jpeg_2000s,
    ),
    "tiff ranges": (tiff_ranges.ranges, tiff_ranges.left_ranges, tiff_ranges.float_ranges),
    "tiff pages": (tiff_pages.pages, tiff_pages.imagej, tiff_pages.endings),
    "tiff damage": (
        tiff_damage.unwritten,
        tiff_damage.damaged_directories,
        tiff_damage.damaged_streams,
        tiff_damage.unsupported,
    ),
    "dicom plain": (
        dicom_plain.bits,
        dicom_plain.unused_bits,
        dicom_plain.polarities,
        dicom_plain.palettes,
        dicom_plain.colours,
        dicom_around.surroundings,
        dicom_around.floats,
        dicom_around.frames,
        dicom_around.lacking,
    ),
    "dicom pressed": (dicom_pressed.greys, dicom_pressed.colours, dicom_pressed.frames, dicom_pressed.damaged),
    "png": (
        png_cases.kinds,
        png_cases.transparent,
        png_cases.orientations,
        png_cases.between,
        png_cases.animated,
        png_cases.damaged,
    ),
    "jpeg": (jpeg_cases.kinds, jpeg_cases.orientations, jpeg_cases.around, jpeg_cases.damaged),
    "bmp": (bmp.kinds, bmp.damaged),
}


def all_cases() -> Iterator[Case]:
    """Every file, in the order of ROOMS."""
    for makers in ROOMS.values():
        for make in makers:
            yield from make()
