"""Zstandard, for TIFF: its frames mostly have no checksum, so what was overwritten with zeros is looked for.

See RFC 8878. A compressed block holds no long runs of zeros; a raw one no more of them than compressing it would save.
"""

from __future__ import annotations

from imagecodecs import zstd_decode

from inspection.errors import ImageError

_MAGIC = b"\x28\xb5\x2f\xfd"
_RAW, _COMPRESSED = 0, 2
_HOLE = 16
_GAIN = 64  # a block is compressed where that saves this share of it, its inverse


def unpack(data: bytes) -> bytes:
    """Decode one frame.

    Raises:
        ImageError: It was overwritten with zeros.
        RuntimeError: It cannot be decoded.
    """
    found = bytes(zstd_decode(data))
    for kind, block in _blocks(data):
        longest = _HOLE if kind == _COMPRESSED else _HOLE + len(block) // _GAIN + 64
        if kind in {_RAW, _COMPRESSED} and bytes(longest) in block:
            raise ImageError("damaged: there are zeros in the middle of the compressed data")
    return found


def _blocks(data: bytes) -> list[tuple[int, bytes]]:
    """Kind and content of each block of the first frame."""
    if not data.startswith(_MAGIC) or len(data) < 6:
        return []
    descriptor = data[4]
    single = descriptor >> 5 & 1
    size_bytes = (single, 2, 4, 8)[descriptor >> 6]
    place = 5 + (1 - single) + (0, 1, 2, 4)[descriptor & 3] + size_bytes
    found = []
    last = False
    while not last and place + 3 <= len(data):
        header = int.from_bytes(data[place : place + 3], "little")
        last, kind, size = bool(header & 1), header >> 1 & 3, header >> 3
        stored = 1 if kind == 1 else size
        found.append((kind, data[place + 3 : place + 3 + stored]))
        place += 3 + stored
    return found
