"""Records as they lie beside their images, and what the ledger keeps of them."""

from __future__ import annotations

import errno
import json
import math
import os
import stat
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from filing.decisions import Outcome
from filing.words import standing
from inspection.files import ERROR_SUFFIX, RECORD_SUFFIX

OUTCOMES: tuple[Outcome, ...] = ("io", "nio", "quarantine")
SUFFIXES: dict[Outcome, str] = {"io": RECORD_SUFFIX, "nio": RECORD_SUFFIX, "quarantine": ERROR_SUFFIX}
"""What a record's name has beyond its image's."""

Place = tuple[Outcome, Path]
"""Which of the folders an image lies in, and its path in there."""

_LARGEST = 2**20
_LONGEST = 500
_NO_FILE = {errno.ENOENT, errno.ELOOP, errno.ENXIO}
"""Nothing, a link, a socket."""


class Facts(NamedTuple):
    """What the ledger keeps of a record, as it keeps it; text is empty where the record says nothing."""

    time: int
    """Milliseconds since 1970; 0 where the record has none."""
    verdict: str
    reason: str
    nio_probability: float | None
    threshold: float | None
    novelty: float | None
    model: str
    product: str
    board: str
    joint: str
    view: str
    pages: int | None
    page: int | None
    word: str


class Word(NamedTuple):
    """What an operator said of an image, and nobody took back."""

    at: int
    label: str
    by: str


@dataclass(frozen=True)
class Record:
    """A record that was read.

    Attributes:
        facts: What it says.
        words: What operators said, oldest first.
        stamp: Of the file; another one means that the record was changed.
    """

    facts: Facts
    words: tuple[Word, ...]
    stamp: tuple[int, int]


def stamp_of(found: os.stat_result) -> tuple[int, int]:
    """What tells a file from any that replaces it; of its content nothing need be read."""
    return found.st_ctime_ns, found.st_ino & (2**63 - 1)


def read_record(path: str) -> Record | None:
    """The record in a file; None where there is none that this program wrote.

    Raises:
        OSError: It is there and cannot be read now.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno not in _NO_FILE:
            raise
        return None
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_size > _LARGEST:
            return None
        data = os.read(descriptor, _LARGEST)
    finally:
        os.close(descriptor)
    said = parse_record(data)
    return Record(*said, stamp_of(found)) if said else None


def parse_record(data: bytes) -> tuple[Facts, tuple[Word, ...]] | None:
    """What the bytes of a record say, and what operators said; None where this program wrote no such bytes."""
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        return None
    if not isinstance(content, dict) or not isinstance(content.get("decision_id"), str):
        return None
    words = tuple(Word(_time(act.get("at")), act["to"], _text(act.get("by"))) for act in standing(content))
    return _facts(content, words), words


def moment(milliseconds: int) -> datetime:
    """A time as people have it."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def milliseconds(time: datetime) -> int:
    """A time as the ledger has it."""
    return round(time.timestamp() * 1000)


def _facts(content: dict[str, Any], words: tuple[Word, ...]) -> Facts:
    return Facts(
        time=_time(content.get("time")),
        verdict=_label(content.get("verdict")),
        reason=_text(content.get("reason") or content.get("error"))[:_LONGEST],
        nio_probability=_number(content.get("nio_probability")),
        threshold=_number(content.get("threshold")),
        novelty=_number(content.get("novelty")),
        model=_text(content.get("model")),
        product=_text(content.get("product")),
        board=_text(content.get("board")),
        joint=_text(content.get("joint")),
        view=_text(content.get("view")),
        pages=_count(content.get("pages")),
        page=_count(content.get("page")),
        word=words[-1].label if words else "",
    )


def _label(value: object) -> str:
    return value if value in ("io", "nio") else ""


def _text(value: object) -> str:
    """Text that a database takes: what is no Unicode is written as escapes."""
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else ""


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None


def _count(value: object) -> int | None:
    return value if type(value) is int and 0 <= value < 2**31 else None


def _time(value: object) -> int:
    """Of what no clock of a line can have written: 0."""
    try:
        time = datetime.fromisoformat(value) if isinstance(value, str) else None
        return max(0, milliseconds(time if time.tzinfo else time.replace(tzinfo=UTC))) if time else 0
    except (ValueError, OverflowError):
        return 0
