"""What the results add up to, in one pass over them; memory grows with boards, products and days, not with images."""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date
from itertools import count
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from inspection.shares import Share
from inspection.verdict import LABELS

SHOWN = 24
"""Images of one kind of change that are shown."""

_COLUMNS = (
    "path", "number", "sha256", "verdict", "reason", "nio_probability", "novelty", "was", "word", "product", "board",
    "joint", "day", "ms", "against", "against_probability",
)  # fmt: skip
_EDGES = np.linspace(-12.0, 12.0, 241)
"""Of the histogram of log-odds."""

Row = dict[str, Any]


@dataclass
class Cell:
    """The images of one product and month, or of one day."""

    images: int = 0
    nio: int = 0
    unidentified: int = 0
    compared: int = 0
    nio_before: int = 0
    to_io: int = 0
    to_nio: int = 0


@dataclass
class Scores:
    """How the nio probabilities of a day are spread, as log-odds."""

    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(len(_EDGES) - 1, np.int64))

    def add(self, probability: float) -> None:
        """One more."""
        clipped = min(max(probability, 1e-9), 1 - 1e-9)
        place = int(np.searchsorted(_EDGES, math.log(clipped / (1 - clipped)))) - 1
        self.counts[min(max(place, 0), len(self.counts) - 1)] += 1

    def quantile(self, share: float) -> float:
        """The log-odds that a share of them does not exceed, to a tenth."""
        place = int(np.searchsorted(np.cumsum(self.counts), share * self.counts.sum()))
        return float(_EDGES[min(place, len(_EDGES) - 2)] + _EDGES[1] - _EDGES[0])


@dataclass
class Board:
    """A board: its images, those compared, and how many of them are nio before and now."""

    images: int = 0
    compared: int = 0
    before: int = 0
    now: int = 0

    @property
    def change(self) -> tuple[str, str] | None:
        """Its verdicts before and now where they differ: io only if all its images are."""
        if self.compared < self.images or bool(self.before) == bool(self.now):
            return None
        return LABELS[bool(self.before)], LABELS[bool(self.now)]


class Tally:
    """What a replay found.

    Attributes:
        verdicts: How many images were judged one way before and another now; before is None where nothing was known.
        reasons: Of the verdicts now.
        words: How many images that operators called this were judged so before and now.
        months: By product and the first of the month; None where neither is known.
        days: The same by day, for the drift.
        scores: How the scores are spread, by product and day.
        boards: By product and number.
        ms: What reading, decoding and judging took, all images together.
    """

    def __init__(self) -> None:
        self.verdicts: Counter[tuple[str | None, str]] = Counter()
        self.reasons: Counter[str] = Counter()
        self.words: Counter[tuple[str, str | None, str]] = Counter()
        self.months: dict[tuple[str | None, date | None], Cell] = {}
        self.days: dict[tuple[str | None, date], Cell] = {}
        self.scores: dict[tuple[str | None, date], Scores] = {}
        self.boards: dict[tuple[str | None, str], Board] = {}
        self.ms = 0.0
        self._changed: dict[str, list[tuple[Any, ...]]] = {label: [] for label in LABELS}
        self._order = count()

    @classmethod
    def of(cls, batches: Iterable[pa.RecordBatch]) -> Tally:
        """Count results."""
        tally = cls()
        for batch in batches:
            for row in batch.select(_COLUMNS).to_pylist():
                tally._add(row)
        return tally

    @property
    def images(self) -> int:
        """How many were judged."""
        return self.verdicts.total()

    def changed(self, now: str) -> int:
        """How many are judged so now, and were not before."""
        return sum(n for (before, label), n in self.verdicts.items() if label == now and before not in {None, now})

    def shown(self, now: str) -> list[Row]:
        """Of those, the ones to look at first: where an operator had said otherwise, then the surest before or now."""
        return [row for *_, row in sorted(self._changed[now], reverse=True)]

    def mistakes(self, word: str, *, now: bool) -> Share:
        """Of the images that operators called `word`, those that were judged otherwise: false calls, or escapes.

        Args:
            word: `io` for false calls, `nio` for escapes.
            now: By who judges now, or by who did before.
        """
        of = {key: n for key, n in self.words.items() if key[0] == word and key[1] is not None}
        wrong = sum(n for (_, before, label), n in of.items() if (label if now else before) != word)
        return Share(wrong, sum(of.values()))

    def changed_boards(self) -> Iterator[tuple[str | None, str, Board]]:
        """Boards whose verdict differs, those that become io first."""
        found = [(product, name, board) for (product, name), board in self.boards.items() if board.change]
        yield from sorted(found, key=lambda one: (bool(one[2].now), str(one[0]), one[1]))

    def _add(self, row: Row) -> None:
        before, now = row["against"] or row["was"], row["verdict"]
        row["before"] = before
        product, day = row["product"], row["day"]
        self.ms += row["ms"]
        self.verdicts[before, now] += 1
        self.reasons[row["reason"]] += 1
        if row["word"]:
            self.words[row["word"], before, now] += 1
        _count(self.months.setdefault((product, day and day.replace(day=1)), Cell()), row)
        if day:
            _count(self.days.setdefault((product, day), Cell()), row)
            if row["nio_probability"] is not None:
                self.scores.setdefault((product, day), Scores()).add(row["nio_probability"])
        if row["board"]:
            board = self.boards.setdefault((product, row["board"]), Board())
            board.images += 1
            board.compared += before is not None
            board.before += before == "nio"
            board.now += now == "nio"
        if before is not None and before != now:
            self._keep(row)

    def _keep(self, row: Row) -> None:
        """Keep a change if it is one of those to look at first."""
        probability = row["nio_probability"] or 0.0
        urgent = row["word"] is not None and row["word"] != row["verdict"], row["word"] is not None
        entry = (*urgent, probability, -next(self._order), row)
        kept = self._changed[row["verdict"]]
        if len(kept) < SHOWN:
            heapq.heappush(kept, entry)
        else:
            heapq.heappushpop(kept, entry)


def _count(cell: Cell, row: Row) -> None:
    before, now = row["before"], row["verdict"]
    cell.images += 1
    cell.nio += now == "nio"
    cell.unidentified += row["reason"] == "unidentified"
    cell.compared += before is not None
    cell.nio_before += before == "nio"
    cell.to_io += (before, now) == ("nio", "io")
    cell.to_nio += (before, now) == ("io", "nio")
