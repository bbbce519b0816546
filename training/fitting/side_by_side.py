"""Several fits at a time, each in a process of its own on one core.

The threads of one fit wait for each other at every operation: two of them are hardly half again as fast as one, and on
a busy machine far slower. Fits have nothing to wait for.
"""

from __future__ import annotations

import ctypes
import io
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import wait
from typing import Any

import torch

from inspection import errors
from inspection.errors import SolderwatchError
from training.fitting import processes

Result = dict[str, Any]
"""Tensors, numbers and texts by name."""

Job = Callable[[int], Result]
"""Given the row of its progress bar, from 0."""

_ERROR = "error"
"""Instead of a result's names."""

_PARENT_DEATH = 1  # PR_SET_PDEATHSIG of prctl(2)


def at_once(jobs: int, device: torch.device) -> int:
    """How many of so many jobs to run side by side: as torch would use threads, on a CPU that is not shared out."""
    if device.type != "cpu" or processes.count() > 1:
        return 1
    return max(1, min(jobs, torch.get_num_threads()))


def side_by_side(jobs: Sequence[Job], most: int, begin: Callable[[int], None]) -> Iterator[tuple[int, Result]]:
    """Do jobs, in this process where `most` is 1; yields each one's number and result as it ends.

    Ctrl-C goes to those that run. What they still return is yielded, if no job is left without a result.

    Args:
        jobs: What they return is copied.
        most: How many at a time.
        begin: Called with a job's number when it begins.

    Raises:
        SolderwatchError: A job's own, or its process ended without a result.
        KeyboardInterrupt: Ctrl-C, and a job has no result.
    """
    if most == 1:
        for number, job in enumerate(jobs):
            begin(number)
            yield number, job(0)
        return
    waiting = list(enumerate(jobs))
    running: dict[Any, _Child] = {}
    try:
        while waiting or running:
            while waiting and len(running) < most:
                number, job = waiting.pop(0)
                begin(number)
                child = _Child(number, job, min(set(range(most)) - {other.row for other in running.values()}))
                running[child.connection] = child
            ready = wait(list(running))
            for child in [child for connection, child in running.items() if connection in ready]:
                del running[child.connection]
                yield child.number, child.result()
    except KeyboardInterrupt:
        for child in running.values():
            child.interrupt()
        last = [(child.number, child.result()) for child in running.values()]
        if waiting or not last:
            raise
        yield from last
    finally:
        for child in running.values():
            child.end()


class _Child:
    """A process with a job; a fork, so that it has the images without a copy."""

    def __init__(self, number: int, job: Job, row: int) -> None:
        self.number, self.row = number, row
        context = multiprocessing.get_context("fork")
        self.connection, theirs = context.Pipe(duplex=False)
        self._process = context.Process(target=_work, args=(job, row, theirs, os.getpid()))
        self._process.start()
        theirs.close()

    def result(self) -> Result:
        """What the job returned; waits for it.

        Raises:
            SolderwatchError: The job's own, or there is no result.
            KeyboardInterrupt: The job was stopped by it.
        """
        try:
            data = self.connection.recv_bytes()
        except EOFError:
            self._process.join()
            code = self._process.exitcode
            raise SolderwatchError(
                f"a process that trained ended ({f'signal {-code}' if code and code < 0 else f'exit code {code}'}): is "
                "there memory enough? OMP_NUM_THREADS=1 trains one network after the other"
            ) from None
        self._process.join()
        self.connection.close()
        result: Result = torch.load(io.BytesIO(data), weights_only=True)
        if _ERROR in result:
            raise getattr(errors, result[_ERROR], KeyboardInterrupt)(result["text"])
        return result

    def interrupt(self) -> None:
        """Stop it as Ctrl-C does."""
        if self._process.pid and self._process.is_alive():
            os.kill(self._process.pid, signal.SIGINT)

    def end(self) -> None:
        """Kill it, if it is still there."""
        self._process.kill()
        self._process.join()


def _work(job: Job, row: int, connection: Any, parent: int) -> None:
    # Ctrl-C at a terminal goes to a whole process group; whom it stops is for the parent to say. None outlives it.
    os.setpgid(0, 0)
    ctypes.CDLL(None).prctl(_PARENT_DEATH, signal.SIGKILL)
    if os.getppid() != parent:
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    torch.set_num_threads(1)
    try:
        result = job(row)
    except (SolderwatchError, KeyboardInterrupt) as error:
        result = {_ERROR: type(error).__name__, "text": str(error)}
    buffer = io.BytesIO()
    torch.save(result, buffer)
    connection.send_bytes(buffer.getvalue())
