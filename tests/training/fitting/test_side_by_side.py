"""What fits side by side promise: the same results as one after the other, and no process is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import pytest
import torch

from inspection.errors import DatasetError, SolderwatchError
from training.fitting.side_by_side import Job, Result, at_once, side_by_side

REPO = Path(__file__).resolve().parents[3]


def squares(count: int, row: int) -> Result:
    """Something to compute, and who did it."""
    return {"squares": torch.arange(count) ** 2, "row": row, "process": os.getpid(), "threads": torch.get_num_threads()}


def test_results_come_back_whole() -> None:
    """Each job has a process of its own with one thread, and a row that no other has at the same time."""
    begun: list[int] = []
    jobs = [partial(squares, count) for count in range(5)]
    found = dict(side_by_side(jobs, 2, begun.append))
    assert begun == [0, 1, 2, 3, 4]
    assert [found[number]["squares"].tolist() for number in range(5)] == [[n * n for n in range(c)] for c in range(5)]
    assert len({result["process"] for result in found.values()} | {os.getpid()}) == 6
    assert {result["threads"] for result in found.values()} == {1}
    assert {result["row"] for result in found.values()} <= {0, 1}


def test_one_at_a_time_is_this_process() -> None:
    """Where there is one core, or a GPU, nothing is started."""
    found = dict(side_by_side([partial(squares, 3)] * 2, 1, lambda _: None))
    assert {result["process"] for result in found.values()} == {os.getpid()}


def test_how_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as torch would use threads, no more than there are jobs, and one on a GPU."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    assert at_once(6, torch.device("cpu")) == 4
    assert at_once(2, torch.device("cpu")) == 2
    assert at_once(6, torch.device("cuda")) == 1


def fails(row: int) -> Result:
    """A mistake of a user's."""
    raise DatasetError(f"nothing to learn from in row {row}")


def rests(row: int) -> Result:
    """A job that takes long."""
    time.sleep(60)
    return {"row": row}


def dies(_row: int) -> Result:
    """As where there is no memory left."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


@pytest.mark.parametrize(
    ("job", "error", "told"), [(fails, DatasetError, "row 0"), (dies, SolderwatchError, "signal 9")]
)
def test_an_error_ends_all(job: Job, error: type[Exception], told: str) -> None:
    """It is the job's own error, at once, whatever else runs; a process that dies is told with what may help."""
    begun = time.monotonic()
    with pytest.raises(error, match=told):
        list(side_by_side([job, rests], 2, lambda _: None))
    assert time.monotonic() - begun < 30


def stops(row: int) -> Result:
    """A fit that keeps what it has when it is stopped by hand."""
    try:
        return rests(row)
    except KeyboardInterrupt:
        return {"stopped": True}


def interrupt_soon() -> None:
    """As Ctrl-C does, but to this process alone."""
    threading.Timer(1.0, signal.pthread_kill, [threading.get_ident(), signal.SIGINT]).start()


def test_ctrl_c_keeps_what_there_is() -> None:
    """Where no other job waits for its turn, what those that run have by then is the result."""
    interrupt_soon()
    found = dict(side_by_side([partial(squares, 1), stops], 2, lambda _: None))
    assert found[1]["stopped"]


@pytest.mark.parametrize("jobs", [[rests, stops], [stops, stops, stops]], ids=["one has nothing", "one has not begun"])
def test_ctrl_c_ends_the_rest(jobs: list[Job]) -> None:
    """Where a job has nothing yet, all end."""
    interrupt_soon()
    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        list(side_by_side(jobs, 2, lambda _: None))
    assert time.monotonic() - begun < 30


KILLED = """\
import os, time
from training.fitting.side_by_side import side_by_side

def job(row):
    print(os.getpid(), flush=True)
    time.sleep(60)

list(side_by_side([job, job], 2, lambda _: None))
"""


def test_none_outlives_a_killed_training() -> None:
    """Whoever starts the training again finds nobody who writes beside it."""
    with subprocess.Popen([sys.executable, "-c", KILLED], stdout=subprocess.PIPE, text=True, cwd=REPO) as process:
        assert process.stdout
        children = [int(process.stdout.readline()) for _ in range(2)]
        process.kill()
    deadline = time.monotonic() + 30
    while any(Path(f"/proc/{child}").exists() for child in children):
        assert time.monotonic() < deadline
        time.sleep(0.05)
