"""A wall clock that is a year off, and files from 1970 and 2100: no file is stuck, and none is taken early."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from harness import Fault, Ledger, Nursery, wait_until

Images = Callable[[int], bytes]

_YEAR_S = 365 * 86400.0
_QUIET_S = 0.8
_MTIMES = {"1970": 1.0, "now": None, "2100": datetime(2100, 1, 1, tzinfo=UTC).timestamp()}


def _drop_of_all_ages(ledger: Ledger, image: Images, first: int) -> None:
    for number, mtime in enumerate(_MTIMES.values(), first):
        for name, data in ((f"{number}.png", image(number)), (f"bad{number}.png", f"no picture {number}".encode())):
            ledger.drop(name, data)
            if mtime is not None:
                os.utime(ledger.inbox / name, (mtime, mtime))


@pytest.mark.parametrize("admission", ["lease", "quiet"])
@pytest.mark.parametrize("clock_s", [-_YEAR_S, _YEAR_S])
def test_the_clock_jumps(ledger: Ledger, nursery: Nursery, image: Images, clock_s: float, admission: str) -> None:
    """Images claimed before a jump, after it, and after it was set right are filed, however old they say they are."""
    (ledger.folder / "config.yaml").write_text(
        f"device: cpu\nruntime: torch\ninbox: {{quiet_s: 0.1, scan_s: 0.1, admission: {admission}}}\n"
    )
    _drop_of_all_ages(ledger, image, 0)
    assert nursery.once(ledger.folder, Fault(at=1, only="cam.part")) == -signal.SIGKILL
    ledger.check()
    _drop_of_all_ages(ledger, image, 10)
    assert nursery.once(ledger.folder, Fault(at=3, only="cam.part", clock_s=clock_s)) == -signal.SIGKILL
    ledger.check()
    _drop_of_all_ages(ledger, image, 20)
    assert nursery.once(ledger.folder, Fault(clock_s=clock_s)) == 0
    _drop_of_all_ages(ledger, image, 30)
    assert nursery.once(ledger.folder) == 0
    counts = ledger.check_filed()
    assert counts["quarantine"] == 12
    assert counts["io"] + counts["nio"] == 12


@pytest.mark.parametrize("clock_s", [-_YEAR_S, _YEAR_S])
def test_old_times_do_not_hurry_it(ledger: Ledger, nursery: Nursery, image: Images, clock_s: float) -> None:
    """A file that is still written, and says it is from 1970 or 2100, is left alone until it was quiet long enough."""
    (ledger.folder / "config.yaml").write_text(
        f"device: cpu\nruntime: torch\ninbox: {{quiet_s: {_QUIET_S}, scan_s: 0.1, admission: quiet}}\n"
    )
    daemon = nursery.start(ledger.folder, fault=Fault(clock_s=clock_s))
    daemon.wait_for("watching")
    contents = {ledger.inbox / f"{year}.png": image(number) for number, year in enumerate(_MTIMES)}
    for end in range(0, 1200, 60):
        for (path, data), mtime in zip(contents.items(), _MTIMES.values(), strict=True):
            with path.open("ab") as file:
                file.write(data[end : end + 60])
            os.utime(path, (mtime, mtime) if mtime is not None else None)
        time.sleep(0.05)
    written = time.monotonic()
    assert all(path.read_bytes() == data for path, data in contents.items())
    assert not daemon.events("decision", "quarantine", "given_back")
    for path, data in contents.items():
        ledger.expect(path.name, data)
    wait_until(lambda: not all(path.exists() for path in contents), 20, every_s=0.005)
    assert time.monotonic() - written > _QUIET_S - 0.1
    daemon.wait_for("decision", len(contents), 20)
    assert daemon.stop(10) == 0
    ledger.check_filed()
