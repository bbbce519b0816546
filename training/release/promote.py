"""Which model folder is in use: `models/current`, a link that is switched atomically; `models/previous` leads back."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from inspection.errors import ModelError, NoModelError, SolderwatchError
from inspection.files import sync
from inspection.model import read_card
from settings.schema import CURRENT

PREVIOUS = "previous"
_LOCK = ".lock"


@contextmanager
def only_refresh(models: Path) -> Iterator[None]:
    """Keep a second refresh of the same models from beginning while this one lasts, as a context.

    Raises:
        SolderwatchError: Another one is at work.
        ModelError: Nothing can be written there.
    """
    check_links(models)
    with _lock_file(models) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SolderwatchError(
                f"paths.models: {models}: another solderwatch-train is at work there; wait until it is done"
            ) from None
        yield


def _lock_file(models: Path) -> TextIO:
    try:
        models.mkdir(parents=True, exist_ok=True)
        return (models / _LOCK).open("w")
    except OSError as error:
        raise ModelError(
            f"paths.models: {models}: no model can be written there: {error.strerror}; "
            "give this user the folder (as a service: train as its user), or name another one"
        ) from None


def in_use(models: Path) -> Path | None:
    """The model folder that `current` names, there or not; None without such a link."""
    target = _target(models / CURRENT)
    return models / target if target else None


def promote(folder: Path) -> None:
    """Make a whole model folder the one in use; the one before stays, and `previous` names it.

    Args:
        folder: A model folder; the links are written beside it.
    """
    models = folder.parent
    check_links(models)
    before = _target(models / CURRENT)
    if before == folder.name:
        return
    # In this order a kill between the two leaves a way back, if to an older model.
    _link(models / CURRENT, folder.name)
    if before:
        _link(models / PREVIOUS, before)


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


def check_links(models: Path) -> None:
    """Raise ModelError now, rather than after a training, where no model could be promoted."""
    if models.exists() and not models.is_dir():
        raise ModelError(f"paths.models: {models}: not a folder; move that file away")
    for name in (CURRENT, PREVIOUS):
        _target(models / name)


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
    sync(link.parent)
