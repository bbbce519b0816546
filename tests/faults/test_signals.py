"""Signals at any moment: each is heard, none makes the daemon stand still."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable

from harness import Ledger, Nursery
from lines import configure


def test_a_flood_of_signals(nursery: Nursery, ledger: Ledger, image: Callable[[int], bytes], long: bool) -> None:
    """Thousands of SIGHUP, at any instruction, while it judges: it goes on, and ends at the first SIGTERM."""
    configure(ledger.folder, inbox={"quiet_s": 0.3, "scan_s": 0.001})
    for number in range(30):
        ledger.drop(f"{number}.png", image(number))
    for _ in range(6 if long else 2):
        daemon = nursery.start(ledger.folder)
        daemon.wait_for("starting")
        time.sleep(0.1)
        end = time.monotonic() + 2
        while time.monotonic() < end:
            daemon.send(signal.SIGHUP)
            time.sleep(0.0003)
        started = time.monotonic()
        assert daemon.stop(10) == 0
        assert time.monotonic() - started < 10
    assert nursery.once(ledger.folder) == 0
    ledger.check_filed()
