"""One daemon per work folder: the lock that it holds, which also tells whether the one before died."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from inspection.errors import ConfigError, SolderwatchError

_NAME = ".lock"
_TRIES = 5
_RUNNING, _STOPPED = b"running\n", b"stopped\n"


@dataclass
class Lock:
    """The lock on a work folder.

    Attributes:
        died: Whether the daemon that held it before died without a word, maybe of an image in hand.
    """

    died: bool


@contextmanager
def only_daemon(work: Path) -> Iterator[Lock]:
    """Hold the lock of a work folder, as a context; whatever nobody foresaw counts as a death.

    Raises:
        ConfigError: Another daemon works there.
    """
    descriptor = os.open(work / _NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        # `solderwatch status` holds the lock for an instant.
        for attempt in range(_TRIES):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if attempt == _TRIES - 1:
                    raise ConfigError(
                        f"paths.work: {work}: another solderwatch works there; stop it, or give each its own folder"
                    ) from None
                time.sleep(0.2)
        lock = Lock(died=os.pread(descriptor, len(_RUNNING), 0) == _RUNNING)
        # In place, which needs no room on the disk. Whoever leaves in good order takes it back.
        os.pwrite(descriptor, _RUNNING, 0)
        os.fsync(descriptor)
        try:
            yield lock
        except (SolderwatchError, OSError):
            raise
        except BaseException:
            # Nobody foresaw this: maybe it is an image's fault, as if the process had died of it.
            lock.died = True
            raise
        finally:
            if not lock.died:
                with suppress(OSError):  # then the next start is only more careful than it had to be
                    os.pwrite(descriptor, _STOPPED, 0)
    finally:
        os.close(descriptor)


def is_held(work: Path) -> bool:
    """Whether a daemon is alive in a work folder.

    Raises:
        SolderwatchError: This user may not know.
    """
    try:
        descriptor = os.open(work / _NAME, os.O_RDONLY | os.O_CLOEXEC)
    except PermissionError:
        raise SolderwatchError(f"{work}: may not be looked into by this user: sudo -u solderwatch") from None
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(descriptor)
