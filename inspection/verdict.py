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
        novelty: How unlike the good training images, rounded as it was compared; unidentified above 1; None where the
            network gave no number.
    """

    label: Label
    reason: Reason
    probability: float | None
    threshold: float
    novelty: float | None


def judge(probability: float, threshold: float, novelty: float) -> Verdict:
    """Compare an image's nio probability with the model's threshold, and its novelty with 1; what is no number is nio.

    A known defect is unlike a good image too, so `defect` goes before `unidentified`.

    The comparison is made on the rounded values that are logged, so a log line explains itself and the last bits,
    in which machines differ, do not decide.
    """
    threshold = rounded(threshold)
    if not (math.isfinite(probability) and math.isfinite(novelty)):
        return Verdict("nio", "unidentified", None, threshold, None)
    probability, novelty = rounded(probability), rounded(novelty)
    if probability >= threshold:
        return Verdict("nio", "defect", probability, threshold, novelty)
    if novelty > 1:
        return Verdict("nio", "unidentified", probability, threshold, novelty)
    return Verdict("io", "clear", probability, threshold, novelty)


def rounded(score: float) -> float:
    """A score to six significant digits."""
    return float(f"{score:.{_DIGITS}g}")
