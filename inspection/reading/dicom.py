"""DICOM and DICONDE: every frame, with the polarity that a viewer shows and the bits that are declared.

pydicom reads the data set; frames are decoded here. pydicom cuts off the bits that a file does not declare before
anybody could see that they are used, and knows no damage in what is compressed.

Honoured: the photometric interpretation, palettes, stored and high bits, the sign, and whatever turns the grey scale
over (MONOCHROME1, a negative rescale slope, falling look-up tables, an inverse presentation). Not honoured: windows,
which are for display, and the unit that slope and intercept lead to.
"""

from __future__ import annotations

import io
import logging
import struct
import warnings
import zlib
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import imagecodecs
import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames
from pydicom.pixels.processing import apply_color_lut
from pydicom.uid import UID

from inspection.errors import ImageError
from inspection.image import GreyImage, Limits, Stack
from inspection.reading import jpeg, jpeg2000, rle
from inspection.reading.levels import Meaning, check_pages, check_size, to_image

_PREAMBLE, _MARK = 128, b"DICM"
_PIXELS = b"\x7f\xe0\x00\x10", b"\xe0\x7f\x10\x00"
_PADDING = b"\xfc\xff\xfc\xff"  # the tag of what may follow the pixels
_LENGTH_OF_LENGTH = 12  # bytes of the element that says how long the meta information is
_DEFLATED = "1.2.840.10008.1.2.1.99"
_BIG_ENDIAN, _RLE = "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.5"
_NATIVE = {"1.2.840.10008.1.2", "1.2.840.10008.1.2.1", _DEFLATED, _BIG_ENDIAN}
_JPEG = {f"1.2.840.10008.1.2.4.{kind}" for kind in (50, 51, 57, 70)}
_JPEG_LS = {f"1.2.840.10008.1.2.4.{kind}" for kind in (80, 81)}
_JPEG_2000 = {f"1.2.840.10008.1.2.4.{kind}" for kind in (90, 91, 92, 93, 201, 202, 203)}
_NEEDED = "Rows", "Columns", "SamplesPerPixel", "BitsAllocated", "PhotometricInterpretation"
_FLOATS = {"FloatPixelData": "f4", "DoubleFloatPixelData": "f8"}
_DARK_FIRST, _PALETTE = "MONOCHROME1", "PALETTE COLOR"
_GREY = {_DARK_FIRST, "MONOCHROME2"}
_PARTIAL_RANGE = 16, 235  # of brightness in 8 bits, ITU-R BT.601
_OVERLAYS = range(0x6000, 0x6020, 2)

logging.getLogger("pydicom").addHandler(logging.NullHandler())
logging.getLogger("pydicom").propagate = False
warnings.filterwarnings("ignore", module=r"pydicom\.")
pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE


def is_dicom(data: bytes) -> bool:
    """Whether bytes look like a DICOM file, with its preamble or without."""
    if data[_PREAMBLE : _PREAMBLE + 4] == _MARK or data.startswith(_MARK):
        return True
    group, element = struct.unpack_from("<HH", data) if len(data) >= 8 else (0, 0)
    # The first element of a bare data set is of the groups 2 or 8, in either byte order.
    return (group in {2, 8} and element <= 0xFF) or (group == 0x0800 and data[2] == 0)


def open_dicom(data: bytes, limits: Limits) -> Stack:
    """See `inspection.image.open_stack`."""
    dataset = _parse(data)
    if "Rows" not in dataset or "Columns" not in dataset:
        raise ImageError("a DICOM file without an image")
    if missing := [keyword for keyword in _NEEDED if dataset.get(keyword) is None]:
        raise ImageError(f"damaged: the DICOM file does not say its {', '.join(missing)}")
    check_size(int(dataset.Columns), int(dataset.Rows), limits.max_pixels)
    count = int(dataset.get("NumberOfFrames") or 1)
    check_pages(count, limits.max_pages)
    for keyword, kind in _FLOATS.items():
        if keyword in dataset:
            floats = _float_frames(dataset, keyword, kind, count)
            return Stack("DICOM", [partial(_float_page, dataset, frame, index, limits) for index, frame in floats])
    if "PixelData" not in dataset or "BitsStored" not in dataset:
        cut = any(tag in data for tag in _PIXELS)
        raise ImageError("cut short: the DICOM file ends within its pixels" if cut else "a DICOM file without an image")
    if _syntax(dataset) == _DEFLATED:
        _check_end(data, dataset)
    frames = _Frames(dataset, count)
    return Stack("DICOM", [partial(_page, dataset, frames, index) for index in range(count)])


def _parse(data: bytes) -> Dataset:
    if data.startswith(_MARK):
        data = bytes(_PREAMBLE) + data
    try:
        return pydicom.dcmread(io.BytesIO(data), force=True)
    except (
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        EOFError,
        OSError,
        NotImplementedError,
        zlib.error,
    ) as error:
        raise ImageError("damaged: the DICOM file cannot be read") from error


def _check_end(data: bytes, dataset: Dataset) -> None:
    """See that a deflated data set ends with its pixels: it has no checksum, but damage changes its length.

    Raises:
        ImageError: Something else than padding follows.
    """
    mark = data.find(_MARK, 0, _PREAMBLE + len(_MARK))
    start = (mark + len(_MARK) if mark in {0, _PREAMBLE} else 0) + _LENGTH_OF_LENGTH
    start += int(dataset.file_meta.get("FileMetaInformationGroupLength") or 0)
    inflated = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data[start:])
    element = dataset.get_item("PixelData")
    end = int(element.value_tell) + int(element.length) if isinstance(element, RawDataElement) else len(inflated)
    if inflated[end:] and not inflated.startswith(_PADDING, end):
        raise ImageError("damaged: the DICOM file holds more than its pixels")


class _Frames:
    """The frames of a data set as words of `BitsAllocated` bits.

    Args:
        dataset: With `PixelData`.
        count: Frames that it declares.

    Raises:
        ImageError: There are fewer or more of them, or they are stored in a way that is not supported.
    """

    def __init__(self, dataset: Dataset, count: int) -> None:
        self.rows, self.columns = int(dataset.Rows), int(dataset.Columns)
        self.channels = int(dataset.SamplesPerPixel)
        self.allocated = int(dataset.BitsAllocated)
        self.photometric = str(dataset.PhotometricInterpretation)
        self.planar = int(dataset.get("PlanarConfiguration") or 0) == 1
        if self.allocated not in {1, 8, 16, 32, 64}:
            raise ImageError(f"a DICOM file of a kind that is not supported: {self.allocated} bits allocated")
        element = dataset["PixelData"]
        self.syntax = _syntax(dataset)
        self.compressed = self.syntax not in _NATIVE
        self._data = bytes(element.value or b"")
        self._order = ">" if self.syntax == _BIG_ENDIAN else "<"
        self._in_words = element.VR == "OW"
        self._each: list[bytes] = _encapsulated(self._data, dataset, count) if self.compressed else []
        if not self.compressed:
            self._check_length(count)

    @property
    def _shared_colours(self) -> bool:
        """Whether two pixels share their colours."""
        return self.channels == 3 and self.photometric in {"YBR_FULL_422", "YBR_PARTIAL_422"} and not self.compressed

    @property
    def _samples(self) -> int:
        """Stored samples of a frame."""
        pixels = self.rows * self.columns
        return 2 * pixels if self._shared_colours else self.channels * pixels

    def _check_length(self, count: int) -> None:
        needed = (self._samples * count * self.allocated + 7) // 8
        if len(self._data) < needed:
            raise ImageError(f"cut short: the DICOM file holds {len(self._data)} of {needed} bytes of its pixels")
        if len(self._data) >= needed + max(2, needed // count):
            raise ImageError(f"the DICOM file holds more pixels than the {count} frames that it declares")

    def words(self, index: int) -> NDArray[Any]:
        """The words of one frame, `[H, W]` or `[H, W, C]`, as they were stored; see `_values`."""
        return self._decoded(self._each[index]) if self.compressed else self._native(index)

    def _native(self, index: int) -> NDArray[Any]:
        count = self._samples
        if self.allocated == 1:
            bits = np.unpackbits(np.frombuffer(self._data, np.uint8), bitorder="little")
            flat = bits[index * count : (index + 1) * count]
        else:
            size = self.allocated // 8
            data = self._data
            if size == 1 and self._in_words and self._order == ">":
                data = np.frombuffer(data[: len(data) // 2 * 2], ">u2").astype("<u2").tobytes()
            stored = np.frombuffer(data, f"{self._order}u{size}", count, index * count * size)
            flat = stored.astype(f"u{size}", copy=False)
        if self._shared_colours:
            return flat.reshape(-1, 4)[:, :2].reshape(self.rows, self.columns)
        if self.channels == 1:
            return flat.reshape(self.rows, self.columns)
        if self.planar:
            return np.moveaxis(flat.reshape(self.channels, self.rows, self.columns), 0, -1)
        return flat.reshape(self.rows, self.columns, self.channels)

    def _decoded(self, frame: bytes) -> NDArray[Any]:
        if self.syntax in _JPEG:
            header = jpeg.read_header(frame)
            colour: jpeg.Colour = "rgb" if self.photometric == "RGB" else "ycc"
            found = jpeg.read(frame, header, None if header.names_colours or header.is_lossless else colour)
        elif self.syntax in _JPEG_2000:
            found = jpeg2000.read(frame)
        elif self.syntax in _JPEG_LS:
            try:
                found = imagecodecs.jpegls_decode(frame)
            except (RuntimeError, ValueError) as error:
                raise ImageError("damaged: parts of the JPEG-LS data are missing or overwritten") from error
        else:
            found = self._run_lengths(frame)
        if found.shape[:2] != (self.rows, self.columns):
            height, width = found.shape[:2]
            raise ImageError(f"damaged: a frame is {width} x {height} pixels, not {self.columns} x {self.rows}")
        return found

    def _run_lengths(self, frame: bytes) -> NDArray[Any]:
        size = self.allocated // 8
        needed = self.channels * size
        header = struct.unpack("<16I", frame[:64]) if len(frame) >= 64 else (0,)
        places = [*header[1 : 1 + needed], len(frame)]
        if header[0] != needed or places != sorted(set(places)) or places[0] < 64:
            raise ImageError("damaged: the header of the RLE data is not that of such an image")
        pixels = self.rows * self.columns
        planes = np.empty((self.channels, size, pixels), np.uint8)
        for index in range(needed):
            what = f"part {index + 1} of {needed} of the RLE data"
            plane = rle.unpack(frame[places[index] : places[index + 1]], pixels, self.columns, what)
            planes[index // size, index % size] = np.frombuffer(plane, np.uint8)
        words = np.ascontiguousarray(planes.swapaxes(1, 2)).view(f">u{size}")[..., 0].astype(f"u{size}")
        shaped = words.reshape(self.channels, self.rows, self.columns)
        return shaped[0] if self.channels == 1 else np.moveaxis(shaped, 0, -1)


def _syntax(dataset: Dataset) -> str:
    """The transfer syntax; of a bare data set what it looks like."""
    meta = getattr(dataset, "file_meta", None)
    syntax = UID(str(meta.get("TransferSyntaxUID") or "")) if meta is not None else UID("")
    if not syntax:
        implicit, little = dataset.original_encoding
        if dataset["PixelData"].is_undefined_length:
            raise ImageError("a DICOM file that does not say how its pixels are compressed (no transfer syntax)")
        return "1.2.840.10008.1.2" if implicit else ("1.2.840.10008.1.2.1" if little else _BIG_ENDIAN)
    if syntax not in {*_NATIVE, _RLE, *_JPEG, *_JPEG_LS, *_JPEG_2000}:
        raise ImageError(f"a DICOM file of a kind that is not supported: transfer syntax {syntax.name}")
    return str(syntax)


def _encapsulated(data: bytes, dataset: Dataset, count: int) -> list[bytes]:
    offsets = dataset.get("ExtendedOffsetTable"), dataset.get("ExtendedOffsetTableLengths")
    extended = offsets if all(offsets) else None
    try:
        frames = list(generate_frames(data, number_of_frames=count, extended_offsets=extended))
    except (ValueError, EOFError, struct.error) as error:
        raise ImageError("damaged: the frames of the DICOM file cannot be found") from error
    if len(frames) != count:
        raise ImageError(f"damaged: {len(frames)} frames are in the DICOM file, which declares {count}")
    return frames


def _page(dataset: Dataset, frames: _Frames, index: int) -> GreyImage:
    words = frames.words(index)
    stored = int(dataset.BitsStored)
    signed = bool(int(dataset.get("PixelRepresentation") or 0))
    values = _values(words, frames, dataset, stored, signed=signed)
    meaning = Meaning(stored, signed)
    photometric = frames.photometric
    if photometric == _PALETTE:
        values, meaning = _coloured(values, dataset)
    elif photometric in _GREY:
        if values.ndim == 3:
            raise ImageError(f"{values.shape[2]} channels in a grey DICOM image")
        meaning = Meaning(stored, signed, inverted=_is_turned_over(dataset, index))
    elif photometric.startswith("YBR_PARTIAL"):
        meaning = Meaning(stored, declared=(_PARTIAL_RANGE[0] << stored - 8, _PARTIAL_RANGE[1] << stored - 8))
    if values.ndim == 3 and photometric.startswith("YBR") and photometric not in {"YBR_ICT", "YBR_RCT"}:
        values = values[..., 0]
    found = to_image(values, meaning, "DICOM")
    return replace(found, bits=stored)


def _values(words: NDArray[Any], frames: _Frames, dataset: Dataset, stored: int, *, signed: bool) -> NDArray[Any]:
    """The numbers in a frame's words: those bits that the file declares.

    Raises:
        ImageError: Other bits are used too, so what is declared is wrong. An overlay that is declared in them, a sign
            that runs through them, and bits that are the same everywhere are none of the picture's.
    """
    if words.dtype.kind == "i" or frames.allocated == 1:
        return words
    width = 8 * words.dtype.itemsize
    shift = max(0, min(int(dataset.get("HighBit") or stored - 1), width - 1) + 1 - stored)
    if frames.compressed and not (words >> min(stored, width - 1)).any():
        shift = 0
    if stored >= width:
        numbers = words
    else:
        mask = ((1 << stored) - 1) << shift
        others = words & words.dtype.type((1 << width) - 1 & ~mask & ~_overlay_bits(dataset))
        if signed:
            negative = (words >> (shift + stored - 1)) & 1
            above = words.dtype.type((1 << width) - 1 & ~((1 << shift + stored) - 1))
            others = np.where(negative.astype(bool) & ((others & above) == above), others & ~above, others)
        if (others != others.flat[0]).any():
            raise ImageError(f"damaged: the grey levels use more than the {stored} bits that the DICOM file declares")
        numbers = (words & words.dtype.type(mask)) >> shift
    if not signed:
        return numbers
    free = width - stored
    return (numbers << free).view(f"i{width // 8}") >> free


def _overlay_bits(dataset: Dataset) -> int:
    """The bits of the words in which the file declares overlays, as old ones do."""
    bits = 0
    for group in _OVERLAYS:
        position = dataset.get((group, 0x0102))
        if position is not None and position.value is not None and (group, 0x3000) not in dataset:
            bits |= 1 << int(position.value)
    return bits


def _coloured(values: NDArray[Any], dataset: Dataset) -> tuple[NDArray[Any], Meaning]:
    try:
        colours = apply_color_lut(values, dataset)
    except (ValueError, AttributeError, KeyError, TypeError) as error:
        raise ImageError("damaged: the palette of the DICOM file is incomplete") from error
    return colours[..., :3], Meaning(8 * colours.dtype.itemsize)


def _is_turned_over(dataset: Dataset, index: int) -> bool:
    """Whether a viewer shows the largest number darkest."""
    dark_first = dataset.PhotometricInterpretation == _DARK_FIRST
    # In the images that have it, an inverse presentation goes with MONOCHROME1, and says the same.
    turned = dark_first or str(dataset.get("PresentationLUTShape") or "") == "INVERSE"
    if _slope(dataset, index) < 0:
        turned = not turned
    for keyword in ("ModalityLUTSequence", "VOILUTSequence"):
        if _falls(dataset.get(keyword)):
            turned = not turned
    return turned


def _slope(dataset: Dataset, index: int) -> float:
    """The rescale slope of a frame: the data set's, or of its functional groups."""
    places = [dataset]
    for keyword, number in (("PerFrameFunctionalGroupsSequence", index), ("SharedFunctionalGroupsSequence", 0)):
        groups = dataset.get(keyword)
        if groups and len(groups) > number:
            places += list(groups[number].get("PixelValueTransformationSequence") or [])
    for place in places:
        slope = place.get("RescaleSlope")
        if slope is not None:
            return float(slope)
    return 1.0


def _falls(sequence: Sequence[Dataset] | None) -> bool:
    """Whether the first look-up table of a sequence, if there is one, maps large numbers to small ones."""
    if not sequence:
        return False
    table = sequence[0].get("LUTData")
    bits = (sequence[0].get("LUTDescriptor") or [0, 0, 16])[2]
    if table is None or len(table) == 0:
        return False
    if isinstance(table, bytes):
        table = np.frombuffer(table, "<u2" if bits > 8 or len(table) > 256 else "u1")
    return int(table[0]) > int(table[-1])


def _float_frames(dataset: Dataset, keyword: str, kind: str, count: int) -> list[tuple[int, NDArray[Any]]]:
    order = ">" if not dataset.original_encoding[1] else "<"
    data = bytes(dataset[keyword].value or b"")
    rows, columns = int(dataset.Rows), int(dataset.Columns)
    needed = rows * columns * count * int(kind[1])
    if len(data) < needed:
        raise ImageError(f"cut short: the DICOM file holds {len(data)} of {needed} bytes of its pixels")
    numbers = np.frombuffer(data, order + kind, rows * columns * count).reshape(count, rows, columns)
    return list(enumerate(numbers))


def _float_page(dataset: Dataset, frame: NDArray[Any], index: int, limits: Limits) -> GreyImage:
    meaning = Meaning(8 * frame.dtype.itemsize, inverted=_is_turned_over(dataset, index))
    return to_image(frame.astype(frame.dtype.newbyteorder("=")), meaning, "DICOM", float_range=limits.float_range)
