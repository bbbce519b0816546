"""What blind checks tell: how many io images are escapes, and how far the labels themselves can be trusted."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from review.page.opinions import Opinion, Subject

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Share:
    """So many of so many, with a two-sided Clopper-Pearson interval at `CONFIDENCE`; of none nothing is known."""

    count: int
    of: int
    low: float
    high: float

    def __str__(self) -> str:
        if not self.of:
            return "nothing checked yet"
        return f"{self.count} of {self.of}: {self.count / self.of:.2%} ({self.low:.2%} to {self.high:.2%})"


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
    return share(sum(subject.label == "nio" for subject in checked), len(checked))


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


def share(count: int, of: int) -> Share:
    """A share with its interval.

    Source: C. J. Clopper and E. S. Pearson, The use of confidence or fiducial limits, 1934.
    """
    tail = (1 - CONFIDENCE) / 2
    low = 0.0 if count == 0 else _solved(lambda p: 1 - _at_most(count - 1, of, p) - tail)
    high = 1.0 if count == of else _solved(lambda p: tail - _at_most(count, of, p))
    return Share(count, of, low, high)


def _at_most(count: int, of: int, p: float) -> float:
    """The probability of `count` or fewer of `of`."""
    logs = (
        math.lgamma(of + 1) - math.lgamma(k + 1) - math.lgamma(of - k + 1) + k * math.log(p) + (of - k) * math.log1p(-p)
        for k in range(count + 1)
    )
    return min(1.0, math.fsum(math.exp(log) for log in logs))


def _solved(rising: Callable[[float], float]) -> float:
    """Where a rising function of a probability is 0."""
    low, high = 1e-12, 1 - 1e-12
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if rising(middle) < 0 else (low, middle)
    return (low + high) / 2
