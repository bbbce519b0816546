"""File system steps that survive a crash: synced writes, renames that never overwrite, moves across file systems."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from inspection.files import sync

NAME_MAX = 255
"""Bytes in a file name, on every file system that matters here."""

_AT_FDCWD = -100
_RENAME_NOREPLACE = 1
_LIBC = ctypes.CDLL(None, use_errno=True)
_NO_RENAMEAT2 = {errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP}


def write(path: Path, data: bytes) -> None:
    """Write a file and sync its content; its name is durable once the folder is synced."""
    with Unsynced() as files:
        files.write(path, data)
        files.sync()


class Unsynced:
    """Files on their way to the disk, durable once `sync` returns; as a context it closes them.

    Files that are written one after the other and synced only then share the disk's work.
    """

    def __init__(self) -> None:
        self._descriptors: list[int] = []

    def write(self, path: Path, data: bytes) -> None:
        """Write a file."""
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
        self._descriptors.append(descriptor)
        write_all(descriptor, data)
        # Linux begins to write it out: a quarter of the time that the syncs of a group take is saved.
        with contextlib.suppress(OSError):
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)

    def add(self, path: Path) -> None:
        """A file that somebody else has written."""
        self._descriptors.append(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC))

    def sync(self) -> None:
        """Make the content of all of them durable; their names are once their folders are synced."""
        for descriptor in self._descriptors:
            os.fsync(descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for descriptor in self._descriptors:
            os.close(descriptor)


def write_all(descriptor: int, data: bytes) -> None:
    """Write every byte; a nearly full disk takes fewer than it is given, and says so only then."""
    left = memoryview(data)
    while left:
        left = left[os.write(descriptor, left) :]


def append_line(descriptor: int, line: str) -> None:
    """Add a whole line to a file of lines, or nothing; what a crash has left half written is ended first.

    Args:
        descriptor: Open for reading and appending.
        line: Without its end.
    """
    end = os.fstat(descriptor).st_size
    start = "\n" if end and os.pread(descriptor, 1, end - 1) != b"\n" else ""
    try:
        write_all(descriptor, f"{start}{line}\n".encode())
    except OSError:
        os.ftruncate(descriptor, end)
        raise


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Replace a JSON file in one durable step: readers see the old content or the new one, whole."""
    new = path.with_name(path.name + ".new")
    write(new, to_json(content))
    new.replace(path)
    sync(path.parent)


def put(path: Path, data: bytes) -> None:
    """Let a new file appear, whole and durable.

    Raises:
        FileExistsError: There is one of this name.
    """
    # The same name each time: what a crash has left of it is written over by the next try.
    part = path.with_name(f".{hashlib.sha256(os.fsencode(path.name)).hexdigest()[:16]}.part")
    part.unlink(missing_ok=True)
    try:
        write(part, data)
        rename_noreplace(part, path)
    except OSError:
        part.unlink(missing_ok=True)
        raise
    sync(path.parent)


def to_json(content: dict[str, Any]) -> bytes:
    """Readable JSON; bytes of file names that are no UTF-8 come back as they were."""
    return (json.dumps(content, indent=2, allow_nan=False) + "\n").encode()


def rename_noreplace(source: Path, target: Path) -> None:
    """Rename, and raise FileExistsError where the target is there already: nothing is ever overwritten."""
    code = _renameat2(source, target)
    if not code:
        return
    if code not in _NO_RENAMEAT2:
        raise OSError(code, os.strerror(code), str(source), None, str(target))
    # NFS and older FUSE: a hard link refuses an existing target just as well; where there are none either,
    # looking first is the best there is.
    try:
        os.link(source, target, follow_symlinks=False)
    except FileExistsError:
        # An earlier try was killed between its two steps: both names are the same file.
        if not os.path.samestat(source.lstat(), target.lstat()):
            raise
        source.unlink()
    except OSError as error:
        if error.errno not in {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}:
            raise
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target)) from None
        source.rename(target)
    else:
        source.unlink()


def has_noreplace(one: Path, other: Path) -> bool:
    """Whether the file system refuses in one step to rename a file onto another; both must be there."""
    return _renameat2(one, other) not in _NO_RENAMEAT2


def _renameat2(source: Path, target: Path) -> int:
    """Rename without overwriting; 0, or what went wrong."""
    done: int = _LIBC.renameat2(
        _AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(target), ctypes.c_uint(_RENAME_NOREPLACE)
    )
    return ctypes.get_errno() if done else 0


def move(source: Path, target: Path) -> None:
    """Move a file without ever overwriting one, also onto another file system.

    There: copy, sync, verify, rename, and only then unlink the source. If an earlier try was cut off before the
    unlink, the target is already whole, and only the unlink is left to do.

    Raises:
        FileExistsError: The target is there, and is not what an earlier try left.
    """
    try:
        rename_noreplace(source, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
    else:
        return
    expected = digest(source)
    if target.is_file() and not target.is_symlink() and digest(target) == expected:
        source.unlink()
        return
    if os.path.lexists(target):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
    # Of both names: another daemon may be moving another file to the same name. An open folder has the name that it has
    # for the next try as well.
    names = os.fsencode(os.path.realpath(source.parent) + "/" + source.name) + b"\0" + os.fsencode(target.name)
    part = target.with_name(f".{hashlib.sha256(names).hexdigest()[:16]}.part")
    # One that was cut off may be read-only by now.
    part.unlink(missing_ok=True)
    shutil.copyfile(source, part)
    shutil.copystat(source, part)
    sync(part)
    if digest(part) != expected:
        part.unlink()
        raise OSError(errno.EIO, "the copy differs from its source", str(target))
    rename_noreplace(part, target)
    sync(target.parent)
    source.unlink()


def digest(path: Path) -> str:
    """SHA-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def no_writer(descriptor: int) -> Iterator[bool | None]:
    """As a context, whether nobody holds the open file for writing; None where the kernel cannot tell.

    A read lease is granted only while nobody does, and whoever would begin to within the context waits for its end. The
    caller's process must ignore SIGIO, with which the kernel asks for a lease back.
    """
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError as error:
        yield False if error.errno == errno.EAGAIN else None
        return
    try:
        yield True
    finally:
        with contextlib.suppress(OSError):
            fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)


def has_writer(descriptor: int) -> bool | None:
    """Whether anybody holds the open file for writing at this moment; None where the kernel cannot tell."""
    with no_writer(descriptor) as found:
        return None if found is None else not found
