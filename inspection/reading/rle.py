"""PackBits, the run-length code of TIFF and DICOM: says whether an encoder can have written it.

A decoder is content with any bytes. But an encoder ends its runs with each row, and says the same byte many times by
a code for that: neither as so many bytes nor as so many runs of one.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from imagecodecs import packbits_decode
from numpy.typing import NDArray

from inspection.errors import ImageError

_NOTHING = 128
_LONELY = 4
_STEPS = [code + 2 if code < _NOTHING else 1 if code == _NOTHING else 2 for code in range(256)]
"""From each code to the next."""
_LENGTHS = np.array([code + 1 if code < _NOTHING else 0 if code == _NOTHING else 257 - code for code in range(256)])
"""Bytes that each code stands for."""


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
    places = _places(data)
    codes = np.frombuffer(data, np.uint8)[places]
    ends = np.cumsum(_LENGTHS[codes])
    last = int(np.searchsorted(ends, size))
    if last == len(ends):
        raise ImageError(f"cut short: {what} holds {ends[-1] if len(ends) else 0} of {size} bytes")
    end = int(places[last]) + _STEPS[codes[last]]
    if end > len(data):
        raise ImageError(f"cut short: {what} ends within a run")
    if ends[last] > size or data[end:].strip(bytes([0, _NOTHING])):
        raise ImageError(f"damaged: {what} holds more than its pixels")
    places, codes, ends = places[: last + 1], codes[: last + 1], ends[: last + 1]
    starts = ends - _LENGTHS[codes]
    crossing = int(((starts // row != (ends - 1) // row) & (codes != _NOTHING)).sum())
    # Some encoders know no rows; one that does never crosses their ends.
    if crossing and crossing < size // row // 2:
        raise ImageError(f"damaged: runs of {what} cross the ends of its rows")
    if _is_odd(data[:end], places, codes):
        raise ImageError(f"damaged: {what} was overwritten")
    return bytes(packbits_decode(data[:end], out=size))


def _places(data: bytes) -> NDArray[np.intp]:
    """Where the codes are."""
    places, place, end = [], 0, len(data)
    while place < end:
        places.append(place)
        place += _STEPS[data[place]]
    return np.array(places, np.intp)


def _is_odd(data: bytes, places: NDArray[np.intp], codes: NDArray[np.uint8]) -> bool:
    """Whether the same byte is said many times in a way that encoders do not."""
    single = codes == 0
    values = np.frombuffer(data, np.uint8)[np.minimum(places + 1, len(data) - 1)]
    again = single[1:] & single[:-1] & (values[1:] == values[:-1])
    for begin, end in pairwise(np.flatnonzero(np.diff(np.concatenate([[0], again, [0]])))):
        if again[begin] and end - begin >= _LONELY:
            return True
    if not (codes > _NOTHING).any():
        return False  # an encoder that never repeats
    stored = np.frombuffer(data, np.uint8)
    two = stored[1:] == stored[:-1]
    three = two[1:] & two[:-1]
    five = three[2:] & three[:-2]
    begins = np.flatnonzero(five[3:] & five[:-3])  # of eight that are equal
    holders = np.searchsorted(places, begins, "right") - 1
    within = begins > places[holders]
    return bool((within & (begins + 8 <= places[holders] + 1 + _LENGTHS[codes[holders]])).any())
