"""PNG: every chunk and the whole stream are checked here, libpng unfilters.

libpng tells what it finds odd on standard error. So it is given a file of our own making: the pixels alone, checked,
and without compression, which is faster than to let it decompress them.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from imagecodecs import png_decode
from isal import igzip_lib, isal_zlib
from numpy.typing import NDArray

from inspection.errors import ImageError
from inspection.image import GreyImage, Limits, Stack
from inspection.reading.levels import Meaning, check_size, to_image
from inspection.reading.orientation import of_exif, upright

MAGIC = b"\x89PNG\r\n\x1a\n"

_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type
_DEPTHS = {0: {1, 2, 4, 8, 16}, 2: {8, 16}, 3: {1, 2, 4, 8}, 4: {8, 16}, 6: {8, 16}}
_PALETTE = 3
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""Of each pass of an interlaced image: first column and row, and the steps."""


@dataclass
class _Parts:
    """What is used of a PNG."""

    header: bytes = b""
    palette: bytes = b""
    data: list[bytes] = field(default_factory=list)
    orientation: int = 1
    frames: int = 1
    ended: bool = False


def open_png(data: bytes, limits: Limits) -> Stack:
    """See `inspection.image.open_stack`."""
    parts = _Parts()
    for kind, content in _chunks(data):
        if kind == b"IHDR":
            parts.header = content
            width, height = struct.unpack_from(">II", content)
            check_size(width, height, limits.max_pixels)
        elif kind == b"PLTE":
            parts.palette = content
        elif kind == b"IDAT":
            parts.data.append(content)
        elif kind == b"eXIf":
            parts.orientation = of_exif(content)
        elif kind == b"acTL":
            parts.frames = int.from_bytes(content[:4], "big")
        elif kind == b"IEND":
            parts.ended = True
    if not parts.ended:
        raise ImageError("cut short: the PNG end mark is missing")
    if parts.frames > 1:
        raise ImageError(f"an animated PNG of {parts.frames} frames: save them as the pages of a TIFF")
    return Stack("PNG", [lambda: _decode(parts)])


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Kind and content of each chunk up to the end mark; what lies behind it is no part of the image."""
    place, kind = len(MAGIC), b""
    while kind != b"IEND":
        head = data[place : place + 8]
        if len(head) < 8:
            return
        length, kind = int.from_bytes(head[:4], "big"), head[4:]
        content, check = data[place + 8 : place + 8 + length], data[place + 8 + length : place + 12 + length]
        if len(check) < 4:
            raise ImageError("cut short in the middle of a PNG chunk")
        if place == len(MAGIC) and (kind != b"IHDR" or length != 13):
            raise ImageError("a PNG without its header")
        # Damage to a text or a date is none to the picture.
        if kind[:1].isupper() and zlib.crc32(content, zlib.crc32(kind)) != int.from_bytes(check, "big"):
            raise ImageError(f"damaged: the checksum of the PNG chunk {kind.decode('ascii', 'replace')} is wrong")
        yield kind, content
        place += 12 + length


def _decode(parts: _Parts) -> GreyImage:
    width, height, bits, colour, compression, filters, interlaced = struct.unpack(">IIBBBBB", parts.header)
    if bits not in _DEPTHS.get(colour, ()) or compression or filters or interlaced > 1:
        raise ImageError("a PNG of a kind that does not exist: its header is damaged")
    depth = bits * _CHANNELS[colour]
    passes = [pass_ for pass_ in (_ADAM7 if interlaced else ((0, 0, 1, 1),)) if width > pass_[0] and height > pass_[1]]
    sizes = [(-((left - width) // across), -((top - height) // down)) for left, top, across, down in passes]
    lengths = [rows * (1 + (columns * depth + 7) // 8) for columns, rows in sizes]
    rows = _inflated(parts.data, sum(lengths))
    found, place = None, 0
    # Each pass of an interlaced image is an image of its own.
    for (left, top, across, down), size, length in zip(passes, sizes, lengths, strict=True):
        pixels = _unfiltered(parts, struct.pack(">IIBBBBB", *size, bits, colour, 0, 0, 0), rows[place : place + length])
        place += length
        if found is None:
            found = np.empty((height, width, *pixels.shape[2:]), pixels.dtype) if interlaced else pixels
        if interlaced:
            found[top::down, left::across] = pixels
    stored = 8 if colour == _PALETTE or bits < 8 else bits
    image = to_image(upright(np.asarray(found), parts.orientation), Meaning(stored), "PNG")
    return replace(image, bits=bits)


def _unfiltered(parts: _Parts, header: bytes, rows: bytes) -> NDArray[Any]:
    """Pixels `[H, W]` or `[H, W, C]` of an image, or of one pass, that is not interlaced itself."""
    indexed = header[9] == _PALETTE
    if indexed:
        header = header[:9] + b"\0" + header[10:]  # read as grey levels, the numbers of colours are seen
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows, 0)), (b"IEND", b"")]
    try:
        pixels: NDArray[Any] = png_decode(MAGIC + b"".join(_chunk(kind, content) for kind, content in chunks))
    except RuntimeError as error:
        raise ImageError("damaged: the pixels of the PNG cannot be decoded") from error
    if not indexed:
        return pixels
    numbers = pixels // (255 // (2 ** header[8] - 1))
    colours = np.frombuffer(parts.palette, np.uint8).reshape(-1, 3)
    if numbers.max() >= len(colours):
        raise ImageError("damaged: the PNG names colours that its palette lacks")
    coloured: NDArray[Any] = colours[numbers]
    return coloured


def _inflated(data: list[bytes], size: int) -> bytes:
    """All rows, with their filters."""
    stream = isal_zlib.decompressobj()
    try:
        rows = stream.decompress(b"".join(data), size + 1)
    except igzip_lib.IsalError as error:  # type: ignore[misc]  # its stubs are wrong
        raise ImageError("damaged: the pixels of the PNG cannot be decompressed") from error
    if len(rows) < size:
        raise ImageError(f"cut short: the PNG holds {len(rows)} of {size} bytes of its pixels")
    if len(rows) > size or not stream.eof:
        raise ImageError("damaged: the PNG holds more than its pixels")
    return rows


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(content, zlib.crc32(kind)))
