"""A folder in which a line can run: a configuration with all its comments, and the folders that people fill."""

from __future__ import annotations

import os
import re
from importlib import resources
from pathlib import Path

from inspection.errors import SolderwatchError
from settings import load

CONFIG = "config.yaml"
_FOLDERS = ("data/inbox", "dataset/io", "dataset/nio", "models", "logs")


def lay_out(folder: Path, pattern: str | None) -> None:
    """Make what is missing of a line's folders, and its configuration; nothing is ever overwritten.

    Args:
        folder: The line's.
        pattern: `names.pattern`; None: names say nothing.

    Raises:
        SolderwatchError: There is a configuration already, or the folder cannot be written to.
    """
    need_room(folder)
    try:
        for name in _FOLDERS:
            (folder / name).mkdir(parents=True, exist_ok=True)
        with (folder / CONFIG).open("x", encoding="utf-8") as file:
            file.write(_with_pattern(_shipped(), pattern))
    except OSError as error:
        raise SolderwatchError(f"{error.filename}: {error.strerror}; mend that, or choose another folder") from None
    load(folder / CONFIG)


def need_room(folder: Path) -> None:
    """See that no line is there yet.

    Raises:
        SolderwatchError: There is a configuration already.
    """
    if os.path.lexists(folder / CONFIG):
        raise SolderwatchError(f"{folder / CONFIG}: is there already, and stays as it is; choose another folder")


def _shipped() -> str:
    return resources.files("settings").joinpath("shipped", CONFIG).read_text(encoding="utf-8")


def _with_pattern(text: str, pattern: str | None) -> str:
    """The configuration with another `names.pattern`; its comments stay."""
    if pattern is None:
        return text
    quoted = "'" + pattern.replace("'", "''") + "'"
    changed, count = re.subn(r"(?m)^(  pattern: )null +(#)", lambda found: f"{found[1]}{quoted}  {found[2]}", text)
    assert count == 1, "config.yaml has one names.pattern"
    return changed
