"""The log at a terminal: one line an event, as a person would write it, in colours and cut where the screen ends."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import datetime
from typing import Any, TextIO

from structlog.dev import BRIGHT, DIM, GREEN, RED, RESET_ALL, YELLOW
from structlog.typing import WrappedLogger

from filing.plain import words
from inspection.files import readable

_VERDICTS = {"io": GREEN, "nio": RED + BRIGHT, "open": YELLOW}
_LEVELS = {"warning": YELLOW, "error": RED + BRIGHT}
_GAP, _LEAST_TAIL = "  ", 12


class Console:
    """A renderer of structlog; what is no text of ours is made harmless.

    Args:
        width: The characters of a line; None for no end. Warnings and errors are whole however long they are.
        colours: Whether the terminal shows them.
    """

    def __init__(self, width: Callable[[], int | None] = lambda: None, *, colours: bool = False) -> None:
        self._width = width
        self._colours = colours

    @classmethod
    def on(cls, stream: TextIO) -> Console:
        """For a stream: coloured and cut on a terminal, unless NO_COLOR is set."""
        if not stream.isatty():
            return cls()
        plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
        return cls(lambda: _columns(stream), colours=not plain)

    def __call__(self, _: WrappedLogger, __: str, event: dict[str, Any]) -> str:
        """The line of an event, without its end; below it the traceback where there is one."""
        level, said = event["level"], words(event)
        time = f"{datetime.fromisoformat(event['timestamp']).astimezone():%H:%M:%S}"
        head, text, tail = _harmless(said.head), _harmless(said.text), _harmless(said.tail)
        if level in _LEVELS and not text:
            head = f"{level}: {head}"
        elif width := self._width():
            room = width - len(_GAP.join(filter(None, (time, head, text)))) - len(_GAP)
            tail = _end(tail, max(room, _LEAST_TAIL))
            head = head if text else _beginning(head, width - len(time) - len(_GAP))
        colour = _VERDICTS.get(str(event.get("verdict"))) or _LEVELS.get(level, "")
        line = _GAP.join(filter(None, (self._in(DIM, time), self._in(colour, head), text, tail)))
        below = str(event.get("exception", "")).split("\n")
        return "\n".join([line, *(f"    {_harmless(part)}" for part in below if part)])

    def _in(self, colour: str, text: str) -> str:
        return f"{colour}{text}{RESET_ALL}" if self._colours and colour else text


def _columns(stream: TextIO) -> int | None:
    try:
        return os.get_terminal_size(stream.fileno()).columns or None
    except (OSError, ValueError):  # closed meanwhile
        return None


def _harmless(text: str) -> str:
    """In one line, and without what a terminal would obey."""
    try:
        return readable(text)
    except UnicodeEncodeError:  # half a character that no file name can have
        return ascii(text)


def _end(text: str, room: int) -> str:
    return text if len(text) <= room else f"…{text[1 - room :]}"


def _beginning(text: str, room: int) -> str:
    return text if len(text) <= room else f"{text[: max(room - 1, 0)]}…"
