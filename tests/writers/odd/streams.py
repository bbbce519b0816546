"""Streams without checksums, read strictly: a damaged one that is still sound is another valid one."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterable
from itertools import pairwise

import imagecodecs

CLEAR, END = 256, 257


def still_well_formed(form: str, data: bytes, whole: bytes) -> bool:
    """Whether only compressed levels were changed, and every stream of them still gives its rows and not a byte more.

    Args:
        form: As in `damage.whole_files`.
        data: The changed file.
        whole: The file before.
    """
    if form == "dicom-deflated":
        return _deflated(data, whole)
    if len(data) != len(whole) or form not in _STREAMS:
        return False
    places, sound = _STREAMS[form]
    at = 0
    for start, end in places(whole):
        if data[at:start] != whole[at:start] or not sound(data[start:end]):
            return False
        at = end
    return data[at:] == whole[at:]


def _deflated(data: bytes, whole: bytes) -> bool:
    """Whether a deflated data set, which has no checksum, is as long as before and differs in its levels only."""
    (group,) = struct.unpack_from("<I", whole, 140)
    start = 144 + group
    try:
        press = zlib.decompressobj(-zlib.MAX_WBITS)
        found, right = press.decompress(data[start:]), zlib.decompress(whole[start:], -zlib.MAX_WBITS)
    except zlib.error:
        return False
    levels = len(right) - right.index(b"\xe0\x7f\x10\0OW") - 12
    same_head = data[:start] == whole[:start] and found[:-levels] == right[:-levels]
    return press.eof and len(press.unused_data) < 2 and len(found) == len(right) and same_head


def _strips(whole: bytes) -> Iterable[tuple[int, int]]:
    """Where the strips of a little-endian TIFF of one page lie."""
    (directory,) = struct.unpack_from("<I", whole, 4)
    (amount,) = struct.unpack_from("<H", whole, directory)
    tags = {}
    for entry in range(amount):
        number, _, count, value = struct.unpack_from("<HHII", whole, directory + 2 + 12 * entry)
        tags[number] = struct.unpack_from(f"<{count}I", whole, value) if count > 1 else (value,)
    return [(start, start + size) for start, size in zip(tags[273], tags[279], strict=True)]


def _segments(whole: bytes) -> Iterable[tuple[int, int]]:
    """Where the segments of a DICOM RLE frame lie: the last element, in one fragment behind a table of one offset."""
    items = whole.rindex(b"\xfe\xff\x00\xe0", 0, whole.rindex(b"\xfe\xff\xdd\xe0"))
    frame, size = items + 8, struct.unpack_from("<I", whole, items + 4)[0]
    amount, *offsets = struct.unpack_from("<16I", whole, frame)
    bounds = [*offsets[:amount], size]
    return [(frame + low, frame + high) for low, high in pairwise(bounds)]


def _packbits(row: int, spare: int, size: int) -> Callable[[bytes], bool]:
    """Runs that give so many bytes, none beyond the end of a row, with so many bytes to spare at the most."""

    def sound(stream: bytes) -> bool:
        at = given = 0
        while at < len(stream) and given < size:
            head = stream[at]
            run = 0 if head == 128 else head + 1 if head < 128 else 257 - head
            if given % row + run > row:
                return False
            given += run
            at += 1 if head == 128 else 1 + run if head < 128 else 2
        return given == size and at <= len(stream) <= at + spare

    return sound


def _lzw(size: int) -> Callable[[bytes], bool]:
    """Codes that are known when they come, give so many bytes, and end with the code for that in the last byte."""

    def sound(stream: bytes) -> bool:
        bits, length, given, previous, lengths = 0, 9, 0, 0, [1] * 258
        while bits + length <= 8 * len(stream):
            window = int.from_bytes(stream[bits // 8 : bits // 8 + 3].ljust(3, b"\0"), "big")
            code = (window >> (24 - length - bits % 8)) & ((1 << length) - 1)
            bits += length
            if code == END:
                return given == size and (bits + 7) // 8 == len(stream)
            if code == CLEAR:
                length, previous, lengths = 9, 0, [1] * 258
                continue
            if code > len(lengths) - (0 if previous else 1) or len(lengths) > 4096:
                return False
            if previous:
                lengths.append(previous + 1)
            if code >= len(lengths):
                return False
            previous = lengths[code]
            given += previous
            length = 9 + sum(len(lengths) + 1 >= step for step in (512, 1024, 2048))
        return False

    return sound


def _zstd(size: int) -> Callable[[bytes], bool]:
    def sound(stream: bytes) -> bool:
        try:
            return len(imagecodecs.zstd_decode(stream)) == size
        except imagecodecs.ZstdError:
            return False

    return sound


_STRIP = 32 * 256 * 2
_STREAMS: dict[str, tuple[Callable[[bytes], Iterable[tuple[int, int]]], Callable[[bytes], bool]]] = {
    "tiff-packbits": (_strips, _packbits(512, 0, _STRIP)),
    "tiff-lzw": (_strips, _lzw(_STRIP)),
    "tiff-zstd": (_strips, _zstd(_STRIP)),
    "dicom-rle8": (_segments, _packbits(256, 1, 192 * 256)),
    "dicom-rle16": (_segments, _packbits(256, 1, 192 * 256)),
}
