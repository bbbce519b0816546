"""Lines that are not set up as usual: with other settings, on another file system, among mounts of their own."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import pytest
from numpy.typing import NDArray
from PIL import Image

_FORMS = {".png": "PNG", ".tif": "TIFF", ".bmp": "BMP", ".jpg": "JPEG"}


def configure(line: Path, **sections: Any) -> Path:
    """Write a line's configuration; returns the line."""
    content = {"device": "cpu", "runtime": "torch", "inbox": {"quiet_s": 0.3, "scan_s": 0.2}} | sections
    (line / "config.yaml").write_text(json.dumps(content), encoding="utf-8")  # JSON is YAML
    return line


def new_line(folder: Path, trained: Path, **sections: Any) -> Path:
    """A fresh line in a folder of its own, with the trained model."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copytree(trained / "models", folder / "models", symlinks=True)
    return configure(folder, **sections)


def encode(pixels: NDArray[Any], suffix: str, **options: Any) -> bytes:
    """An image file's bytes; PNG, TIFF, BMP or JPEG by its suffix."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, _FORMS[suffix], **options)
    return file.getvalue()


@contextmanager
def in_memory(other_than: Path) -> Iterator[Path]:
    """A folder in /dev/shm, which is another file system; skips where it is not."""
    shm = Path("/dev/shm")  # noqa: S108 - the point of it
    if not os.access(shm, os.W_OK) or shm.stat().st_dev == other_than.stat().st_dev:
        pytest.skip(f"{shm} is no other file system here")
    folder = Path(tempfile.mkdtemp(prefix="solderwatch-", dir=shm))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


class Mounts:
    """User and mount namespaces of their own: file systems come and go in there without root; use as a context.

    `process` holds them; what lies in there is seen from outside beneath `/proc/<process>/root`.
    """

    def __init__(self) -> None:
        try:
            self._holder = subprocess.Popen(
                ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", "echo made; exec sleep 3600"],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        except FileNotFoundError:
            pytest.skip("no unshare here")
        assert self._holder.stdout
        if self._holder.stdout.readline() != "made\n":
            _, error = self._holder.communicate()
            pytest.skip(f"no namespaces for users here: {error.strip()}")
        self.process = self._holder.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._holder.kill()
        self._holder.communicate()

    def mount(self, place: Path, *, size: str = "16m", name: str = "share") -> None:
        """An empty tmpfs on a folder."""
        self._do("mount", "-t", "tmpfs", "-o", f"size={size},mode=777", name, str(place))

    def bind(self, source: Path, place: Path) -> None:
        """Another folder on a folder, as a share whose content outlives its mount."""
        self._do("mount", "--bind", str(source), str(place))

    def resize(self, place: Path, size: str) -> None:
        """More room, or less, on a mounted tmpfs."""
        self._do("mount", "-o", f"remount,size={size}", str(place))

    def unmount(self, place: Path) -> None:
        """Take it away at once, as a share whose server has died; open files stay what they are."""
        self._do("umount", "--lazy", str(place))

    def allow_inotify(self, instances: int) -> None:
        """How many inotify instances there may be in there."""
        self._do("sh", "-c", f"echo {instances} > /proc/sys/user/max_inotify_instances")

    def seen(self, path: Path) -> Path:
        """A path as it is in there."""
        return Path(f"/proc/{self.process}/root{path}")

    def _do(self, *command: str) -> None:
        enter = ["nsenter", "--target", str(self.process), "--user", "--mount", "--preserve-credentials"]
        done = subprocess.run([*enter, *command], capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"{' '.join(command)}: {done.stderr.strip()}")
