"""What is promised of shares: their bounds are the exact ones, of few and of a million."""

from __future__ import annotations

import pytest
from scipy.stats import beta

from inspection.shares import Share, at_least

COUNTED = [(0, 0), (0, 20), (20, 20), (3, 250), (1, 1), (0, 299), (300, 10_000), (400_000, 10**6), (10**6, 10**6)]


@pytest.mark.parametrize(("count", "of"), COUNTED)
def test_intervals_are_clopper_pearsons(count: int, of: int) -> None:
    """Both bounds are the exact ones, also where none or all are counted."""
    low, high = Share(count, of).bounds
    assert low == pytest.approx(beta.ppf(0.025, count, of - count + 1) if count else 0.0, abs=1e-12)
    assert high == pytest.approx(beta.ppf(0.975, count + 1, of - count) if count < of else 1.0, abs=1e-12)


@pytest.mark.parametrize("tail", [0.05, 1e-6])
def test_one_sided(tail: float) -> None:
    """One bound alone is surer by as much as its tail is smaller."""
    assert at_least(297, 300, tail) == pytest.approx(beta.ppf(tail, 297, 4), abs=1e-12)


def test_in_words() -> None:
    """Of nothing nothing is said; else the share stands between its bounds."""
    assert str(Share(0, 0)) == "nothing checked yet"
    assert str(Share(1, 20)) == "1 of 20: 5.00% (0.13% to 24.87%)"
