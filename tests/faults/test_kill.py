"""SIGKILL at every call that changes a file, then a restart: no image is lost, doubled or half visible."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from harness import Daemon, Fault, Ledger, Nursery, Trials, wait_until

Images = Callable[[int], bytes]

_QUICKLY = "device: cpu\nruntime: torch\ninbox: {quiet_s: 0.05, scan_s: 0.05}\n"
_KILLED = -signal.SIGKILL
_CALLS = ("openat", "write", "fsync", "rename", "renameat2", "unlink", "unlinkat", "mkdir", "rmdir")


@pytest.fixture(autouse=True)
def _quick(line: Path) -> None:
    (line / "config.yaml").write_text(_QUICKLY)


def _mixed(ledger: Ledger, image: Images, nursery: Nursery) -> None:
    """One image for each way through the daemon; one of them under a name that is taken in io already."""
    ledger.drop("lot/taken.png", image(1))
    assert nursery.once(ledger.folder) == 0
    ledger.drop("lot/taken.png", image(2))
    ledger.drop("void.png", image(5))
    ledger.drop(os.fsdecode(b"\xff\n" + 249 * b"x" + b".png"), image(3))
    ledger.drop("rubbish.png", b"no picture at all")


def _kill_at_each(
    ledger: Ledger, nursery: Nursery, every: int, *, also: Path | None = None, copies: bool = False
) -> None:
    """From the ledger as it is: kill at each call (or every so many), look, restart, look again."""
    ledger.save()
    assert nursery.once(ledger.folder, Fault(at=10**9, also=str(also or ""))) == 0
    ledger.check_filed()
    calls = (ledger.folder / "calls").read_text().splitlines()
    died = 0
    numbers = range(1, len(calls) + 1, every)
    with Trials() as trial:
        for number in numbers:
            with trial(f"killed at call {number}, about {calls[number - 1]}"):
                ledger.restore()
                died += nursery.dies(ledger.folder, Fault(at=number, also=str(also or "")))
                ledger.check(copies=copies)
                assert nursery.once(ledger.folder) == 0
                ledger.check_filed()
                assert "Traceback" not in (ledger.folder / "stdout.jsonl.out").read_text()
    assert died > 0.8 * len(numbers)


@pytest.mark.timeout(900)
def test_killed_at_any_call(ledger: Ledger, nursery: Nursery, image: Images, long: bool) -> None:
    """Each image is whole in one place when the daemon dies, and filed once, with one verdict, after a restart."""
    if long:
        _mixed(ledger, image, nursery)
    else:
        ledger.drop("lot/one.png", image(5))
    _kill_at_each(ledger, nursery, every=1 if long else 5)


@pytest.mark.timeout(900)
def test_killed_amid_a_group(ledger: Ledger, nursery: Nursery, image: Images, long: bool) -> None:
    """Images that share their syncs are each as safe as one alone, also where they go to different folders."""
    for number in (1, 2, 5):
        ledger.drop(f"lot{number % 2}/{number}.png", image(number))
    ledger.drop("rubbish.png", b"no picture at all")
    _kill_at_each(ledger, nursery, every=1 if long else 16)


@pytest.mark.timeout(900)
def test_killed_amid_a_stack(
    ledger: Ledger, nursery: Nursery, draw_disc: Callable[..., Any], draw_stack: Callable[..., bytes], long: bool
) -> None:
    """A file of several pages is one image: one claim, one decision, one place, also where a page of it is damaged."""
    rng = np.random.default_rng(0)
    pages = [draw_disc(rng, void=page == 2) for page in range(4)]
    ledger.drop("lot/stack.tif", draw_stack(pages))
    if long:
        ledger.drop("damaged.tif", draw_stack(pages, damaged=4))
        ledger.drop("good.tif", draw_stack(pages[:2]))
    _kill_at_each(ledger, nursery, every=1 if long else 7)


def test_killed_again_while_it_recovers(ledger: Ledger, nursery: Nursery, image: Images, long: bool) -> None:
    """A second death, at any call of the restart after the first, loses no more than the first."""
    for number in range(3):
        ledger.drop(f"{number}.png", image(number))
    # One is decided, and maybe filed; two have all but their decision, or less.
    assert nursery.once(ledger.folder, Fault(at=2, only="rename decision.json")) == _KILLED
    _kill_at_each(ledger, nursery, every=1 if long else 17)


@pytest.mark.timeout(900)
def test_killed_with_the_inbox_on_another_file_system(
    line: Path, elsewhere: Path, nursery: Nursery, image: Images, long: bool
) -> None:
    """Where an image must be copied to be claimed, there is at least one whole copy of it, and in the end just one."""
    (line / "config.yaml").write_text(f"{_QUICKLY}paths: {{inbox: {elsewhere}}}\n")
    ledger = Ledger(line, elsewhere, inbox=elsewhere)
    ledger.drop("lot/one.png", image(1))
    if long:
        ledger.drop("rubbish.png", b"no picture at all")
    _kill_at_each(ledger, nursery, every=1 if long else 11, also=elsewhere, copies=True)


@pytest.mark.timeout(900)
def test_killed_with_work_on_another_file_system(
    line: Path, elsewhere: Path, nursery: Nursery, image: Images, long: bool
) -> None:
    """The same where only work is elsewhere, such as on the PC's disk beside a share with all the other folders."""
    (line / "config.yaml").write_text(f"{_QUICKLY}paths: {{work: {elsewhere}}}\n")
    ledger = Ledger(line, elsewhere)
    (ledger.data / "work").mkdir(parents=True)
    ledger.drop("lot/one.png", image(1))
    if long:
        ledger.drop("rubbish.png", b"no picture at all")
    _kill_at_each(ledger, nursery, every=2 if long else 14, also=elsewhere, copies=True)


def test_killed_with_done_markers(ledger: Ledger, nursery: Nursery, image: Images, long: bool) -> None:
    """With the producer's done-markers, none is left behind and no image without one is taken."""
    (ledger.folder / "config.yaml").write_text(_QUICKLY.replace("{", "{done_marker: .done, "))
    ledger.drop("one.png", image(1))
    (ledger.inbox / "one.png.done").touch()
    _kill_at_each(ledger, nursery, every=2 if long else 9)


# --- by ptrace ---


@contextlib.contextmanager
def _traced(daemon: Daemon, *options: str) -> Iterator[None]:
    """Attach strace to a held daemon, and let it go."""
    wait_until(daemon.is_stopped, every_s=0.002)
    with subprocess.Popen(["strace", "-f", "-p", str(daemon.pid), *options], stderr=subprocess.PIPE) as strace:
        try:
            assert strace.stderr
            said = strace.stderr.readline()
            if b"attached" not in said:
                pytest.skip(f"strace may not attach: {said.decode().strip()}")
            os.kill(daemon.pid, signal.SIGCONT)
            yield
        finally:
            daemon.kill()
            strace.wait(10)


@pytest.mark.timeout(900)
@pytest.mark.skipif(not shutil.which("strace"), reason="no strace")
def test_killed_at_any_system_call(ledger: Ledger, nursery: Nursery, image: Images, long: bool) -> None:
    """The same by strace, which misses no call that Python might hide."""
    ledger.drop("lot/one.png", image(5))
    ledger.save()
    held = nursery.start(ledger.folder, "--once", fault=Fault(hold=True))
    counted = ledger.folder / "strace"
    with _traced(held, "-o", str(counted), "-e", "trace=" + ",".join(_CALLS)):
        assert held.wait() == 0
    calls = re.findall(rf"^{held.pid} +(\w+)\(", counted.read_text(), re.MULTILINE)
    places = [(call, number) for call in _CALLS for number in range(1, calls.count(call) + 1)]
    chosen = places if long else places[5::35]
    never_came = 0
    with Trials() as trial:
        for call, number in chosen:
            with trial(f"killed at {call} {number}"):
                ledger.restore()
                held = nursery.start(ledger.folder, "--once", fault=Fault(hold=True))
                with _traced(held, "-o", os.devnull, "-e", f"inject={call}:signal=KILL:when={number}"):
                    ended = held.wait()
                # How often the line's thread is woken and tells its status depends on the moment: the last write of a
                # kind may not come this time.
                assert ended in {_KILLED, 0}
                never_came += ended == 0
                ledger.check()
                assert nursery.once(ledger.folder) == 0
                ledger.check_filed()
    assert never_came <= 1 + len(chosen) // 20
