from __future__ import annotations

import io
import json
import os
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from daemon.intake.claims import Claims
from daemon.intake.inbox import Candidate
from filing.decisions import Decision, Filing
from filing.disk import Retention, check_room
from filing.folders import Folders
from filing.ledger import Place
from filing.logs import open_log
from settings.schema import DiskSettings, LogSettings

_DAY_S = 86400.0


class Line:
    """A line's folders, in which images can be filed as if so many days ago."""

    def __init__(self, root: Path) -> None:
        paths = {name: root / name for name in ("inbox", "work", "io", "nio", "quarantine")}
        for path in paths.values():
            path.mkdir()
        self.folders = Folders(paths)
        self.folders.look()
        self.now = os.stat(root).st_mtime  # noqa: PTH116 - a moment near now
        self.stream = io.StringIO()
        self.gone: list[Place] = []

    def file(self, name: str, outcome: str = "io", *, days_ago: float = 0.0) -> None:
        """Let an image go all the way."""
        path = self.folders["inbox"] / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x" * 1000)
        claims = Claims(self.folders)
        filing = Filing(self.folders)
        claim = claims.take(*claims.begin([Candidate(path, Path(name), settled=True)]))
        assert claim
        picture = None if outcome == "quarantine" else b"map"
        decision = Decision(claim, outcome, {"file": name}, picture)  # type: ignore[arg-type]
        filing.publish(filing.commit([decision], lambda _: nullcontext()), lambda _: nullcontext())
        claims.forget(claim)
        for sidecar in (self.folders[outcome] / name).parent.glob(f"{Path(name).name}*.json"):
            os.utime(sidecar, (self.now - days_ago * _DAY_S,) * 2)

    def keep(self, **settings: float) -> Retention:
        """A retention that has done its work once."""
        log = open_log(LogSettings.model_validate({"file": None, "format": "json"}), self.stream)
        chosen = DiskSettings.model_validate(settings)
        retention = Retention(self.folders, chosen, log, self.gone.extend, lambda: self.now)
        retention.work(10)
        retention._next = 0
        retention.work(10)
        return retention

    def left(self, folder: str = "io") -> list[str]:
        """The images in a folder; their sidecars must be there or gone with them."""
        root = self.folders[folder]
        files = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
        images = sorted(name for name in files if name.endswith(".png") and not name.endswith(".cam.png"))
        assert files == {name + end for name in images for end in ("", ".cam.png", ".json")} or folder == "quarantine"
        return images

    def told(self, event: str) -> list[dict[str, Any]]:
        """Log lines of one kind."""
        return [line for text in self.stream.getvalue().splitlines() if (line := json.loads(text))["event"] == event]


@pytest.fixture
def line(tmp_path: Path) -> Line:
    """An empty line."""
    return Line(tmp_path)


def test_by_default_everything_is_kept(line: Line) -> None:
    """Nothing is deleted unless the configuration asks for it."""
    line.file("old.png", days_ago=10_000)
    line.keep()
    assert line.left() == ["old.png"]


def test_old_io_images_go_with_their_sidecars_and_are_told(line: Line) -> None:
    """Beyond keep_io_days io images are deleted, one log line each; younger ones stay."""
    line.file("lot7/old.png", days_ago=91)
    line.file("young.png", days_ago=89)
    line.keep(keep_io_days=90)
    assert line.left() == ["young.png"]
    assert line.gone == [("io", Path("lot7/old.png"))]
    (event,) = line.told("deleted")
    assert event["file"] == "lot7/old.png"
    assert "keep_io_days (90)" in event["why"]


def test_the_oldest_go_first_beyond_so_many_bytes(line: Line) -> None:
    """Beyond keep_io_gb the oldest io images are deleted until the rest fits."""
    for number in range(10):
        line.file(f"{number}.png", days_ago=10 - number)
    per_image = sum(path.stat().st_size for path in line.folders["io"].glob("0.png*"))
    line.keep(keep_io_gb=4.5 * per_image / 2**30)
    assert line.left() == ["6.png", "7.png", "8.png", "9.png"]


def test_nio_and_quarantine_are_never_deleted(line: Line) -> None:
    """However old: only io images are ever deleted."""
    line.file("bad.png", "nio", days_ago=5000)
    line.file("odd.png", "quarantine", days_ago=5000)
    line.keep(keep_io_days=1, keep_io_gb=1e-9)
    assert line.left("nio") == ["bad.png"]
    assert line.left("quarantine") == ["odd.png"]


def test_only_what_the_daemon_filed_is_deleted(line: Line) -> None:
    """Files that somebody else put into io stay, also with a record that is not the daemon's, or of another image."""
    io_folder = line.folders["io"]
    (io_folder / "theirs.png").write_bytes(b"x")
    line.file("ours.png", days_ago=100)
    (io_folder / "note.json").write_text("{}")
    (io_folder / "copy.png.json").write_bytes((io_folder / "ours.png.json").read_bytes())
    for path in io_folder.iterdir():
        os.utime(path, (0, 0))
    line.keep(keep_io_days=1)
    assert sorted(path.name for path in io_folder.iterdir()) == ["copy.png.json", "note.json", "theirs.png"]


def test_a_deletion_that_was_cut_off_is_completed(line: Line) -> None:
    """After a crash between image and sidecars the rest goes the next time."""
    line.file("old.png", days_ago=100)
    (line.folders["io"] / "old.png").unlink()
    line.keep(keep_io_days=1)
    assert line.left() == []


def test_what_somebody_else_tidied_up_is_not_counted(line: Line) -> None:
    """When images leave io while they are added up, the rest is added up again before anything is deleted."""
    for number in range(10):
        line.file(f"{number}.png", days_ago=10 - number)
    per_image = sum(path.stat().st_size for path in line.folders["io"].glob("0.png*"))
    retention = line.keep()
    retention._settings = DiskSettings(keep_io_gb=6.5 * per_image / 2**30)
    retention._steps = retention._sweep()
    for _ in range(10):
        next(retention._steps)
    for path in [path for number in range(6) for path in line.folders["io"].glob(f"{number}.png*")]:
        path.unlink()
    retention.work(10)
    assert line.left() == ["6.png", "7.png", "8.png", "9.png"]


def test_a_clock_that_jumps_deletes_nothing(line: Line) -> None:
    """When the clock was set forward by a year while the daemon runs, all images only seem old."""
    line.file("young.png")
    retention = line.keep(keep_io_days=90)
    line.now += 365 * _DAY_S
    retention._next = 0
    retention.work(10)
    assert line.left() == ["young.png"]
    assert len(line.told("retention_stopped")) == 1


def test_too_little_room_is_told_with_the_setting(line: Line) -> None:
    """Below the low-water mark the line is told to wait; 0 switches that off."""
    check_room(line.folders, DiskSettings(min_free_mb=1))
    with pytest.raises(OSError, match=r"disk\.min_free_mb \(1000000000\)"):
        check_room(line.folders, DiskSettings(min_free_mb=10**9))
    check_room(line.folders, DiskSettings(min_free_mb=0))
