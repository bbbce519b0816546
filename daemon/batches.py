"""Judging on a GPU: one thread judges batches, while the workers decode the next one and draw the one before."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from queue import SimpleQueue

import torch

from daemon.claim import Claim
from daemon.judging import Judged, JudgingError, Opened, Twins, draw, is_memory, ms_since
from inspection.inspector import Inspection, Inspector

_GOOD_BATCHES = 20


@dataclass(frozen=True)
class _Task:
    """An image on its way through a batch, and who waits for it."""

    result: Future[Judged]
    opened: Future[Opened]


class Batches:
    """Judges images in batches; pixels of three batches at most are in memory.

    Args:
        pool: Reads, decodes and draws.
        open_: How an image is read and decoded.
        size: Images in a batch, while there is memory for them.
    """

    def __init__(self, pool: ThreadPoolExecutor, open_: Callable[[Claim], Opened], size: int) -> None:
        self._pool = pool
        self._open = open_
        self._largest = self._size = size
        self._good = 0
        self._thread = ThreadPoolExecutor(1, "judge")
        self.shrunk: SimpleQueue[int] = SimpleQueue()
        """The size of batches after each time that there was no memory for one."""

    def submit(self, twins: Twins, claims: Sequence[Claim]) -> list[Future[Judged]]:
        """Have images judged; one result each, in their order; see `Workers.submit`."""
        results: list[Future[Judged]] = [Future() for _ in claims]
        self._thread.submit(self._work, twins, claims, results)
        return results

    def close(self) -> None:
        """End the thread, after what it is at."""
        self._thread.shutdown(cancel_futures=True)

    def _work(self, twins: Twins, claims: Sequence[Claim], results: Sequence[Future[Judged]]) -> None:
        waiting = deque(zip(claims, results, strict=True))
        try:
            with twins.one() as inspector:
                self._judge_all(inspector, waiting)
        except Exception as error:  # noqa: BLE001 - told to whoever waits for it
            begun = [result for result in results if result.running()]
            # Those that were cancelled are told so, or whoever waits would do so for ever.
            others = [result for _, result in waiting if result.set_running_or_notify_cancel()]
            for result in begun + others:
                result.set_exception(JudgingError(error))

    def _judge_all(self, inspector: Inspector, waiting: deque[tuple[Claim, Future[Judged]]]) -> None:
        drawing: list[Future[None]] = []
        batch = self._begin(waiting)
        while batch:
            following = self._begin(waiting)
            judged = list(self._judge(inspector, list(_opened(batch))))
            wait(drawing)
            drawing = [self._pool.submit(_draw, *found) for found in judged]
            batch = following

    def _begin(self, waiting: deque[tuple[Claim, Future[Judged]]]) -> list[_Task]:
        """Have the next batch decoded."""
        tasks: list[_Task] = []
        while waiting and len(tasks) < self._size:
            claim, result = waiting.popleft()
            if result.set_running_or_notify_cancel():
                tasks.append(_Task(result, self._pool.submit(self._open, claim)))
        return tasks

    def _judge(self, inspector: Inspector, tasks: Sequence[_Task]) -> Iterator[tuple[_Task, Inspection, float]]:
        """Judge images together; in halves if that fails, so that a bad one does not take its neighbours along."""
        if not tasks:
            return
        started = time.perf_counter()
        try:
            inspections = inspector.inspect([task.opened.result().image.pixels for task in tasks])
        except Exception as error:  # noqa: BLE001 - whatever it is, it must not stop the line
            if is_memory(error):
                self._shrink(len(tasks))
            if len(tasks) > 1:
                middle = len(tasks) // 2
                yield from self._judge(inspector, tasks[:middle])
                yield from self._judge(inspector, tasks[middle:])
            else:
                tasks[0].result.set_exception(JudgingError(error))
            return
        self._grow(len(tasks))
        each_ms = ms_since(started) / len(tasks)
        for task, inspection in zip(tasks, inspections, strict=True):
            yield task, inspection, each_ms

    def _shrink(self, failed: int) -> None:
        """There was no memory for so many images."""
        self._size = max(1, min(self._size, failed // 2))
        self._good = 0
        self.shrunk.put(self._size)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _grow(self, done: int) -> None:
        """After a while without trouble, larger batches are tried again."""
        if done < self._size or self._size == self._largest:
            return
        self._good += 1
        if self._good >= _GOOD_BATCHES:
            self._good = 0
            self._size = min(2 * self._size, self._largest)


def _opened(tasks: Sequence[_Task]) -> Iterator[_Task]:
    """Those that could be decoded."""
    for task in tasks:
        if error := task.opened.exception():
            task.result.set_exception(error)
        else:
            yield task


def _draw(task: _Task, inspection: Inspection, judge_ms: float) -> None:
    try:
        task.result.set_result(draw(task.opened.result(), inspection, judge_ms))
    except Exception as error:  # noqa: BLE001 - told to whoever waits for it
        task.result.set_exception(error)
