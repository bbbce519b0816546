"""Room for the grey levels of all pages: memory while they fit, else a file that is mapped into it."""

from __future__ import annotations

import mmap
import os
import tempfile
import threading
from pathlib import Path

import torch
from torch import Tensor

from inspection.errors import DatasetError

_SHARE = 0.5  # of the memory that is available to all processes of this training here
_MEMINFO = Path("/proc/meminfo")
_BYTES = 4  # of a grey level: float32 keeps every bit of 16


def room_for(count: int, side: int, meminfo: Path = _MEMINFO) -> Tensor:
    """Uninitialised float32 `[N, 1, S, S]`, shared with processes that are forked later.

    Where half of the available memory is too small for it, it lies in a file that has no name any more: it is gone
    with the tensor or the process, however that ends. It is made where TMPDIR says, else in /var/tmp, for /tmp is often
    memory itself.

    Args:
        count: N.
        side: S.
        meminfo: Tells how much memory is available.

    Raises:
        DatasetError: There is no room for such a file.
    """
    return _room(count, side, _allowed(meminfo))


class Room:
    """Room for the pages of files; how many a file has is known only when it is opened, by whatever thread.

    Args:
        files: How many there are; room for a page of each is made at a time, which is all that single images need.
        side: S, pixels a side.
        meminfo: Tells how much memory is available.

    Raises:
        DatasetError: There is no room for the first pages.
    """

    def __init__(self, files: int, side: int, meminfo: Path = _MEMINFO) -> None:
        self._files, self._side, self._allowed = files, side, _allowed(meminfo)
        self._lock = threading.Lock()
        self._free = self._more(files)

    def take(self, pages: int) -> Tensor:
        """Uninitialised float32 `[P, S, S]`.

        Raises:
            DatasetError: There is no room left.
        """
        with self._lock:
            if pages > len(self._free):
                self._free = self._more(max(pages, self._files))
            taken, self._free = self._free[:pages], self._free[pages:]
        return taken[:, 0]

    def _more(self, count: int) -> Tensor:
        made = _room(count, self._side, self._allowed)
        if made.nbytes <= self._allowed:
            self._allowed -= made.nbytes
        return made


def _room(count: int, side: int, allowed: float) -> Tensor:
    """`[N, 1, S, S]`: memory if it takes at most so many bytes, else a file."""
    size = count * side**2 * _BYTES
    if size <= allowed:
        return torch.empty(count, 1, side, side)
    folder = os.environ.get("TMPDIR", "/var/tmp")  # noqa: S108 - the file has no name that anybody could take
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            # Else a disk that is full would be told by a signal, amid the training.
            os.posix_fallocate(file.fileno(), 0, size)
            return torch.frombuffer(mmap.mmap(file.fileno(), size), dtype=torch.float32).view(count, 1, side, side)
    except OSError as error:
        raise DatasetError(
            f"{folder}: no room for {size / 2**30:.1f} GiB of images, which do not fit in memory: {error.strerror}; "
            "set TMPDIR to a larger disk, or lower training.image_size"
        ) from None


def _allowed(meminfo: Path) -> float:
    """Bytes of memory that this process may fill with images."""
    return _SHARE * _available(meminfo) / int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def _available(meminfo: Path) -> int:
    """Bytes."""
    for line in meminfo.read_text(encoding="ascii").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 0
