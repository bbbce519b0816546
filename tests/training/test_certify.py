"""What the threshold and the bound promise: the required recall at the fewest false calls, and no word too much."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from scipy.stats import binom

from inspection.verdict import judge
from training.certify import choose_threshold, recall_lower_bound

probability = st.floats(0, 1) | st.sampled_from([0.0, 0.1, 0.5, 0.9999994, 0.9999996, 1.0])


def recall_at(threshold: float, probabilities: list[float]) -> Fraction:
    """Which share of nio images verdicts find at a threshold."""
    return Fraction(sum(judge(p, threshold).label == "nio" for p in probabilities), len(probabilities))


@given(
    nio=st.lists(probability, min_size=1, max_size=60),
    io=st.lists(probability, max_size=60),
    percent=st.integers(1, 100),
)
@hypothesis_settings(deadline=None, max_examples=300)
def test_no_threshold_with_the_recall_has_fewer_false_calls(nio: list[float], io: list[float], percent: int) -> None:
    """Verdicts at the threshold keep the recall; no threshold that keeps it makes fewer false calls."""
    required = Fraction(percent, 100)
    threshold = choose_threshold(nio, io, percent / 100)
    assert recall_at(threshold, nio) >= required
    false_calls = sum(judge(p, threshold).label == "nio" for p in io)
    for other in (*nio, *io, 1.0):
        if recall_at(other, nio) >= required:
            assert sum(judge(p, other).label == "nio" for p in io) >= false_calls


def test_room_for_new_nio_images() -> None:
    """The threshold lies far below the lowest nio, near the image next below it, but above that one."""
    assert 0.1 < choose_threshold([0.9, 0.99], [0.001, 0.1], 0.99) < 0.2
    assert choose_threshold([0.9, 0.99], [], 0.99) == pytest.approx(0.9)


@pytest.mark.parametrize(("required", "found"), [(1.0, 10), (0.99, 10), (0.9, 9), (0.85, 9), (0.7, 7), (0.1, 1)])
def test_of_ten(required: float, found: int) -> None:
    """Of ten images as many may be missed as the recall allows: with 0.9 one, with 0.99 none."""
    nio = [(index + 1) / 20 for index in range(10)]
    assert recall_at(choose_threshold(nio, [0.01], required), nio) == Fraction(found, 10)


@pytest.mark.parametrize(
    ("count", "missed", "proved"), [(299, 0, True), (298, 0, False), (473, 1, True), (472, 1, False), (628, 2, True)]
)
def test_what_proves_99_percent(count: int, missed: int, proved: bool) -> None:
    """99 % take 299 nio images with none missed, 473 with one, 628 with two."""
    assert (recall_lower_bound(count, missed) >= 0.99) == proved


def test_forty_of_forty() -> None:
    """40 of 40 found prove 92.8 %."""
    assert recall_lower_bound(40, 0) == pytest.approx(0.928, abs=0.0005)


@pytest.mark.parametrize("count", [0, 1, 12])
def test_nothing_found_proves_nothing(count: int) -> None:
    """No images, or every one missed: the bound is 0."""
    assert recall_lower_bound(count, count) == 0


@given(count=st.integers(1, 400), data=st.data())
@hypothesis_settings(deadline=None, max_examples=100)
def test_the_bound_is_exact(count: int, data: st.DataObject) -> None:
    """At a true recall as low as the bound, so few misses come with a probability of 5 %."""
    missed = data.draw(st.integers(0, count - 1))
    bound = recall_lower_bound(count, missed)
    assert 0 < bound < 1 - missed / count + 1e-9
    assert math.isclose(binom.cdf(missed, count, 1 - bound), 0.05, rel_tol=1e-6)
