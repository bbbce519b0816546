"""Wakes the line when something happens in the inbox.

Of watchdog only the reader of inotify's events is used. Its observer keeps the path of each folder, until folders that
are renamed and replaced confuse it so that it dies; and behind a file that was moved away, as each claim is, it holds
all events back for half a second. Nobody asks for paths here: the scan is the truth, and has every folder watched.
"""

from __future__ import annotations

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

_MASK = Mask(
    InotifyConstants.IN_CREATE
    | InotifyConstants.IN_MOVED_TO
    | InotifyConstants.IN_CLOSE_WRITE
    | InotifyConstants.IN_ONLYDIR
    | InotifyConstants.IN_DONT_FOLLOW
)
_ONLY = CallbackId(0)
_REMEDY = "raise fs.inotify.* in sysctl"


class Watch:
    """Wakes the line on events in the inbox; does nothing else.

    Args:
        root: The inbox.
        ring: Called on every event, in a thread of its own.
    """

    def __init__(self, root: Path, ring: Callable[[], None]) -> None:
        self._root = root
        self._ring = ring
        self._reader: InotifyFD | None = None
        self._of_root = _Ringer(ring)
        self._armed: tuple[int, int] | None = None
        self._uncovered: str | None = None

    def ensure(self) -> str | None:
        """Arm the watch, again if it died or the inbox was replaced.

        Returns:
            None when events will come; else why not all will. The timed scan goes on without them.
        """
        if not self.is_armed():
            self.stop()
            self._armed = self._identity()
            try:
                self._reader = InotifyFD()
                self._reader.start()
                self._add(str(self._root), self._of_root)
            except OSError as error:
                self.stop()
                return f"{self._root}: {error.strerror}; {_REMEDY}"
        return self._uncovered

    def is_armed(self) -> bool:
        """Whether events of the folder that is there now will come."""
        alive = self._reader is not None and self._reader.is_alive() and not self._of_root.ended
        return alive and self._armed is not None and self._armed == self._identity()

    def cover(self, folder: str) -> None:
        """Have events of a folder in the inbox come too; to be called before it is looked at, or one may be missed."""
        if self._reader is None:
            return
        is_root = folder == str(self._root)
        if is_root:
            self._uncovered = None  # a new scan
        try:
            self._add(folder, self._of_root if is_root else _Ringer(self._ring))
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            self._uncovered = f"{self._root}: {error.strerror}; {_REMEDY}"

    def _add(self, folder: str, ringer: WatchCallback) -> None:
        if self._reader:
            self._reader.add_callback(os.fsencode(folder), _MASK, ringer, _ONLY)

    def _identity(self) -> tuple[int, int] | None:
        try:
            found = self._root.stat()
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


class _Ringer(WatchCallback):
    """Told by the reader's thread of one folder's events; `ended` once the folder is gone."""

    def __init__(self, ring: Callable[[], None]) -> None:
        self.ended = False
        self._ring = ring

    def on_event(self, event: InotifyEvent) -> None:  # noqa: ARG002 - the scan finds out what it was
        self._ring()

    def on_watch_deleted(self, wd: WatchDescriptor) -> None:  # noqa: ARG002
        self.ended = True

    def on_queue_overflow(self) -> None:
        self._ring()
