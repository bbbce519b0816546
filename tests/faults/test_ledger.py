"""Whatever befalls the ledger, or the daemon amid it: images are filed as ever, and it ends up equal to the records."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from harness import Daemon, Fault, Ledger, Nursery, Trials, read_events, wait_until
from ledger_line import Records
from lines import configure, new_line

from daemon.reporting.status import read_status
from inspection.errors import LedgerError

Images = Callable[[int], bytes]

_NAMES = ("lot/1.png", "lot/2.png", os.fsdecode(b"lot\xff/5\n.png"), "4.png", "rubbish.png")
_LOTS = ("before/", "meanwhile/")


@pytest.fixture(autouse=True)
def _quick(line: Path) -> None:
    configure(line, inbox={"quiet_s": 0.05, "scan_s": 0.05})


def _drop(ledger: Ledger, image: Images, lot: str = "") -> None:
    """Images for each folder, and names that are not easily written down; `lot` makes them unlike those before."""
    for number, name in enumerate(_NAMES):
        data = b"no picture at all" if name == "rubbish.png" else image(number + 2)
        ledger.drop(lot + name, data + lot.encode())


def _in_step(ledger: Ledger) -> bool:
    try:
        Records(ledger.folder).check()
    except (AssertionError, LedgerError):
        return False
    return True


def _settle(ledger: Ledger, daemon: Daemon) -> None:
    """Wait until all is filed, and the ledger says what the records say."""
    daemon.wait_for("watching")
    wait_until(lambda: len(_made_of_them(ledger.folder)) == len(ledger.arrived))
    wait_until(lambda: _in_step(ledger), every_s=0.1)
    assert daemon.poll() is None


def _made_of_them(folder: Path) -> dict[str, tuple[object, ...]]:
    """Outcome, verdict, reason and score of each image, as its record says."""
    truth = Records(folder).truth()
    return {str(path): (outcome, *facts[1:4]) for (outcome, path), facts in truth.items()}


@pytest.fixture
def undisturbed(
    trained: Path, tmp_path: Path, nursery: Nursery, image: Images
) -> Callable[[], dict[str, tuple[object, ...]]]:
    """What a daemon makes of the same images where nothing befalls its ledger."""

    def judge() -> dict[str, tuple[object, ...]]:
        other = Ledger(new_line(tmp_path / "undisturbed", trained, inbox={"quiet_s": 0.05, "scan_s": 0.05}))
        for lot in _LOTS:
            _drop(other, image, lot)
        assert nursery.once(other.folder) == 0
        return _made_of_them(other.folder)

    return judge


def test_what_is_filed_is_in_the_ledger(ledger: Ledger, nursery: Nursery, image: Images) -> None:
    """After `run --once` it knows all that this run filed, as the records have it, and all of an earlier one's."""
    for lot in _LOTS:
        _drop(ledger, image, lot)
        assert nursery.once(ledger.folder) == 0
        records = Records(ledger.folder)
        assert records.known() == records.truth()
        assert len(records.known()) == len(records.truth()) > 0
    ledger.check_filed()


def test_status_counts_as_the_folders_do(ledger: Ledger, nursery: Nursery, image: Images) -> None:
    """Its figures are those of the folders, whether the ledger gave them or a walk did."""
    daemon = nursery.start(ledger.folder)
    _drop(ledger, image)
    settings = Records(ledger.folder).settings
    _settle(ledger, daemon)
    wait_until(lambda: bool(read_status(settings).daemon.get("ledger_in_step")))
    told = read_status(settings).counts
    (ledger.data / "io" / "theirs.json").touch()
    assert read_status(settings).counts == told, "it walked through the folders"
    (ledger.data / "io" / "theirs.json").unlink()
    assert daemon.stop() == 0
    assert read_status(settings).counts == told
    assert sum(told.values()) == len(ledger.arrived)


# --- what befalls the ledger while the daemon files images ---


def _cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def _zero(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with path.open("r+b") as file:
        file.write(bytes(path.stat().st_size))


def _replace(path: Path) -> None:
    new = path.with_name("new")
    new.write_text("no ledger\n" * 1000)
    new.replace(path)


def _delete(path: Path) -> None:
    for companion in path.parent.glob("ledger.db*"):
        companion.unlink()


_ACTS = {"deleted": _delete, "cut": _cut, "zeroed": _zero, "replaced": _replace}


@pytest.mark.parametrize("act", _ACTS)
def test_a_ledger_that_is_spoilt_costs_no_verdict(
    ledger: Ledger,
    nursery: Nursery,
    image: Images,
    undisturbed: Callable[[], dict[str, tuple[object, ...]]],
    act: str,
) -> None:
    """Spoilt amid the work: the same verdicts and files as without; told once; and it is equal to the records again.

    Of a file that is only zeroed, what is in memory is right still: that is noticed by the daily look, or a restart.
    """
    daemon = nursery.start(ledger.folder)
    _drop(ledger, image, _LOTS[0])
    daemon.wait_for("decision", 4)
    _ACTS[act](Records(ledger.folder).ledger)
    _drop(ledger, image, _LOTS[1])
    daemon.wait_for("decision", 8)
    daemon.wait_for("quarantine", 2)
    if act == "zeroed":
        assert daemon.stop() == 0
        daemon = nursery.start(ledger.folder)
    _settle(ledger, daemon)
    assert daemon.stop() == 0
    ledger.check_filed()
    assert _made_of_them(ledger.folder) == undisturbed()
    told = read_events(ledger.folder / "stdout.jsonl.out", "ledger_rebuilding", "ledger_failed")
    assert len(told) == 1, told


_LOCKER = """
import sqlite3, sys
database = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=60)
database.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
sys.stdin.read()
"""


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Another process holds the ledger, as a context."""
    command = [sys.executable, "-c", _LOCKER, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as locker:
        assert locker.stdout
        assert locker.stdin
        assert locker.stdout.readline() == b"locked\n"
        yield


def test_a_locked_ledger_costs_no_verdict(
    ledger: Ledger, nursery: Nursery, image: Images, undisturbed: Callable[[], dict[str, tuple[object, ...]]]
) -> None:
    """While another process holds it images are filed as ever; told once, `status` counts, and it is caught up."""
    daemon = nursery.start(ledger.folder)
    _drop(ledger, image, _LOTS[0])
    daemon.wait_for("decision", 4)
    records = Records(ledger.folder)
    wait_until(lambda: _in_step(ledger))
    with _locked(records.ledger):
        _drop(ledger, image, _LOTS[1])
        daemon.wait_for("decision", 8)
        daemon.wait_for("ledger_failed")
        wait_until(lambda: not read_status(records.settings).daemon["ledger_in_step"])
        counts = read_status(records.settings).counts
        assert counts["io"] + counts["nio"] == 8
    _settle(ledger, daemon)
    assert daemon.stop() == 0
    ledger.check_filed()
    assert _made_of_them(ledger.folder) == undisturbed()
    assert len(daemon.events("ledger_failed")) == len(daemon.events("ledger_recovered")) == 1
    assert not daemon.events("ledger_rebuilding")


def test_a_locked_ledger_holds_up_no_stop(ledger: Ledger, nursery: Nursery, image: Images) -> None:
    """A daemon that is told to stop, or has emptied its inbox, ends; the next one catches up."""
    _drop(ledger, image, _LOTS[0])
    assert nursery.once(ledger.folder) == 0
    with _locked(Records(ledger.folder).ledger):
        _drop(ledger, image, _LOTS[1])
        assert nursery.once(ledger.folder) == 0
    daemon = nursery.start(ledger.folder)
    _settle(ledger, daemon)
    assert daemon.stop() == 0
    ledger.check_filed()


def test_a_ledger_that_may_not_be_written_costs_no_verdict(ledger: Ledger, nursery: Nursery, image: Images) -> None:
    """Told once, images are filed as ever, `status` counts; once it may be written it is caught up, with no restart."""
    _drop(ledger, image, _LOTS[0])
    assert nursery.once(ledger.folder) == 0
    records = Records(ledger.folder)
    records.ledger.chmod(0o444)
    daemon = nursery.start(ledger.folder, fault=Fault(modes_bind=True))
    _drop(ledger, image, _LOTS[1])
    daemon.wait_for("decision", 4)
    daemon.wait_for("ledger_failed")
    wait_until(lambda: read_status(records.settings).daemon.get("ledger_in_step") is False)
    assert read_status(records.settings).counts["io"] == len(list((ledger.data / "io").rglob("*.png.json")))
    records.ledger.chmod(0o644)
    _settle(ledger, daemon)
    assert daemon.stop() == 0
    ledger.check_filed()
    assert len(daemon.events("ledger_failed")) == len(daemon.events("ledger_recovered")) == 1
    assert not daemon.events("ledger_rebuilding")


# --- what befalls the daemon amid the ledger ---


@pytest.mark.timeout(900)
def test_killed_at_any_call_of_the_keeper(ledger: Ledger, nursery: Nursery, image: Images, long: bool) -> None:
    """Killed before any call or statement of its keeper: nothing is lost, and after a restart all are in the ledger."""
    _drop(ledger, image, _LOTS[0])
    assert nursery.once(ledger.folder) == 0
    _drop(ledger, image, _LOTS[1])
    ledger.save()
    assert nursery.once(ledger.folder, Fault(at=10**9, keeper=True)) == 0
    calls = (ledger.folder / "calls").read_text().splitlines()
    assert {"BEGIN ledger.db", "COMMIT ledger.db", "INSERT ledger.db"} <= set(calls)
    numbers = range(1, len(calls) + 1, 1 if long else len(calls) // 6)
    died = 0
    with Trials() as trial:
        for number in numbers:
            with trial(f"killed at call {number}, about {calls[number - 1]}"):
                ledger.restore()
                died += nursery.dies(ledger.folder, Fault(at=number, keeper=True))
                ledger.check()
                daemon = nursery.start(ledger.folder)
                _settle(ledger, daemon)
                assert daemon.stop() == 0
                ledger.check_filed()
                assert not daemon.events("ledger_rebuilding", "ledger_failed")
    assert died > 0.6 * len(numbers)
