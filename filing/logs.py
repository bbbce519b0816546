"""Structured logs: JSON lines on standard output and in a file, or words for a person at a terminal.

A full disk or a closed pipe must never cost a verdict: a line that the file cannot take now is kept and written before
the next one, and whatever happens, the file has whole lines only.
"""

from __future__ import annotations

import io
import json
import os
import select
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict, FilteringBoundLogger, WrappedLogger

from filing.console import Console
from filing.durable import append_line
from settings.schema import LogSettings

Log = FilteringBoundLogger

_PATIENCE_S = 1.0
_KEPT = 20_000
"""Lines, about 20 MB; beyond that the oldest are dropped."""


def open_log(
    settings: LogSettings, stream: TextIO | None = None, count: Callable[[str, str], None] = lambda *_: None
) -> Log:
    """A logger that writes where the configuration says.

    Args:
        settings: The log file, and the format of standard output.
        stream: Instead of standard output.
        count: Told the level and the event of each line.
    """
    stream = stream or sys.stdout
    for_people = stream and (settings.format == "console" or (settings.format == "auto" and stream.isatty()))
    outputs = _Outputs(stream, settings.file, Console.on(stream) if for_people else None)

    def counted(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
        count(event["level"], event["event"])
        return event

    log: Log = structlog.wrap_logger(
        outputs,
        processors=[
            structlog.processors.add_log_level,
            counted,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _time_and_event_first,
        ],
        wrapper_class=structlog.make_filtering_bound_logger("info"),
    )
    return log


@contextmanager
def together(log: Log) -> Iterator[None]:
    """As a context: lines that are logged meanwhile become durable at its end, with one sync for all of them."""
    outputs: _Outputs = log._logger  # type: ignore[attr-defined]  # noqa: SLF001 - structlog shows it nowhere else
    with outputs.together():
        yield


def _time_and_event_first(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    first = {key: event.pop(key) for key in ("timestamp", "level", "event")}
    return {"event_dict": first | dict(event)}


class _Outputs:
    """Writes each event to the stream and to the file; a failing one does not keep the other from its line."""

    def __init__(self, stream: TextIO | None, path: Path | None, console: Console | None) -> None:
        self._stream = _Stream(stream) if stream else None
        self._file = _LogFile(path) if path else None
        self._console = console
        self._one_by_one = threading.Lock()
        """A thread that dies tells it while the line's own may be at a line of its."""

    def info(self, event_dict: dict[str, Any]) -> None:
        line = json.dumps(event_dict, allow_nan=False, default=str)
        shown = line if self._console is None else self._console(None, "info", event_dict)
        with self._one_by_one:
            if self._stream:
                self._stream.write(shown)
            if self._file:
                self._file.write(line)

    warning = error = info

    @contextmanager
    def together(self) -> Iterator[None]:
        """Write to the file once, at the end."""
        if self._file:
            self._file.waits = True
        try:
            yield
        finally:
            if self._file:
                with self._one_by_one:
                    self._file.waits = False
                    self._file.flush()


class _Stream:
    """Standard output; once nobody reads it any more, its lines are dropped instead of waited for."""

    def __init__(self, stream: TextIO) -> None:
        self._stream: TextIO | None = stream
        self._stuck = False

    def write(self, line: str) -> None:
        """Write a line, if it is taken within a second; after one that was not, only if it is taken at once."""
        if self._stream is None:
            return
        try:
            descriptor = _descriptor(self._stream)
            if descriptor is None:
                self._stream.write(f"{line}\n")
                return
            # A line that was dropped may have left its beginning.
            start = "\n" if self._stuck else ""
            rest = memoryview(f"{start}{line}\n".encode("utf-8", "backslashreplace"))
            while rest:
                if not _takes(descriptor, 0.0 if self._stuck else _PATIENCE_S):
                    self._stuck = True
                    return
                rest = rest[os.write(descriptor, rest[: select.PIPE_BUF]) :]
            self._stuck = False
        except (OSError, ValueError):
            if self._stream is sys.stdout:
                # Python would complain once more when it flushes the broken stream at exit.
                sys.stdout = None
            self._stream = None


def _descriptor(stream: TextIO) -> int | None:
    try:
        return stream.fileno()
    except (AttributeError, io.UnsupportedOperation):
        return None


def _takes(descriptor: int, seconds: float) -> bool:
    """Whether so many bytes as a pipe takes at once can be written without waiting for longer."""
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    return bool(poll.poll(1000 * seconds))


class _LogFile:
    """A file of whole lines, opened anew for each: it may be rotated or deleted at any time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._kept: deque[str] = deque(maxlen=_KEPT)
        self.waits = False
        """Whether lines are kept until `flush`."""

    def write(self, line: str) -> None:
        """Append a line durably, after those that could not be written before; keep it if it cannot be now."""
        self._kept.append(line)
        if not self.waits:
            self.flush()

    def flush(self) -> None:
        """Append all lines that were kept."""
        try:
            descriptor = self._open()
            try:
                while self._kept:
                    append_line(descriptor, self._kept[0])
                    self._kept.popleft()
                os.fdatasync(descriptor)
            finally:
                os.close(descriptor)
        except OSError:
            pass

    def _open(self) -> int:
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        try:
            return os.open(self._path, flags, 0o666)
        except FileNotFoundError:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            return os.open(self._path, flags, 0o666)
