"""The folders of a line: whether they are there, on what file system, and a way into them that follows no link."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

from inspection.errors import SolderwatchError
from inspection.files import dangling_link

Admission = Literal["auto", "lease", "quiet"]

_MOUNTS, _FSTAB = Path("/proc/self/mountinfo"), Path("/etc/fstab")
# Here one kernel knows of every writer, and tells of every change.
_LOCAL = {
    *("bcachefs", "btrfs", "exfat", "ext2", "ext3", "ext4", "f2fs", "jfs", "nilfs2", "ntfs3", "overlay", "ramfs"),
    *("reiserfs", "tmpfs", "udf", "vfat", "xfs", "zfs"),
}
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class AwayError(OSError):
    """A folder is not there: its share is not mounted, or somebody took it away. Not the same as empty."""


class Folders:
    """Keeps an eye on folders, so that nothing is looked for or written where a share ought to be mounted.

    Args:
        paths: The folders by name, such as `inbox`.
        admission: Whether the kernel's word on writers counts: by file system (`auto`), always, or never.
        before: Those of the configuration before this one; what was mounted then is still known.
    """

    def __init__(self, paths: Mapping[str, Path], admission: Admission = "auto", before: Folders | None = None) -> None:
        self._paths = paths
        self._admission = admission
        self._points = {name: declared_mount_points(path) for name, path in paths.items()}
        known = before.mount_points if before else set()
        for name, path in paths.items():
            self._points[name] |= {point for point in known if _holds(point, os.path.realpath(path))}
        self._identity: dict[str, tuple[int, int]] = {}
        self._kinds: dict[str, str] = {}

    @property
    def mount_points(self) -> set[str]:
        """Where something was mounted, or ought to be, on the way to one of the folders."""
        return set().union(*self._points.values())

    def make(self) -> None:
        """Make the folders that are not there yet; but none below a mount point where nothing is mounted.

        Raises:
            SolderwatchError: One cannot be made; maybe not yet, so this is no fault of the configuration.
        """
        for name, path in self._paths.items():
            try:
                self._need_mounts(name, mounted())
                path.mkdir(parents=True, exist_ok=True)
            except AwayError as error:
                raise SolderwatchError(f"paths.{name}: {path}: {error.strerror}: mount it") from None
            except OSError as error:
                if link := dangling_link(path):
                    mend = f"{link}: make or mount that, or mend the link"
                else:
                    mend = f"cannot be made: {error.strerror}; make it, or mend its owner"
                raise SolderwatchError(f"paths.{name}: {path}: {mend}") from None

    def _need_mounts(self, name: str, mounts: Mapping[str, str]) -> None:
        for point in self._points[name] - mounts.keys():
            raise AwayError(errno.ENOTCONN, f"{point} is not mounted", str(self._paths[name]))

    def __getitem__(self, name: str) -> Path:
        return self._paths[name]

    def leases(self, name: str) -> bool:
        """Whether the kernel's word on writers counts there; a network share gives none that could be trusted."""
        if self._admission == "auto":
            return is_local(self._kinds[name])
        return self._admission == "lease"

    def knows_writers(self, name: str) -> bool:
        """Whether a writer that still holds a file can be told there, however files are admitted."""
        return self._admission == "lease" or is_local(self._kinds[name])

    def look(self, *names: str) -> None:
        """See that folders are there; one that was replaced or mounted again is taken as it is now.

        Raises:
            AwayError: One of them is not.
        """
        for name in names or self._paths:
            path = self._paths[name]
            # Opened first: what is not mounted any more by then is not trusted, and autofs mounts it.
            with _away_if_missing(path):
                found = _identity_of(path)
            mounts = mounted()
            self._need_mounts(name, mounts)
            point = _holder(path, mounts)
            # From now on it is known what ought to be mounted there.
            self._points[name].add(point)
            self._kinds[name] = mounts.get(point, "unknown")
            self._identity[name] = found

    @contextmanager
    def beneath(self, name: str, relative: Path = Path(), *, make: bool = False) -> Iterator[Path]:
        """A folder in one of the folders, reached without following a link, as a path that stays with it.

        Whatever is renamed, mounted or replaced by a link meanwhile, the path leads to the folder that was opened.

        Args:
            name: Which folder.
            relative: The way in there.
            make: Make what is missing of the way, durably.

        Raises:
            AwayError: The folder is not what it was when it was last looked at.
            NotADirectoryError: Part of the way is a link or a file.
            FileNotFoundError: Part of the way is missing.
        """
        path = self._paths[name]
        with _away_if_missing(path):
            here = os.open(path, _FOLDER)
        try:
            found = os.fstat(here)
            if (found.st_dev, found.st_ino) != self._identity.get(name):
                raise AwayError(errno.ESTALE, "not the folder it was", str(path))
            for part in relative.parts:
                below = _step(here, part, make=make)
                os.close(here)
                here = below
            with told_by(path / relative, here):
                yield Path(f"/proc/self/fd/{here}")
        finally:
            os.close(here)


def _step(here: int, part: str, *, make: bool) -> int:
    """Open a folder in an open folder."""
    flags = _FOLDER | os.O_NOFOLLOW
    if part == os.pardir:
        raise NotADirectoryError(errno.ENOTDIR, "leads out of its folder", part)
    try:
        return os.open(part, flags, dir_fd=here)
    except FileNotFoundError:
        if not make:
            raise
    with suppress(FileExistsError):
        os.mkdir(part, dir_fd=here)
    os.fsync(here)
    return os.open(part, flags, dir_fd=here)


@contextmanager
def _away_if_missing(path: Path) -> Iterator[None]:
    try:
        yield
    except (FileNotFoundError, NotADirectoryError) as error:
        raise AwayError(error.errno, dangling_link(path) or "there is no such folder", str(path)) from None


@contextmanager
def told_by(path: Path, descriptor: int) -> Iterator[None]:
    """Errors name an open folder as people know it."""
    try:
        yield
    except OSError as error:
        opened = f"/proc/self/fd/{descriptor}"
        for attribute in ("filename", "filename2"):
            name = getattr(error, attribute)
            if isinstance(name, str | Path):
                setattr(error, attribute, str(name).replace(opened, str(path)))
        raise


def mounted() -> dict[str, str]:
    """The type of the file system at each mount point, as this process sees them.

    A folder that is only mounted onto itself, as systemd does for `ReadWritePaths=`, is no mount point here.
    """
    found: dict[str, str] = {}
    mounts: dict[str, tuple[str, str, str]] = {}
    for line in os.fsdecode(_MOUNTS.read_bytes()).split("\n"):
        before, _, after = line.partition(" - ")
        if not after:
            continue
        number, parent, device, root, point = (_unescaped(field) for field in before.split(" ")[:5])
        mounts[number] = device, root, point
        if parent in mounts and parent != number:
            below_device, below_root, below_point = mounts[parent]
            same = os.path.normpath(f"{below_root.rstrip('/')}/{os.path.relpath(point, below_point)}")
            if device == below_device and root == same:
                continue
        found[point] = after.split(" ")[0]
    return found


def declared_mount_points(path: Path) -> set[str]:
    """Where /etc/fstab mounts something that holds this path."""
    try:
        lines = os.fsdecode(_FSTAB.read_bytes()).split("\n")
    except OSError:
        return set()
    found = set()
    for line in lines:
        fields = line.split()
        if len(fields) < 4 or line.lstrip().startswith("#") or "noauto" in fields[3].split(","):
            continue
        if fields[1].startswith("/"):
            found.add(os.path.normpath(_unescaped(fields[1])))
    return {point for point in found if _holds(point, os.path.realpath(path))}


def file_system(path: Path) -> str:
    """The type of the file system that holds a path, such as ext4 or nfs4."""
    mounts = mounted()
    return mounts.get(_holder(path, mounts), "unknown")


def is_local(kind: str) -> bool:
    """Whether a file system type sends events, and grants leases that can be trusted; a network share does neither."""
    return kind in _LOCAL


def _identity_of(path: Path) -> tuple[int, int]:
    descriptor = os.open(path, _FOLDER)
    try:
        found = os.fstat(descriptor)
    finally:
        os.close(descriptor)
    return found.st_dev, found.st_ino


def _holder(path: Path, mounts: Mapping[str, str]) -> str:
    """The innermost mount point that holds a path."""
    real = os.path.realpath(path)
    return max((point for point in mounts if _holds(point, real)), key=len, default="/")


def _holds(point: str, path: str) -> bool:
    return path == point or path.startswith(point.rstrip("/") + "/")


def _unescaped(text: str) -> str:
    """Mount tables write blanks, tabs, line breaks and backslashes in octal."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)
