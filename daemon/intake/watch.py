"""Wakes the line when something happens in the inbox.

Of watchdog only the reader of inotify's events is used. Its observer keeps the path of each folder, until folders that
are renamed and replaced confuse it so that it dies; and behind a file that was moved away, as each claim is, it holds
all events back for half a second. Nobody asks for paths here: the scan is the truth, and has every folder watched.
"""

from __future__ import annotations

import errno
import logging
import os
import warnings
from collections.abc import Callable
from pathlib import Path

from watchdog.observers.inotify_c import (
    CallbackId,
    InotifyConstants,
    InotifyEvent,
    InotifyFD,
    Mask,
    WatchCallback,
    WatchDescriptor,
)

# Its complaints are no log lines of ours: events may be lost, and a folder is watched anew by every scan.
logging.getLogger("watchdog").setLevel(logging.CRITICAL)
warnings.filterwarnings("ignore", message="Callback with id")

_ROOT = Mask(
    InotifyConstants.IN_CREATE
    | InotifyConstants.IN_MOVED_TO
    | InotifyConstants.IN_CLOSE_WRITE
    | InotifyConstants.IN_ONLYDIR
)
_BENEATH = Mask(_ROOT | InotifyConstants.IN_DONT_FOLLOW)
_ONLY = CallbackId(0)
_LIMITS = {errno.ENOSPC, errno.EMFILE}


class Watch:
    """Wakes the line on events in the inbox; does nothing else.

    Args:
        root: The inbox.
        ring: Called on every event, in a thread of its own.
    """

    def __init__(self, root: Path, ring: Callable[[], None]) -> None:
        self._root = str(root)
        self._ring = ring
        self._reader: InotifyFD | None = None
        self._of_root, self._of_others = _Ringer(ring), _Ringer(ring)
        self._armed: tuple[int, int] | None = None
        self._covered: set[WatchDescriptor] = set()
        """Those that the present scan has come by."""
        self._before: set[WatchDescriptor] = set()
        """Those of the scan before."""
        self._uncovered: str | None = None

    def ensure(self) -> str | None:
        """Arm the watch, again if it died or the inbox was replaced.

        Returns:
            None when events will come; else why not all will. The timed scan goes on without them.
        """
        if self.is_armed():
            return self._uncovered
        if self._armed or not (self._reader and self._reader.is_alive()):
            self.stop()
        try:
            self._reader = self._reader or _started()
            identity = self._identity()
            self._add(self._reader, self._root)
        except (OSError, RuntimeError) as error:
            return self._told(error)
        self._armed = identity
        return None

    def is_armed(self) -> bool:
        """Whether events of the folder that is there now will come."""
        alive = self._reader is not None and self._reader.is_alive() and not self._of_root.ended
        return alive and self._armed is not None and self._armed == self._identity()

    def cover(self, folder: str) -> None:
        """Have events of a folder in the inbox come too; to be called before it is looked at, or one may be missed.

        The inbox itself is the first one of each scan; what the scan before has not come by is watched no longer.
        """
        if not self._reader or not self._armed:
            return
        try:
            if folder == self._root:
                gone = self._before - self._covered
                self._before, self._covered, self._uncovered = self._covered, set(), None
                self._reader.remove_callbacks([(descriptor, _ONLY) for descriptor in gone])
            self._add(self._reader, folder)
        except (FileNotFoundError, NotADirectoryError):
            pass
        except OSError as error:
            self._uncovered = self._told(error)

    def _add(self, reader: InotifyFD, folder: str) -> None:
        ringer, mask = (self._of_root, _ROOT) if folder == self._root else (self._of_others, _BENEATH)
        self._covered.add(reader.add_callback(os.fsencode(folder), mask, ringer, _ONLY))

    def _told(self, error: Exception) -> str:
        reason = error.strerror if isinstance(error, OSError) else error
        remedy = "; raise fs.inotify.* in sysctl" if getattr(error, "errno", None) in _LIMITS else ""
        return f"{self._root}: {reason}{remedy}"

    def _identity(self) -> tuple[int, int] | None:
        try:
            found = Path(self._root).stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def stop(self) -> None:
        """End the watching thread."""
        if self._reader:
            self._reader.stop()
            self._reader.join(timeout=5)
        self._reader = self._armed = self._uncovered = None
        self._of_root = _Ringer(self._ring)
        self._covered, self._before = set(), set()


def _started() -> InotifyFD:
    reader = InotifyFD()
    reader.name = "watch"
    reader.start()
    return reader


class _Ringer(WatchCallback):
    """Told of folders' events by the reader's thread; `ended` once one of them is gone."""

    def __init__(self, ring: Callable[[], None]) -> None:
        self.ended = False
        self._ring = ring

    def on_event(self, event: InotifyEvent) -> None:  # noqa: ARG002 - the scan finds out what it was
        self._ring()

    def on_watch_deleted(self, wd: WatchDescriptor) -> None:  # noqa: ARG002
        self.ended = True

    def on_queue_overflow(self) -> None:
        self._ring()
