"""Two daemons with work folders of their own share one inbox, and io, nio and quarantine: each image has one winner."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from harness import Fault, Ledger, Nursery, Trials, wait_until

Images = Callable[[int], bytes]

_CONFIG = """\
device: cpu
runtime: torch
inbox: {{quiet_s: 0.3, scan_s: 0.1}}
paths: {{inbox: {inbox}, io: {data}/io, nio: {data}/nio, quarantine: {data}/quarantine, models: {models}, work: {work}}}
"""


def _lines(line: Path, inbox: Path, works: tuple[Path, Path]) -> tuple[Path, Path]:
    """Two folders with a configuration each; the first is the line's own."""
    folders = line, line / "second"
    for folder, work in zip(folders, works, strict=True):
        folder.mkdir(exist_ok=True)
        config = _CONFIG.format(inbox=inbox, data=line / "data", models=line / "models", work=work)
        (folder / "config.yaml").write_text(config)
    return folders


def _logs(lines: tuple[Path, Path]) -> list[Path]:
    return [folder / "logs" / "decisions.jsonl" for folder in lines]


def _wait_until_filed(ledger: Ledger, seconds: float) -> None:
    wait_until(lambda: not [path for path in ledger.inbox.rglob("*") if path.is_file()], seconds, every_s=0.1)


def _both_take_part(ledger: Ledger, nursery: Nursery, lines: tuple[Path, Path], *, kills: int = 0) -> None:
    """Let both daemons file all that is in the inbox; kill one of them now and then."""
    daemons = [nursery.start(folder) for folder in lines]
    rng = np.random.default_rng(0)
    for number in range(kills):
        time.sleep(rng.uniform(0.2, 0.8))
        victim = number % 2
        daemons[victim].kill()
        with daemons[1 - victim].frozen():
            ledger.check(copies=True)
        daemons[victim] = nursery.start(lines[victim])
    _wait_until_filed(ledger, 240)
    # Both have to begin before they can end.
    for daemon in daemons:
        daemon.wait_for("watching")
        assert daemon.stop() == 0
        assert "Traceback" not in (daemon.folder / "stdout.jsonl.out").read_text()
    # What one of them still had in hand when it was stopped.
    for folder in lines:
        assert nursery.once(folder) == 0
    ledger.check_filed(*_logs(lines))


def _drop_many(ledger: Ledger, image: Images, count: int) -> None:
    for number in range(count):
        ledger.drop(f"lot{number % 3}/{number:04d}.png", image(number))


@pytest.mark.timeout(600)
def test_two_daemons_share_an_inbox(line: Path, nursery: Nursery, image: Images, long: bool) -> None:
    """Each image is judged exactly once, by one of the two, and both have a part."""
    works = line / "data" / "work", line / "second" / "work"
    lines = _lines(line, line / "data" / "inbox", works)
    ledger = Ledger(line, works[1])
    _drop_many(ledger, image, 2000 if long else 100)
    _both_take_part(ledger, nursery, lines)
    assert all(len(log.read_text().splitlines()) > 10 for log in _logs(lines))


@pytest.mark.timeout(600)
def test_one_of_two_daemons_dies(line: Path, nursery: Nursery, image: Images, long: bool) -> None:
    """What the dead one had in hand waits for its restart; the other goes on, and takes nothing twice."""
    works = line / "data" / "work", line / "second" / "work"
    lines = _lines(line, line / "data" / "inbox", works)
    ledger = Ledger(line, works[1])
    _drop_many(ledger, image, 600 if long else 60)
    _both_take_part(ledger, nursery, lines, kills=20 if long else 3)


@pytest.mark.timeout(600)
def test_two_daemons_far_from_their_inbox(
    line: Path, elsewhere: Path, nursery: Nursery, image: Images, long: bool
) -> None:
    """Where an image must be copied to be claimed, only one of the two copies it; also when one dies of it."""
    works = line / "data" / "work", line / "second" / "work"
    lines = _lines(line, elsewhere, works)
    ledger = Ledger(line, works[1], elsewhere, inbox=elsewhere)
    _drop_many(ledger, image, 600 if long else 60)
    _both_take_part(ledger, nursery, lines, kills=20 if long else 3)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("far", [False, True], ids=["near", "far"])
def test_one_dies_at_any_call_and_the_other_goes_on(
    line: Path, elsewhere: Path, nursery: Nursery, image: Images, long: bool, far: bool
) -> None:
    """Wherever the one dies: the other takes what is free and nothing else, and the restarted one files the rest."""
    inbox = elsewhere if far else line / "data" / "inbox"
    works = line / "data" / "work", line / "second" / "work"
    lines = _lines(line, inbox, works)
    ledger = Ledger(line, works[1], elsewhere, inbox=inbox)
    ledger.drop("0.png", image(0))
    ledger.drop("lot/1.png", image(1))
    ledger.save()
    assert nursery.once(line, Fault(at=10**9, also=str(elsewhere))) == 0
    calls = (line / "calls").read_text().splitlines()
    claims = range(1, calls.index("open cam.part") + 2)
    numbers = claims if long else claims[10::11]
    died = 0
    with Trials() as trial:
        for number in numbers:
            with trial(f"killed at call {number}, about {calls[number - 1]}"):
                ledger.restore()
                shutil.rmtree(lines[1] / "logs", ignore_errors=True)
                died += nursery.dies(line, Fault(at=number, also=str(elsewhere)))
                ledger.check(copies=far)
                assert nursery.once(lines[1]) == 0
                ledger.check(copies=far)
                assert nursery.once(line) == 0
                ledger.check_filed(*_logs(lines))
                assert not list(inbox.rglob("*.claimed"))
    assert died > 0.8 * len(numbers)
