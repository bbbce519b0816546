"""PackBits, the run-length code of TIFF and DICOM: says whether an encoder can have written it.

A decoder is content with any bytes. But an encoder ends its runs with each row, and says the same byte many times by
a code for that: neither as so many bytes nor as so many runs of one.
"""

from __future__ import annotations

import re

from inspection.errors import ImageError

_NOTHING = 128
_LONELY = 4
_REPEATED = re.compile(rb"(.)\1{7}", re.DOTALL)


def unpack(data: bytes, size: int, row: int, what: str) -> bytes:
    """Decode a row-wise run-length code whole.

    Args:
        data: The code, with padding behind it maybe.
        size: Bytes that it stands for.
        row: Bytes of a row.
        what: Named in errors.

    Raises:
        ImageError: It stands for fewer or more bytes, or no encoder writes such a thing.
    """
    found = bytearray()
    place = across = lonely = repeats = 0
    last, spelt_out = -1, False
    while len(found) < size:
        if place >= len(data):
            raise ImageError(f"cut short: {what} holds {len(found)} of {size} bytes")
        code = data[place]
        if code == _NOTHING:
            place += 1
            continue
        left = row - len(found) % row
        if code < _NOTHING:
            run = data[place + 1 : place + 2 + code]
            if len(run) <= code:
                raise ImageError(f"cut short: {what} ends within a run")
            place += 2 + code
            lonely = lonely + 1 if code == 0 and run[0] == last else 0
            last = run[0] if code == 0 else -1
            spelt_out = spelt_out or _REPEATED.search(run) is not None
        else:
            if place + 1 >= len(data):
                raise ImageError(f"cut short: {what} ends within a run")
            run = data[place + 1 : place + 2] * (257 - code)
            place += 2
            lonely, last, repeats = 0, -1, repeats + 1
        across += len(run) > left
        found += run
        if lonely >= _LONELY or (spelt_out and repeats):
            raise ImageError(f"damaged: {what} was overwritten")
    if len(found) > size or any(data[place:].strip(bytes([0, _NOTHING]))):
        raise ImageError(f"damaged: {what} holds more than its pixels")
    # Some encoders know no rows; one that does never crosses their ends.
    if across and across < size // row // 2:
        raise ImageError(f"damaged: runs of {what} cross the ends of its rows")
    return bytes(found)
