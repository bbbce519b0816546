"""Which model folder is in use: `models/current`, a link that is switched atomically; `models/previous` leads back."""

from __future__ import annotations

import os
from pathlib import Path

from inspection.errors import ModelError, NoModelError
from inspection.model import CURRENT, read_card

PREVIOUS = "previous"


def promote(folder: Path) -> None:
    """Make a whole model folder the one in use; the one before stays, and `previous` names it.

    Args:
        folder: A model folder; the links are written beside it.
    """
    models = folder.parent
    before = _target(models / CURRENT)
    if before == folder.name:
        return
    if before:
        _link(models / PREVIOUS, before)
    _link(models / CURRENT, folder.name)


def rollback(models: Path) -> Path:
    """Go back to the previous model; a second rollback undoes the first.

    Returns:
        The model folder that is in use now.

    Raises:
        NoModelError: There is no previous model.
        ModelError: The previous model's folder is gone or damaged; the current one stays in use.
    """
    before = _target(models / PREVIOUS)
    if not before:
        raise NoModelError(f"{models / PREVIOUS}: there is no previous model to go back to")
    folder = models / before
    read_card(folder)
    promote(folder)
    return folder


def _target(link: Path) -> str | None:
    if link.exists() and not link.is_symlink():
        raise ModelError(f"{link}: not a link; move that folder to another name in {link.parent}")
    return str(link.readlink()) if link.is_symlink() else None


def _link(link: Path, target: str) -> None:
    """Point a link somewhere else in one step: readers see the old target or the new one, never none."""
    new = link.with_name(f".{link.name}-{os.getpid()}")
    new.unlink(missing_ok=True)
    new.symlink_to(target)
    new.replace(link)
    descriptor = os.open(link.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
