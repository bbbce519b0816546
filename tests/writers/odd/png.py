"""A writer of PNG files: every colour type, depth, filter and order, chunk by chunk."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator

import numpy as np

from odd.scene import Levels
from odd.tiff import packed

SIGNATURE = b"\x89PNG\r\n\x1a\n"
GREY, RGB, PALETTE, GREY_ALPHA, RGBA = 0, 2, 3, 4, 6
ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
"""First row, first column, and the steps, of each pass."""


def chunk(kind: bytes, content: bytes = b"", crc: int | None = None) -> bytes:
    """One chunk with its length and checksum."""
    check = zlib.crc32(kind + content) if crc is None else crc
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)


def header(levels: Levels, bits: int, colour: int, *, interlaced: bool = False) -> bytes:
    """The chunk IHDR."""
    height, width = levels.shape[:2]
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, interlaced))


def rows(levels: Levels, bits: int, filters: Iterable[int] = (0,)) -> bytes:
    """Rows `[h, w]` or `[h, w, samples]` with their filters, these taken in turn."""
    if not levels.size:
        return b""
    cube = levels.reshape(*levels.shape[:2], -1)
    step = max(1, cube.shape[2] * bits // 8)
    if bits < 8:
        flat = np.frombuffer(packed(cube, bits), np.uint8).reshape(len(cube), -1)
    else:
        flat = np.ascontiguousarray(cube.astype(f">u{bits // 8}")).view(np.uint8).reshape(len(cube), -1)
    out, above, kinds = b"", np.zeros(flat.shape[1], np.int64), list(filters)
    for number, now in enumerate(flat.astype(np.int64)):
        kind = kinds[number % len(kinds)]
        left = np.concatenate([np.zeros(step, np.int64), now[:-step]])
        corner = np.concatenate([np.zeros(step, np.int64), above[:-step]])
        guess = (np.zeros_like(now), left, above, (left + above) // 2, _paeth(left, above, corner))[kind]
        out += bytes([kind]) + ((now - guess) % 256).astype(np.uint8).tobytes()
        above = now
    return out


def _paeth(left: Levels, above: Levels, corner: Levels) -> Levels:
    guess = left + above - corner
    far = [np.abs(guess - one) for one in (left, above, corner)]
    nearest = np.where(far[1] <= far[2], above, corner)
    chosen: Levels = np.where((far[0] <= far[1]) & (far[0] <= far[2]), left, nearest)
    return chosen


def passes(levels: Levels) -> Iterator[Levels]:
    """The seven pictures of an interlaced one."""
    for row, column, down, across in ADAM7:
        yield levels[row::down, column::across]


def stream(levels: Levels, bits: int, *, interlaced: bool = False, filters: Iterable[int] = (0,)) -> bytes:
    """All rows, not yet compressed."""
    kinds = tuple(filters)
    parts = passes(levels) if interlaced else [levels]
    return b"".join(rows(part, bits, kinds) for part in parts)


def write(
    levels: Levels,
    bits: int,
    colour: int = GREY,
    *,
    interlaced: bool = False,
    filters: Iterable[int] = (0, 1, 2, 3, 4),
    before: bytes = b"",
    after: bytes = b"",
    behind: bytes = b"",
    size: int = 1 << 31,
) -> bytes:
    """A PNG's bytes; chunks `before` and `after` the pixels, bytes `behind` its end, IDAT in parts of `size`."""
    data = zlib.compress(stream(levels, bits, interlaced=interlaced, filters=filters))
    return whole(header(levels, bits, colour, interlaced=interlaced), data, before, after, size) + behind


def whole(head: bytes, data: bytes, before: bytes = b"", after: bytes = b"", size: int = 1 << 31) -> bytes:
    """From IHDR and compressed pixels to a file."""
    parts = [chunk(b"IDAT", data[at : at + size]) for at in range(0, len(data), size)]
    return SIGNATURE + head + before + b"".join(parts) + after + chunk(b"IEND")
