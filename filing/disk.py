"""Room on the disk: stops claiming before it is full, and, only if asked to, deletes the oldest io images."""

from __future__ import annotations

import errno
import heapq
import json
import os
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from filing.folders import Folders
from filing.ledger import Place
from filing.logs import Log
from filing.names import utc
from inspection.files import MAP_SUFFIX, RECORD_SUFFIX, readable
from settings.schema import DiskSettings

_MB, _GB, _DAY_S = 2**20, 2**30, 86400.0
_MIN_FREE_INODES = 1000
_FIRST_S, _EVERY_S = 600.0, 3600.0
_AT_ONCE = 10_000
_CLOCK_TOLERANCE_S = 3600.0


def check_room(folders: Folders, settings: DiskSettings) -> None:
    """See that images can be judged and filed.

    Raises:
        OSError: ENOSPC; less is left than `disk.min_free_mb`, or hardly any inodes.
    """
    if not settings.min_free_mb:
        return
    for name in ("work", "io", "nio", "quarantine"):
        found = os.statvfs(folders[name])
        free_mb = found.f_bavail * found.f_frsize // _MB
        if free_mb < settings.min_free_mb:
            left = f"{free_mb} MB are left, less than disk.min_free_mb ({settings.min_free_mb})"
        elif found.f_files and found.f_favail < _MIN_FREE_INODES:
            left = f"{found.f_favail} inodes are left, less than {_MIN_FREE_INODES}"
        else:
            continue
        raise OSError(errno.ENOSPC, f"nothing is claimed: {left}", str(folders[name]))


class Retention:
    """Deletes the oldest images in io, with their sidecars, beyond `disk.keep_io_days` or `disk.keep_io_gb`.

    Only what the daemon itself filed there, as its record beside the image says; never nio, never quarantine.

    Args:
        folders: Of the line.
        settings: How much is kept; by default everything.
        log: Told of every image that is deleted.
        tell: Called with where it lay.
        clock: Seconds since 1970.
    """

    def __init__(
        self,
        folders: Folders,
        settings: DiskSettings,
        log: Log,
        tell: Callable[[Iterable[Place]], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._folders = folders
        self._settings = settings
        self._log, self._tell = log, tell
        self._clock = clock
        self._offset = self._clock_offset()
        self._steps: Iterator[None] = iter(())
        # Not at once: at boot the clock may be wrong.
        self._next = time.monotonic() + _FIRST_S

    def work(self, seconds: float) -> None:
        """Look for what is too old, and delete it, for so long at most; goes on with the next call."""
        if self._settings.keep_io_days is None and self._settings.keep_io_gb is None:
            return
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                next(self._steps)
            except StopIteration:
                if time.monotonic() < self._next:
                    return
                self._next = time.monotonic() + _EVERY_S
                self._steps = self._sweep()
            except OSError as error:
                self._log.error("retention_failed", error=readable(str(error)), retry_in_s=_EVERY_S)

    def _clock_offset(self) -> float:
        return self._clock() - time.clock_gettime(time.CLOCK_BOOTTIME)

    def _sweep(self) -> Iterator[None]:
        """Add up all images, keep the oldest in mind, delete those that are too many or too old."""
        total = 0
        oldest: list[tuple[float, int, str]] = []
        for filed, size, path in self._filed():
            total += size
            # The heap's first is the youngest of the oldest.
            keep = heapq.heappush if len(oldest) < _AT_ONCE else heapq.heappushpop
            keep(oldest, (-filed, size, path))
            yield
        deleted = 0
        for negative, size, path in sorted(oldest, reverse=True):
            why = self._too_much(-negative, total)
            if why is None:
                break
            found = self._delete(Path(path), -negative, size, why)
            if found is None:
                # Somebody is tidying up: what was added up is not true any more.
                self._next = time.monotonic()
                return
            deleted += found
            total -= size * found
            yield
        if deleted == _AT_ONCE:
            self._next = time.monotonic()

    def _filed(self) -> Iterator[tuple[float, int, str]]:
        """When each image was filed (its record's mtime), its bytes with sidecars, and its path in io."""
        root = self._folders["io"]
        for folder, _, names in os.walk(root):
            for name in names:
                if not name.endswith(RECORD_SUFFIX):
                    continue
                record = Path(folder, name)
                with suppress(FileNotFoundError):
                    found = record.lstat()
                    if stat.S_ISREG(found.st_mode):
                        image = Path(folder, name.removesuffix(RECORD_SUFFIX))
                        size = found.st_size + _size(image) + _size(Path(f"{image}{MAP_SUFFIX}"))
                        yield found.st_mtime, size, str(image.relative_to(root))

    def _too_much(self, filed: float, total: int) -> str | None:
        """Why an image is to go; None if it stays, and with it all that are younger."""
        settings = self._settings
        if settings.keep_io_gb is not None and total > settings.keep_io_gb * _GB:
            return f"more than disk.keep_io_gb ({settings.keep_io_gb:g})"
        if settings.keep_io_days is None or self._clock() - filed <= settings.keep_io_days * _DAY_S:
            return None
        if abs(self._clock_offset() - self._offset) > _CLOCK_TOLERANCE_S:
            self._log.warning("retention_stopped", error="the clock was changed: restart if it is right now")
            return None
        return f"older than disk.keep_io_days ({settings.keep_io_days:g})"

    def _delete(self, path: Path, filed: float, size: int, why: str) -> bool | None:
        """Delete an image; False if it is not ours, None if it is gone."""
        with self._folders.beneath("io", path.parent) as folder:
            record = folder / f"{path.name}{RECORD_SUFFIX}"
            if not record.exists():
                return None
            if not _is_ours(record, path):
                return False
            # The image first: what is visible is complete.
            for name in (path.name, f"{path.name}{MAP_SUFFIX}", record.name):
                (folder / name).unlink(missing_ok=True)
        self._tell([("io", path)])
        moment = utc(datetime.fromtimestamp(filed, UTC))
        self._log.info("deleted", file=readable(str(path)), filed=moment, bytes=size, why=why)
        return True


def _is_ours(record: Path, path: Path) -> bool:
    """Whether a record says that the daemon filed this image as io."""
    try:
        content = json.loads(record.read_bytes())
        return (
            content["outcome"] == "io" and content["filed_as"] == readable(str(path)) and bool(content["decision_id"])
        )
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except FileNotFoundError:
        return 0
