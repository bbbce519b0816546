"""Scores -> io or nio, and the reason."""

from __future__ import annotations

import math
from collections.abc import Sequence
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

    def strength(self, peak: float | None) -> float:
        """How much of the evidence that makes an image nio there is, in 0..1; at and above the threshold 1.

        Below it, the strongest place of the map is set against itself and what the whole image lacks to reach the
        threshold: what every good image has a little of stays faint, a spot that other places outvote can be seen.

        Args:
            peak: The map's maximum in the log-odds of the probability; None where the map's unit is another. Then it
                is the probability as a share of the threshold.
        """
        if self.label == "nio" or self.probability is None:
            return 1.0
        if peak is None:
            return self.probability / self.threshold
        if peak <= 0 or self.probability <= 0 or self.threshold >= 1:
            return 0.0
        return peak / (peak + _log_odds(self.threshold) - _log_odds(self.probability))


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


def deciding(verdicts: Sequence[Verdict]) -> int:
    """Which page of a stack its verdict is that of: a defect before an unidentified one before io; the strongest.

    Of equals the first. No number is stronger than any.

    Args:
        verdicts: Of each page, at least one.

    Returns:
        Its index.
    """
    return max(range(len(verdicts)), key=lambda page: (_rank(verdicts[page]), -page))


def _rank(verdict: Verdict) -> tuple[int, float]:
    if verdict.reason == "unidentified":
        return 1, math.inf if verdict.novelty is None else verdict.novelty
    return (2 if verdict.label == "nio" else 0), verdict.probability or 0.0


def _log_odds(probability: float) -> float:
    return math.log(probability / (1 - probability))


def rounded(score: float) -> float:
    """A score to six significant digits."""
    return float(f"{score:.{_DIGITS}g}")
