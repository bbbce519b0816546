"""Where images lie: folders, and whatever else pyarrow opens, such as S3-compatible stores. They are only read."""

from __future__ import annotations

import os
import posixpath
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from pyarrow import ArrowException, fs

from inspection.errors import ConfigError, SolderwatchError, in_one_line

_HIDDEN = "."


@dataclass(frozen=True)
class Content:
    """A file's bytes, and when they were last written."""

    data: bytes
    written: datetime | None


class Archive(Protocol):
    """Holds images; can be pickled, and opened on any machine that reaches it."""

    @property
    def name(self) -> str:
        """As the user named it."""

    def walk(self) -> Iterator[str]:
        """The paths of all files below it, by folder and name; without those that are hidden.

        Raises:
            ConfigError: It is not there.
            SolderwatchError: It, or a folder in it, cannot be read.
        """

    def read(self, path: str, limit: int) -> Content:
        """A file's bytes.

        Args:
            path: As `walk` gave it.
            limit: No file has more bytes.

        Raises:
            OSError: It is gone, no regular file, too large, or cannot be read.
        """


@dataclass(frozen=True)
class Folder:
    """A folder on a file system."""

    path: Path

    @property
    def name(self) -> str:
        """As the user named it."""
        return str(self.path)

    def walk(self) -> Iterator[str]:
        """See `Archive.walk`; links to files are files, links to folders are not followed."""
        if not self.path.is_dir():
            raise ConfigError(
                f"{self.path}: no such folder; name a folder of images, or a URI such as s3://bucket/path"
            )
        yield from _walk(self.path, "")

    def read(self, path: str, limit: int) -> Content:
        """See `Archive.read`; nothing is waited for or endless."""
        descriptor = os.open(self.path / path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise OSError("not a regular file")
            _check_size(found.st_size, limit)
            return Content(file.read(limit + 1), datetime.fromtimestamp(found.st_mtime, UTC))


@dataclass(frozen=True)
class Store:
    """A place that `pyarrow.fs` opens by its URI, such as `s3://bucket/path?endpoint_override=host:9000&scheme=http`.

    Who may read it, pyarrow learns from the environment of the process that reads.
    """

    uri: str

    @property
    def name(self) -> str:
        """As the user named it; nothing secret is in it."""
        return re.sub(r"//[^/@]*@", "//", self.uri.partition("?")[0])

    @cached_property
    def _opened(self) -> tuple[Any, str]:
        try:
            found: tuple[Any, str] = fs.FileSystem.from_uri(self.uri)
        except (ArrowException, ValueError, OSError) as error:
            raise ConfigError(f"{self.name}: cannot be opened: {in_one_line(error)}") from None
        return found

    def __getstate__(self) -> dict[str, str]:
        return {"uri": self.uri}

    def walk(self) -> Iterator[str]:
        """See `Archive.walk`."""
        system, root = self._opened
        try:
            there = system.get_file_info(root).type
            if there != fs.FileType.Directory:
                raise ConfigError(f"{self.name}: no such folder; look whether bucket and path are right")
            for path in _listed(system, root):
                yield posixpath.relpath(path, root)
        except OSError as error:
            raise SolderwatchError(f"{self.name}: cannot be listed: {in_one_line(error)}") from None

    def read(self, path: str, limit: int) -> Content:
        """See `Archive.read`."""
        system, root = self._opened
        whole = posixpath.join(root, path)
        try:
            found = system.get_file_info(whole)
            if found.type == fs.FileType.NotFound:
                raise FileNotFoundError("no such file")
            _check_size(found.size or 0, limit)
            with system.open_input_stream(whole) as file:
                return Content(file.read(), found.mtime)
        except ArrowException as error:
            raise OSError(in_one_line(error)) from None


def open_archive(name: str) -> Archive:
    """An archive by what the user calls it: a path, or a URI."""
    return Store(name) if re.match(r"[a-z][a-z0-9+.-]+://", name) else Folder(Path(name).expanduser().absolute())


def _walk(root: Path, below: str) -> Iterator[str]:
    """The files below a folder; one folder's entries are in memory for each level."""
    try:
        with os.scandir(root / below) as found:
            entries = sorted((entry.name, entry.is_dir(follow_symlinks=False)) for entry in found)
    except OSError as error:
        raise SolderwatchError(f"{root / below}: cannot be read: {error.strerror}") from None
    for name, is_folder in entries:
        if name.startswith(_HIDDEN):
            continue
        path = f"{below}/{name}" if below else name
        if is_folder:
            yield from _walk(root, path)
        else:
            yield path


def _listed(system: Any, folder: str) -> Iterator[str]:
    """The same of a store."""
    entries = system.get_file_info(fs.FileSelector(folder))
    for entry in sorted(entries, key=lambda entry: str(entry.base_name)):
        if entry.base_name.startswith(_HIDDEN):
            continue
        if entry.type == fs.FileType.Directory:
            yield from _listed(system, entry.path)
        elif entry.type == fs.FileType.File:
            yield entry.path


def _check_size(size: int, limit: int) -> None:
    if size > limit:
        raise OSError(f"{size} bytes are more than inbox.max_file_mb allows")
