"""Discovers images in the inbox and says when each is done being written.

The scan is the truth; events only wake it. They may be lost (a full queue, a network share, a replaced folder).
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from daemon.intake.survey import PassedOver, walk
from filing.durable import has_writer
from filing.folders import Folders
from inspection.ending import looks_whole
from inspection.files import readable
from settings.schema import InboxSettings

Signature = tuple[int, int, int, int, int]


@dataclass(frozen=True)
class Candidate:
    """A file that may be claimed.

    Attributes:
        path: Where it lies.
        relative: Its path inside the inbox; sub-folders are kept in io and nio.
        settled: Nothing about it has changed for the quiet time: what does not decode now never will.
        marker: The producer's done-marker, to be removed with the claim.
        inode: Another file of that name has another one.
    """

    path: Path
    relative: Path
    settled: bool
    marker: Path | None = None
    inode: int = 0

    @property
    def identity(self) -> tuple[Path, int]:
        """What is this file's alone."""
        return self.path, self.inode


class Inbox:
    """One folder tree into which images are dropped.

    Args:
        folders: Of the line; `inbox` among them.
        settings: Which files are images, and when they are done.
        clock: Monotonic seconds.
        go_on: Asked at every entry; False ends a scan.
        visit: Told of every folder before it is looked at.

    Attributes:
        sees: Whether the inbox could be looked at the last time.
        unreadable: What in it could not be, in the last whole scan, and why.
        passed_over: What that scan found that is never taken.
    """

    def __init__(
        self,
        folders: Folders,
        settings: InboxSettings,
        clock: Callable[[], float] = time.monotonic,
        go_on: Callable[[], bool] = lambda: True,
        visit: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.sees = True
        self.unreadable: set[str] = set()
        self._folders = folders
        self._root = folders["inbox"]
        self.passed_over = PassedOver(self._root)
        self._settings = settings
        self._clock = clock
        self._go_on = go_on
        self._visit = visit
        self._seen: dict[str, tuple[Signature, float]] = {}
        self._deferred: set[tuple[int, int]] = set()
        self._given_back = 0
        self._waiting = 0

    @property
    def waiting(self) -> int:
        """Images that may still be written: those of the last whole scan, and those given back since it began."""
        return self._waiting + self._given_back

    def look(self) -> None:
        """See that the inbox is there.

        Raises:
            AwayError: It is not.
        """
        self.sees = False
        self._folders.look("inbox")
        self.sees = True

    def scan(self) -> Iterator[Candidate]:
        """Every file that may be claimed now; checked lazily, one by one, as the caller takes them.

        Raises:
            AwayError: There is no inbox.
            OSError: The inbox itself cannot be read.
        """
        self.look()
        leases = self._folders.leases("inbox")
        seen: dict[str, tuple[Signature, float]] = {}
        waiting = self._given_back = 0
        unreadable: set[str] = set()
        passed_over = PassedOver(self._root, self.passed_over)
        for path, found in self._walk(passed_over, unreadable):
            if not self._go_on():
                return
            signature = _signature(found)
            known, since = self._seen.get(str(path), (None, 0.0))
            if known != signature:
                since = self._clock()
            seen[str(path)] = signature, since
            settled = self._clock() - since >= self._settings.quiet_s
            try:
                candidate = self._admit(path, found, settled=settled, leases=leases)
            except OSError as error:
                _note(unreadable, str(path), error)
                continue
            if candidate:
                yield candidate
            else:
                waiting += 1
        self._seen, self._waiting, self.unreadable, self.passed_over = seen, waiting, unreadable, passed_over
        if not self._given_back:
            self._deferred &= {signature[:2] for signature, _ in seen.values()}

    def defer(self, path: Path) -> None:
        """Do not admit this file again before nothing about it has changed for the quiet time."""
        found = path.lstat()
        self._deferred.add((found.st_dev, found.st_ino))
        self._given_back += 1

    def is_unchanged(self, candidate: Candidate) -> bool:
        """Whether a candidate of the last whole scan is still what it was then; if not, it is the next scan's."""
        try:
            signature = _signature(candidate.path.lstat())
        except FileNotFoundError:
            return False
        if self._seen.get(str(candidate.path), (None,))[0] == signature:
            return True
        self._given_back += 1
        return False

    def _walk(self, passed_over: PassedOver, unreadable: set[str]) -> Iterator[tuple[Path, os.stat_result]]:
        """All images with their stat; what is in the inbox may vanish meanwhile, the inbox itself may not."""

        def failed(path: str, error: OSError) -> None:
            if path == str(self._root):
                self.sees = False
                raise error
            _note(unreadable, path, error)

        for entry in walk(self._root, self._settings, passed_over, failed, self._visit):
            try:
                found = entry.stat(follow_symlinks=False)
            except OSError as error:
                failed(entry.path, error)
            else:
                yield Path(entry.path), found

    def _admit(self, path: Path, found: os.stat_result, *, settled: bool, leases: bool) -> Candidate | None:
        relative = path.relative_to(self._root)
        deferred = (found.st_dev, found.st_ino) in self._deferred
        if self._settings.done_marker:
            marker = path.with_name(path.name + self._settings.done_marker)
            if not marker.exists() or (deferred and not settled):
                return None
            return Candidate(path, relative, settled=True, marker=marker, inode=found.st_ino)
        if not settled and (deferred or not leases):
            return None
        if leases:
            unfinished = may_be_unfinished(path, found.st_size)
            if unfinished or (unfinished is None and not settled):
                return None
        return Candidate(path, relative, settled, inode=found.st_ino)


def _signature(found: os.stat_result) -> Signature:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _note(unreadable: set[str], path: str, error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        unreadable.add(f"{readable(path)}: {error.strerror}")


def may_be_unfinished(path: Path, size: int) -> bool | None:
    """Whether anybody holds the file for writing; None where that cannot be told.

    It cannot be told of another's file, nor where there is no such call. And a writer may have closed the file only to
    open it again: of one that does not look whole yet it cannot be told either.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        written = has_writer(descriptor)
        whole = looks_whole(lambda offset, length: os.pread(descriptor, length, offset), size)
    except OSError:
        return None
    else:
        return written if whole or written else None
    finally:
        os.close(descriptor)
