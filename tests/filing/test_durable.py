from __future__ import annotations

import ctypes
import errno
import os
import signal
import threading
from pathlib import Path

import pytest

from filing import durable


def test_rename_never_overwrites(tmp_path: Path) -> None:
    """A rename onto an existing name is refused, and both files stay as they are."""
    (tmp_path / "a").write_text("a")
    (tmp_path / "b").write_text("b")
    with pytest.raises(FileExistsError):
        durable.rename_noreplace(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "a").read_text() == "a"
    assert (tmp_path / "b").read_text() == "b"


def test_rename_without_renameat2_never_overwrites_either(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a file system that has no RENAME_NOREPLACE the fallback refuses existing names and moves to free ones."""

    class Libc:
        def renameat2(self, *_: object) -> int:
            ctypes.set_errno(errno.EINVAL)
            return -1

    monkeypatch.setattr(durable, "_LIBC", Libc())
    (tmp_path / "a").write_text("a")
    (tmp_path / "b").write_text("b")
    with pytest.raises(FileExistsError):
        durable.rename_noreplace(tmp_path / "a", tmp_path / "b")
    durable.rename_noreplace(tmp_path / "a", tmp_path / "c")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b", "c"]
    # An earlier try was killed between its two steps.
    os.link(tmp_path / "c", tmp_path / "d")
    durable.rename_noreplace(tmp_path / "c", tmp_path / "d")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b", "d"]


@pytest.fixture
def elsewhere() -> Path:
    """A folder on another file system than tmp_path."""
    shm = Path("/dev/shm")  # noqa: S108 - it is another file system, which is the point
    if not os.access(shm, os.W_OK):
        pytest.skip("no second file system to write to")
    folder = shm / f"solderwatch-test-{os.getpid()}"
    folder.mkdir()
    return folder


def test_moves_across_file_systems_lose_nothing(tmp_path: Path, elsewhere: Path) -> None:
    """A move to another file system leaves the same bytes there and nothing here, and never overwrites."""
    try:
        if elsewhere.stat().st_dev == tmp_path.stat().st_dev:
            pytest.skip("one file system only")
        source, target = tmp_path / "image.png", elsewhere / "image.png"
        source.write_bytes(b"x" * 100_000)
        durable.move(source, target)
        assert target.read_bytes() == b"x" * 100_000
        assert not source.exists()
        source.write_bytes(b"other")
        with pytest.raises(FileExistsError):
            durable.move(source, target)
        assert source.read_bytes() == b"other"
        # An earlier try died after the copy was whole: only the unlink is left.
        source.write_bytes(b"x" * 100_000)
        durable.move(source, target)
        assert not source.exists()
        assert [path.name for path in elsewhere.iterdir()] == ["image.png"]
    finally:
        for path in elsewhere.iterdir():
            path.unlink()
        elsewhere.rmdir()


def test_json_is_replaced_whole(tmp_path: Path) -> None:
    """A reader that looks all the time never sees a half-written JSON file."""
    path = tmp_path / "state.json"
    durable.write_json(path, {"n": -1})
    stop, bad = threading.Event(), []

    def look() -> None:
        while not stop.is_set():
            if not path.read_text().endswith("}\n"):
                bad.append(path.read_text())

    reader = threading.Thread(target=look)
    reader.start()
    for number in range(50):
        durable.write_json(path, {"n": number, "padding": "x" * 5000})
    stop.set()
    reader.join()
    assert not bad


def test_a_writer_is_noticed_while_it_holds_the_file(tmp_path: Path) -> None:
    """The lease says at once whether anybody has the file open for writing, also after a rename."""
    path = tmp_path / "image.png"
    with path.open("wb") as writer:
        writer.write(b"half")
        writer.flush()
        path = path.rename(tmp_path / "moved.png")
        with path.open("rb") as reader:
            found = durable.has_writer(reader.fileno())
    if found is None:
        pytest.skip("no leases on this file system")
    assert found is True
    with path.open("rb") as reader:
        assert durable.has_writer(reader.fileno()) is False


def test_whoever_would_write_waits(tmp_path: Path) -> None:
    """While a file is known to have no writer none begins: what is read meanwhile is of one piece."""
    before = signal.signal(signal.SIGIO, signal.SIG_IGN)
    path = tmp_path / "image.png"
    path.write_bytes(b"old")

    def overwrite() -> None:
        with path.open("r+b") as writer:
            writer.write(b"new")

    thread = threading.Thread(target=overwrite)
    try:
        with path.open("rb") as reader, durable.no_writer(reader.fileno()) as alone:
            if alone is None:
                pytest.skip("no leases on this file system")
            thread.start()
            thread.join(0.2)
            assert thread.is_alive()
            assert reader.read() == b"old"
        thread.join(10)
        assert path.read_bytes() == b"new"
    finally:
        signal.signal(signal.SIGIO, before)
