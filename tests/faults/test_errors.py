"""Calls that fail for a while, and a disk that is really full: the daemon goes on by itself, and nothing is lost."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from harness import IMPATIENT, Daemon, Fault, Ledger, Nursery, Trials, wait_until

Images = Callable[[int], bytes]

_QUICKLY = "device: cpu\nruntime: torch\ninbox: {quiet_s: 0.05, scan_s: 0.05}\n"
_ERRORS = ["ENOSPC", "EIO", "ESTALE", "EROFS"]
_MOUNT = 'mount -t tmpfs -o size=24M solderwatch "$0" && exec "$@"'


@pytest.fixture(autouse=True)
def _quick(line: Path) -> None:
    (line / "config.yaml").write_text(_QUICKLY)


def _fail_at_each(ledger: Ledger, nursery: Nursery, error: str, first: int, every: int) -> None:
    """From the ledger as it is: let each call fail (or every so many); the daemon must file all, by itself.

    The calls take turns at failing once and five times, in another order for each error.
    """
    ledger.save()
    assert nursery.once(ledger.folder, Fault(at=10**9)) == 0
    ledger.check_filed()
    calls = (ledger.folder / "calls").read_text().splitlines()
    with Trials() as trial:
        for number in range(first, len(calls) + 1, every):
            times = 1 if (number // every + _ERRORS.index(error)) % 2 else 5
            with trial(f"{error} at call {number}, {calls[number - 1]}, {times} times"):
                ledger.restore()
                fault = Fault(at=number, error=error, times=times, settings=IMPATIENT)
                code = nursery.once(ledger.folder, fault, seconds=10)
                output = (ledger.folder / "stdout.jsonl.out").read_text()
                assert "Traceback" not in output
                ledger.check()
                if code:
                    assert code == 1
                    allowed = '"starting"' not in output or "could not be taken" in output
                    assert allowed, f"it gave up: {output.splitlines()[-1]}"
                    assert nursery.once(ledger.folder) == 0
                ledger.check_filed()


@pytest.mark.timeout(900)
@pytest.mark.parametrize("error", _ERRORS)
def test_any_call_fails(ledger: Ledger, nursery: Nursery, image: Images, long: bool, error: str) -> None:
    """Whatever fails, once or a few times: all is filed, without a restart.

    Only before it starts may it give up; and with --once it may say that there are images left which it could not take.
    """
    ledger.drop("lot/one.png", image(5))
    ledger.drop("rubbish.png", b"no picture at all")
    first = 1 if long else 1 + 6 * _ERRORS.index(error)
    _fail_at_each(ledger, nursery, error, first, every=1 if long else 25)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("error", ["ENOSPC", "EIO"])
def test_any_call_of_a_recovery_fails(ledger: Ledger, nursery: Nursery, image: Images, long: bool, error: str) -> None:
    """Trouble while it takes up what a dead daemon left in hand is trouble like any other."""
    for number in range(3):
        ledger.drop(f"{number}.png", image(number))
    # One is decided, and maybe filed; two have all but their decision, or less.
    nursery.once(ledger.folder, Fault(at=2, only="rename decision.json"))
    first = {"ENOSPC": 1, "EIO": 2}[error]
    _fail_at_each(ledger, nursery, error, first, every=2 if long else 16)


def test_once_leaves_nothing_behind_without_a_word(ledger: Ledger, nursery: Nursery, image: Images) -> None:
    """A file that could not be taken for a while, which is over before the others are judged, is taken then."""
    for number in range(12):
        ledger.drop(f"{number}.png", image(number))
    first_claim = Fault(at=1, only="png", error="EIO", settings=IMPATIENT)
    code = nursery.once(ledger.folder, first_claim)
    assert code == 0 or "could not be taken" in (ledger.folder / "stdout.jsonl.out").read_text()
    if code == 0:
        ledger.check_filed()


@pytest.fixture
def small_disk(line: Path) -> Iterator[Nursery]:
    """Daemons for which `data` is a small disk of its own, in a mount namespace that needs no root."""
    data = line / "data"
    data.mkdir()
    launcher = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", _MOUNT, str(data)]
    try:
        tried = subprocess.run([*launcher, "true"], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("no unshare")
    if tried.returncode:
        pytest.skip(f"no mount namespace: {tried.stderr.strip()}")
    with Nursery(*launcher) as nursery:
        yield nursery


@pytest.mark.timeout(600)
def test_a_full_disk(line: Path, small_disk: Nursery, image: Images, long: bool) -> None:
    """However few pages are left: nothing is half visible while it is full, and all is filed once there is room."""
    (line / "config.yaml").write_text(_QUICKLY + "logs: {file: data/decisions.jsonl}\ndisk: {min_free_mb: 0}\n")
    small_disk.start(line, "--once", fault=Fault(settings=IMPATIENT)).wait()
    ledger = Ledger(Path(f"/proc/{small_disk.pid}/root{line}"))
    filler = ledger.data / "filler"
    with Trials() as trial:
        for pages in range(0, 24, 1 if long else 5):
            with trial(f"{pages} pages left"):
                for number in range(3):
                    ledger.drop(f"{number}.png", image(10 * pages + number))
                _fill(filler, pages)
                daemon = small_disk.start(line, fault=Fault(settings=IMPATIENT))
                try:
                    _wait_for_trouble(daemon, ledger)
                    with daemon.frozen():
                        ledger.check()
                finally:
                    filler.unlink()
                wait_until(lambda: not _waiting(ledger), 20)
                assert daemon.stop() == 0
                ledger.check_filed(ledger.data / "decisions.jsonl")
                assert "Traceback" not in (line / "stdout.jsonl.out").read_text()


def _fill(filler: Path, pages: int) -> None:
    """Leave room for so many pages of 4 KiB."""
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            file.truncate(filler.stat().st_size // 4096 * 4096 - 4096 * pages)


def _wait_for_trouble(daemon: Daemon, ledger: Ledger) -> None:
    wait_until(lambda: any(event["level"] != "info" for event in daemon.events()) or not _waiting(ledger))


def _waiting(ledger: Ledger) -> bool:
    return any(path.is_file() for label in ("inbox", "work") for path in (ledger.data / label).rglob("*.png"))
