"""Logs that cannot be written, or not where they were: no verdict waits for them, and no line is lost or torn."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from harness import Daemon, Fault, Ledger, Nursery, wait_until
from lines import Mounts, configure

_ONE_BY_ONE = {"daemon.line.GROUP": 1, "daemon.pipeline.GROUP": 1}
"""For `Fault.settings`: images are filed and logged alone, as in a slow trickle, so that more can happen in between."""


@pytest.fixture
def mounts() -> Iterator[Mounts]:
    """A place where a small file system can be mounted without root."""
    with Mounts() as made:
        yield made


def lines(*logs: Path) -> list[dict[str, Any]]:
    """The lines of log files, each of them whole and one JSON object."""
    events = []
    for path in logs:
        data = path.read_bytes()
        assert data.endswith(b"\n"), f"{path} ends in a half line"
        events += [json.loads(line) for line in data.splitlines()]
    return events


def decided(ledger: Ledger, *logs: Path) -> None:
    """Each image that was filed has its line in the logs, with the id that stands beside the image."""
    ids: dict[str, set[str]] = {}
    for event in lines(*logs):
        if event["event"] == "decision":
            ids.setdefault(event["file"], set()).add(event["decision_id"])
    filed = [
        json.loads(path.read_bytes()) for label in ("io", "nio") for path in (ledger.data / label).rglob("*.png.json")
    ]
    assert len(filed) == len(ledger.arrived)
    assert ids == {record["file"]: {record["decision_id"]} for record in filed}


def filed(ledger: Ledger) -> int:
    """How many images are in io and nio."""
    return len([path for label in ("io", "nio") for path in (ledger.data / label).rglob("*.png.json")])


def log_of(ledger: Ledger) -> Path:
    """The log file of a line."""
    return ledger.folder / "logs" / "decisions.jsonl"


def drop(ledger: Ledger, image: Callable[[int], bytes], *numbers: int) -> None:
    """Images into the inbox, and wait for their verdicts."""
    before = filed(ledger)
    for number in numbers:
        ledger.drop(f"{number}.png", image(number))
    wait_until(lambda: filed(ledger) == before + len(numbers))


def fill(path: Path) -> None:
    """Leave no room on a disk."""
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(64))


def start(nursery: Nursery, ledger: Ledger, **fault: Any) -> Daemon:
    """A daemon that watches."""
    daemon = nursery.start(ledger.folder, fault=Fault(**fault))
    daemon.wait_for("watching")
    return daemon


def test_a_full_log_disk(
    nursery: Nursery, ledger: Ledger, mounts: Mounts, image: Callable[[int], bytes], long: bool
) -> None:
    """No room for a line: verdicts are filed all the same; with room again the log has every one of them, all whole."""
    (ledger.folder / "logs").mkdir()
    mounts.mount(ledger.folder / "logs", size="16k")
    log = mounts.seen(log_of(ledger))
    daemon = start(nursery, ledger, inside=mounts.process)
    drop(ledger, image, 0, 1)
    fill(log.with_name("filler"))
    count = 200 if long else 15
    drop(ledger, image, *range(2, count))
    assert not daemon.events("trouble")
    half_full = log.read_bytes()
    assert half_full.endswith(b"\n")
    log.with_name("filler").unlink()
    mounts.resize(ledger.folder / "logs", "4m")
    drop(ledger, image, count)
    wait_until(lambda: len([e for e in lines(log) if e["event"] == "decision"]) >= count + 1)
    assert log.read_bytes().startswith(half_full)
    decided(ledger, log)
    assert daemon.stop() == 0
    assert lines(log)[-1]["event"] == "stopped"


def test_a_log_disk_that_is_full_up_to_the_end(
    nursery: Nursery, ledger: Ledger, mounts: Mounts, image: Callable[[int], bytes]
) -> None:
    """Stopped while the disk is still full: it ends in time with exit 0, and what is in the log is whole lines."""
    (ledger.folder / "logs").mkdir()
    mounts.mount(ledger.folder / "logs", size="4k")
    daemon = start(nursery, ledger, inside=mounts.process)
    drop(ledger, image, *range(16))
    assert daemon.stop(10) == 0
    events = lines(mounts.seen(log_of(ledger)))
    assert 0 < len([event for event in events if event["event"] == "decision"]) < 16
    assert len({event["file"] for event in daemon.events("decision")}) == 16
    ledger.check()


@pytest.mark.parametrize("how", ["/dev/full", "a folder", "read-only", "a folder that is a file", "a fifo", "a link"])
def test_a_log_that_is_none(how: str, nursery: Nursery, ledger: Ledger, image: Callable[[int], bytes]) -> None:
    """A log file that can never be written to, or that never answers, costs no verdict and no time."""
    log = log_of(ledger)
    log.parent.mkdir()
    match how:
        case "/dev/full":
            log.symlink_to("/dev/full")
        case "a folder":
            log.mkdir()
        case "read-only":
            log.touch(mode=0o444)
        case "a folder that is a file":
            log.parent.rmdir()
            log.parent.touch()
        case "a fifo":
            os.mkfifo(log)
        case "a link":
            log.symlink_to("nowhere/decisions.jsonl")
    daemon = start(nursery, ledger, modes_bind=True)
    drop(ledger, image, *range(5))
    assert not daemon.events("trouble")
    daemon.wait_for("decision", 5)
    assert daemon.stop(10) == 0
    assert ledger.check_filed(daemon.folder / "stdout.jsonl.out")["quarantine"] == 0


@pytest.mark.parametrize("how", ["rotated", "deleted", "folder deleted", "folder renamed", "truncated", "replaced"])
def test_a_log_that_goes_while_it_runs(
    how: str, nursery: Nursery, ledger: Ledger, image: Callable[[int], bytes]
) -> None:
    """Renamed by logrotate, deleted with or without its folder: the next line begins a new file where it belongs."""
    daemon = start(nursery, ledger)
    drop(ledger, image, 1, 2, 3)
    log, old = log_of(ledger), ledger.folder / "old.jsonl"
    wait_until(lambda: len([event for event in lines(log) if event["event"] == "decision"]) == 3)
    shutil.copyfile(log, old)
    match how:
        case "rotated":
            log.rename(old)
        case "deleted":
            log.unlink()
        case "folder deleted":
            shutil.rmtree(log.parent)
        case "folder renamed":
            log.parent.rename(ledger.folder / "old-logs")
        case "truncated":
            os.truncate(log, 0)
        case "replaced":
            log.with_name("new").touch()
            log.with_name("new").replace(log)
    drop(ledger, image, 4, 5)
    assert daemon.stop() == 0
    assert [event["event"] for event in lines(log)][:2] == ["decision", "decision"]
    decided(ledger, old, log)
    ledger.check_filed(old, log)


def test_rotated_all_the_time(nursery: Nursery, ledger: Ledger, image: Callable[[int], bytes], long: bool) -> None:
    """Rotated between any two lines: every decision is in one of the files, none is torn, none is missing."""
    daemon = nursery.start(ledger.folder, fault=Fault(settings=_ONE_BY_ONE))
    daemon.wait_for("watching")
    count = 300 if long else 25
    for number in range(count):
        ledger.drop(f"{number}.png", image(number))
    log, rotated = log_of(ledger), ledger.folder / "rotated"
    rotated.mkdir()
    while filed(ledger) < count:
        if log.exists():
            log.rename(rotated / f"{time.monotonic_ns()}")
        time.sleep(0.003)
    assert daemon.stop() == 0
    logs = [*sorted(rotated.iterdir()), log]
    assert len(logs) > count / 5
    decided(ledger, *logs)


@pytest.mark.parametrize(
    "half", [b"{", b'{"timestamp": "2026-01-01T00:00:00Z", "ev', b'{"event": "decision"}', b"\xff\0"]
)
def test_a_half_line_of_a_crash(half: bytes, nursery: Nursery, ledger: Ledger, image: Callable[[int], bytes]) -> None:
    """What a power cut left half written spoils no line after it, nor is anything before it lost."""
    daemon = start(nursery, ledger)
    drop(ledger, image, 1)
    daemon.kill()
    before = log_of(ledger).read_bytes()
    with log_of(ledger).open("ab") as log:
        log.write(half)
    daemon = start(nursery, ledger)
    drop(ledger, image, 2)
    assert daemon.stop() == 0
    after = log_of(ledger).read_bytes()
    assert after.startswith(before)
    whole = after.removeprefix(before).removeprefix(half).splitlines()
    events = [json.loads(line) for line in whole if line]
    assert events[0]["event"] == "starting"
    # The kill may have come before the end of the first one: what is told again is told with the same id.
    assert [event["file"] for event in events if event["event"] == "decision"][-1] == "2.png"


def test_killed_amid_its_lines(nursery: Nursery, ledger: Ledger, image: Callable[[int], bytes], long: bool) -> None:
    """SIGKILL again and again: every image's decision is in the log, at least once and always with the same id."""
    count = 100 if long else 12
    for number in range(count):
        ledger.drop(f"{number}.png", image(number))
    rounds = 0
    while filed(ledger) < count:
        before = filed(ledger)
        daemon = nursery.start(ledger.folder, fault=Fault(settings=_ONE_BY_ONE))
        wait_until(lambda: filed(ledger) > before or daemon.poll() is not None, every_s=0.001)  # noqa: B023
        daemon.kill()
        rounds += 1
    assert nursery.once(ledger.folder) == 0
    assert rounds > 5
    decided(ledger, log_of(ledger))
    assert Counter(ledger.check_filed())["quarantine"] == 0


@pytest.mark.parametrize("output", ["closed", "broken pipe", "/dev/full", "a reader that never reads"])
@pytest.mark.parametrize("form", ["json", "console"])
def test_a_standard_output_that_takes_nothing(
    output: str, form: str, nursery: Nursery, ledger: Ledger, image: Callable[[int], bytes]
) -> None:
    """Closed, broken, full, or a pipe that nobody empties: verdicts are filed, the log file has its lines, exit 0."""
    configure(ledger.folder, inbox={"quiet_s": 0.3, "scan_s": 0.2}, logs={"format": form})
    pipe = ledger.folder / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, 4096)
    path = {"closed": "", "/dev/full": "/dev/full"}.get(output, str(pipe))
    fault = Fault(output=path)
    count = 15 if output.startswith("a reader") else 5  # more than fits into a pipe
    for number in range(count):
        ledger.drop(f"{number}.png", image(number))
    daemon = nursery.start(ledger.folder, fault=fault)
    try:
        wait_until(lambda: filed(ledger) > 0)
        if output == "broken pipe":
            os.close(reader)
            reader = -1
        wait_until(lambda: filed(ledger) == count, 20)
        daemon.send(signal.SIGHUP)
        wait_until(lambda: any(event["event"] == "reloaded" for event in lines(log_of(ledger))))
        drop(ledger, image, 1000)
        assert daemon.stop(15) == 0
    finally:
        daemon.kill()
        if reader >= 0:
            os.close(reader)
    decided(ledger, log_of(ledger))
