"""Structured logs: JSON lines on standard output and in a file, or a readable console on a terminal.

A full disk or a closed pipe must never cost a verdict, so a line that cannot be written is dropped, and the file is
tried again with the next one.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict, FilteringBoundLogger, WrappedLogger

from settings.schema import LogSettings

Log = FilteringBoundLogger


def open_log(settings: LogSettings, stream: TextIO | None = None) -> Log:
    """A logger that writes where the configuration says.

    Args:
        settings: The log file, and the format of standard output.
        stream: Instead of standard output.
    """
    stream = stream or sys.stdout
    console = settings.format == "console" or (settings.format == "auto" and stream.isatty())
    outputs = _Outputs(stream, settings.file, structlog.dev.ConsoleRenderer(sort_keys=False) if console else None)
    log: Log = structlog.wrap_logger(
        outputs,
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _time_and_event_first,
        ],
        wrapper_class=structlog.make_filtering_bound_logger("info"),
    )
    return log


def _time_and_event_first(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    first = {key: event.pop(key) for key in ("timestamp", "level", "event")}
    return {"event_dict": first | dict(event)}


class _Outputs:
    """Writes each event to the stream and to the file; a failing one does not keep the other from its line."""

    def __init__(self, stream: TextIO, path: Path | None, console: structlog.dev.ConsoleRenderer | None) -> None:
        self._stream: TextIO | None = stream
        self._path = path
        self._console = console

    def info(self, event_dict: dict[str, Any]) -> None:
        line = json.dumps(event_dict, allow_nan=False, default=str)
        self._to_stream(line if self._console is None else self._console(None, "info", dict(event_dict)))
        if self._path:
            self._to_file(self._path, line)

    warning = error = info

    def _to_stream(self, line: str | bytes) -> None:
        if self._stream is None:
            return
        try:
            self._stream.write(f"{line!s}\n")
            self._stream.flush()
        except (OSError, ValueError):
            if self._stream is sys.stdout:
                # Python would complain once more when it flushes the broken stream at exit.
                sys.stdout = None
            self._stream = None

    @staticmethod
    def _to_file(path: Path, line: str) -> None:
        # Opened for every line: the file may be rotated or deleted at any time.
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a", encoding="utf-8") as file:
                file.write(line + "\n")
        except OSError:
            pass
