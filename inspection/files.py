"""Names and durability of files: what both programs need to know of them."""

from __future__ import annotations

import os
from pathlib import Path


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
