"""A file's bytes -> a grey image at full bit depth.

Formats are told by content, never by name. Whatever cannot be decoded whole is an ImageError; nothing is guessed.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from inspection.ending import END_MARK
from inspection.errors import ImageError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from settings.schema import InboxSettings

MIN_SIDE = 8
"""Pixels; nothing smaller can show a joint."""

# The limit on pixels is ours (`max_pixels`), checked before anything is decompressed.
Image.MAX_IMAGE_PIXELS = None

_FORMATS = ("PNG", "TIFF", "BMP", "JPEG")
_TAIL = 4096
_TIFF_BITS, _TIFF_PHOTOMETRIC, _TIFF_STRIPS, _TIFF_ROWS_PER_STRIP = 258, 262, 273, 278
# SMinSampleValue and SMaxSampleValue declare a range; the older 280 and 281 only tell what occurs in this image.
_TIFF_SAMPLE_FORMAT, _TIFF_MIN, _TIFF_MAX = 339, 340, 341
_SIGNED = 2

# What Pillow finds odd and reads all the same is no line of ours on standard error.
warnings.filterwarnings("ignore", module=r"PIL\.")


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
        try:
            return self.pages[page]()
        except (ImageError, MemoryError) as error:
            if len(self) == 1 or isinstance(error, MemoryError):
                raise
            raise ImageError(f"page {page + 1} of {len(self)}: {error}") from error
        except Exception as error:
            raise ImageError(f"cannot be decoded: {_told(error)}") from error


def open_stack(data: bytes, limits: Limits) -> Stack:
    """Look into the bytes of one image file; its pages are decoded later, one by one.

    Raises:
        ImageError: The bytes are no whole image of a known format, or its size is absurd.
    """
    image = decode(data, max_pixels=limits.max_pixels)
    return Stack(image.format, [lambda: image])


def _told(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def decode(data: bytes, *, max_pixels: int) -> GreyImage:
    """Decode the bytes of one image file.

    Args:
        data: The whole file.
        max_pixels: Larger images are refused before they are decompressed.

    Raises:
        ImageError: The bytes are no whole image of a known format, or its size is absurd.
    """
    if not data:
        raise ImageError("the file is empty")
    try:
        if data[128:132] == b"DICM":
            return _decode_dicom(data, max_pixels)
        return _decode_with_pillow(data, max_pixels)
    except (ImageError, MemoryError):
        raise
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ImageError(f"cannot be decoded: {reason}") from error


def _decode_with_pillow(data: bytes, max_pixels: int) -> GreyImage:
    try:
        image = Image.open(io.BytesIO(data), formats=_FORMATS)
    except UnidentifiedImageError:
        raise ImageError("not a PNG, TIFF, BMP, JPEG or DICOM image") from None
    kind = {"MPO": "JPEG"}.get(str(image.format), str(image.format))
    _check_size(image.width, image.height, max_pixels)
    # A decoder may be content when all pixels are there and the rest is not; a writer may not be done then.
    if kind in END_MARK and END_MARK[kind] not in data[-_TAIL:]:
        raise ImageError(f"cut short: the {kind} end mark is missing")
    if kind == "TIFF":
        _check_strips(image)
    notes = []
    if (pages := getattr(image, "n_frames", 1)) > 1:
        notes.append(f"{pages} pages; only the first one was looked at")
    image.load()
    pixels, bits = _grey(image)
    return GreyImage(pixels, bits, kind, tuple(notes))


def _check_size(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise ImageError(f"{width} x {height} pixels are more than inbox.max_pixels ({max_pixels})")
    if min(width, height) < MIN_SIDE:
        raise ImageError(f"{width} x {height} pixels are too few to show a joint ({MIN_SIDE} a side at least)")


def _check_strips(image: Image.Image) -> None:
    """Pillow shows rows for which a TIFF holds no strip as black."""
    tags: Any = getattr(image, "tag_v2", {})
    strips, rows = tags.get(_TIFF_STRIPS), tags.get(_TIFF_ROWS_PER_STRIP)
    if strips and rows and len(strips) * rows < image.height:
        raise ImageError(f"cut short: {len(strips)} strips of {rows} rows are not {image.height} rows")


def _grey(image: Image.Image) -> tuple[NDArray[np.float32], int]:
    """Grey levels in 0..1 and the bits per pixel of a loaded Pillow image."""
    if image.mode not in {"I", "F"} and not image.mode.startswith("I;16"):
        # A palette with transparency is grey only by way of its colours.
        coloured = image.convert("RGBA") if "transparency" in image.info else image
        eight = np.asarray(coloured if coloured.mode == "L" else coloured.convert("L"))
        return np.divide(eight, 255, dtype=np.float32), 1 if image.mode == "1" else 8
    tags: Any = getattr(image, "tag_v2", {})
    raw = np.asarray(image)
    # A PNG says nothing; Pillow widens some of its 16 bits.
    bits = int(_first(tags, _TIFF_BITS, 16))
    if image.mode == "F":
        return _scale_floats(raw, tags), bits
    low, high = 0.0, float(2**bits - 1)
    if _first(tags, _TIFF_SAMPLE_FORMAT, 1) == _SIGNED:
        low, high = -float(2 ** (bits - 1)), float(2 ** (bits - 1) - 1)
    elif bits == 32:
        raw = raw.view(np.uint32)  # Pillow knows signed ones only
    declared_low, declared_high = _first(tags, _TIFF_MIN, 0), _first(tags, _TIFF_MAX, 0)
    if declared_low < declared_high and declared_low <= raw.min() and raw.max() <= declared_high:
        low, high = declared_low, declared_high
    # 32-bit integers lose their last bits in float32; the detour is only theirs.
    scaled: NDArray[Any] = raw.astype(np.float64 if bits > 16 else np.float32)
    if low:
        scaled -= low
    scaled /= high - low
    if _first(tags, _TIFF_PHOTOMETRIC, 1) == 0:
        np.subtract(1, scaled, out=scaled)
    return scaled.astype(np.float32, copy=False), bits


def _scale_floats(raw: NDArray[Any], tags: Any) -> NDArray[np.float32]:
    low, high = _first(tags, _TIFF_MIN, 0), _first(tags, _TIFF_MAX, 0)
    if high <= low:
        low, high = 0.0, 1.0
    if not np.isfinite(raw).all() or raw.min() < low or raw.max() > high:
        raise ImageError("floating-point grey levels outside 0..1 and of the range that the file declares")
    return ((raw - low) / (high - low)).astype(np.float32)


def _first(tags: Any, tag: int, default: float) -> float:
    """A TIFF tag's value, or the first of them."""
    value = tags.get(tag, default)
    return float(value[0] if isinstance(value, tuple) else value)


def _decode_dicom(data: bytes, max_pixels: int) -> GreyImage:
    """Decode DICOM or DICONDE; inverts MONOCHROME1, so that more attenuation is darker as in the other formats."""
    import pydicom  # noqa: PLC0415 - slow to import, and most lines never see one
    from pydicom.pixels.utils import pixel_array  # noqa: PLC0415

    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
    dataset: Dataset = pydicom.dcmread(io.BytesIO(data))
    if "Rows" not in dataset or "PixelData" not in dataset:
        raise ImageError("a DICOM file without an image")
    _check_size(int(dataset.Columns), int(dataset.Rows), max_pixels)
    frames = int(dataset.get("NumberOfFrames") or 1)
    notes = (f"{frames} frames; only the first one was looked at",) if frames > 1 else ()
    raw = pixel_array(dataset, index=0)
    bits = int(dataset.BitsStored)
    grey = raw.astype(np.float32)
    if grey.ndim == 3:
        grey = grey @ np.array([0.299, 0.587, 0.114], np.float32)
    if int(dataset.get("PixelRepresentation") or 0):
        grey += 2.0 ** (bits - 1)
    full = 2**bits - 1
    if grey.max() > full or grey.min() < 0:
        raise ImageError(f"grey levels outside of the {bits} bits that the file declares")
    grey /= np.float32(full)
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        grey = 1 - grey
    return GreyImage(grey, bits, "DICOM", notes)
