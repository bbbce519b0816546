"""Makes the ledger equal to the records: those that are told, those in folders that changed, or all.

Only some hundred names are in memory at a time, however many records there are.
"""

from __future__ import annotations

import os
import sqlite3
import stat
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from filing.decisions import Outcome
from filing.folders import AwayError, Folders
from filing.ledger.records import OUTCOMES, SUFFIXES, Place, read_record, stamp_of
from filing.ledger.store import Folder, Store, UnusableError, throw_away
from inspection.errors import LedgerError
from settings import Settings

_CHUNK = 200
_SETTLED_NS = 5_000_000_000
"""A folder's time does not tell changes apart that are nearer than its grain: 2 s on FAT, a kernel's tick elsewhere."""


@dataclass
class Swept:
    """What a sweep did.

    Attributes:
        records: That it looked at.
        changed: Images that were new, or whose records had changed.
        removed: Images whose records are gone.
        unread: Records and folders that could not be read; what was known of them stays.
        away: Folders that are not there, such as a share that is not mounted; what was known of them stays.
    """

    records: int = 0
    changed: int = 0
    removed: int = 0
    unread: int = 0
    away: tuple[Outcome, ...] = ()


def reindex(settings: Settings, progress: Callable[[Swept], object] = lambda _: None) -> Swept:
    """Compare the ledger with all records, also while the daemon runs; a damaged one is built anew.

    Args:
        settings: The configuration.
        progress: Called every few milliseconds.

    Raises:
        LedgerError: The ledger cannot be read or written.
    """
    path = settings.paths.ledger
    try:
        try:
            return _compare_all(settings, progress)
        except UnusableError:
            throw_away(path)
            return _compare_all(settings, progress)
    except (UnusableError, sqlite3.Error, OSError) as error:
        raise LedgerError(f"paths.ledger: {path}: {error}; nothing else depends on it") from None


def _compare_all(settings: Settings, progress: Callable[[Swept], object]) -> Swept:
    with Store(settings.paths.ledger, patience_s=60.0) as store:
        store.check()
        sweep = Sweep(store, record_folders(settings), trusting=False)
        for _ in sweep.steps():
            progress(sweep.found)
        return sweep.found


def record_folders(settings: Settings) -> Folders:
    """The folders where records lie, watched apart from the line's own."""
    return Folders({outcome: settings.paths.line[outcome] for outcome in OUTCOMES})


def update(store: Store, folders: Folders, places: Iterable[Place]) -> None:
    """Put down what the records of some images say now, in one transaction; those without one are forgotten.

    Raises:
        AwayError: A folder is not there, or not the one that was looked at.
    """
    names: defaultdict[tuple[Outcome, Path], list[bytes]] = defaultdict(list)
    for outcome, path in places:
        names[outcome, path.parent].append(os.fsencode(path.name))
    with store.transaction():
        for (outcome, parent), here in names.items():
            folder = store.folder(outcome, os.fsencode(parent) if parent.parts else b"")
            try:
                with folders.beneath(outcome, parent) as place:
                    for name in here:
                        # The next sweep looks again at what cannot be read now: its folder has changed.
                        with suppress(OSError):
                            _take(store, outcome, folder, place, name)
            except AwayError:
                raise
            except (FileNotFoundError, NotADirectoryError):
                for name in here:
                    store.remove(folder, name)


def _take(store: Store, outcome: Outcome, folder: int, place: Path, name: bytes) -> bool:
    """Put down what an image's record says; returns whether there is one."""
    record = read_record(_record_path(outcome, place, name))
    if record:
        store.put(outcome, folder, name, record)
    else:
        store.remove(folder, name)
    return bool(record)


def _record_path(outcome: Outcome, place: Path, name: bytes) -> str:
    return f"{place}/{os.fsdecode(name)}{SUFFIXES[outcome]}"


class Sweep:
    """Compares the folders with the ledger.

    Args:
        store: The ledger.
        folders: See `record_folders`.
        trusting: Pass over folders whose entries did not change since they were last compared.

    Attributes:
        found: What was done so far.
    """

    def __init__(self, store: Store, folders: Folders, *, trusting: bool) -> None:
        self._store, self._folders, self._trusting = store, folders, trusting
        self.found = Swept()

    def steps(self) -> Iterator[None]:
        """Do it, in steps of a few milliseconds."""
        for outcome in OUTCOMES:
            try:
                self._folders.look(outcome)
                self._store.folder(outcome, b"")
                after = None
                # Folders that are found in a folder come after it.
                while folder := self._store.next_folder(outcome, after):
                    yield from self._folder(outcome, folder)
                    after = folder.path
                    yield
            except AwayError:
                self.found.away += (outcome,)
        if not self.found.away:
            self._store.completed()

    def _folder(self, outcome: Outcome, folder: Folder) -> Iterator[None]:
        try:
            with self._folders.beneath(outcome, Path(os.fsdecode(folder.path))) as place:
                yield from self._compare(outcome, folder, place)
        except AwayError:
            raise
        except (FileNotFoundError, NotADirectoryError):
            yield from self._remove(outcome, folder, None)
            self._store.forget_folder(folder.id)
        except OSError:
            self.found.unread += 1

    def _compare(self, outcome: Outcome, folder: Folder, place: Path) -> Iterator[None]:
        changed_ns = place.stat().st_mtime_ns
        if self._trusting and changed_ns == folder.mtime_ns:
            return
        # Whatever changes from here on changes the folder's time again.
        settled = time.time_ns() - changed_ns > _SETTLED_NS
        unread = self.found.unread
        with os.scandir(place) as entries:
            while chunk := list(islice(entries, _CHUNK)):
                self._enter(outcome, folder, place, chunk)
                yield
        yield from self._remove(outcome, folder, place)
        equal = settled and unread == self.found.unread
        self._store.compared(folder.id, changed_ns if equal else None)

    def _enter(self, outcome: Outcome, folder: Folder, place: Path, entries: Sequence[os.DirEntry[str]]) -> None:
        """Put down folders and changed records among some entries of a folder."""
        stamps: dict[bytes, tuple[int, int]] = {}
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                name = os.fsencode(entry.name)
                self._store.folder(outcome, folder.path + b"/" + name if folder.path else name)
            elif entry.name.endswith(SUFFIXES[outcome]):
                with suppress(FileNotFoundError):
                    found = entry.stat(follow_symlinks=False)
                    if stat.S_ISREG(found.st_mode):
                        stamps[os.fsencode(entry.name.removesuffix(SUFFIXES[outcome]))] = stamp_of(found)
        self.found.records += len(stamps)
        known = self._store.stamps(folder.id, list(stamps))
        if changed := [name for name, stamp in stamps.items() if known.get(name) != stamp]:
            # Read while nobody else may write: whoever changes a record later also tells it later.
            with self._store.transaction():
                for name in changed:
                    try:
                        self.found.changed += _take(self._store, outcome, folder.id, place, name)
                    except OSError:
                        self.found.unread += 1

    def _remove(self, outcome: Outcome, folder: Folder, place: Path | None) -> Iterator[None]:
        """Forget images that have no record any more in a folder; without one, all of them."""

        def is_gone(name: bytes) -> bool:
            return place is None or not os.path.lexists(_record_path(outcome, place, name))

        last = b""
        while names := self._store.names(folder.id, last, _CHUNK):
            last = names[-1]
            if gone := [name for name in names if is_gone(name)]:
                with self._store.transaction():
                    for name in filter(is_gone, gone):
                        self._store.remove(folder.id, name)
                        self.found.removed += 1
            yield
