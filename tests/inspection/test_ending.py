"""Whether a file looks whole: asked of whatever lies in the inbox, so nothing in a file may end or stall the scan."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from inspection.ending import looks_whole


def _whole(data: bytes) -> bool:
    return looks_whole(lambda offset, length: data[offset : offset + length], len(data))


def _tiff(entries: list[tuple[int, int, int, int]], rest: bytes = b"", order: str = "<") -> bytes:
    """A TIFF of one directory, right behind the header; `rest` comes after it."""
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}IH", 8, len(entries))
    return head + b"".join(struct.pack(f"{order}HHII", *entry) for entry in entries) + bytes(4) + rest


@pytest.mark.parametrize(
    "head", [b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"BM", b"\x89PNG", b"\xff\xd8", b"\x08\0\x05\0"]
)
def test_no_content_is_an_error(head: bytes) -> None:
    """Whatever follows a format's first bytes, at any length: the answer is yes or no."""
    rng = np.random.default_rng(0)
    for length in (0, 1, 11, 12, 13, 30, 100, 5000):
        for _ in range(50):
            data = rng.integers(0, 256, length, np.uint8)
            data[:4] = rng.choice([0, 4, 8, 255], min(4, length))  # a directory that is near, or none at all
            data[4:24:2] = rng.choice([0, 1, 3, 4, 17, 68, 69], len(data[4:24:2]))
            assert _whole(head + data.tobytes()) in {True, False}


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("place", "length"), [(0, 0), (0, 64), (38, 0)])
def test_strips_that_were_never_written_are_left_to_the_decoder(place: int, length: int, order: str) -> None:
    """A TIFF whose strip has no place or no bytes is taken and refused by content; it does not wait for ever."""
    assert _whole(_tiff([(273, 4, 1, place), (279, 4, 1, length)], b"\1" * 64, order))


def test_a_strip_past_the_end_is_still_to_come() -> None:
    """A TIFF whose last strip is not all there has a writer who will be back."""
    entries = [(273, 4, 1, 38), (279, 4, 1, 64)]
    assert _whole(_tiff(entries, b"\1" * 64))
    assert not _whole(_tiff(entries, b"\1" * 63))


@pytest.mark.parametrize(
    "head",
    [struct.pack("<2sHHHQ", b"II", 43, 8, 0, 16), struct.pack("<HH2sH", 8, 5, b"CS", 10)],
    ids=["BigTIFF", "DICOM"],
)
def test_formats_without_an_end_are_whole_unless_they_end_in_zeros(head: bytes) -> None:
    """A BigTIFF, and a DICOM without preamble, do not say where they end: room made for the rest is all that tells."""
    assert _whole(head + b"\1" * 100)
    assert not _whole(head + b"\1" * 100 + bytes(32))


def test_a_directory_cannot_make_the_scan_read_for_ever() -> None:
    """Entries that all name the same long list: each kind is read once, in little memory."""
    count, strips = 50, 100_000
    data = _tiff([(273, 4, strips, 8)] * count, b"\1" * 4 * strips)
    read = 0

    def counted(offset: int, length: int) -> bytes:
        nonlocal read
        part = data[offset : offset + length]
        read += len(part)
        return part

    looks_whole(counted, len(data))
    assert read < 2 * len(data)
