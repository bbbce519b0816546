"""What reading promises for files as real programs save them: exactly the grey levels that they store, or a refusal.

Each test takes the files of one kind, which `odd` writes by its own means. `python -m odd FOLDER`, with tests/writers
on the path, writes them all into a folder.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

import numpy as np
import pytest
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
from odd.hearing import as_in_the_daemon
from odd.scene import Case, Grey

from inspection.errors import ImageError
from inspection.image import GreyImage, Limits, decode, open_stack

Make = Callable[[], Iterable[Case]]

MAX_PIXELS = 10_000_000

JARGON = re.compile(
    r"tiff(page|file|frame|tag)|data stream|traceback|<class|object at 0x|\bdtype\b|\bnumpy\b|\bnonetype\b|\bb'|buffer|"
    r"imagecodecs|tifffile|simplejpeg|turbojpeg|pydicom|pylibjpeg|openjpeg|charls|libjpeg|libpng|libtiff|"
    r"\w+_(de|en)code|\w+(error|exception)\b|errno|assert|unpack|argument|index out of|not subscriptable",
    re.IGNORECASE,
)
"""What only someone who knows our libraries would understand."""


@pytest.fixture(autouse=True)
def _silent(capfd: pytest.CaptureFixture[str]) -> Iterable[None]:
    """Whatever is read, libraries say nothing: the journal gets our own lines only, else `jq` ends there."""
    yield
    assert capfd.readouterr() == ("", "")


def read(case: Case) -> list[GreyImage]:
    """All pages of a file."""
    return list(open_stack(case.data, Limits(MAX_PIXELS, float_range=case.float_range)))


def trouble(case: Case) -> str | None:
    """What is wrong about how a file is read; None: nothing is."""
    try:
        with as_in_the_daemon():
            pages = read(case)
    except ImageError as error:
        return _about_refusal(case, str(error))
    if case.pages is None:
        return None if case.either else "read though damaged"
    if len(pages) != len(case.pages):
        return f"{len(pages)} pages instead of {len(case.pages)}"
    wrong = (_about_page(page, right, case.tol) for page, right in zip(pages, case.pages, strict=True))
    return next((f"page {number}: {problem}" for number, problem in enumerate(wrong, 1) if problem), None)


def _about_page(page: GreyImage, right: Grey, tol: float) -> str | None:
    if page.pixels.dtype != np.float32:
        return f"{page.pixels.dtype}"
    if page.pixels.shape != right.shape:
        return f"{page.pixels.shape} instead of {right.shape}"
    off = np.abs(page.pixels - right).max()
    return None if off <= tol else f"wrong by {off:.6f}"


def _about_refusal(case: Case, reason: str) -> str | None:
    if case.pages is not None and not case.either:
        return f"refused: {reason}"
    if len(reason) > 300 or "\n" in reason or (jargon := JARGON.search(reason)):
        return f"a reason that nobody understands: {reason} ({jargon.group() if jargon else 'too long'})"
    if case.wrong and not any(word.lower() in reason.lower() for word in case.wrong):
        return f"a reason that does not name what is wrong ({', '.join(case.wrong)}): {reason}"
    return None


def check(*makers: Make) -> None:
    """All files of these kinds are read right, or refused with a reason."""
    count, found = 0, []
    for make in makers:
        for case in make():
            count += 1
            if problem := trouble(case):
                found.append(f"{case.name} ({case.note}): {problem}" if case.note else f"{case.name}: {problem}")
    assert count
    assert not found, f"{len(found)} of {count} files:\n" + "\n".join(found)


class TestTiff:
    """TIFF is read whole, or told as a kind that is not read."""

    def test_the_cross(self) -> None:
        """Types x byte orders x compressions x polarities give the same grey levels, from 1 bit to 64."""
        check(tiff_types.cross)

    def test_predictors(self) -> None:
        """Differences of neighbours, of integers and floats, are summed up again."""
        check(tiff_types.predictors)

    def test_without_a_photometric_tag(self) -> None:
        """Then 0 is black, at all depths."""
        check(tiff_types.without_photometric)

    def test_big(self) -> None:
        """BigTIFF is TIFF."""
        check(tiff_types.big_tiffs)

    def test_strips_and_tiles(self) -> None:
        """However the pixels are parted, they are put together again."""
        check(tiff_layouts.layouts)

    def test_habits_of_writers(self) -> None:
        """Short offsets, further tags, a last strip that is filled up: the same picture."""
        check(tiff_layouts.habits)

    def test_colours(self) -> None:
        """Colours keep their bits, as pixels and as planes; what is transparent is looked at as it is stored."""
        check(tiff_layouts.colours)

    def test_palettes(self) -> None:
        """The colours of a palette count, not their numbers."""
        check(tiff_layouts.palettes)

    def test_the_lowest_bit_first(self) -> None:
        """FillOrder 2 is obeyed."""
        check(tiff_layouts.bit_orders)

    def test_orientation(self) -> None:
        """All eight are obeyed; one that there is not is none."""
        check(tiff_layouts.orientations)

    def test_jpeg_inside(self) -> None:
        """Grey and colour, with shared tables and without."""
        check(tiff_layouts.jpegs)

    def test_jpeg_2000_inside(self) -> None:
        """Without any loss."""
        check(tiff_layouts.jpeg_2000s)

    def test_pages(self) -> None:
        """All pages that show the scene are the stack; thumbnails, masks and SubIFDs are not."""
        check(tiff_pages.pages)

    def test_imagej(self) -> None:
        """A stack with one directory is a stack, and its inverting table inverts."""
        check(tiff_pages.imagej)

    def test_garbage_after_the_last_page(self) -> None:
        """A next page that is none does no harm, nor does one that was read already."""
        check(tiff_pages.endings)

    def test_unwritten_strips_and_tiles(self) -> None:
        """What was never written is no black: missing, elsewhere, past the end, twice at one place or too short."""
        check(tiff_damage.unwritten)

    def test_damaged_directories(self) -> None:
        """Where a tag is lost, the page is not read without it."""
        check(tiff_damage.damaged_directories)

    def test_damaged_strips_and_tiles(self) -> None:
        """A hole, a cut or a loss in compressed pixels is told."""
        check(tiff_damage.damaged_streams)

    def test_kinds_that_are_not_read(self) -> None:
        """They are told as that."""
        check(tiff_damage.unsupported)


class TestRange:
    """What is black and what is white is one rule."""

    def test_declared(self) -> None:
        """A declared range that holds all levels is black and white, in whatever type it is declared."""
        check(tiff_ranges.ranges)

    def test_declared_and_left(self) -> None:
        """A declared range that the levels leave, or that is none, is widened to the type's."""
        check(tiff_ranges.left_ranges)

    def test_left_ranges_are_noted(self) -> None:
        """It is not widened silently."""
        left = [case for case in tiff_ranges.left_ranges() if re.search("low|high|both|signed", case.name)]
        assert left
        assert all(any("range" in note for note in decode(case.data, max_pixels=MAX_PIXELS).notes) for case in left)

    def test_kept_ranges_are_not_noted(self) -> None:
        """Where there is nothing to say, nothing is said."""
        assert not any(decode(case.data, max_pixels=MAX_PIXELS).notes for case in tiff_ranges.ranges())

    def test_floats(self) -> None:
        """Outside 0..1 they need a range, declared or configured; NaN and infinity are refused in any case."""
        check(tiff_ranges.float_ranges)


class TestDicom:
    """DICOM and DICONDE show what a viewer shows, at their own depth."""

    def test_bits(self) -> None:
        """Bits allocated, stored and highest, signed and not, in all byte orders and both polarities."""
        check(dicom_plain.bits)

    def test_more_bits_than_declared(self) -> None:
        """They are damage, but for a declared overlay and for bits that are the same everywhere."""
        check(dicom_plain.unused_bits)

    def test_polarity(self) -> None:
        """Slope, modality LUT and presentation shape invert as in a viewer; a window for display does not count."""
        check(dicom_plain.polarities)

    def test_palettes(self) -> None:
        """The colours of a palette count, not their numbers."""
        check(dicom_plain.palettes)

    def test_colours(self) -> None:
        """RGB and YBR, by pixels and in planes, compressed and not."""
        check(dicom_plain.colours, dicom_pressed.colours)

    def test_surroundings(self) -> None:
        """Without preamble, or without what says how the rest is written, it is the same picture."""
        check(dicom_around.surroundings)

    def test_floats(self) -> None:
        """In 0..1 they are read, or refused."""
        check(dicom_around.floats)

    def test_compressed(self) -> None:
        """RLE, JPEG of 8 and 12 bits, lossless JPEG, JPEG-LS and JPEG 2000."""
        check(dicom_pressed.greys)

    def test_frames(self) -> None:
        """All frames are the stack, however they are fragmented, with a table of offsets and without."""
        check(dicom_around.frames, dicom_pressed.frames)

    def test_too_little_data(self) -> None:
        """Rows that are not there are no black."""
        check(dicom_around.lacking)

    def test_damage(self) -> None:
        """Holes, cuts and losses in compressed frames are told, though the end mark is there."""
        check(dicom_pressed.damaged)


class TestPng:
    """PNG keeps its bits, and is whole."""

    def test_kinds(self) -> None:
        """Every colour type and depth, with every filter, interlaced or not; 16-bit colour stays 16 bits."""
        check(png_cases.kinds)

    def test_transparency(self) -> None:
        """What is transparent is looked at as it is stored."""
        check(png_cases.transparent)

    def test_orientation(self) -> None:
        """EXIF's is obeyed, before the pixels or behind them."""
        check(png_cases.orientations)

    def test_what_else_is_in_it(self) -> None:
        """Megabytes of text, many parts, something behind the end: the same picture."""
        check(png_cases.between)

    def test_animated(self) -> None:
        """A PNG of several frames is judged whole, or refused."""
        check(png_cases.animated)

    def test_damage(self) -> None:
        """Too few rows in a sound stream, lost, swapped or damaged parts."""
        check(png_cases.damaged)


class TestJpeg:
    """JPEG is whole: an end mark alone proves nothing."""

    def test_kinds(self) -> None:
        """Baseline, progressive, optimised, with restart intervals; grey, YCbCr, RGB and CMYK."""
        check(jpeg_cases.kinds)

    def test_orientation(self) -> None:
        """EXIF's is obeyed, also behind other segments and beside a thumbnail."""
        check(jpeg_cases.orientations)

    def test_what_else_is_in_it(self) -> None:
        """Comments, filling, something behind the end: the same picture."""
        check(jpeg_cases.around)

    def test_damage(self) -> None:
        """Cuts with an end mark, holes, lost intervals and lost scans are told."""
        check(jpeg_cases.damaged)


class TestBmp:
    """BMP is read whole."""

    def test_kinds(self) -> None:
        """Every depth, both orders of rows, compressed or not."""
        check(bmp.kinds)

    def test_damage(self) -> None:
        """Rows that are not there are no black."""
        check(bmp.damaged)
