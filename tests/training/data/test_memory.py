"""What room for images promises: memory while they fit, a mapped file that leaves nothing behind where they don't."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from inspection.errors import DatasetError
from settings import load
from training.data import memory
from training.data.dataset import all_pages, grey_statistics, read
from training.data.memory import Room, room_for

MEBIBYTE = 2**20


@pytest.fixture
def little(tmp_path: Path) -> Path:
    """A /proc/meminfo with 8 MiB available."""
    path = tmp_path / "meminfo"
    path.write_text("MemTotal:       16384 kB\nMemAvailable:       8192 kB\n", encoding="ascii")
    return path


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where TMPDIR says that the file shall lie."""
    made = tmp_path / "tmp"
    made.mkdir()
    monkeypatch.setenv("TMPDIR", str(made))
    return made


def mapped_files() -> int:
    """How many files without a name this process has mapped."""
    return Path("/proc/self/maps").read_text(encoding="utf-8").count("(deleted)")


@pytest.mark.parametrize(("count", "processes", "mapped"), [(64, "1", 0), (65, "1", 1), (33, "2", 1), (0, "1", 0)])
def test_a_file_only_where_memory_is_too_small(
    little: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, count: int, processes: str, mapped: int
) -> None:
    """Up to half of the available memory, shared by the processes here, is used; beyond it a file, without a name."""
    monkeypatch.setenv("LOCAL_WORLD_SIZE", processes)
    before = mapped_files()
    room = room_for(count, 128, little)  # 64 KiB each
    room.fill_(0.25)
    assert room.shape == (count, 1, 128, 128)
    assert mapped_files() - before == mapped
    assert list(folder.iterdir()) == []
    assert room.sum() == count * 128 * 128 * 0.25
    del room
    assert mapped_files() == before


def test_loader_processes_share_the_pages(little: Path, folder: Path) -> None:
    """A forked process writes to the same pages, so that none has a copy."""
    assert folder
    room = room_for(100, 128, little)
    room.zero_()
    child = os.fork()
    if not child:
        room[7, 0, 0, 0] = 1
        os._exit(0)
    os.waitpid(child, 0)
    assert room[7, 0, 0, 0] == 1


def test_no_room_at_all(little: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that cannot hold the file is told before the training, in one line that says how to mend it."""
    monkeypatch.setenv("TMPDIR", "/nowhere")
    with pytest.raises(DatasetError, match=r"^/nowhere: no room for 0\.0 GiB .* set TMPDIR .*$"):
        room_for(100, 128, little)


def test_pages_take_room_as_they_come(little: Path, folder: Path) -> None:
    """Files of any number of pages get room of their own, all of it together within half of the available memory."""
    before = mapped_files()
    room = Room(20, 128, little)  # 64 KiB each: 64 pages fit
    taken = [room.take(pages) for pages in (1, 5, 1, 30, 1, 40, 8)]
    for number, pages in enumerate(taken):
        pages.fill_(number)
    assert [tuple(pages.shape) for pages in taken] == [(count, 128, 128) for count in (1, 5, 1, 30, 1, 40, 8)]
    assert all(bool((pages == number).all()) for number, pages in enumerate(taken))
    assert mapped_files() > before
    assert list(folder.iterdir()) == []
    del room, taken, pages
    assert mapped_files() == before


def test_images_are_the_same_from_a_file(
    tmp_path: Path, write_labelled: Callable[..., None], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every bit of a grey level is kept, and what normalises them is the same, wherever they lie."""
    (tmp_path / "config.yaml").write_text("training: {image_size: 48}\n", encoding="utf-8")
    write_labelled(tmp_path / "dataset", io=6, nio=4)
    settings = load(tmp_path / "config.yaml")
    in_memory = read(settings).images
    monkeypatch.setattr(memory, "_SHARE", 0.0)
    before = mapped_files()
    in_file = read(settings).images
    assert mapped_files() == before + 1
    assert list(folder.iterdir()) == []
    greys = all_pages(in_file)
    assert torch.equal(greys, torch.stack([image.grey for image in in_memory]))
    assert grey_statistics(in_file) == grey_statistics(in_memory)
    mean, std = grey_statistics(in_file)
    assert mean == pytest.approx(greys.mean().item(), abs=1e-6)
    assert std == pytest.approx(greys.std(correction=0).item(), abs=1e-6)
