"""Names and durability of files: what both programs need to know of them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

MAP_SUFFIX, RECORD_SUFFIX, ERROR_SUFFIX = ".cam.png", ".json", ".error.json"
"""Of a filed image's sidecars, after its own name."""

CLAIMED_SUFFIX = ".claimed"
"""Of an image in the inbox that a daemon has in hand as a copy."""

NameKind = Literal["image", "temporary", "sidecar", "suffix"]
"""What a file is by its name: an image; a file in the course of delivery; a map or record of ours; none of these."""

_TEMPORARY = (".part", ".tmp", CLAIMED_SUFFIX)


def kind_of_name(name: str, suffixes: Sequence[str], markers: Sequence[str]) -> NameKind:
    """What a file of that name is, in upper or lower case.

    Args:
        name: Without its folder.
        suffixes: Of images, in lower case; `""` stands for names without one, and for DICOM's UIDs.
        markers: What a producer appends to the name of an image, or of a board, to say that it is done.
    """
    name = name.lower()
    ends = (*_TEMPORARY, *(marker.lower() for marker in markers))
    # Writers hide what they have not finished yet: rsync, for one.
    if name.startswith(".") or name.endswith(ends):
        return "temporary"
    if name.endswith(MAP_SUFFIX):
        return "sidecar"
    if _has_one_of(suffixes, name):
        return "image"
    if name.endswith(RECORD_SUFFIX):
        described = name.removesuffix(ERROR_SUFFIX).removesuffix(RECORD_SUFFIX)
        return "sidecar" if _has_one_of(suffixes, described) else "suffix"
    return "suffix"


def _has_one_of(suffixes: Sequence[str], name: str) -> bool:
    if name.endswith(tuple(filter(None, suffixes))):
        return True
    if "" not in suffixes:
        return False
    stem, _, last = name.rpartition(".")
    return not stem or last.isdecimal()


def dangling_link(path: Path) -> str | None:
    """Says which link on the way to a path leads to nothing, for a sentence about the path; None where none does."""
    with contextlib.suppress(OSError):  # whoever may not look there cannot say
        for place in (*reversed(path.parents), path):
            if place.is_symlink() and not place.exists():
                link = f"a link to {place.readlink()}, which is not there"
                return link if place == path else f"beyond {place}, {link}"
    return None


def readable(name: str) -> str:
    r"""A file name as text without line breaks or other control characters: \xff for bytes that are no UTF-8."""
    if name.isprintable():
        return name
    text = os.fsencode(name).decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def sync(path: Path) -> None:
    """Make a file's content, or a folder's entries, durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
