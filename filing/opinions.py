"""All that operators ever said, from the books of the data sets; read on as they grow."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from inspection.verdict import LABELS, Label
from settings import Settings
from settings.schema import RELABELLED

_HEAD = 100


@dataclass(frozen=True, slots=True)
class Opinion:
    """What somebody said of an image.

    Attributes:
        judged: When the image was; of words from before that was kept, when they were said.
        label: None: the word before was taken back, and none is left.
        taken_back: Whether this takes a word back; `label` is then the one that stands again.
        shown: Why the image was shown; empty: it was open, or the word came from the command line.
    """

    product: str
    decision: str
    file: str
    verdict: Label
    judged: datetime
    label: Label | None
    by: str
    at: datetime
    reason: str
    shown: str
    disputed: bool
    taken_back: bool
    model: str


@dataclass
class Subject:
    """What was said of one image and still stands, oldest first."""

    words: list[Opinion] = field(default_factory=list)

    @property
    def disputed(self) -> bool:
        """Whether a third look is needed."""
        return bool(self.words) and self.words[-1].disputed

    @property
    def label(self) -> Label | None:
        """The last word; None where there is none, or two people disagree."""
        return self.words[-1].label if self.words and not self.disputed else None


@dataclass
class _Book:
    """How far a book was read."""

    product: str
    path: Path
    read: int = 0
    head: bytes = b""
    opinions: list[Opinion] = field(default_factory=list)
    subjects: dict[str, Subject] = field(default_factory=dict)


class Opinions:
    """What was said on a line.

    Args:
        settings: Its configuration.
    """

    def __init__(self, settings: Settings) -> None:
        datasets = {name: settings.of_product(name).paths.dataset for name in settings.products}
        datasets = datasets or {"": settings.paths.dataset}
        self._books = [_Book(product, folder / RELABELLED) for product, folder in datasets.items()]
        self._lock = threading.Lock()

    def all(self, product: str | None = None) -> Sequence[Opinion]:
        """Every opinion, product by product, oldest first."""
        return [opinion for book in self._fresh(product) for opinion in book.opinions]

    def subjects(self, product: str | None = None) -> Sequence[Subject]:
        """Every image of which something stands."""
        return [subject for book in self._fresh(product) for subject in book.subjects.values() if subject.words]

    def _fresh(self, product: str | None) -> list[_Book]:
        with self._lock:
            books = [book for book in self._books if product is None or book.product in (product, "")]
            for book in books:
                _read_on(book)
            return books


def _read_on(book: _Book) -> None:
    try:
        with book.path.open("rb") as file:
            # Another book has another hash in its first line.
            head = file.read(min(_HEAD, book.read) or _HEAD)
            if not head.startswith(book.head) or file.seek(0, 2) < book.read:
                book.read, book.opinions, book.subjects = 0, [], {}
            book.head = head
            file.seek(book.read)
            lines = file.read()
    except OSError:
        return
    whole = lines[: lines.rfind(b"\n") + 1]
    book.read += len(whole)
    for opinion in _opinions(book.product, whole.splitlines()):
        book.opinions.append(opinion)
        words = book.subjects.setdefault(opinion.decision, Subject()).words
        if not opinion.taken_back:
            words.append(opinion)
        elif words:
            words.pop()


def _opinions(product: str, lines: Sequence[bytes]) -> Iterator[Opinion]:
    """Damaged lines tell of none."""
    for line in lines:
        try:
            act = json.loads(line)
            at = _moment(act["at"])
            texts = [act[key] for key in ("decision_id", "file", "verdict", "by", "model")]
            if not all(isinstance(text, str) for text in texts) or act["verdict"] not in LABELS:
                continue
            yield Opinion(
                product=product,
                decision=act["decision_id"],
                file=act["file"],
                verdict=act["verdict"],
                judged=_moment(act.get("judged") or act["at"]),
                label=act["label"] if act["label"] in LABELS else None,
                by=act["by"],
                at=at,
                reason=str(act.get("reason", "")),
                shown=str(act.get("shown", "")),
                disputed=act.get("disputed") is True,
                taken_back=act.get("taken_back") is True,
                model=act["model"],
            )
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            continue


def _moment(time: str) -> datetime:
    at = datetime.fromisoformat(time)
    return at if at.tzinfo else at.replace(tzinfo=UTC)
