"""File names are bytes; logs, sidecars and reports are text."""

from __future__ import annotations

import os


def readable(name: str) -> str:
    r"""A file name as text without line breaks or other control characters: \xff for bytes that are no UTF-8."""
    text = os.fsencode(name).decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
