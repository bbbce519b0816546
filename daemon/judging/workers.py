"""The threads that judge: what they do is a function of one file, and its pixels never leave them.

On a CPU one thread per core reads, decodes, judges and draws one file after the other, page by page, each with a model
of its own: larger batches gain nothing there, and no verdict depends on what else is in the inbox. Threads of torch's
own would only get in their way. On a GPU the same threads read, decode and draw; `daemon.judging.batches` judges in
between.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import suppress
from queue import Empty

import torch

from daemon.intake.claims import Claims
from daemon.judging.batches import Batches
from daemon.judging.steps import Judged, Judging, JudgingError, Opened, Page, Twins, ms_since
from filing.claim import Claim
from inspection.image import Limits, open_stack
from inspection.inspector import Inspector
from settings import Settings


class Workers:
    """Judges claimed images on all cores; threads are started with the first image.

    Args:
        claims: Who holds the images.
        settings: What is too large, and how many images a GPU judges together.
        go_on: Asked between two pages of a file: whether to go on with it.
    """

    def __init__(self, claims: Claims, settings: Settings, go_on: Callable[[], bool]) -> None:
        self._claims = claims
        self._inbox = settings.inbox
        self._go_on = go_on
        self._twins: dict[Inspector, Twins] = {}
        count = len(os.sched_getaffinity(0))
        self._pool = ThreadPoolExecutor(count, "worker", _leave_cores_to_others if count > 1 else None)
        self._batches = Batches(self._pool, self._open, settings.judge.batch_size, go_on)

    def submit(self, inspector: Inspector, claims: Sequence[Claim]) -> list[Future[Judged]]:
        """Have images judged; one result each, in their order.

        A result may raise ImageError: it is no image; UnfinishedError: it is still being written; GoneError: it is
        there no more; OSError: transient trouble; JudgingError: the model failed; CancelledError: given up.
        """
        if inspector not in self._twins:
            self._twins[inspector] = Twins(inspector)
        twins = self._twins[inspector]
        if inspector.model.device.type != "cpu":
            return self._batches.submit(twins, claims)
        return [self._pool.submit(self._judge, twins, claim) for claim in claims]

    def keep(self, inspectors: Collection[Inspector]) -> None:
        """Forget the twins of all others, so that their memory is free once nothing is judged with them any more."""
        self._twins = {inspector: twins for inspector, twins in self._twins.items() if inspector in inspectors}

    def shrunk(self) -> Iterator[int]:
        """The size of batches after each time that a GPU had no memory for one; each is told once."""
        with suppress(Empty):
            while True:
                yield self._batches.shrunk.get_nowait()

    def close(self) -> None:
        """End the threads, after the images that they are at."""
        self._batches.close()
        self._pool.shutdown(cancel_futures=True)

    def _judge(self, twins: Twins, claim: Claim) -> Judged:
        opened = self._open(claim)
        judging = Judging(opened)
        for number in range(len(opened.stack)):
            if number and not self._go_on():
                raise CancelledError
            _judge_page(twins, judging, opened.decode(number))
        return judging.draw()

    def _open(self, claim: Claim) -> Opened:
        """Read a file, and look what is in it."""
        started = time.perf_counter()
        try:
            data = self._claims.read(claim, self._inbox.max_file_mb * 2**20)
            stack = open_stack(data, Limits.of(self._inbox))
        except MemoryError:
            raise OSError("no memory to decode it") from None
        return Opened(claim, stack, hashlib.sha256(data).hexdigest(), len(data), ms_since(started))


def _judge_page(twins: Twins, judging: Judging, page: Page) -> None:
    started = time.perf_counter()
    try:
        with twins.one() as inspector:
            (inspection,) = inspector.inspect([page.image.pixels])
    except Exception as error:
        raise JudgingError(error) from error
    judging.add(page, inspection, ms_since(started))


def _leave_cores_to_others() -> None:
    torch.set_num_threads(1)
