"""What is in the inbox: images, which wait; what is never taken, which is told; and what is being delivered."""

from __future__ import annotations

import io
import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from harness import Fault, Ledger, Nursery, wait_until

from daemon.checking.check import check
from daemon.intake.inbox import Inbox
from daemon.intake.survey import MENDS, Passed, PassedOverLog, survey
from daemon.reporting.status import as_json, as_text, read_status
from filing.folders import Folders
from filing.logs import open_log
from settings import load
from settings.schema import InboxSettings, LogSettings

IMAGES = ("a.png", "B.TIF", "lot/c.dcm", "lot/deep.part/d.jpg")
IN_DELIVERY = (
    *("a.png.part", "b.tmp", ".hidden.png", ".joint.png.Xy12Zq", "lot/c.dcm.done", "e.png.done"),
    *(".sync/f.png", "g.png.20260101T000000-aaaaaaaaaaaa.claimed"),
)
PASSED_OVER = {
    "suffix": ("notes.txt", "lot/Thumbs.db", "h.png.old", "README"),
    "sidecar": ("joint.png.cam.png", "joint.png.json", "lot/bad.png.error.json", "x.cam.png"),
    "link": ("file.png", "folder", "dangling.png", "loop.png", "lot/up.txt"),
    "special": ("fifo.png", "socket.png", "lot/pipe"),
}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An inbox with everything that there is."""
    root = tmp_path / "data" / "inbox"
    for name in (*IMAGES, *IN_DELIVERY, *PASSED_OVER["suffix"], *PASSED_OVER["sidecar"]):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"no known format, but long enough")
    (root / "empty.png").mkdir()
    targets = ("a.png", "lot", "nowhere", "loop.png", "..")
    for name, target in zip(PASSED_OVER["link"], targets, strict=True):
        (root / name).symlink_to(target)
    monkeypatch.chdir(root)  # a socket's address is short
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket.png")
    os.mkfifo("fifo.png")
    os.mkfifo("lot/pipe")
    return root


def _settings() -> InboxSettings:
    return InboxSettings(done_marker=".done", admission="lease")


def test_each_file_is_one_of_three(root: Path) -> None:
    """Images wait, what is never taken is counted by reason with an example, what is being delivered is neither."""
    found = survey(root, _settings())
    assert found.waiting == len(IMAGES)
    assert {reason: passed.count for reason, passed in found.passed_over.items()} == {
        reason: len(names) for reason, names in PASSED_OVER.items()
    }
    for reason, passed in found.passed_over.items():
        assert passed.example in PASSED_OVER[reason]


def test_the_scan_sees_the_same(root: Path) -> None:
    """What the survey counts as waiting is what the scan takes or waits for; both pass over the same."""
    inbox = Inbox(Folders({"inbox": root}, "lease"), _settings())
    (root / "a.png.done").touch()
    taken = [str(candidate.relative) for candidate in inbox.scan()]
    assert sorted(taken) == ["a.png", "lot/c.dcm"]
    found = survey(root, _settings())
    assert len(taken) + inbox.waiting == found.waiting == len(IMAGES)
    assert inbox.passed_over.report() == found.passed_over


def test_an_example_stays_while_it_is_there(tmp_path: Path) -> None:
    """Whatever comes beside it, the same file is named; when it is gone, another one."""
    (tmp_path / "m.txt").touch()
    inbox = Inbox(Folders({"inbox": tmp_path}), InboxSettings())
    list(inbox.scan())
    for number in range(20):
        (tmp_path / f"{number}.txt").touch()
    list(inbox.scan())
    assert inbox.passed_over.report() == {"suffix": Passed(21, "m.txt")}
    (tmp_path / "m.txt").unlink()
    list(inbox.scan())
    assert inbox.passed_over.report()["suffix"].count == 20
    assert inbox.passed_over.report()["suffix"].example != "m.txt"


def test_nothing_is_told_of_an_inbox_without_such_files(tmp_path: Path) -> None:
    """An inbox that holds images only has nothing to tell; nor has one that is not there."""
    (tmp_path / "a.png").touch()
    assert survey(tmp_path, InboxSettings()).passed_over == {}
    assert survey(tmp_path / "missing", InboxSettings()).passed_over == {}


class _Told:
    """A log of what is passed over, with a clock that passes only when told."""

    def __init__(self) -> None:
        self.now = 100.0
        self._stream = io.StringIO()
        log = open_log(LogSettings(file=None, format="json"), self._stream)
        self._log = PassedOverLog(log, 3.0, lambda: self.now)

    def after(self, seconds: float, *, at_once: bool = False, **found: str) -> list[tuple[str, str]]:
        """What is told, reason and example, when such examples are found so much later."""
        self.now += seconds
        begin = self._stream.tell()
        passed = {reason: Passed(2, example) for reason, example in found.items()}
        self._log.tell(passed, at_once=at_once)  # type: ignore[arg-type]
        events = [json.loads(line) for line in self._stream.getvalue()[begin:].splitlines()]
        assert all(event["mend"] == MENDS[event["reason"]] and event["count"] == 2 for event in events)
        return [(event["reason"], event["example"]) for event in events]


def test_each_reason_is_told_once_until_it_has_ended() -> None:
    """Once for a reason, however long and with whatever example; again when it was gone and came back."""
    told = _Told()
    assert told.after(0, suffix="a.txt") == []
    assert told.after(3, suffix="a.txt", link="b") == [("suffix", "a.txt")]
    assert told.after(3, suffix="a.txt", link="b") == [("link", "b")]
    assert told.after(3, suffix="c.txt", link="b") == told.after(3, suffix="c.txt", link="b") == []
    assert told.after(3, link="b") == []
    assert told.after(3, suffix="a.txt", link="b") == []
    assert told.after(3, suffix="a.txt", link="b") == [("suffix", "a.txt")]


def test_a_writer_with_temporary_names_of_its_own_is_not_told_of() -> None:
    """As long as none stays for the quiet time, other names each time are a delivery; the last word needs no time."""
    told = _Told()
    for number in range(5):
        assert told.after(2.9, suffix=f"{number}.png.uploading") == []
    assert told.after(0, suffix="4.png.uploading", at_once=True) == [("suffix", "4.png.uploading")]


def test_status_and_check_say_it(root: Path, tmp_path: Path) -> None:
    """In the status as text and as JSON and in `check`: the reason, how many, an example, and what to do."""
    (tmp_path / "config.yaml").write_text("inbox: {done_marker: .done}\n", encoding="utf-8")
    settings = load(tmp_path / "config.yaml")
    odd = root / "odd\n\udcff.txt"
    odd.touch()
    status = read_status(settings)
    assert status.counts["waiting"] == len(IMAGES)
    said: dict[str, Any] = json.loads(as_json(status))["passed_over"]
    assert {reason: kind["count"] for reason, kind in said.items()} == {
        reason: len(names) + (reason == "suffix") for reason, names in PASSED_OVER.items()
    }
    shown = as_text(status).splitlines()
    found = [finding for finding in check(settings) if finding.text.startswith("passed over")]
    for reason, passed in status.passed_over.items():
        line = f"{passed.count} {reason}, such as {passed.example}: {MENDS[reason]}"
        assert f"passed over   {line}" in shown
        assert ("warning", f"passed over in paths.inbox: {line}") in [(one.level, one.text) for one in found]
    assert "odd\n" not in as_text(status)


OFTEN = Fault(settings={"daemon.reporting.metrics._EVERY_S": 0.05})


def test_a_daemon_tells_what_it_passes_over(
    nursery: Nursery, ledger: Ledger, image: Callable[[int], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each reason once, with the images beside judged and nothing touched; again after it was gone; in the metrics."""
    config = "device: cpu\nruntime: torch\ninbox: {quiet_s: 0.3, scan_s: 0.2}\nmetrics: {file: line.prom}\n"
    (ledger.folder / "config.yaml").write_text(config, encoding="utf-8")
    inbox = ledger.data / "inbox"
    inbox.mkdir(parents=True)
    (inbox / "notes.txt").write_text("of the shift", encoding="utf-8")
    (inbox / "joint.png.cam.png").write_bytes(image(1))
    (inbox / "link.png").symlink_to("joint.png.cam.png")
    before = {path.name: path.lstat() for path in inbox.iterdir()}
    daemon = nursery.start(ledger.folder, fault=OFTEN)
    ledger.drop("lot/a.png", image(2))
    daemon.wait_for("decision")
    examples = {"suffix": "notes.txt", "sidecar": "joint.png.cam.png", "link": "link.png"}
    told = daemon.wait_for("passed_over", 3)
    assert {event["reason"]: event["example"] for event in told} == examples
    assert all(event["level"] == "warning" and event["count"] == 1 and event["mend"] for event in told)

    def gauge(reason: str, count: int) -> bool:
        text = (ledger.folder / "line.prom").read_text(encoding="utf-8")
        return f'solderwatch_passed_over_files{{reason="{reason}"}} {count}.0' in text

    wait_until(lambda: gauge("suffix", 1) and gauge("special", 0))
    (inbox / "notes.txt").rename(inbox / ".notes.txt")
    monkeypatch.chdir(inbox)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket.png")
    # Whoever has seen the socket has seen that the notes are gone.
    assert daemon.wait_for("passed_over", 4)[-1]["example"] == "socket.png"
    wait_until(lambda: gauge("suffix", 0) and gauge("special", 1))
    (inbox / ".notes.txt").rename(inbox / "notes.txt")
    assert daemon.wait_for("passed_over", 5)[-1]["example"] == "notes.txt"
    assert daemon.stop() == 0
    for name, about in before.items():
        now = (inbox / name).lstat()
        assert (now.st_ino, now.st_mode, now.st_mtime_ns) == (about.st_ino, about.st_mode, about.st_mtime_ns), name
        (inbox / name).unlink()
    (inbox / "socket.png").unlink()
    assert ledger.check_filed()["quarantine"] == 0


def test_emptying_the_inbox_once_tells_it_too(nursery: Nursery, ledger: Ledger, image: Callable[[int], bytes]) -> None:
    """`run --once` does not wait for what it passes over, says so before it ends, and is content."""
    ledger.drop("a.png", image(1))
    (ledger.data / "inbox" / "a.txt").touch()
    assert nursery.once(ledger.folder) == 0
    log = [json.loads(line) for line in (ledger.folder / "logs" / "decisions.jsonl").read_bytes().splitlines()]
    (told,) = [event for event in log if event["event"] == "passed_over"]
    assert (told["reason"], told["count"], told["example"]) == ("suffix", 1, "a.txt")
