"""A file's bytes -> grey images at full bit depth; what is read is read right, or not at all.

Formats are told by content, never by name; `inspection.reading` has a module for each. Whatever cannot be decoded whole
is an ImageError; nothing is guessed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from inspection.errors import ImageError, in_one_line

if TYPE_CHECKING:
    from settings.schema import InboxSettings


@dataclass(frozen=True)
class GreyImage:
    """A decoded image.

    Attributes:
        pixels: Grey levels, float32 `[H, W]` in 0..1; 1 is what the file shows brightest.
        bits: Bits per pixel in the file.
        format: `PNG`, `TIFF`, `BMP`, `JPEG` or `DICOM`.
        notes: What a person should know, such as a declared range that the grey levels leave.
    """

    pixels: NDArray[np.float32]
    bits: int
    format: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Limits:
    """What a file may hold.

    Attributes:
        max_pixels: Of one page; larger ones are refused before they are decompressed.
        max_pages: Of one file.
        float_range: The grey levels of black and white in floating-point images; None: 0 and 1, or as the file says.
    """

    max_pixels: int
    max_pages: int = 64
    float_range: tuple[float, float] | None = None

    @classmethod
    def of(cls, inbox: InboxSettings) -> Limits:
        """Those that a configuration sets."""
        return cls(inbox.max_pixels, inbox.max_pages, inbox.float_range)


@dataclass(frozen=True)
class Stack:
    """The pages of one file that show the scene, in their order; at least one. Each is decoded when it is asked for.

    Attributes:
        format: `PNG`, `TIFF`, `BMP`, `JPEG` or `DICOM`.
        pages: What decodes each of them; may raise ImageError.
    """

    format: str
    pages: Sequence[Callable[[], GreyImage]]

    def __len__(self) -> int:
        return len(self.pages)

    def __iter__(self) -> Iterator[GreyImage]:
        return (self[page] for page in range(len(self)))

    def __getitem__(self, page: int) -> GreyImage:
        """Decode a page, counted from 0.

        Raises:
            ImageError: It is damaged, or its size is absurd; then the whole file is no image that can be judged.
        """
        where = f"page {page + 1} of {len(self)}: " if len(self) > 1 else ""
        try:
            return self.pages[page]()
        except MemoryError:
            raise
        except ImageError as error:
            raise ImageError(f"{where}{error}") from error
        except Exception as error:
            raise ImageError(f"{where}cannot be decoded: {in_one_line(error)}") from error


def open_stack(data: bytes, limits: Limits) -> Stack:
    """Look into the bytes of one image file; its pages are decoded later, one by one.

    Raises:
        ImageError: The bytes are no image of a known format, there are too many pages, or their size is absurd.
    """
    if not data:
        raise ImageError("the file is empty")
    reader = _reader(data)
    if reader is None:
        raise ImageError("not a PNG, TIFF, BMP, JPEG or DICOM image")
    try:
        return reader(data, limits)
    except (ImageError, MemoryError):
        raise
    except Exception as error:
        raise ImageError(f"cannot be decoded: {in_one_line(error)}") from error


def decode(data: bytes, *, max_pixels: int) -> GreyImage:
    """Decode the first page of a file; see `open_stack`."""
    return open_stack(data, Limits(max_pixels))[0]


def _reader(data: bytes) -> Callable[[bytes, Limits], Stack] | None:
    """What reads such a file; imported now, since most lines see one format and some readers are slow to import."""
    # ruff: noqa: PLC0415
    from inspection.reading import bmp, jpeg, png

    if data.startswith(png.MAGIC):
        return png.open_png
    if data.startswith(jpeg.MAGIC):
        return jpeg.open_jpeg
    if data.startswith(bmp.MAGIC):
        return bmp.open_bmp
    from inspection.reading import tiff

    if data.startswith(tiff.MAGICS):
        return tiff.open_tiff
    from inspection.reading import dicom

    return dicom.open_dicom if dicom.is_dicom(data) else None
