from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from daemon.intake.inbox import Candidate, Inbox
from filing.folders import AwayError, Folders
from settings.schema import InboxSettings

_DATA = b"no known format, but long enough"


class Clock:
    """Monotonic seconds that pass only when told."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        """The time now."""
        return self.now


def _inbox(root: Path, admission: str = "lease", **options: object) -> tuple[Inbox, Clock]:
    clock = Clock()
    settings = InboxSettings.model_validate({"admission": admission, "quiet_s": 3.0, **options})
    return Inbox(Folders({"inbox": root}, settings.admission), settings, clock), clock


def _names(found: list[Candidate]) -> list[str]:
    return sorted(str(candidate.relative) for candidate in found)


def test_finds_images_also_in_sub_folders(tmp_path: Path) -> None:
    """Images are found by suffix in any case, in sub-folders too, with their path inside the inbox."""
    (tmp_path / "lot7" / "board1").mkdir(parents=True)
    for name in ("a.png", "B.TIF", "lot7/c.jpeg", "lot7/board1/d.dcm"):
        (tmp_path / name).write_bytes(_DATA)
    inbox, _ = _inbox(tmp_path)
    assert _names(list(inbox.scan())) == ["B.TIF", "a.png", "lot7/board1/d.dcm", "lot7/c.jpeg"]


def test_leaves_everything_that_is_no_image_file(tmp_path: Path) -> None:
    """Links, FIFOs, folders with image names, dotfiles, unfinished names and other suffixes are not candidates."""
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "target.txt").write_bytes(_DATA)
    (tmp_path / "link.png").symlink_to(tmp_path / "target.txt")
    os.mkfifo(tmp_path / "fifo.png")
    for name in (".hidden.png", "a.png.part", "b.tmp", "notes.txt"):
        (tmp_path / name).write_bytes(_DATA)
    (tmp_path / ".folder").mkdir()
    (tmp_path / ".folder" / "c.png").write_bytes(_DATA)
    inbox, clock = _inbox(tmp_path)
    list(inbox.scan())
    clock.now += 10
    assert list(inbox.scan()) == []


def test_a_file_with_a_writer_waits_on_a_local_file_system(tmp_path: Path) -> None:
    """However long nothing changes, a file that somebody holds for writing is not admitted; once closed, at once."""
    inbox, clock = _inbox(tmp_path)
    with (tmp_path / "a.png").open("wb") as writer:
        writer.write(b"half")
        writer.flush()
        for _ in range(3):
            assert list(inbox.scan()) == []
            assert inbox.waiting == 1
            clock.now += 100
    assert _names(list(inbox.scan())) == ["a.png"]
    assert inbox.waiting == 0


def test_an_empty_file_waits_for_the_quiet_time(tmp_path: Path) -> None:
    """A writer may create, close and open again: an empty file is admitted only when it has long stayed so."""
    (tmp_path / "a.png").touch()
    inbox, clock = _inbox(tmp_path)
    assert list(inbox.scan()) == []
    clock.now += 3.0
    found = list(inbox.scan())
    assert _names(found) == ["a.png"]
    assert found[0].settled


def test_without_leases_a_file_waits_until_nothing_changes(tmp_path: Path) -> None:
    """On a network share a file is admitted after the quiet time, which every change begins anew."""
    path = tmp_path / "a.png"
    path.write_bytes(b"1")
    inbox, clock = _inbox(tmp_path, "quiet")
    assert list(inbox.scan()) == []
    clock.now += 2.9
    path.write_bytes(b"12")
    assert list(inbox.scan()) == []
    clock.now += 2.9
    assert list(inbox.scan()) == []
    clock.now += 0.1
    assert _names(list(inbox.scan())) == ["a.png"]


@pytest.mark.parametrize("moment", [0, 4102444800])
def test_file_times_do_not_matter(tmp_path: Path, moment: int) -> None:
    """A file dated 1970 is not taken early, one dated 2100 is not stuck."""
    path = tmp_path / "a.png"
    path.write_bytes(b"1")
    os.utime(path, (moment, moment))
    inbox, clock = _inbox(tmp_path, "quiet")
    assert list(inbox.scan()) == []
    clock.now += 3.0
    assert _names(list(inbox.scan())) == ["a.png"]


def test_a_done_marker_is_waited_for(tmp_path: Path) -> None:
    """With a marker configured, an image is taken only once its marker is there."""
    (tmp_path / "a.png").write_bytes(b"1")
    inbox, clock = _inbox(tmp_path, done_marker=".done")
    clock.now += 100
    assert list(inbox.scan()) == []
    (tmp_path / "a.png.done").touch()
    (found,) = inbox.scan()
    assert found.marker == tmp_path / "a.png.done"


def test_a_deferred_file_gets_the_quiet_time_again(tmp_path: Path) -> None:
    """A file that did not decode is not taken again before nothing about it has changed for the quiet time."""
    path = tmp_path / "a.png"
    path.write_bytes(_DATA)
    inbox, clock = _inbox(tmp_path)
    (found,) = inbox.scan()
    assert not found.settled
    inbox.defer(path)
    assert list(inbox.scan()) == []
    clock.now += 3.0
    (found,) = inbox.scan()
    assert found.settled


def test_names_that_are_no_text_are_found(tmp_path: Path) -> None:
    """File names are bytes: one that is no UTF-8, or holds a line break, is as good as any."""
    for name in (b"\xff.png", b"a\nb.png"):
        with open(os.path.join(os.fsencode(tmp_path), name), "wb") as file:  # noqa: PTH118, PTH123 - bytes
            file.write(_DATA)
    inbox, _ = _inbox(tmp_path)
    assert len(list(inbox.scan())) == 2


def test_a_missing_inbox_is_an_error_not_an_empty_one(tmp_path: Path) -> None:
    """A folder that went away is told from a folder without images, until it is back."""
    inbox, _ = _inbox(tmp_path / "inbox")
    with pytest.raises(AwayError):
        list(inbox.scan())
    assert not inbox.sees
    (tmp_path / "inbox").mkdir()
    assert list(inbox.scan()) == []
    assert inbox.sees


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".tif"])
def test_a_file_that_does_not_look_whole_waits_for_the_quiet_time(tmp_path: Path, suffix: str) -> None:
    """A writer may close a file and open it again: a closed one is taken at once only if it has its end."""
    path = tmp_path / f"a{suffix}"
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(1, 255, (40, 40), np.uint8)).save(path)
    whole = path.read_bytes()
    inbox, clock = _inbox(tmp_path)
    assert _names(list(inbox.scan())) == [path.name]
    for length in (0, 3, 9, 20, len(whole) // 2, len(whole) - 1):
        for room in (0, len(whole) - length) if length <= len(whole) // 2 else (0,):
            path.write_bytes(whole[:length] + bytes(room))
            assert list(inbox.scan()) == [], (length, room)
    clock.now += 3.0
    (found,) = inbox.scan()
    assert found.settled
