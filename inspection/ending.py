"""Whether a file that nobody holds open looks as if its writer were done; told by a few bytes of it.

The decoder has the last word. This keeps a file from being taken between two openings of its writer, who would find it
gone then.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

Read = Callable[[int, int], bytes]
"""Offset and length -> so many bytes of the file from there, or fewer at its end."""

_HEAD, _TAIL, _ZEROS = 16, 4096, 32
_STARTS = {"PNG": b"\x89PNG", "JPEG": b"\xff\xd8"}
_BMP = b"BM"
_TIFF = {b"II*\0": "<", b"MM\0*": ">"}
_ENTRY = 12  # bytes of a TIFF directory's entry
_PLACES, _LENGTHS = (273, 324), (279, 325)  # of strips, of tiles
_NUMBERS = {3: "H", 4: "I"}
_MOST_STRIPS = 100_000

END_MARK = {"PNG": b"IEND\xaeB`\x82", "JPEG": b"\xff\xd9"}
"""What stands near the end of a whole file."""


def looks_whole(read: Read, size: int) -> bool:
    """Whether a file of so many bytes may be whole; of formats that do not say, only that it does not end in zeros."""
    head, tail = read(0, _HEAD), read(max(0, size - _TAIL), _TAIL)
    if len(head) < _HEAD or not any(tail[-_ZEROS:]):
        return False  # hardly begun, or room that was made for what is still to come
    for kind, start in _STARTS.items():
        if head.startswith(start):
            return END_MARK[kind] in tail
    try:
        if head.startswith(_BMP):
            return struct.unpack_from("<I", head, 2)[0] in {0, size}
        return head[:4] not in _TIFF or _tiff_end(read, _TIFF[head[:4]]) <= size
    except struct.error:
        return False


def _tiff_end(read: Read, order: str) -> int:
    """Where the last strip or tile of a TIFF's first image ends, or at least its directory."""
    (start,) = struct.unpack(f"{order}I", read(4, 4))
    (count,) = struct.unpack(f"{order}H", read(start, 2))
    entries = read(start + 2, _ENTRY * count)
    places: list[int] = []
    lengths: list[int] = []
    wanted = {*_PLACES, *_LENGTHS}
    for tag, kind, number, value in struct.iter_unpack(f"{order}HHI4s", entries):
        if tag not in wanted or kind not in _NUMBERS or not 0 < number <= _MOST_STRIPS:
            continue
        wanted.remove(tag)  # a directory may name the same long list thousands of times
        numbers = f"{order}{number}{_NUMBERS[kind]}"
        needed = struct.calcsize(numbers)
        data = value[:needed] if needed <= 4 else read(struct.unpack(f"{order}I", value)[0], needed)
        (places if tag in _PLACES else lengths).extend(struct.unpack(numbers, data))
    ends = [place + length for place, length in zip(places, lengths, strict=False)]
    return max([int(start) + 2 + _ENTRY * int(count), *ends])
