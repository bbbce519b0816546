"""How far a replay is, for people at a terminal and for log files."""

from __future__ import annotations

import io

import pytest

from replay.progress import Progress


class Terminal(io.StringIO):
    """A stream that says it is one."""

    def isatty(self) -> bool:
        """It is."""
        return True


def told(stream: io.StringIO) -> list[str]:
    """What it said over time, a hundred images every ten seconds of a thousand."""
    now = [0.0]
    progress = Progress(1000, stream, lambda: now[0])
    for _ in range(10):
        now[0] += 10
        progress.add(100)
    progress.end()
    return stream.getvalue().replace("\x1b[K", "").replace("\r", "\n").strip().splitlines()


@pytest.mark.parametrize(("stream", "lines"), [(Terminal(), 11), (io.StringIO(), 4)])
def test_rate_and_time_left(stream: io.StringIO, lines: int) -> None:
    """In place at a terminal, else a line now and then; at the end no time is left."""
    said = told(stream)
    assert len(said) == lines
    assert "300 of 1,000 images (30.0 %), 10.0 a second, 0:01:10 left" in said
    assert said[-1] == "1,000 of 1,000 images (100.0 %), 10.0 a second"
