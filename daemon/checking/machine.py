"""What of this computer a line depends on: room, renames, leases, events, clock and limits. Each is really tried."""

from __future__ import annotations

import os
import resource
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from daemon.checking.finding import Finding
from daemon.intake.watch import Watch
from filing import durable
from filing.folders import Folders, file_system, is_local
from inspection.files import readable
from settings import Settings

_GB = 1e9
_LITTLE_GB, _LITTLE_SHARE = 2.0, 0.05
_FEW_FILES = 1024
_CLOCK_TOLERANCE_S = 86400.0
_TIMESYNC = Path("/run/systemd/timesync")


def machine(settings: Settings, clock: float | None = None) -> Iterator[Finding]:
    """Try what the line depends on, beside its own files.

    Args:
        settings: Whose folders are there.
        clock: Seconds since 1970; None: now.
    """
    for trial in (_disks, _renames, _writers, _events, _sub_folders):
        try:
            yield from trial(settings)
        except OSError as error:
            yield Finding("problem", f"{readable(str(error.filename))}: {error.strerror}; mend its owner or mode")
    yield from _clock(settings, time.time() if clock is None else clock)
    yield _open_files(resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def _disks(settings: Settings) -> Iterator[Finding]:
    """How much room each file system has, with the folders on it."""
    paths = {**settings.paths.folders, "ledger": settings.paths.ledger}
    if settings.logs.file:
        paths["logs"] = settings.logs.file
    by_device: dict[int, list[tuple[str, Path]]] = {}
    for name, path in paths.items():
        there = next(place for place in (path, *path.parents) if place.exists())
        by_device.setdefault(there.stat().st_dev, []).append((name, there))
    for folders in by_device.values():
        found = os.statvfs(folders[0][1])
        free, size = found.f_bavail * found.f_frsize / _GB, found.f_blocks * found.f_frsize / _GB
        text = f"disk: {free:.1f} of {size:.1f} GB are free for {', '.join(name for name, _ in folders)}"
        if free < _LITTLE_GB or free < _LITTLE_SHARE * size:
            yield Finding("warning", f"{text}; make room, or set disk.keep_io_days or disk.keep_io_gb")
        else:
            yield Finding("ok", text)


def _renames(settings: Settings) -> Iterator[Finding]:
    """Take a file the way that images go, and see that nothing can be overwritten on it."""
    weak = []
    with _hidden(settings.paths.inbox) as file:
        for name, path in settings.paths.line.items():
            with _hidden(path) as one, _hidden(path) as other:
                if not durable.has_noreplace(one, other):
                    weak.append(f"paths.{name} ({file_system(path)})")
            there = path / f"{file.name}.moved.part"
            durable.move(file, there)
            durable.move(there, file)
    if weak:
        mend = "let nobody else write there, or take a local file system"
        yield Finding("warning", f"renames: {', '.join(weak)} cannot refuse in one step to overwrite; {mend}")
    else:
        yield Finding("ok", "renames: an image can go from the inbox to each folder, and overwrites none there")


def _writers(settings: Settings) -> Iterator[Finding]:
    """Whether the kernel tells who still writes to a file in the inbox, where the line asks it."""
    folders = Folders(settings.paths.line, settings.inbox.admission)
    folders.look("inbox")
    if not folders.leases("inbox"):
        quiet = f"a file is taken once it was quiet for {settings.inbox.quiet_s:g} s (inbox.quiet_s)"
        yield Finding("ok", f"writers: nobody is asked: {quiet}")
        return
    with _hidden(settings.paths.inbox) as file:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
        try:
            seen = durable.has_writer(descriptor)
        finally:
            os.close(descriptor)
    if seen:
        yield Finding("ok", "writers: a file that is still being written can be told (leases)")
    else:
        kind = file_system(settings.paths.inbox)
        yield Finding("problem", f"writers: {kind} in paths.inbox grants no leases; set inbox.admission: quiet")


def _events(settings: Settings) -> Iterator[Finding]:
    """Whether every folder of the inbox can be watched."""
    if not is_local(file_system(settings.paths.inbox)):
        return
    watch = Watch(settings.paths.inbox, lambda: None)
    try:
        trouble, count = watch.ensure(), 0
        for parent, _, _ in os.walk(settings.paths.inbox):
            watch.cover(parent)
            count += 1
        trouble = trouble or watch.ensure()
    finally:
        watch.stop()
    if trouble:
        scan = f"until then new files wait for the scan, up to {settings.inbox.scan_s:g} s"
        yield Finding("warning", f"events: {trouble}; {scan}")
    else:
        yield Finding("ok", f"events: the inbox is watched, {count} folder{'s' if count > 1 else ''}")


def _sub_folders(settings: Settings) -> Iterator[Finding]:
    """Folders of the inbox out of which this user can take nothing: the machine made them for itself."""
    for parent, _, _ in os.walk(settings.paths.inbox):
        if not os.access(parent, os.W_OK | os.X_OK):
            where = readable(parent)
            yield Finding("problem", f"paths.inbox: {where}: images in it cannot be taken; let its group write there")
            return


def _clock(settings: Settings, now: float) -> Iterator[Finding]:
    """Whether the time can be right: what is there was made before."""
    shown = f"{datetime.fromtimestamp(now, UTC):%Y-%m-%d %H:%M} UTC"
    made = [Path(__file__), *settings.paths.models.glob("**/model.json")]
    newest = max(made, key=lambda path: path.stat().st_mtime)
    if newest.stat().st_mtime > now + _CLOCK_TOLERANCE_S:
        yield Finding("problem", f"clock: {shown} is before {newest} was made; set the clock")
    elif _TIMESYNC.is_dir() and not (_TIMESYNC / "synchronized").exists():
        yield Finding("warning", f"clock: {shown}, not in step with a time server; timedatectl says why")
    else:
        yield Finding("ok", f"clock: {shown}")


def _open_files(limit: int) -> Finding:
    if 0 <= limit < _FEW_FILES:
        return Finding("warning", f"open files: {limit} at most; raise it: ulimit -n {_FEW_FILES}, or LimitNOFILE=")
    return Finding("ok", f"open files: {limit} at most" if limit >= 0 else "open files: as many as there are")


@contextmanager
def _hidden(folder: Path) -> Iterator[Path]:
    """A file that no daemon takes for an image, open for writing meanwhile."""
    descriptor, name = tempfile.mkstemp(".part", ".solderwatch-doctor-", folder)
    try:
        yield Path(name)
    finally:
        os.close(descriptor)
        Path(name).unlink(missing_ok=True)
