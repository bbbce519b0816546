"""JPEG 2000, its high-throughput kind included: pixels of TIFF and DICOM.

OpenJPEG tells where data are missing. It cannot tell that they were overwritten: any bits are a picture. Long runs of
zeros are none that an arithmetic coder writes, though, but for packets that are empty.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from imagecodecs import jpeg2k_decode
from numpy.typing import NDArray

from inspection.errors import ImageError

_START, _END_OF_CODESTREAM, _DATA = b"\xff\x4f\xff\x51", b"\xff\xd9", b"\xff\x93"
_STYLE = 0xFF52
_OWN_PRECINCTS = 1
_SMALLEST_HOLE = 10


def read(data: bytes) -> NDArray[Any]:
    """Samples `[H, W]` or `[H, W, C]` of a codestream, or of a JP2 file around one.

    Raises:
        ImageError: Something is missing, or was overwritten with zeros.
    """
    start = data.find(_START)
    end = data.rfind(_END_OF_CODESTREAM)
    if start < 0 or end < start:
        raise ImageError("cut short: the JPEG 2000 data have no end")
    body = data.find(_DATA, start)
    if body >= 0 and data.find(bytes(_SMALLEST_HOLE + _empty_packets(data, start, body)), body, end) >= 0:
        raise ImageError("damaged: there are zeros in the middle of the JPEG 2000 data")
    try:
        samples: NDArray[Any] = jpeg2k_decode(data)
    except (RuntimeError, ValueError) as error:
        raise ImageError("damaged: parts of the JPEG 2000 data are missing") from error
    return samples


def _empty_packets(data: bytes, start: int, end: int) -> int:
    """How many packets of a tile may be empty, a zero byte each."""
    size = np.frombuffer(data, ">u4", 4, start + 8)
    width, height = int(size[0] - size[2]), int(size[1] - size[3])
    components = int.from_bytes(data[start + 40 : start + 42], "big")
    place = start + 2
    while place < end:
        marker, length = (int.from_bytes(data[place + at : place + at + 2], "big") for at in (0, 2))
        if marker == _STYLE:
            own, layers, levels = data[place + 4], int.from_bytes(data[place + 6 : place + 8], "big"), data[place + 9]
            sides = data[place + 14 :] if own & _OWN_PRECINCTS else b"\xff" * (levels + 1)
            precincts = 0
            for level in range(levels + 1):
                shrunk = 2 ** (levels - level)
                across, down = (-(-side // shrunk) for side in (width, height))
                precincts += (-(-across >> (sides[level] & 15))) * (-(-down >> (sides[level] >> 4))) or 1
            return components * layers * precincts
        place += 2 + length
    return 0
