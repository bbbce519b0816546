"""Strips and tiles of one TIFF page -> its samples; each must be there, and whole.

Decoders, tifffile's among them, fill what is missing with zeros. So each segment is decoded and measured here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import imagecodecs
import numpy as np
from isal import igzip_lib, isal_zlib
from numpy.typing import NDArray

from inspection.errors import ImageError
from inspection.reading import jpeg, jpeg2000, rle, zstd

_NONE, _CCITT_RLE, _CCITT_3, _CCITT_4, _LZW, _JPEG, _PACKBITS = 1, 2, 3, 4, 5, 7, 32773
_DEFLATE = {8, 32946}
_JPEG_2000 = {33003, 33004, 33005, 34712}
_ZSTD, _OLD_ZSTD, _LZMA = 50000, 34926, 34925
_DIFFERENCES, _FLOAT_DIFFERENCES = 2, 3
_SIGNED = "i"

SUPPORTED = {
    _NONE,
    _CCITT_RLE,
    _CCITT_3,
    _CCITT_4,
    _LZW,
    _JPEG,
    _PACKBITS,
    *_DEFLATE,
    *_JPEG_2000,
    _ZSTD,
    _OLD_ZSTD,
    _LZMA,
}
"""TIFF's numbers of the compressions that can be read."""


@dataclass(frozen=True)
class Layout:
    """How the samples of a page are stored.

    Attributes:
        width: Pixels of the page.
        height: Pixels of the page.
        channels: Samples of a pixel, those that are ignored included.
        segment_width: Pixels; tiles are whole at the edges too.
        segment_height: Pixels; of the last strip there may be fewer rows.
        tiled: Tiles, not strips.
        planar: Each channel has segments of its own.
        bits: Of a sample.
        kind: Of its number: `u`, `i` or `f`.
        order: Of its bytes, `<` or `>`.
        compression: TIFF's number.
        predictor: TIFF's number.
        reversed_bits: The lowest bit of each byte comes first.
        subsampling: How many pixels across and down share their colours, where brightness is stored apart; or None.
        colour: What three channels are, for JPEG.
        tables: JPEG's, which its segments lack.
        options: Of CCITT's third group.
        offsets: Of the segments.
        counts: Their bytes.
    """

    width: int
    height: int
    channels: int
    segment_width: int
    segment_height: int
    tiled: bool
    planar: bool
    bits: int
    kind: Literal["u", "i", "f"]
    order: Literal["<", ">"]
    compression: int
    predictor: int
    reversed_bits: bool
    subsampling: tuple[int, int] | None
    colour: jpeg.Colour | None
    tables: bytes
    options: int
    offsets: tuple[int, ...]
    counts: tuple[int, ...]

    @property
    def across(self) -> int:
        """Segments in a row."""
        return -(-self.width // self.segment_width)

    @property
    def planes(self) -> int:
        """Channels that are stored apart."""
        return self.channels if self.planar else 1

    @property
    def needed(self) -> int:
        """Segments of the whole page."""
        return self.across * -(-self.height // self.segment_height) * self.planes

    @property
    def name(self) -> str:
        """What a segment is called."""
        return "tile" if self.tiled else "strip"

    def rows(self, index: int) -> int:
        """Rows of pixels that a segment must hold."""
        if self.tiled:
            return self.segment_height
        top = index % (self.needed // self.planes) * self.segment_height
        return min(self.segment_height, self.height - top)


def check(layout: Layout, size: int) -> None:
    """See that each segment of a page lies in a file of `size` bytes, and at a place of its own.

    Raises:
        ImageError: One does not.
    """
    if min(len(layout.offsets), len(layout.counts)) < layout.needed:
        found = min(len(layout.offsets), len(layout.counts))
        raise ImageError(f"cut short: the TIFF page has {found} of {layout.needed} {layout.name}s")
    ends = 8
    placed = zip(layout.offsets[: layout.needed], layout.counts[: layout.needed], strict=True)
    for index, (offset, count) in sorted(enumerate(placed), key=lambda segment: segment[1]):
        name = f"{layout.name} {index + 1} of {layout.needed}"
        if not offset or not count:
            raise ImageError(f"incomplete: {name} of the TIFF page was never written")
        if offset + count > size:
            raise ImageError(f"cut short: {name} of the TIFF page lies behind the end of the file")
        if offset < ends:
            raise ImageError(f"damaged: {name} of the TIFF page lies where something else is")
        ends = offset + count


def read(data: bytes, layout: Layout) -> NDArray[Any]:
    """Samples `[H, W]`, or `[H, W, C]` of several channels, in their own type.

    Args:
        data: The whole file.
        layout: Of the page, checked.

    Raises:
        ImageError: A segment is damaged.
    """
    found: NDArray[Any] | None = None
    for index in range(layout.needed):
        offset, count = layout.offsets[index], layout.counts[index]
        samples = _segment(data[offset : offset + count], layout, index)
        plane, place = divmod(index, layout.needed // layout.planes)
        down, across = divmod(place, layout.across)
        top, left = down * layout.segment_height, across * layout.segment_width
        if layout.needed == 1 and not layout.tiled:
            found = samples[: layout.height]
            break
        if found is None:
            channels = layout.channels if layout.planar else samples.shape[2]
            found = np.empty((layout.height, layout.width, channels), samples.dtype)
        height, width = layout.height - top, layout.width - left
        target = found[top : top + samples.shape[0], left : left + samples.shape[1]]
        target[..., plane : plane + 1 if layout.planar else None] = samples[:height, :width]
    if found is None:
        raise ImageError("incomplete: a TIFF page without pixels")
    return found[..., 0] if found.shape[2] == 1 else found


def _segment(data: bytes, layout: Layout, index: int) -> NDArray[Any]:
    """Samples `[h, w, C]` of one strip or tile."""
    rows, width = layout.rows(index), layout.segment_width
    what = f"{layout.name} {index + 1} of {layout.needed}"
    if layout.compression == _JPEG or layout.compression in _JPEG_2000:
        samples = _picture(data, layout)
        samples = samples[..., None] if samples.ndim == 2 else samples
        # The last strip may hold rows below the page.
        if samples.shape[0] < rows or samples.shape[1] != width:
            raise ImageError(f"damaged: {what} is {samples.shape[1]} x {samples.shape[0]} pixels, not {width} x {rows}")
        return samples
    channels = 1 if layout.planar else layout.channels
    if layout.subsampling:
        return _brightness(data, layout, what, rows)
    row = (width * channels * layout.bits + 7) // 8
    flat = _unpacked(data, layout, what, rows * row, row)
    if layout.predictor == _FLOAT_DIFFERENCES:
        return _from_float_differences(flat, layout, (rows, width, channels))
    samples = _numbers(flat, layout, rows, width * channels).reshape(rows, width, channels)
    if layout.predictor == _DIFFERENCES:
        whole = samples.view(f"{samples.dtype.str[0]}u{samples.dtype.itemsize}")
        samples = np.add.accumulate(whole, axis=1, dtype=whole.dtype).view(samples.dtype)
        if layout.bits < 8 * samples.dtype.itemsize:
            samples = samples & samples.dtype.type(2**layout.bits - 1)
    return samples


def _picture(data: bytes, layout: Layout) -> NDArray[Any]:
    if layout.compression != _JPEG:
        return jpeg2000.read(data)
    tables = layout.tables.removesuffix(b"\xff\xd9")
    stream = tables + data[2:] if tables else data
    return jpeg.read(stream, jpeg.read_header(stream), layout.colour)


def _unpacked(data: bytes, layout: Layout, what: str, size: int, row: int) -> bytes:
    """The bytes of a segment's samples, decompressed: `size` of them."""
    if layout.reversed_bits:
        data = bytes(imagecodecs.bitorder_decode(data))
    # Some write as many rows in the last strip as in the others.
    most = max(size, layout.segment_height * row)
    if layout.compression == _PACKBITS:
        return rle.unpack(data, size, row, what) if most == size else _last_packed(data, size, most, row, what)
    try:
        found = _decompressed(data, layout, most, size // row)
    except (RuntimeError, ValueError, igzip_lib.IsalError) as error:  # type: ignore[misc]  # its stubs are wrong
        raise ImageError(f"damaged: {what} cannot be decompressed") from error
    if len(found) < size:
        raise ImageError(f"cut short: {what} holds {len(found)} of {size} bytes")
    if layout.compression != _NONE and len(found) not in {size, most}:
        raise ImageError(f"damaged: {what} holds more than its pixels")
    return found[:size]


def _last_packed(data: bytes, size: int, most: int, row: int, what: str) -> bytes:
    try:
        return rle.unpack(data, most, row, what)[:size]
    except ImageError:
        return rle.unpack(data, size, row, what)


def _decompressed(data: bytes, layout: Layout, most: int, rows: int) -> bytes:
    compression, width = layout.compression, layout.segment_width
    if compression in _DEFLATE:
        stream = isal_zlib.decompressobj()
        found = stream.decompress(data, most + 1)
        if not stream.eof and len(found) <= most:
            raise ValueError("its end is missing")
        return bytes(found)
    decoders: dict[int, Callable[[], bytes | bytearray]] = {
        _LZW: lambda: imagecodecs.lzw_decode(data, out=most + 1),
        _ZSTD: lambda: zstd.unpack(data),
        _OLD_ZSTD: lambda: zstd.unpack(data),
        _LZMA: lambda: imagecodecs.lzma_decode(data),
        _CCITT_RLE: lambda: _packed(imagecodecs.ccittrle_decode(data, rows, width)),
        _CCITT_3: lambda: _packed(imagecodecs.ccittfax3_decode(data, rows, width, t4options=layout.options)),
        _CCITT_4: lambda: _packed(imagecodecs.ccittfax4_decode(data, rows, width)),
    }
    return bytes(decoders[compression]()) if compression in decoders else data


def _packed(bits: NDArray[np.uint8]) -> bytes:
    return np.packbits(bits, axis=1).tobytes()


def _numbers(flat: bytes, layout: Layout, rows: int, across: int) -> NDArray[Any]:
    """Bytes -> numbers `[rows, across]` in the machine's byte order."""
    if layout.bits in {8, 16, 32, 64}:
        stored = np.frombuffer(flat, f"{layout.order}{layout.kind}{layout.bits // 8}")
        return stored.astype(stored.dtype.newbyteorder("="), copy=False).reshape(rows, across)
    container = next(size for size in (8, 16, 32) if layout.bits <= size)
    numbers = imagecodecs.packints_decode(flat, f"u{container // 8}", layout.bits, runlen=across)
    if 8 < layout.bits < 16 and _lost_bits(numbers, layout):
        raise ImageError("damaged: bits are missing from all grey levels (some writers lose them in big-endian files)")
    if layout.kind == _SIGNED:
        free = container - layout.bits
        numbers = (numbers << free).view(f"i{container // 8}") >> free
    return numbers.reshape(rows, across)


def _lost_bits(numbers: NDArray[Any], layout: Layout) -> bool:
    """Whether numbers were packed with their two bytes exchanged: some bits in the middle are zero in all of them."""
    middle = 0xFF & ~((1 << layout.bits - 8) - 1)
    return layout.order == ">" and not (numbers & middle).any() and int(numbers.max()) > 0xFF


def _from_float_differences(flat: bytes, layout: Layout, shape: tuple[int, int, int]) -> NDArray[Any]:
    """Undo the predictor of floating-point numbers; see Adobe's Photoshop TIFF Technical Note 3."""
    rows, width, channels = shape
    size = layout.bits // 8
    stored = np.frombuffer(flat, np.uint8).reshape(rows, size * width, channels)
    planes = np.add.accumulate(stored, axis=1, dtype=np.uint8).reshape(rows, size, width * channels)
    numbers = np.ascontiguousarray(planes.swapaxes(1, 2)).view(f">f{size}")
    return numbers.astype(f"=f{size}").reshape(shape)


def _brightness(data: bytes, layout: Layout, what: str, rows: int) -> NDArray[Any]:
    """The brightness of pixels that share their colours in blocks; the colours are not looked at."""
    across, down = layout.subsampling or (1, 1)
    blocks_across, blocks_down = -(-layout.segment_width // across), -(-rows // down)
    block = across * down + 2
    row = blocks_across * block * layout.bits // 8
    flat = _unpacked(
        data, replace(layout, segment_height=-(-layout.segment_height // down)), what, blocks_down * row, row
    )
    numbers = _numbers(flat, layout, blocks_down, blocks_across * block)
    levels = numbers.reshape(blocks_down, blocks_across, block)[..., : across * down]
    levels = levels.reshape(blocks_down, blocks_across, down, across).swapaxes(1, 2)
    return levels.reshape(blocks_down * down, blocks_across * across)[:rows, : layout.segment_width, None]
