"""SIGKILL at every call that changes a file: boards' records come to be those of an undisturbed run."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from harness import Daemon, Fault, Ledger, Nursery, Trials, read_events
from lines import configure

Images = Callable[[int], bytes]

_NAMES = r"(?P<board>B\d+)_(?P<joint>j\d+)_v(?P<view>\d)"


def _boards(line: Path) -> dict[str, Any]:
    """What the records say, but for what is new in each run: times, ids, how often they were revised."""
    found = {}
    for path in sorted((line / "data" / "boards").glob("*.json")):
        board = json.loads(path.read_bytes())
        for name in ("time", "begun", "ended", "revision"):
            del board[name]
        if board["complete"]:
            del board["complete"]["at"]
        for joint in board["joints"]:
            for image in joint["images"]:
                for name in ("time", "at", "decision_id"):
                    del image[name]
        found[path.name] = board
    return found


def _check_told(line: Path) -> None:
    """The last revision of each record was told."""
    told = {(event["record"], event["revision"]) for event in read_events(line / "logs" / "decisions.jsonl", "board")}
    for path in (line / "data" / "boards").glob("*.json"):
        assert (path.name, json.loads(path.read_bytes())["revision"]) in told, f"nobody was told of {path.name}"


@pytest.mark.timeout(900)
def test_killed_at_any_call(ledger: Ledger, nursery: Nursery, image: Images, long: bool) -> None:
    """Boards that end by their joints, by a marker, and not at all; one image of theirs is none."""
    complete = {"marker": ".done", "joints": 2, "views": 1}
    configure(
        ledger.folder,
        inbox={"quiet_s": 0.05, "scan_s": 0.05},
        names={"pattern": _NAMES},
        boards={"complete": complete},
    )
    ledger.drop("B1_j1_v1.png", image(1))
    ledger.drop("B1_j2_v1.png", image(5))
    if long:
        ledger.drop("B2_j1_v1.png", image(2))
        ledger.drop("B3_j1_v1.png", b"no picture")
        ledger.drop("B3_j2_v1.png", image(3))
    (ledger.inbox / "B1.done").touch()
    ledger.save()
    assert nursery.once(ledger.folder, Fault(at=10**9)) == 0
    expected = _boards(ledger.folder)
    assert expected["B1.json"]["complete"]
    calls = (ledger.folder / "calls").read_text().splitlines()
    numbers = range(1, len(calls) + 1, 1 if long else 11)
    died = 0
    with Trials() as trial:
        for number in numbers:
            with trial(f"killed at call {number}, about {calls[number - 1]}"):
                ledger.restore()
                died += nursery.dies(ledger.folder, Fault(at=number))
                assert nursery.once(ledger.folder) == 0
                ledger.check_filed()
                assert _boards(ledger.folder) == expected
                _check_told(ledger.folder)
    assert died > 0.8 * len(numbers)


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "command", [["relabel", "data/nio/B1_j1_v1.png", "io"], ["requeue"]], ids=["relabel", "requeue"]
)
def test_an_operators_command_killed_at_any_call(
    ledger: Ledger, nursery: Nursery, image: Images, command: list[str], long: bool
) -> None:
    """The same command once more, and the daemon's next run: the board is what it would have been."""
    configure(
        ledger.folder,
        inbox={"quiet_s": 0.05, "scan_s": 0.05},
        names={"pattern": _NAMES},
        boards={"complete": {"joints": 2}},
    )
    ledger.drop("B1_j1_v1.png", image(5))
    ledger.drop("B1_j2_v1.png", b"no picture")
    assert nursery.once(ledger.folder) == 0
    (ledger.data / "quarantine" / "B1_j2_v1.png").write_bytes(image(1))
    ledger.save()

    def run(fault: Fault) -> int:
        output = ledger.folder / "command.out"
        answer = nursery.ask(
            folder=str(ledger.folder), arguments=command, output=str(output), environment={}, fault=asdict(fault)
        )
        return Daemon(nursery, ledger.folder, answer["pid"], output, 0).wait()

    assert run(Fault(at=10**9)) == 0
    assert nursery.once(ledger.folder) == 0
    expected = _boards(ledger.folder)
    calls = (ledger.folder / "calls").read_text().splitlines()
    with Trials() as trial:
        for number in range(1, len(calls) + 1, 1 if long else 9):
            with trial(f"killed at call {number}, about {calls[number - 1]}"):
                ledger.restore()
                shutil.rmtree(ledger.folder / "dataset", ignore_errors=True)
                assert run(Fault(at=number)) == -signal.SIGKILL
                run(Fault())
                assert nursery.once(ledger.folder) == 0
                assert _boards(ledger.folder) == expected
                _check_told(ledger.folder)
