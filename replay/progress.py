"""One line on the terminal that tells how far a replay is, how fast it goes and how long it will take."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable
from datetime import timedelta
from typing import TextIO

_EVERY_S = 1.0
_LOG_EVERY_S = 30.0
_WINDOW_S = 60.0


class Progress:
    """Tells the progress: on a terminal in place, else as a line now and then.

    Args:
        total: Images in all.
        stream: Where to.
        clock: Monotonic seconds.
    """

    def __init__(self, total: int, stream: TextIO = sys.stderr, clock: Callable[[], float] = time.monotonic) -> None:
        self._total, self._stream, self._clock = total, stream, clock
        self._in_place = stream.isatty()
        self._done = 0
        self._told = self._clock()
        self._seen: deque[tuple[float, int]] = deque([(self._told, 0)])

    def add(self, count: int) -> None:
        """So many more images are done."""
        self._done += count
        now = self._clock()
        while now - self._seen[0][0] > _WINDOW_S and len(self._seen) > 1:
            self._seen.popleft()
        if now - self._told >= (_EVERY_S if self._in_place else _LOG_EVERY_S):
            self._tell(now)
            self._told = now

    def end(self) -> None:
        """Say how far it came."""
        self._tell(self._clock())
        if self._in_place:
            self._stream.write("\n")

    def _tell(self, now: float) -> None:
        since, before = self._seen[0]
        rate = (self._done - before) / max(now - since, 1e-9)
        self._seen.append((now, self._done))
        line = (
            f"{self._done:,} of {self._total:,} images ({100 * self._done / self._total:.1f} %), {rate:,.1f} a second"
        )
        if rate and self._done < self._total:
            line += f", {timedelta(seconds=round((self._total - self._done) / rate))} left"
        self._stream.write(f"\r{line}\x1b[K" if self._in_place else f"{line}\n")
        self._stream.flush()
