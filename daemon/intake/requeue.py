"""Puts quarantined files back into the inbox, to be judged again; also while the daemon runs."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from filing import durable
from filing.boards import BoardFiles, note_of, put_back
from filing.folders import Folders
from filing.ledger import tell
from filing.logs import Log
from filing.names import free_names, utc
from inspection.errors import SolderwatchError
from inspection.files import ERROR_SUFFIX
from settings import Settings


def requeue(settings: Settings, names: Sequence[str], log: Log) -> Iterator[tuple[Path, Path]]:
    """Move files from quarantine to the inbox, and remove what said why they were there.

    Args:
        settings: The configuration.
        names: Paths inside the quarantine folder, or whole ones; none: all files there.
        log: Told of boards of which an image was moved.

    Yields:
        Each file's path in quarantine and in the inbox, once it was moved; nothing there is overwritten.

    Raises:
        SolderwatchError: A name is not that of a quarantined file. Nothing was moved then.
    """
    folders = Folders(settings.paths.line)
    folders.look("quarantine", "inbox")
    boards = BoardFiles(settings, log) if settings.boards.complete else None
    paths = [_quarantined(folders["quarantine"], name) for name in names] or _all(folders["quarantine"])
    try:
        for path in paths:
            yield path, path.with_name(_put_back(folders, path, boards))
    finally:
        tell(settings, [("quarantine", path) for path in paths])


def _put_back(folders: Folders, path: Path, boards: BoardFiles | None) -> str:
    """Move one file; returns its name in the inbox."""
    with (
        folders.beneath("quarantine", path.parent) as quarantine,
        folders.beneath("inbox", path.parent, make=True) as inbox,
    ):
        # Before the daemon may judge it again: until then its board cannot be complete.
        if boards:
            _note(quarantine / f"{path.name}{ERROR_SUFFIX}", boards)
        for name in free_names(path.name):
            try:
                durable.move(quarantine / path.name, inbox / name)
            except FileExistsError:
                continue
            (quarantine / f"{path.name}{ERROR_SUFFIX}").unlink(missing_ok=True)
            return name
    raise AssertionError("names never end")


def _note(record: Path, boards: BoardFiles) -> None:
    try:
        note = note_of(json.loads(record.read_bytes()))
    except (FileNotFoundError, ValueError, AttributeError, RecursionError):
        return
    if note:
        boards.revise({note.key: [put_back(note, utc(datetime.now(UTC)))]})


def _quarantined(quarantine: Path, name: str) -> Path:
    path = Path(os.path.normpath(quarantine / name.removesuffix(ERROR_SUFFIX)))
    if not path.is_relative_to(quarantine) or not path.is_file() or path.is_symlink():
        raise SolderwatchError(f"{name}: no such file in {quarantine}; name it as it is called in there")
    return path.relative_to(quarantine)


def _all(quarantine: Path) -> list[Path]:
    found = (Path(str(path).removesuffix(ERROR_SUFFIX)) for path in sorted(quarantine.rglob(f"*{ERROR_SUFFIX}")))
    return [path.relative_to(quarantine) for path in found if path.is_file() and not path.is_symlink()]
