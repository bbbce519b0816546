"""Puts quarantined files back into the inbox, to be judged again; also while the daemon runs."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from filing import durable
from filing.folders import Folders
from filing.ledger import tell
from filing.names import free_names
from inspection.errors import SolderwatchError
from inspection.files import ERROR_SUFFIX
from settings import Settings


def requeue(settings: Settings, names: Sequence[str]) -> Iterator[tuple[Path, Path]]:
    """Move files from quarantine to the inbox, and remove what said why they were there.

    Args:
        settings: The configuration.
        names: Paths inside the quarantine folder, or whole ones; none: all files there.

    Yields:
        Each file's path in quarantine and in the inbox, once it was moved; nothing there is overwritten.

    Raises:
        SolderwatchError: A name is not that of a quarantined file. Nothing was moved then.
    """
    folders = Folders(settings.paths.line)
    folders.look("quarantine", "inbox")
    paths = [_quarantined(folders["quarantine"], name) for name in names] or _all(folders["quarantine"])
    try:
        for path in paths:
            yield path, path.with_name(_put_back(folders, path))
    finally:
        tell(settings, [("quarantine", path) for path in paths])


def _put_back(folders: Folders, path: Path) -> str:
    """Move one file; returns its name in the inbox."""
    with (
        folders.beneath("quarantine", path.parent) as quarantine,
        folders.beneath("inbox", path.parent, make=True) as inbox,
    ):
        for name in free_names(path.name):
            try:
                durable.move(quarantine / path.name, inbox / name)
            except FileExistsError:
                continue
            (quarantine / f"{path.name}{ERROR_SUFFIX}").unlink(missing_ok=True)
            return name
    raise AssertionError("names never end")


def _quarantined(quarantine: Path, name: str) -> Path:
    path = Path(os.path.normpath(quarantine / name.removesuffix(ERROR_SUFFIX)))
    if not path.is_relative_to(quarantine) or not path.is_file() or path.is_symlink():
        raise SolderwatchError(f"{name}: no such file in {quarantine}; name it as it is called in there")
    return path.relative_to(quarantine)


def _all(quarantine: Path) -> list[Path]:
    found = (Path(str(path).removesuffix(ERROR_SUFFIX)) for path in sorted(quarantine.rglob(f"*{ERROR_SUFFIX}")))
    return [path.relative_to(quarantine) for path in found if path.is_file() and not path.is_symlink()]
