"""What wakes the line: every way in which an image gets into the inbox, whatever became of its folders."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon.intake.inbox import Inbox
from daemon.intake.watch import Watch
from filing.folders import Folders
from settings.schema import InboxSettings

_DATA = b"no known format, but long enough"


class Line:
    """An inbox that is watched; the folder may be replaced."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.wake = threading.Event()
        self.watch = Watch(root, self.wake.set)
        self._inbox = Inbox(Folders({"inbox": root}, "quiet"), InboxSettings(), visit=self.watch.cover)

    def scan(self) -> None:
        """Look at the inbox once; what came before wakes no more."""
        assert self.watch.ensure() is None
        list(self._inbox.scan())
        self.settle()

    def settle(self) -> None:
        """Let all events come that are on their way."""
        while self.wake.wait(0.1):
            self.wake.clear()

    def wakes(self) -> bool:
        """Whether something has woken the line, or does so soon."""
        found = self.wake.wait(10)
        self.wake.clear()
        return found


def _open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Line]:
    """A line that has looked at its empty inbox."""
    (tmp_path / "inbox").mkdir()
    made = Line(tmp_path / "inbox")
    made.scan()
    yield made
    made.watch.stop()


def test_events_wake_the_line_also_from_a_replaced_folder(tmp_path: Path, line: Line) -> None:
    """New files wake at once, and again after the inbox itself was deleted and made anew."""
    (line.root / "a.png").write_bytes(_DATA)
    assert line.wakes()
    (line.root / "a.png").unlink()
    line.root.rmdir()
    assert line.watch.ensure() is not None
    line.root.mkdir()
    assert line.watch.ensure() is None
    line.wake.clear()
    (tmp_path / "b.png").write_bytes(_DATA)
    (tmp_path / "b.png").rename(line.root / "b.png")
    assert line.wakes()


def test_a_renamed_inbox_is_noticed(tmp_path: Path, line: Line) -> None:
    """When another folder takes the inbox's name, the watch follows the name, not the old folder."""
    line.root.rename(tmp_path / "old")
    line.root.mkdir()
    assert line.watch.ensure() is None
    line.wake.clear()
    (line.root / "a.png").write_bytes(_DATA)
    assert line.wakes()


def test_a_file_in_a_new_sub_folder_wakes(line: Line) -> None:
    """A folder wakes when it comes, and after the scan that found it so does each file in it, however deep."""
    (line.root / "lot" / "board").mkdir(parents=True)
    assert line.wakes()
    line.scan()
    (line.root / "lot" / "board" / "a.png").write_bytes(_DATA)
    assert line.wakes()


def test_a_link_in_the_inbox_is_not_followed(tmp_path: Path, line: Line) -> None:
    """What happens in a folder that a link leads to is none of the line's business."""
    (tmp_path / "outside").mkdir()
    (line.root / "lot").symlink_to(tmp_path / "outside")
    line.watch.cover(str(line.root / "lot"))
    line.settle()
    (tmp_path / "outside" / "a.png").write_bytes(_DATA)
    assert not line.wake.wait(0.2)


def test_a_folder_that_was_moved_out_is_watched_no_longer(tmp_path: Path, line: Line) -> None:
    """A producer that archives its lots by a rename is left alone there, from the second scan on."""
    (line.root / "lot").mkdir()
    line.scan()
    (line.root / "lot").rename(tmp_path / "archived")
    line.scan()
    line.scan()
    (tmp_path / "archived" / "a.png").write_bytes(_DATA)
    assert not line.wake.wait(0.2)
    (line.root / "b.png").write_bytes(_DATA)
    assert line.wakes()


def test_an_inbox_that_is_a_link_is_watched(tmp_path: Path) -> None:
    """The link is the operator's own; what it leads to is the inbox."""
    (tmp_path / "real").mkdir()
    (tmp_path / "inbox").symlink_to(tmp_path / "real")
    line = Line(tmp_path / "inbox")
    line.scan()
    (tmp_path / "real" / "a.png").write_bytes(_DATA)
    assert line.wakes()
    line.watch.stop()


def test_where_the_inbox_cannot_be_watched_nothing_is_left_behind(line: Line) -> None:
    """Each look tries again: no descriptor is left of all of them, and events come once it can be."""
    line.root.rmdir()
    before = _open_files()
    for _ in range(50):
        assert line.watch.ensure()
    assert _open_files() == before
    line.root.mkdir()
    line.scan()
    (line.root / "a.png").write_bytes(_DATA)
    assert line.wakes()


def test_folders_that_are_renamed_and_replaced_are_watched(line: Line) -> None:
    """Whatever is renamed, deleted and made again under the same names: the watch lives, and files wake."""
    for number in range(300):
        for name in "abc":
            (line.root / name).mkdir(exist_ok=True)
            (line.root / name / "sub").mkdir(exist_ok=True)
        line.scan() if number % 50 == 0 else line.watch.cover(str(line.root / "a"))
        (line.root / "a").rename(line.root / "d")
        (line.root / "b").rename(line.root / "a")
        (line.root / "d" / "sub").rmdir()
        (line.root / "d").rmdir()
        (line.root / "c" / "sub").rmdir()
        (line.root / "c").rmdir()
    line.scan()
    assert line.watch.is_armed()
    for name in "ab":
        (line.root / name).mkdir(exist_ok=True)
    line.scan()
    for name in "ab":
        (line.root / name / "x.png").write_bytes(_DATA)
        assert line.wakes()


def test_a_scan_that_covers_folders_again_keeps_nothing(line: Line) -> None:
    """Hours of scans over the same folders, and inboxes that go and come, leave no descriptor behind."""
    (line.root / "lot").mkdir()
    line.scan()
    before = _open_files()
    for _ in range(50):
        line.watch.cover(str(line.root))
        line.watch.cover(str(line.root / "lot"))
    for _ in range(5):
        (line.root / "lot").rmdir()
        line.root.rmdir()
        assert line.watch.ensure()
        (line.root / "lot").mkdir(parents=True)
        line.scan()
    assert _open_files() == before
