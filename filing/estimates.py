"""What blind checks tell: how many io images are escapes, and how far the labels themselves can be trusted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

from filing.opinions import Opinion, Subject
from inspection.shares import Share


@dataclass(frozen=True)
class Agreement:
    """Two looks at each image: how many pairs, how many agree, and Cohen's kappa; None where all are of one label."""

    pairs: int
    agree: int
    kappa: float | None

    def __str__(self) -> str:
        if not self.pairs:
            return "nothing shown twice yet"
        kappa = "no kappa: all are of one label" if self.kappa is None else f"kappa {self.kappa:.2f}"
        return f"{self.agree} of {self.pairs} agree, {kappa}"


@dataclass(frozen=True)
class Checks:
    """What blind checks came to.

    Attributes:
        escapes: Of io images drawn evenly: an estimate for all of them.
        near: Of io images drawn near the threshold: where escapes are to be looked for, no estimate.
        within: Looks of one person at the same image.
        between: Looks of two persons.
        disputed: Images that wait for a third look.
    """

    escapes: Share
    near: Share
    within: Agreement
    between: Agreement
    disputed: int

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "escapes": self.escapes.as_dict(),
            "near": self.near.as_dict(),
            "within": asdict(self.within),
            "between": asdict(self.between),
            "disputed": self.disputed,
        }


def checks(subjects: Iterable[Subject]) -> Checks:
    """Of all images of which something was said."""
    subjects = list(subjects)
    pairs = [pair for subject in subjects for pair in _pairs(subject.words)]
    return Checks(
        escapes=_escapes(subjects, "check_even"),
        near=_escapes(subjects, "check_near"),
        within=agreement([pair for pair in pairs if pair[0].by == pair[1].by]),
        between=agreement([pair for pair in pairs if pair[0].by != pair[1].by]),
        disputed=sum(subject.disputed for subject in subjects),
    )


def _escapes(subjects: Sequence[Subject], shown: str) -> Share:
    """Of a check the last word counts, if nobody disputes it."""
    checked = [subject for subject in subjects if subject.words[0].shown == shown and subject.label is not None]
    return Share(sum(subject.label == "nio" for subject in checked), len(checked))


def _pairs(words: Sequence[Opinion]) -> list[tuple[Opinion, Opinion]]:
    return [(first, second) for first, second in pairwise(words) if second.shown == "repeat"]


def agreement(pairs: Sequence[tuple[Opinion, Opinion]]) -> Agreement:
    """Cohen's kappa of first and second looks.

    Source: J. Cohen, A coefficient of agreement for nominal scales, 1960.
    """
    count = len(pairs)
    agree = sum(first.label == second.label for first, second in pairs)
    if not count:
        return Agreement(0, 0, None)
    firsts, seconds = (Counter(pair[side].label for pair in pairs) for side in (0, 1))
    chance = sum(firsts[label] * seconds[label] for label in firsts) / count**2
    return Agreement(count, agree, None if chance >= 1 else (agree / count - chance) / (1 - chance))
