from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import struct
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, TextIO

import pytest

from filing import plain
from filing.console import Console
from filing.logs import open_log
from settings.schema import LogSettings

REPO = Path(__file__).parents[2]
AT = "2026-11-29T14:03:07.123456Z"
DECISION: dict[str, Any] = {
    "file": "lot7/joint.png",
    "verdict": "nio",
    "reason": "defect",
    "nio_probability": 0.84123,
    "threshold": 0.09,
    "milliseconds": {"decode": 1.2, "judge": 30.0, "draw": 9.8},
    "pages": 1,
    "page": 1,
}
BOARD: dict[str, Any] = {
    "board": "B17",
    "product": None,
    "verdict": "nio",
    "joints": 120,
    "nio_joints": 3,
    "reason": "3 of 120 joints nio",
}
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def shown(event: str, level: str = "info", width: int | None = None, **fields: Any) -> str:
    """A line behind its time, without colours."""
    line = Console(lambda: width)(None, level, {"timestamp": AT, "level": level, "event": event, **fields})
    time, rest = line.split("  ", 1)
    assert time == f"{datetime.fromisoformat(AT).astimezone():%H:%M:%S}"
    return rest


@contextmanager
def terminal(columns: int) -> Iterator[tuple[TextIO, int]]:
    """A terminal of so many columns: where programs write, and the end that a person sees."""
    seen, own = pty.openpty()
    tty.setraw(own)
    fcntl.ioctl(own, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    try:
        with os.fdopen(own, "w") as stream:
            yield stream, seen
    finally:
        os.close(seen)


def at_a_terminal(columns: int, *events: dict[str, Any]) -> list[str]:
    """The lines that a terminal gets, with what it obeys."""
    with terminal(columns) as (stream, seen):
        log = open_log(LogSettings.model_validate({"file": None, "format": "auto"}), stream)
        for event in events:
            log.info("decision", **event)
        read = b""
        while read.count(b"\n") < len(events):
            read += os.read(seen, 65536)
        return read.decode().splitlines()


def test_a_decision_is_a_line_as_a_person_would_write_it() -> None:
    """Verdict, reason, probability and where nio begins, the time it took, and the file."""
    assert shown("decision", **DECISION) == "nio  defect        0.84 (from 0.09)    41 ms  lot7/joint.png"


def test_product_and_page_are_shown_where_there_are_any() -> None:
    """On a line of products each line has its product, and a stack the page that decided."""
    line = shown("decision", **DECISION | {"product": "BGA64", "pages": 12, "page": 3})
    assert line.endswith("  41 ms  BGA64     lot7/joint.png, page 3 of 12")


def test_columns_are_aligned() -> None:
    """Whatever verdict, reason and time, the file's name begins in the same column."""
    others = DECISION | {"verdict": "io", "reason": "clear", "nio_probability": 0.001}
    strange = DECISION | {"reason": "unidentified", "nio_probability": None, "milliseconds": {"judge": 1234.0}}
    lines = [shown("decision", **fields) for fields in (DECISION, others)]
    assert {line.index("lot7") for line in lines} == {lines[0].index("lot7")}
    assert "no number (from 0.09)  1234 ms" in shown("decision", **strange)


def test_a_low_threshold_keeps_its_digits() -> None:
    """Where nio begins at a hundredth, two digits would tell nothing."""
    assert "0.0051 (from 0.0046)" in shown("decision", **DECISION | {"nio_probability": 0.00512, "threshold": 0.0046})


def test_a_board_is_a_line() -> None:
    """Its serial number, its verdict, and how many of its joints are why."""
    assert shown("board", **BOARD) == "board B17  nio  3 of 120 joints nio"
    good = BOARD | {"verdict": "io", "product": "BGA64", "reason": "all 240 images io"}
    assert shown("board", **good) == "board BGA64 B17  io  all 240 images io"


def test_what_is_wrong_says_what_to_do_and_is_never_cut() -> None:
    """A warning keeps its message whole, however narrow the terminal is."""
    error = "/data/inbox: not mounted " + "x" * 100
    line = shown("away", "error", 40, error=error, in_hand=3, retry_in_s=5.0)
    assert line == f"error: {error}; mount it or make it: 3 images in hand wait, the next look is in 5.0 s"


def test_news_is_cut_where_the_terminal_ends() -> None:
    """What is only news stays in its line."""
    line = shown("watching", width=40, inbox="/data/" + "x" * 100)
    assert len(line) == 40 - len("14:03:07  ")
    assert line.endswith("…")


def test_several_mistakes_are_one_line() -> None:
    """A refused configuration tells all its mistakes, one after the other."""
    assert shown("reload_refused", "error", error="a: wrong\nb: wrong").endswith("stays: a: wrong; b: wrong")


@pytest.mark.parametrize(
    "name", ["a\x1b[2Jb.png", "a\nio  b.png", "a\u202egnp.exe", "a\udcff.png", f"a{chr(0xD800)}.png"]
)
def test_a_name_gives_a_terminal_no_orders(name: str) -> None:
    """Escapes, line breaks and marks that turn the text around are shown, not obeyed."""
    for line in (shown("decision", **DECISION | {"file": name}), shown("gone", "warning", file=name)):
        assert line.isprintable()
        assert line.encode()
        assert "; " not in line


def test_an_unforeseen_event_is_shown_as_it_is() -> None:
    """Also one whose fields are not what they should be costs no line."""
    assert shown("lid_opened", count=3) == "lid opened, count 3"
    assert shown("decision", verdict="io").startswith("decision, verdict io")


def test_a_traceback_stands_below_its_line() -> None:
    """Each of its lines is indented, and harmless."""
    lines = shown("thread_died", "error", thread="judge", exception="Traceback\n  \x1bin x").split("\n")
    assert lines[0].startswith("error: the thread judge died")
    assert lines[1:] == ["    Traceback", "      \\x1bin x"]


def test_every_event_has_words() -> None:
    """Whatever the program logs under a name of its own, a person can read."""
    paths = [path for folder in ("daemon", "filing", "review") for path in (REPO / folder).rglob("*.py")]
    logged = re.compile(r"""(?:log\.(?:info|warning|error)|_say)\(\s*"(\w+)\"""")
    named = {name for path in paths for name in logged.findall(path.read_text(encoding="utf-8"))}
    assert named == plain.known()


@pytest.mark.parametrize("columns", [80, 200])
def test_a_line_fits_its_terminal(columns: int) -> None:
    """A long path loses its beginning, so that its end can be seen; a short one is whole."""
    long = DECISION | {"file": "archive/" + "deep/" * 60 + "joint_17.png"}
    lines = [COLOUR.sub("", line) for line in at_a_terminal(columns, DECISION, long)]
    assert lines[0].endswith("  lot7/joint.png")
    assert len(lines[1]) == columns
    assert "  …" in lines[1]
    assert lines[1].endswith("joint_17.png")


def test_verdicts_are_coloured_on_a_terminal_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not where NO_COLOR is set, and not in a file or pipe."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert COLOUR.search(at_a_terminal(80, DECISION)[0])
    monkeypatch.setenv("NO_COLOR", "1")
    assert not COLOUR.search(at_a_terminal(80, DECISION)[0])
    monkeypatch.delenv("NO_COLOR")
    stream = io.StringIO()
    open_log(LogSettings.model_validate({"file": None, "format": "console"}), stream).info("decision", **DECISION)
    assert not COLOUR.search(stream.getvalue())


def test_nobody_has_to_know_how_wide_it_is() -> None:
    """A terminal that does not say its width gets whole lines."""
    assert at_a_terminal(0, DECISION)[0].endswith("lot7/joint.png")


def test_a_terminal_that_was_closed_costs_no_line(tmp_path: Path) -> None:
    """The file gets its lines although the window is gone."""
    path = tmp_path / "log.jsonl"
    with terminal(80) as (stream, _):
        log = open_log(LogSettings.model_validate({"file": str(path), "format": "console"}), stream)
    log.info("decision", **DECISION)
    assert len(path.read_text().splitlines()) == 1
