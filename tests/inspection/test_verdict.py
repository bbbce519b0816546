"""What a verdict promises: what is doubtful is nio, and the logged numbers explain it."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inspection.verdict import Verdict, deciding, judge, rounded

PROBABILITY = st.floats(0, 1)
NOVELTY = st.floats(0, 10) | st.sampled_from([0.0, 0.9999994, 0.9999996, 1.0, 1.0000004, 1.0000006])


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
    verdict = judge(probability, threshold, 0.5)
    assert (verdict.label, verdict.reason) == (label, "defect" if label == "nio" else "clear")
    assert (verdict.probability, verdict.threshold, verdict.novelty) == (probability, threshold, 0.5)


@pytest.mark.parametrize(
    ("probability", "novelty", "reason"),
    [
        (0.1, 1.0, "clear"),
        (0.1, 1.0000004, "clear"),
        (0.1, 1.0001, "unidentified"),
        (0.0, 50.0, "unidentified"),
        (0.5, 1.0001, "defect"),
        (0.9, 50.0, "defect"),
    ],
)
def test_what_is_unlike_good_images_is_nio(probability: float, novelty: float, reason: str) -> None:
    """Above a novelty of 1 an image is unidentified, hence nio; a known defect, which is unlike too, stays a defect."""
    verdict = judge(probability, 0.5, novelty)
    assert (verdict.label, verdict.reason) == ("io" if reason == "clear" else "nio", reason)
    assert verdict.novelty == rounded(novelty)


@pytest.mark.parametrize(
    ("probability", "novelty"),
    [
        (math.nan, 0.5),
        (math.inf, 0.5),
        (-math.inf, 0.5),
        (0.0, math.nan),
        (0.0, math.inf),
        (1.0, math.nan),
        (math.nan, math.nan),
    ],
)
@pytest.mark.parametrize("threshold", [0.0, 0.5, 1.0])
def test_no_number_is_nio(probability: float, novelty: float, threshold: float) -> None:
    """What the network gave no number for, of either kind, is unidentified, hence nio, and no number is logged."""
    assert judge(probability, threshold, novelty) == Verdict("nio", "unidentified", None, threshold, None)


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
    verdict = judge(probability, threshold, 0.0)
    assert verdict.label == label
    assert verdict.probability == rounded(probability)
    assert verdict.threshold == rounded(threshold)


@settings(database=None, derandomize=True)
@given(PROBABILITY, PROBABILITY, NOVELTY)
def test_a_log_line_explains_itself(probability: float, threshold: float, novelty: float) -> None:
    """From the logged probability, threshold and novelty alone label and reason follow; judged anew nothing changes."""
    verdict = judge(probability, threshold, novelty)
    assert verdict.probability is not None
    assert verdict.novelty is not None
    assert (verdict.reason == "defect") == (verdict.probability >= verdict.threshold)
    assert (verdict.label == "nio") == (verdict.probability >= verdict.threshold or verdict.novelty > 1)
    assert judge(verdict.probability, verdict.threshold, verdict.novelty) == verdict


@settings(database=None, derandomize=True)
@given(PROBABILITY, PROBABILITY, PROBABILITY, NOVELTY, NOVELTY)
def test_more_evidence_is_never_better(p: float, q: float, threshold: float, one: float, other: float) -> None:
    """An image of a higher nio probability and of a higher novelty is not io where one of lower ones is nio."""
    low, high = (judge(f(p, q), threshold, f(one, other)).label for f in (min, max))
    assert (low, high) != ("nio", "io")


def test_evidence_is_strong_from_the_threshold_on() -> None:
    """What is nio is shown in full, whatever its map; so is what has no number."""
    for verdict in (judge(0.5, 0.5, 0.1), judge(1.0, 0.5, 0.1), judge(0.1, 0.5, 7.0), judge(math.nan, 0.5, 0.1)):
        for peak in (0.0, 3.0, None):
            assert verdict.strength(peak) == 1


def test_evidence_fades_with_what_is_lacking() -> None:
    """Below the threshold a map is the fainter the more its strongest place is outvoted; on it, it is full."""
    strengths = [judge(probability, 0.5, 0.1).strength(1.0) for probability in (1e-12, 1e-4, 0.1, 0.4, 0.499999)]
    assert strengths == sorted(strengths)
    assert strengths[0] < 0.05
    assert strengths[-1] > 0.99
    assert judge(0.1, 0.5, 0.1).strength(0.1) < judge(0.1, 0.5, 0.1).strength(2.0)
    assert judge(0.1, 0.5, 0.1).strength(0.0) == 0


@settings(database=None, derandomize=True)
@given(PROBABILITY, PROBABILITY, st.none() | st.floats(0, 1e6))
def test_strength_is_a_share(probability: float, threshold: float, peak: float | None) -> None:
    """Whatever the numbers, it is in 0..1."""
    assert 0 <= judge(probability, threshold, 0.1).strength(peak) <= 1


def test_a_stack_is_decided_by_its_worst_page() -> None:
    """A defect goes before what is unidentified, that before io; among equals the stronger one, then the first."""
    io, doubtful, defect = judge(0.1, 0.5, 0.2), judge(0.4, 0.5, 0.2), judge(0.6, 0.5, 0.2)
    strange, stranger, worst = judge(0.1, 0.5, 2), judge(0.1, 0.5, 3), judge(0.9, 0.5, 0.2)
    unknown = judge(math.nan, 0.5, 0.2)
    assert deciding([io, doubtful, io]) == 1
    assert deciding([doubtful, strange, stranger]) == 2
    assert deciding([stranger, unknown]) == 1
    assert deciding([unknown, defect, worst, worst]) == 2
    assert deciding([io, io]) == 0
