"""Shares of what was counted, and between what the true ones lie; without scipy, which not every part of us has.

After C. J. Clopper and E. S. Pearson, "The use of confidence or fiducial limits", Biometrika 1934.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

CONFIDENCE = 0.95

_STEPS = 200
_NOTHING = 1e-18


@dataclass(frozen=True)
class Share:
    """So many of so many."""

    count: int
    of: int

    @property
    def share(self) -> float | None:
        """None of none."""
        return self.count / self.of if self.of else None

    @cached_property
    def bounds(self) -> tuple[float, float]:
        """The two-sided interval at `CONFIDENCE`; everything where there is nothing."""
        tail = (1 - CONFIDENCE) / 2
        return at_least(self.count, self.of, tail), 1 - at_least(self.of - self.count, self.of, tail)

    def __str__(self) -> str:
        """For a person to read."""
        if not self.of:
            return "nothing checked yet"
        low, high = self.bounds
        return f"{self.count} of {self.of}: {self.count / self.of:.2%} ({low:.2%} to {high:.2%})"

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"count": self.count, "of": self.of, "share": self.share, "interval": list(self.bounds)}


def at_least(count: int, of: int, tail: float) -> float:
    """The smallest share of which `count` of `of` or more would come by chance with a probability of `tail`.

    Args:
        count: 0 to `of`.
        of: 0 or more.
        tail: In 0..0.5; the share is surer by as much as this is smaller.
    """
    return 0.0 if count == 0 else _solved(lambda share: _or_more(count, of, share) - tail)


def _or_more(count: int, of: int, share: float) -> float:
    """The probability of `count` or more of `of`, for a count of 1 at least: a sum from there away from the mean."""
    if count <= of * share:
        return 1 - _sum(of - count + 1, of, 1 - share)
    return _sum(count, of, share)


def _sum(count: int, of: int, share: float) -> float:
    """The same above the mean, where each term is smaller than the one before."""
    if count > of:
        return 0.0
    ways = math.lgamma(of + 1) - math.lgamma(count + 1) - math.lgamma(of - count + 1)
    term = math.exp(ways + count * math.log(share) + (of - count) * math.log1p(-share))
    total, odds = term, share / (1 - share)
    while count < of and term > _NOTHING * total:
        term *= odds * (of - count) / (count + 1)
        count += 1
        total += term
    return total


def _solved(rising: Callable[[float], float]) -> float:
    """Where a rising function of a share is 0."""
    low, high = 0.0, 1.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        low, high = (middle, high) if rising(middle) < 0 else (low, middle)
    return (low + high) / 2
