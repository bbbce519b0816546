"""What the ledger answers; text is empty where the records say nothing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

from filing.decisions import Outcome


@dataclass(frozen=True, slots=True)
class Image:
    """An image that was filed.

    Attributes:
        id: Its number in this ledger; another one after the next rebuild.
        outcome: The folder where it lies.
        path: In that folder.
        time: When it was judged; 1970 where the record does not say.
        verdict: `io` or `nio`; empty in quarantine.
        reason: The verdict's; in quarantine what was wrong.
        word: An operator's last word, `io` or `nio`; empty without one.
    """

    id: int
    outcome: Outcome
    path: Path
    time: datetime
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


@dataclass(frozen=True, slots=True)
class Count:
    """How many images there are of one kind.

    Attributes:
        product: Empty where records name none.
        word: What operators said last; empty for those that nobody has reviewed.
    """

    product: str
    outcome: Outcome
    word: str
    images: int


@dataclass(frozen=True, slots=True)
class DayCount:
    """How many of one kind were judged on one day, in UTC."""

    day: date
    count: Count


@dataclass(frozen=True, slots=True)
class Summary:
    """What `status` asks.

    Attributes:
        complete: Whether the ledger had all records once; if not, it is being built just now.
        counts: Of all images.
        last: The image that was judged last.
        per_minute: Images judged per minute, over the last five.
    """

    complete: bool
    counts: tuple[Count, ...]
    last: Image | None
    per_minute: float


@dataclass(frozen=True, slots=True)
class OpenBoard:
    """A board with nio images that nobody has reviewed: how many, and when the oldest was judged."""

    board: str
    images: int
    oldest: datetime


@dataclass(frozen=True, slots=True)
class Spoken:
    """An operator's word, and the image that it is about."""

    at: datetime
    label: str
    by: str
    image: Image
