"""JPEG: as a file, and as what other formats store their pixels in.

libjpeg fills what is missing with grey and only warns. simplejpeg makes an error of each warning. It is given no more
than the picture: what else may stand in a file is no reason to doubt its pixels. What it cannot read (12 bits,
lossless) imagecodecs reads, which hears no warnings; see `_read_unheard`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import numpy as np
import simplejpeg
from imagecodecs import jpeg8_decode
from numpy.typing import NDArray

from inspection.errors import ImageError
from inspection.image import GreyImage, Limits, Stack
from inspection.reading.levels import Meaning, check_size, to_image
from inspection.reading.orientation import of_exif, upright

MAGIC = b"\xff\xd8\xff"

_EOI, _SOS, _DHT, _DRI, _COM = 0xD9, 0xDA, 0xC4, 0xDD, 0xFE
_APPLICATIONS = range(0xE0, 0xF0)
_JFIF, _APP1, _APP2, _APP14 = 0xE0, 0xE1, 0xE2, 0xEE
_FRAMES = {*range(0xC0, 0xD0)} - {_DHT, 0xC8, 0xCC}
_LOSSLESS, _PROGRESSIVE = {0xC3, 0xC7, 0xCB, 0xCF}, {0xC2, 0xC6, 0xCA, 0xCE}
_ARITHMETIC = range(0xC9, 0xD0)
_BARE = {0x01, *range(0xD0, 0xD8)}  # markers that stand alone
_ENDS_SCAN = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
_RESTARTS = re.compile(rb"\xff[\xd0-\xd7]")
_HOLE, _SHORT_HOLE = bytes(16), bytes(8)
_ALL_BITS = 14
_MORE = bytes.fromhex("5a a5 c3 3c 96 69 e1 1e 87 78 b4 4b d2 2d f0 0f") * 64
_ADOBE = {"rgb": b"\xff\xee\x00\x0eAdobe\x00\x64\0\0\0\0\0", "ycc": b"\xff\xee\x00\x0eAdobe\x00\x64\0\0\0\0\1"}

Colour = Literal["rgb", "ycc"]


@dataclass(frozen=True)
class _Scan:
    """One scan.

    Attributes:
        start: Where its data lie.
        end: Where they end.
        zeros_are_flat: Whether many zero bits would say that nothing changes there, as in a blank image.
        refines: Whether it holds one bit of each block, and nothing else: they are zeros where blocks are all alike.
    """

    start: int
    end: int
    zeros_are_flat: bool
    refines: bool = False


@dataclass
class Header:
    """What a JPEG says of itself.

    Attributes:
        kind: The frame's marker, 0xC0..0xCF.
        bits: Of a sample.
        width: Pixels.
        height: Pixels.
        channels: 1, 3 or 4.
        orientation: As EXIF says.
        inverted_inks: Whether inks are stored as Adobe does it: 255 is none.
        names_colours: Whether it says itself what its three channels are.
        several: Whether other pictures may follow behind this one.
        end: Where it ends.
    """

    kind: int = 0
    bits: int = 0
    width: int = 0
    height: int = 0
    channels: int = 0
    orientation: int = 1
    inverted_inks: bool = False
    names_colours: bool = False
    several: bool = False
    end: int = 0
    restart_interval: int = 0
    scans: list[_Scan] = field(default_factory=list)
    drawn: list[bytes] = field(default_factory=list)
    """The segments that the picture is made of."""
    first_symbols: dict[int, int] = field(default_factory=dict)
    """Of each Huffman table, by class and number: what a code of zeros alone means."""
    bits_left: dict[int, list[int]] = field(default_factory=dict)
    """Of a progressive image, by component: how many low bits of each frequency no scan has told yet."""

    @property
    def is_lossless(self) -> bool:
        """Whether it stores differences of samples, not frequencies."""
        return self.kind in _LOSSLESS


def open_jpeg(data: bytes, limits: Limits) -> Stack:
    """See `inspection.image.open_stack`."""
    header = read_header(data)
    pictures = [(0, header)]
    start = data.find(MAGIC, header.end) if header.several else -1
    while start >= 0:
        other = read_header(data, start)
        # Smaller ones are previews of the same.
        if (other.width, other.height) == (header.width, header.height):
            pictures.append((start, other))
        start = data.find(MAGIC, other.end)
    for _, picture in pictures:
        check_size(picture.width, picture.height, limits.max_pixels)
    return Stack("JPEG", [partial(_decode, data, picture) for _, picture in pictures])


def _decode(data: bytes, header: Header) -> GreyImage:
    samples = read(data, header)
    return to_image(upright(samples, header.orientation), Meaning(header.bits), "JPEG")


def read_header(data: bytes, start: int = 0) -> Header:
    """Walk through a JPEG from its first to its last marker.

    Args:
        data: Holds it.
        start: Where it begins.

    Raises:
        ImageError: It is cut short, or no JPEG.
    """
    header = Header()
    if data[start : start + 2] != MAGIC[:2]:
        raise ImageError("damaged: JPEG data without their first marker")
    place = start + 2
    while True:
        marker, segment = _segment(data, place)
        place += len(segment)
        if marker == _EOI:
            break
        _note(header, marker, segment)
        if marker == _SOS:
            found = _ENDS_SCAN.search(data, place)
            end = found.start() if found else len(data)
            header.scans.append(_scan(header, segment, place, end))
            header.drawn.append(data[place:end])
            place = end
    header.end = place
    if not header.scans or not header.width or not header.height:
        raise ImageError("damaged: a JPEG without a picture")
    return header


def _segment(data: bytes, place: int) -> tuple[int, bytes]:
    """The marker at a place, and the whole segment with it, fill bytes before it included."""
    begin = place
    while data[place : place + 2] == b"\xff\xff":
        place += 1
    if place + 2 > len(data):
        raise ImageError("cut short: the JPEG end mark is missing")
    if data[place] != 0xFF or data[place + 1] == 0:
        raise ImageError("damaged: there is something else where a JPEG marker should be")
    marker = data[place + 1]
    if marker == _EOI or marker in _BARE:
        return marker, data[begin : place + 2]
    length = int.from_bytes(data[place + 2 : place + 4], "big")
    if length < 2 or place + 2 + length > len(data):
        raise ImageError("cut short: the JPEG ends within its header")
    return marker, data[begin : place + 2 + length]


def _note(header: Header, marker: int, segment: bytes) -> None:
    content = segment.lstrip(b"\xff")[3:]
    if marker in _FRAMES:
        if header.width or len(content) < 6:
            raise ImageError("damaged: a JPEG with two headers of a picture, or half of one")
        header.kind, header.bits = marker, content[0]
        header.height, header.width = int.from_bytes(content[1:3], "big"), int.from_bytes(content[3:5], "big")
        header.channels = content[5]
    elif marker == _DHT:
        header.first_symbols |= _first_symbols(content)
    elif marker == _DRI:
        header.restart_interval = int.from_bytes(content[:2], "big")
    elif marker == _APP1 and content.startswith(b"Exif\0\0"):
        header.orientation = of_exif(content)
    elif marker == _APP2 and content.startswith(b"MPF\0"):
        header.several = True
    elif marker == _APP14 and content.startswith(b"Adobe"):
        header.inverted_inks = True
    is_told = marker == _APP14 or (marker == _JFIF and content.startswith(b"JFIF\0"))
    header.names_colours |= is_told
    if marker == _JFIF and is_told:
        segment = b"\xff\xe0\x00\x10JFIF\0\1\1\0\0\1\0\1\0\0"  # some write versions that libjpeg warns of
    if (marker not in _APPLICATIONS and marker != _COM) or is_told:
        header.drawn.append(segment)


def _first_symbols(content: bytes) -> dict[int, int]:
    """What zeros alone mean in each Huffman table of a segment: the first of its shortest codes."""
    found, place = {}, 0
    while place + 17 < len(content):
        count = sum(content[place + 1 : place + 17])
        found[content[place]] = content[place + 17] if count else -1
        place += 17 + count
    return found


def _scan(header: Header, segment: bytes, start: int, end: int) -> _Scan:
    """Understand the header of a scan."""
    content = segment.lstrip(b"\xff")[3:]
    count = content[0] if content else 0
    if len(content) < 4 + 2 * count:
        raise ImageError("damaged: half of a JPEG's header of a scan")
    components, tables = content[1 : 1 + 2 * count : 2], content[2 : 2 + 2 * count : 2]
    first, last, successive = content[1 + 2 * count : 4 + 2 * count]
    flat_dc = all(header.first_symbols.get(table >> 4) == 0 for table in tables)
    flat_ac = all(header.first_symbols.get(0x10 | table & 15) == 0 for table in tables)
    if header.kind in _PROGRESSIVE:
        for component in components:
            left = header.bits_left.setdefault(component, [_ALL_BITS] * 64)
            left[first : last + 1] = [successive & 15] * (last + 1 - first)
        # Runs of blocks without anything new have codes of their own.
        return _Scan(start, end, not first and flat_dc, refines=not first and successive >> 4 > 0)
    if header.kind in _ARITHMETIC:
        return _Scan(start, end, zeros_are_flat=False)
    return _Scan(start, end, flat_dc and (flat_ac or header.is_lossless))


def _check_whole(data: bytes, header: Header) -> None:
    """Find what no decoder tells: scans that are not there, and data that were overwritten with zeros."""
    if any(any(left) for left in header.bits_left.values()):
        raise ImageError("cut short: some scans of the progressive JPEG are missing")
    flat = any(scan.zeros_are_flat and data.find(_SHORT_HOLE, scan.start, scan.end) >= 0 for scan in header.scans)
    for scan in header.scans:
        is_flat = flat if scan.refines else scan.zeros_are_flat
        if not is_flat and data.find(_HOLE, scan.start, scan.end) >= 0:
            raise ImageError("damaged: there are zeros in the middle of the JPEG's data")


def read(data: bytes, header: Header, colour: Colour | None = None) -> NDArray[Any]:
    """Decode a JPEG whose header was read.

    Args:
        data: Holds it.
        header: Of it.
        colour: What three channels are, where somebody else knows; None: as it says itself.

    Returns:
        Samples `[H, W]`, or `[H, W, 3]` in red, green and blue; uint8 or uint16.

    Raises:
        ImageError: Something is missing or was overwritten.
    """
    _check_whole(data, header)
    drawn = header.drawn
    if colour and header.channels == 3:
        drawn = [_ADOBE[colour], *(part for part in drawn if part[1:2] not in {b"\xe0", b"\xee"})]
    stream = b"\xff\xd8" + b"".join(drawn) + b"\xff\xd9"
    if header.kind in _LOSSLESS or header.bits != 8:
        return _read_unheard(stream)
    try:
        space = simplejpeg.decode_jpeg_header(stream)[2]
        wanted = {"RGB": "RGB", "CMYK": "CMYK", "YCCK": "CMYK"}.get(space, "GRAY")
        samples = simplejpeg.decode_jpeg(stream, wanted, strict=True)
    except ValueError as error:
        raise ImageError("damaged: parts of the JPEG are missing or overwritten") from error
    if wanted == "CMYK":
        return _inks(samples, inverted=header.inverted_inks)
    found: NDArray[np.uint8] = samples[..., 0] if wanted == "GRAY" else samples
    return found


def _inks(samples: NDArray[np.uint8], *, inverted: bool) -> NDArray[np.uint8]:
    """Cyan, magenta, yellow and black -> red, green and blue."""
    light = samples.astype(np.uint32)
    if not inverted:
        light = 255 - light
    return ((light[..., :3] * light[..., 3:] + 127) // 255).astype(np.uint8)


def _read_unheard(stream: bytes) -> NDArray[Any]:
    """Decode what simplejpeg cannot, and find out whether the decoder needed all that is there, and no more.

    Whole data are used up to the last bit: other bits at the end of a scan change the picture, further ones behind it
    do not. Where the decoder ran out of data, or had some left, it is the other way round.
    """
    try:
        header = read_header(stream)
        samples = jpeg8_decode(stream)
        for scan in header.scans:
            data = stream[scan.start : scan.end]
            others = jpeg8_decode(stream[: scan.start] + _with_other_end(data) + stream[scan.end :])
            further = jpeg8_decode(stream[: scan.end] + _MORE + stream[scan.end :])
            if np.array_equal(others, samples) or not np.array_equal(further, samples):
                raise ImageError("damaged: parts of the JPEG are missing or overwritten")
    except (RuntimeError, ValueError) as error:
        raise ImageError("damaged: parts of the JPEG are missing or overwritten") from error
    if header.restart_interval and not _restarts_in_order(stream, header.scans):
        raise ImageError("damaged: parts of the JPEG are missing (its restart markers are out of order)")
    return samples


def _with_other_end(data: bytes) -> bytes:
    """The same data with other last bits."""
    if data.endswith(b"\xff\0"):
        return data[:-2] + b"\x7f"
    last = data[-1] ^ 0xFF
    return data[:-1] + (b"\xff\0" if last == 0xFF else bytes([last]))


def _restarts_in_order(stream: bytes, scans: Sequence[_Scan]) -> bool:
    for scan in scans:
        found = [match.group()[1] - 0xD0 for match in _RESTARTS.finditer(stream, scan.start, scan.end)]
        if found != [index % 8 for index in range(len(found))]:
            return False
    return True
