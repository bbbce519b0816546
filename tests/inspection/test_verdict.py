"""What a verdict promises: what is doubtful is nio, and the logged numbers explain it."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inspection.verdict import Verdict, judge, rounded

PROBABILITY = st.floats(0, 1)


@pytest.mark.parametrize(
    ("probability", "threshold", "label"),
    [
        (0.5, 0.5, "nio"),
        (0.499999, 0.5, "io"),
        (0.0, 0.5, "io"),
        (1.0, 0.5, "nio"),
        (0.0, 0.0, "nio"),
        (1.0, 1.0, "nio"),
        (0.999999, 1.0, "io"),
        (1e-9, 1e-8, "io"),
        (1e-8, 1e-8, "nio"),
    ],
)
def test_boundaries(probability: float, threshold: float, label: str) -> None:
    """The threshold itself is nio."""
    verdict = judge(probability, threshold)
    assert (verdict.label, verdict.reason) == (label, "defect" if label == "nio" else "clear")
    assert (verdict.probability, verdict.threshold) == (probability, threshold)


@pytest.mark.parametrize("probability", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("threshold", [0.0, 0.5, 1.0])
def test_no_number_is_nio(probability: float, threshold: float) -> None:
    """What the network gave no number for is unidentified, hence nio, and no number is logged."""
    assert judge(probability, threshold) == Verdict("nio", "unidentified", None, threshold)


@pytest.mark.parametrize(
    ("probability", "threshold", "label"),
    [
        (0.49999999, 0.5, "nio"),
        (0.12345649, 0.1234564, "nio"),
        (0.1234563, 0.1234567, "io"),
    ],
)
def test_rounded_values_are_compared(probability: float, threshold: float, label: str) -> None:
    """The last bits, in which machines differ, do not decide: six digits of both are compared."""
    verdict = judge(probability, threshold)
    assert verdict.label == label
    assert verdict.probability == rounded(probability)
    assert verdict.threshold == rounded(threshold)


@settings(database=None, derandomize=True)
@given(PROBABILITY, PROBABILITY)
def test_a_log_line_explains_itself(probability: float, threshold: float) -> None:
    """From the logged probability and threshold alone the label follows, and judging them anew changes nothing."""
    verdict = judge(probability, threshold)
    assert verdict.probability is not None
    assert (verdict.label == "nio") == (verdict.probability >= verdict.threshold)
    assert judge(verdict.probability, verdict.threshold) == verdict


@settings(database=None, derandomize=True)
@given(PROBABILITY, PROBABILITY, PROBABILITY)
def test_more_evidence_is_never_better(one: float, other: float, threshold: float) -> None:
    """An image of a higher nio probability is not io where one of a lower is nio."""
    low, high = sorted((one, other))
    assert (judge(low, threshold).label, judge(high, threshold).label) != ("nio", "io")
