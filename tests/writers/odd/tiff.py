"""A writer of TIFF files: every tag, strip, tile and byte as it is asked for, right or wrong."""

from __future__ import annotations

import lzma
import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Literal

import imagecodecs
import numpy as np

from odd.scene import Levels

NONE, LZW, JPEG, DEFLATE, PACKBITS, OLD_DEFLATE = 1, 5, 7, 8, 32773, 32946
JPEG2000, LZMA, ZSTD = 34712, 34925, 50000
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, MASK, YCBCR = 0, 1, 2, 3, 4, 6
BYTE, ASCII, SHORT, LONG, RATIONAL, SBYTE, SSHORT, SLONG, SRATIONAL, FLOAT, DOUBLE = 1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 12
UNDEFINED, IFD, LONG8, SLONG8 = 7, 13, 16, 17

Order = Literal["<", ">"]
"""The lowest byte of a number first, or the highest."""
Tag = tuple[int, tuple[Any, ...]]
"""The type of a tag's values, and these."""

_LAYOUT = {BYTE: "B", ASCII: "B", SHORT: "H", LONG: "I", RATIONAL: "I", SBYTE: "b", SSHORT: "h", SLONG: "i"}
_LAYOUT |= {UNDEFINED: "B", SRATIONAL: "i", FLOAT: "f", DOUBLE: "d", IFD: "I", LONG8: "Q", SLONG8: "q"}
_REVERSED = np.packbits(np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1)[:, ::-1], axis=1)[:, 0].tobytes()


@dataclass(frozen=True)
class Page:
    """One page, to be written as it says.

    Attributes:
        levels: `[H, W]` or `[H, W, samples]`; their type is the type of the file's samples.
        bits: Of a sample, where it is packed.
        photometric: None leaves the tag out.
        encode: Makes one strip or tile `[h, w, samples]` into bytes, in place of the compression's own way.
        tags: Further ones, or others instead; None leaves one out.
        segments: Changes (offsets, byte counts) of the strips or tiles before they are written down.
        damage: Changes the compressed bytes of strips or tiles.
        sub: Pages that only its tag SubIFDs points to.
    """

    levels: Levels
    bits: int | None = None
    compression: int = NONE
    predictor: int = 1
    photometric: int | None = BLACK_IS_ZERO
    planar: bool = False
    rows: int | None = None
    tile: tuple[int, int] | None = None
    fill_order: int = 1
    encode: Callable[[Levels], bytes] | None = None
    tags: Mapping[int, Tag | None] = field(default_factory=dict)
    segments: Callable[[list[int], list[int]], tuple[list[int], list[int]]] | None = None
    damage: Callable[[list[bytes]], list[bytes]] | None = None
    sub: tuple[Page, ...] = ()


def write(*pages: Page, order: Order = "<", big: bool = False, after: int | None = None) -> bytes:
    """A TIFF file's bytes.

    Args:
        pages: In their order.
        order: `<` writes II, `>` writes MM.
        big: BigTIFF.
        after: Where the last page says that the next one is; None: there is none; -1: at the first one again.
    """
    return _Writer(order, big).file(pages, after)


class _Writer:
    def __init__(self, order: Order, big: bool) -> None:
        self.order, self.big = order, big
        mark = b"II" if order == "<" else b"MM"
        tail = struct.pack(order + "HHH", 43, 8, 0) if big else struct.pack(order + "H", 42)
        self.out = bytearray(mark + tail + bytes(8 if big else 4))
        self.offset = "Q" if big else "I"

    def file(self, pages: tuple[Page, ...], after: int | None) -> bytes:
        link = len(self.out) - struct.calcsize(self.offset)
        first = 0
        for page in pages:
            here, there = self.page(page)
            first = first or here
            self._put(link, self.offset, here)
            link = there
        if after is not None:
            self._put(link, self.offset, first if after == -1 else after)
        return bytes(self.out)

    def page(self, page: Page) -> tuple[int, int]:
        """Write a page's data and its directory; returns where that is, and where it points to the next one."""
        subs = [self.page(sub)[0] for sub in page.sub]
        tags = self._tags(page)
        if subs:
            tags[330] = (LONG8 if self.big else LONG, tuple(subs))
        tags |= {number: tag for number, tag in page.tags.items() if tag}
        for number, tag in page.tags.items():
            if tag is None:
                tags.pop(number, None)
        return self._directory(tags)

    def _tags(self, page: Page) -> dict[int, Tag]:
        height, width = page.levels.shape[:2]
        cube = page.levels.reshape(height, width, -1)
        samples, kind = cube.shape[2], cube.dtype
        bits = page.bits or kind.itemsize * 8
        tags: dict[int, Tag] = {
            256: (LONG, (width,)),
            257: (LONG, (height,)),
            258: (SHORT, (bits,) * samples),
            259: (SHORT, (page.compression,)),
            277: (SHORT, (samples,)),
        }
        if page.photometric is not None:
            tags[262] = (SHORT, (page.photometric,))
        if kind.kind != "u":
            tags[339] = (SHORT, ({"i": 2, "f": 3}[kind.kind],) * samples)
        if samples > 1:
            tags[284] = (SHORT, (2 if page.planar else 1,))
        if page.predictor != 1:
            tags[317] = (SHORT, (page.predictor,))
        if page.fill_order != 1:
            tags[266] = (SHORT, (page.fill_order,))
        planes = [cube[:, :, [sample]] for sample in range(samples)] if page.planar else [cube]
        parts = [self._encode(page, part) for plane in planes for part in _cut(plane, page)]
        places = self._store(page.damage(parts) if page.damage else parts)
        offsets, counts = page.segments(*places) if page.segments else places
        wide = LONG8 if self.big else LONG
        if page.tile:
            tags |= {322: (LONG, page.tile[1:]), 323: (LONG, page.tile[:1])}
            return tags | {324: (wide, tuple(offsets)), 325: (wide, tuple(counts))}
        tags[278] = (LONG, (page.rows or height,))
        return tags | {273: (wide, tuple(offsets)), 279: (wide, tuple(counts))}

    def _store(self, parts: list[bytes]) -> tuple[list[int], list[int]]:
        offsets = []
        for part in parts:
            self._even()
            offsets.append(len(self.out))
            self.out += part
        return offsets, [len(part) for part in parts]

    def _encode(self, page: Page, part: Levels) -> bytes:
        if page.encode:
            return page.encode(part)
        if page.predictor == 2:
            part = np.concatenate([part[:, :1], np.diff(part, axis=1)], axis=1)
        if page.predictor == 3:
            data = _float_differences(part)
        elif page.bits and page.bits != part.dtype.itemsize * 8:
            data = packed(part, page.bits)
        else:
            data = part.astype(part.dtype.newbyteorder(self.order)).tobytes()
        data = compress(data, page.compression, len(data) // len(part))
        return data.translate(_REVERSED) if page.fill_order == 2 else data

    def _directory(self, tags: dict[int, Tag]) -> tuple[int, int]:
        room = 8 if self.big else 4
        entries = b""
        for number in sorted(tags):
            kind, values = tags[number]
            content = struct.pack(f"{self.order}{len(values)}{_LAYOUT[kind]}", *values)
            amount = len(values) // 2 if kind in {RATIONAL, SRATIONAL} else len(values)
            if len(content) > room:
                self._even()
                place = len(self.out)
                self.out += content
                content = struct.pack(self.order + self.offset, place)
            entries += struct.pack(self.order + "HH" + self.offset, number, kind, amount) + content.ljust(room, b"\0")
        self._even()
        here = len(self.out)
        self.out += struct.pack(self.order + ("Q" if self.big else "H"), len(tags)) + entries
        link = len(self.out)
        self.out += bytes(room)
        return here, link

    def _even(self) -> None:
        self.out += bytes(len(self.out) % 2)

    def _put(self, at: int, layout: str, value: int) -> None:
        struct.pack_into(self.order + layout, self.out, at, value)


def _cut(plane: Levels, page: Page) -> list[Levels]:
    """Strips, or tiles filled up at the edges, `[h, w, samples]` each."""
    height, width = plane.shape[:2]
    if not page.tile:
        rows = page.rows or height
        return [plane[top : top + rows] for top in range(0, height, rows)]
    high, wide = page.tile
    filled = np.pad(plane, ((0, -height % high), (0, -width % wide), (0, 0)), mode="edge")
    corners = [(top, left) for top in range(0, height, high) for left in range(0, width, wide)]
    return [filled[top : top + high, left : left + wide] for top, left in corners]


def packed(part: Levels, bits: int) -> bytes:
    """Samples of so many bits one behind the other, highest bit first; each row ends with a byte."""
    rows = part.reshape(len(part), -1).astype(np.uint32)
    each = ((rows[:, :, None] >> np.arange(bits - 1, -1, -1, dtype=np.uint32)) & 1).astype(np.uint8)
    return np.packbits(each.reshape(len(rows), -1), axis=1).tobytes()


def _float_differences(part: Levels) -> bytes:
    """Predictor 3: the bytes of a row by their weight, the heaviest first, as differences of neighbours."""
    height, width, samples = part.shape
    size = part.dtype.itemsize
    row = part.astype(part.dtype.newbyteorder(">")).reshape(height, width * samples).view(np.uint8)
    planes = row.reshape(height, width * samples, size).swapaxes(1, 2).reshape(height, -1)
    planes[:, samples:] -= planes[:, :-samples].copy()
    return planes.tobytes()


def compress(data: bytes, compression: int, row: int) -> bytes:
    """Bytes as a lossless compression writes them; `row` bytes are one row."""
    match compression:
        case 1:
            return data
        case 5:
            return bytes(imagecodecs.lzw_encode(data))
        case 8 | 32946:
            return zlib.compress(data)
        case 32773:
            return b"".join(packbits(data[start : start + row]) for start in range(0, len(data), row))
        case 34925:
            return lzma.compress(data)
        case 50000:
            return bytes(imagecodecs.zstd_encode(data))
    raise ValueError(f"no lossless compression {compression}")


def packbits(row: bytes) -> bytes:
    """Runs of equal bytes and runs of others, 128 at most each, as TIFF (and DICOM's RLE) want them."""
    out, at = bytearray(), 0
    while at < len(row):
        equal = next(n for n in count(1) if n == 128 or at + n >= len(row) or row[at + n] != row[at])
        if equal > 2:
            out += bytes([257 - equal, row[at]])
            at += equal
            continue
        start = at
        while at < len(row) and at - start < 128 and row[at : at + 3] != row[at : at + 1] * 3:
            at += 1
        out += bytes([at - start - 1]) + row[start:at]
    return bytes(out)


def jpeg_tables(jpeg: bytes) -> tuple[bytes, bytes]:
    """A JPEG parted as TIFF wants it: its tables (tag JPEGTables), and the rest."""
    tables, rest, at = b"", b"", 2
    while jpeg[at + 1] != 0xDA:
        size = 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big")
        part = jpeg[at : at + size]
        if jpeg[at + 1] in {0xDB, 0xC4}:
            tables += part
        elif not 0xE0 <= jpeg[at + 1] <= 0xEF:
            rest += part
        at += size
    return b"\xff\xd8" + tables + b"\xff\xd9", b"\xff\xd8" + rest + jpeg[at:]
