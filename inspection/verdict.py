"""Scores -> io or nio, and the reason."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Label = Literal["io", "nio"]
LABELS: tuple[Label, Label] = ("io", "nio")
"""The classes, in the order of the classifier's outputs."""

Reason = Literal["clear", "defect", "unidentified"]

_DIGITS = 6


@dataclass(frozen=True)
class Verdict:
    """One image's judgement.

    Attributes:
        label: io or nio.
        reason: `clear` (io), `defect` (the classifier says nio), `unidentified` (the model does not understand it).
        probability: Of nio, in 0..1, rounded as it was compared; None where the network gave no number.
        threshold: nio from this probability on.
    """

    label: Label
    reason: Reason
    probability: float | None
    threshold: float


def judge(probability: float, threshold: float) -> Verdict:
    """Compare an image's nio probability with the model's threshold; what is no number is nio.

    The comparison is made on the rounded values that are logged, so a log line explains itself and the last bits,
    in which machines differ, do not decide.
    """
    threshold = rounded(threshold)
    if not math.isfinite(probability):
        return Verdict("nio", "unidentified", None, threshold)
    probability = rounded(probability)
    if probability >= threshold:
        return Verdict("nio", "defect", probability, threshold)
    return Verdict("io", "clear", probability, threshold)


def rounded(score: float) -> float:
    """A score to six significant digits."""
    return float(f"{score:.{_DIGITS}g}")
