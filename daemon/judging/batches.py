"""Judging on a GPU: one thread judges batches, while the workers decode the next one and draw the one before."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from queue import SimpleQueue

import torch

from daemon.judging.steps import Judged, Judging, JudgingError, Opened, Page, Twins, is_memory, ms_since
from filing.claim import Claim
from inspection.inspector import Inspection, Inspector

_GOOD_BATCHES = 20


@dataclass(frozen=True)
class _Decoded:
    """A page that is ready to be judged.

    Attributes:
        page: Its pixels.
        judging: What its file is gathered in.
        rest: What decodes the pages that follow; only the first one of a file has them.
    """

    page: Page
    judging: Judging
    rest: Sequence[Callable[[], _Decoded]] = ()


@dataclass(frozen=True)
class _Task:
    """A page on its way through a batch, and who waits for its file."""

    result: Future[Judged]
    decoded: Future[_Decoded]


_Files = deque[tuple[Claim, Future[Judged]]]
_Pages = deque[tuple[Callable[[], _Decoded], Future[Judged]]]


class Batches:
    """Judges pages in batches, whatever files they are of; a file is drawn once all of its pages are judged.

    Pixels of three batches at most are in memory, and those of one page of each stack that is begun: the pages of such
    a one go before the next file, so that there are never more of them than files in two batches.

    Args:
        pool: Reads, decodes and draws.
        open_: How a file is read.
        size: Pages in a batch, while there is memory for them.
        go_on: Asked between two pages of a file: whether to go on with it.
    """

    def __init__(
        self, pool: ThreadPoolExecutor, open_: Callable[[Claim], Opened], size: int, go_on: Callable[[], bool]
    ) -> None:
        self._pool = pool
        self._open = open_
        self._largest = self._size = size
        self._go_on = go_on
        self._good = 0
        self._thread = ThreadPoolExecutor(1, "judge")
        self.shrunk: SimpleQueue[int] = SimpleQueue()
        """The size of batches after each time that there was no memory for one."""

    def submit(self, twins: Twins, claims: Sequence[Claim]) -> list[Future[Judged]]:
        """Have files judged; one result each, in their order; see `Workers.submit`."""
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

    def _judge_all(self, inspector: Inspector, waiting: _Files) -> None:
        drawing: list[Future[None]] = []
        pages: _Pages = deque()
        batch = self._begin(waiting, pages)
        while batch:
            following = self._begin(waiting, pages)
            complete = self._gather(inspector, _decoded(batch, pages))
            wait(drawing)
            drawing = [self._pool.submit(_draw, *file) for file in complete]
            batch = following or self._begin(waiting, pages)

    def _begin(self, waiting: _Files, pages: _Pages) -> list[_Task]:
        """Have the next batch decoded: pages of files that were begun, then the first ones of others."""
        tasks: list[_Task] = []
        while (pages or waiting) and len(tasks) < self._size:
            if pages:
                decode, result = pages.popleft()
                wanted = not result.done()
            else:
                claim, result = waiting.popleft()
                decode = partial(self._first, claim)
                wanted = result.set_running_or_notify_cancel()
            if wanted:
                tasks.append(_Task(result, self._pool.submit(decode)))
        return tasks

    def _first(self, claim: Claim) -> _Decoded:
        """Read a file and decode its first page."""
        opened = self._open(claim)
        judging = Judging(opened)
        rest = [partial(_further, opened, number, judging) for number in range(1, len(opened.stack))]
        return _Decoded(opened.decode(0), judging, rest)

    def _gather(self, inspector: Inspector, tasks: Sequence[_Task]) -> list[tuple[Future[Judged], Judging]]:
        """Judge pages together; returns the files of which these were the last ones."""
        complete = []
        for task, inspection, judge_ms in self._judge(inspector, tasks):
            decoded = task.decoded.result()
            if task.result.done():
                continue
            decoded.judging.add(decoded.page, inspection, judge_ms)
            if decoded.judging.complete:
                complete.append((task.result, decoded.judging))
            elif not self._go_on():
                task.result.set_exception(CancelledError())
        return complete

    def _judge(self, inspector: Inspector, tasks: Sequence[_Task]) -> Iterator[tuple[_Task, Inspection, float]]:
        """Judge pages together; in halves if that fails, so that a bad one does not take its neighbours along."""
        if not tasks:
            return
        started = time.perf_counter()
        try:
            inspections = inspector.inspect([task.decoded.result().page.image.pixels for task in tasks])
        except Exception as error:  # noqa: BLE001 - whatever it is, it must not stop the line
            if is_memory(error):
                self._shrink(len(tasks))
            if len(tasks) > 1:
                middle = len(tasks) // 2
                yield from self._judge(inspector, tasks[:middle])
                yield from self._judge(inspector, tasks[middle:])
            elif not tasks[0].result.done():
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


def _further(opened: Opened, number: int, judging: Judging) -> _Decoded:
    return _Decoded(opened.decode(number), judging)


def _decoded(tasks: Sequence[_Task], pages: _Pages) -> list[_Task]:
    """Those that could be decoded; what follows in their files is added to the pages that wait."""
    found = []
    for task in tasks:
        error = task.decoded.exception()
        if task.result.done():
            continue
        if error:
            task.result.set_exception(error)
        else:
            pages.extend((decode, task.result) for decode in task.decoded.result().rest)
            found.append(task)
    return found


def _draw(result: Future[Judged], judging: Judging) -> None:
    try:
        result.set_result(judging.draw())
    except Exception as error:  # noqa: BLE001 - told to whoever waits for it
        result.set_exception(error)
