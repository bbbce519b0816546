"""Transient trouble: who waits for how long before the next try. Nothing is given up, and the log is not flooded."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filing.folders import AwayError
from filing.logs import Log
from inspection.files import readable

_FIRST_BACKOFF_S, _LONGEST_BACKOFF_S = 1.0, 60.0
_FIRST_REST_S, _LONGEST_REST_S = 30.0, 1800.0
_IN_A_ROW = 3
_EVERYONES = {
    getattr(errno, name)
    for name in (
        *("ENOSPC", "EDQUOT", "EROFS", "EMFILE", "ENFILE", "ENOMEM"),
        *("ESTALE", "ENOTCONN", "EHOSTDOWN", "EHOSTUNREACH", "ETIMEDOUT", "ENOLINK", "EREMOTEIO"),
    )
}


class Trouble:
    """Lets a file rest that makes trouble, or the whole line where the trouble is everyone's.

    Args:
        log: Told of each trouble, with the time of the next try.
        clock: Monotonic seconds.
    """

    def __init__(self, log: Log, clock: Callable[[], float] = time.monotonic) -> None:
        self._log = log
        self._clock = clock
        self._resting: dict[Hashable, tuple[float, float]] = {}
        self._in_a_row = 0
        self.backoff_s = 0.0
        """How long the line is to claim nothing; 0 when all is well."""

    @contextmanager
    def of_one(self, file: Hashable, name: Path, *, ours: bool) -> Iterator[None]:
        """Work on one file; trouble lets it rest, each time for longer, and the others go on.

        Args:
            file: What is this file's alone, such as its folder in work/.
            name: How the log calls it.
            ours: In the line's own folders. There, several files in a row mean that it is not the files.

        Raises:
            OSError: It is everyone's trouble.
        """
        try:
            yield
        except OSError as error:
            if isinstance(error, AwayError) or error.errno in _EVERYONES:
                raise
            rest_s = min(2 * self._resting[file][1], _LONGEST_REST_S) if file in self._resting else _FIRST_REST_S
            self._resting[file] = self._clock() + rest_s, rest_s
            self._log.error("trouble", file=readable(str(name)), error=readable(str(error)), retry_in_s=rest_s)
            if ours:
                self._in_a_row += 1
                if self._in_a_row >= _IN_A_ROW:
                    raise

    def rests(self, file: Hashable) -> bool:
        """Whether a file is to be left alone for now."""
        return file in self._resting and self._resting[file][0] > self._clock()

    def of_all(self, error: OSError, in_hand: int, *, at_most_s: float = _LONGEST_BACKOFF_S) -> None:
        """Everyone's trouble: nothing is claimed for a while, each time longer."""
        self.backoff_s = min(max(_FIRST_BACKOFF_S, 2 * self.backoff_s), at_most_s)
        self._log.error("trouble", error=readable(str(error)), retry_in_s=self.backoff_s, in_hand=in_hand)

    def filed(self) -> None:
        """An image reached its folder: whatever it was, it is over."""
        self._in_a_row = 0
        self.backoff_s = 0.0

    def over(self) -> None:
        """The whole inbox was gone through: forget files that rested and did not come again."""
        self.backoff_s = 0.0
        now = self._clock()
        self._resting = {file: rest for file, rest in self._resting.items() if rest[0] + rest[1] > now}
