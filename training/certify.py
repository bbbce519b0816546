"""Which threshold keeps the required recall, and what the data can prove about it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from scipy.stats import beta

from inspection.verdict import rounded

CONFIDENCE = 0.95


def choose_threshold(nio_probabilities: Sequence[float], required_recall: float) -> float:
    """The highest threshold that keeps the recall on these nio images at or above the required one.

    Args:
        nio_probabilities: Of images that are nio, and that the model was not fitted to.
        required_recall: In 0..1.

    Returns:
        One of the probabilities, rounded as verdicts round; an image is nio from its threshold on.
    """
    ranked = sorted(rounded(probability) for probability in nio_probabilities)
    # The epsilon: 0.9 of 10 images is 9, though 0.9 * 10 may come out a little above it.
    misses = len(ranked) - math.ceil(required_recall * len(ranked) - 1e-9)
    return ranked[misses]


def recall_lower_bound(count: int, missed: int) -> float:
    """The recall that `count` nio images of which `missed` were missed prove, one-sided, at 95 %.

    After Clopper and Pearson, "The use of confidence or fiducial limits", Biometrika 1934.
    """
    if count == missed:
        return 0.0
    return float(beta.ppf(1 - CONFIDENCE, count - missed, missed + 1))
