"""The daemon dies again and again at any moment, while images keep coming in by every method that a producer has."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from harness import Daemon, Ledger, Nursery

Images = Callable[[int], bytes]


class Writer(threading.Thread):
    """A producer that writes one image after the other, each time it is allowed one."""

    def __init__(self, ledger: Ledger, image: Images, count: int, aside: Path) -> None:
        super().__init__(daemon=True)
        self.allowed = threading.Semaphore(10)
        self._ledger, self._image, self._count, self._aside = ledger, image, count, aside
        self._methods = (self._moved, self._written, self._copied, self._linked, self._synced)

    def run(self) -> None:
        """Write them all."""
        for number in range(self._count):
            self.allowed.acquire()
            target = self._ledger.inbox / (f"lot{number // 50}" if number % 3 else "") / f"{number:04d}.png"
            target.parent.mkdir(parents=True, exist_ok=True)
            data = self._image(number)
            self._methods[number % len(self._methods)](target, data)
            # Only now it has arrived: before, the daemon must leave it alone.
            self._ledger.expect(target.name, data)

    def _moved(self, target: Path, data: bytes) -> None:
        part = target.with_suffix(".part")
        part.write_bytes(data)
        part.rename(target)

    def _written(self, target: Path, data: bytes) -> None:
        with target.open("wb", buffering=0) as file:
            for start in range(0, len(data), 300):
                file.write(data[start : start + 300])
                time.sleep(0.002)

    def _copied(self, target: Path, data: bytes) -> None:
        self._aside.write_bytes(data)
        shutil.copyfile(self._aside, target)

    def _linked(self, target: Path, data: bytes) -> None:
        descriptor = os.open(target.parent, os.O_TMPFILE | os.O_WRONLY)
        os.write(descriptor, data)
        # Only with a folder, though it counts for nothing here, does Python follow the link.
        os.link(f"/proc/self/fd/{descriptor}", target, src_dir_fd=descriptor, follow_symlinks=True)
        os.close(descriptor)

    def _synced(self, target: Path, data: bytes) -> None:
        hidden = target.with_name(f".{target.name}.aB3dEf")
        hidden.write_bytes(data)
        hidden.rename(target)


def _terminate(daemon: Daemon) -> None:
    """SIGTERM is answered within 10 s, also under load; a process that has not begun yet just ends."""
    code = daemon.stop(10)
    assert code == 0 or (code == -signal.SIGTERM and not daemon.events("starting"))


@pytest.mark.timeout(900)
def test_random_deaths_under_load(ledger: Ledger, nursery: Nursery, image: Images, long: bool) -> None:
    """Whenever it dies, each image that has arrived is whole in one place; in the end each is filed exactly once."""
    seed = int(os.environ.get("SOLDERWATCH_SEED", "0")) or (secrets.randbits(32) if long else 1)
    print(f"SOLDERWATCH_SEED={seed}")
    rng = np.random.default_rng(seed)
    deaths, count = (300, 2000) if long else (15, 100)
    writer = Writer(ledger, image, count, ledger.folder / "aside")
    writer.start()
    for _ in range(deaths):
        daemon = nursery.start(ledger.folder)
        writer.allowed.release(-(-count // deaths))
        time.sleep(rng.uniform(0.0, 0.4))
        if rng.random() < 0.7:
            daemon.kill()
        else:
            _terminate(daemon)
        ledger.check()
    writer.join()
    assert nursery.once(ledger.folder, seconds=240) == 0
    counts = ledger.check_filed()
    assert sum(counts.values()) == count
    assert "Traceback" not in (ledger.folder / "stdout.jsonl.out").read_text()
    for error in (ledger.data / "quarantine").rglob("*.error.json"):
        # It had the misfortune to be in hand at each of three deaths.
        assert "never finished" in error.read_text()
