"""Which threshold keeps the required recall, and what the data can prove about it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from scipy.stats import beta

from inspection.verdict import rounded

CONFIDENCE = 0.95
_TOWARDS_IO = 0.9
"""How far down the gap between nio and io the threshold lies, in log-odds; the rest is room for arithmetic."""


def choose_threshold(
    nio_probabilities: Sequence[float], io_probabilities: Sequence[float], required_recall: float
) -> float:
    """The threshold that keeps the required recall on these nio images with the fewest false calls.

    Every threshold between the lowest nio image that must be caught and the image next below it gives the same verdicts
    here. A missed defect costs far more than a false call, so it is put near the lower end: a new nio image may score
    lower than all of these and is still caught.

    Args:
        nio_probabilities: Of images that are nio, and that the model was not fitted to.
        io_probabilities: The same of io images.
        required_recall: In 0..1.

    Returns:
        The threshold, rounded as verdicts round; an image is nio from it on.
    """
    ranked = sorted(rounded(probability) for probability in nio_probabilities)
    # The epsilon: 0.9 of 10 images is 9, though 0.9 * 10 may come out a little above it.
    misses = len(ranked) - math.ceil(required_recall * len(ranked) - 1e-9)
    lowest = ranked[misses]
    below = [found for score in (*io_probabilities, *ranked) if (found := rounded(score)) < lowest]
    if not below:
        return lowest
    odds = _log_odds(lowest) + _TOWARDS_IO * (_log_odds(max(below)) - _log_odds(lowest))
    threshold = rounded(1 / (1 + math.exp(-odds)))
    # The rounding may reach one of the two where they are neighbours.
    return min(lowest, threshold) if threshold > max(below) else lowest


def _log_odds(probability: float) -> float:
    clipped = min(max(probability, 1e-12), 1 - 1e-12)
    return math.log(clipped / (1 - clipped))


def recall_lower_bound(count: int, missed: int) -> float:
    """The recall that `count` nio images of which `missed` were missed prove, one-sided, at 95 %.

    After Clopper and Pearson, "The use of confidence or fiducial limits", Biometrika 1934.
    """
    if count == missed:
        return 0.0
    return float(beta.ppf(1 - CONFIDENCE, count - missed, missed + 1))
