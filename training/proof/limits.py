"""Which threshold keeps the required recall on new images, and how sure its probabilities may be."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.optimize import minimize_scalar

from inspection.verdict import rounded
from training.proof.certificate import recall_lower_bound

_TOWARDS_IO = 0.9
"""How far down the gap to the image next below it the threshold lies, in log-odds; the rest is room for arithmetic."""
_TAIL = 0.25
"""Share of the nio images, the lowest ones, that the tail below all of them is fitted to."""
_SMALLEST_TAIL = 3


def choose_threshold(
    nio_probabilities: Sequence[float],
    io_probabilities: Sequence[float],
    required_recall: float,
    false_call_budget: float,
    false_call_limit: float,
    nio_parts: Sequence[str] | None = None,
) -> float:
    """The threshold that keeps the required recall on nio images, and as much more as the false-call budget buys.

    It begins at the highest order statistic of the nio images that keeps the recall: with a confidence of 95 % where
    there are enough of them (`recall_lower_bound`; 99 % takes 299; after Tong, Feng and Li, "Neyman-Pearson
    classification algorithms and NP receiver operating characteristics", Science Advances 2018), otherwise the lowest.
    From there it goes down until that has cost the budget in false calls, for a missed defect costs far more than one,
    and a new nio image may score lower than all of these.

    Where the nio images are too few to prove the recall even if none is missed, the lowest alone would decide; and it
    may be labelled wrongly, or hard only for a network that saw fewer of its kind than the one kept. So the worst part
    is given up if to catch it would cost more than the limit; never a second one.

    Args:
        nio_probabilities: Of images that are nio, and that the scoring model was not fitted to.
        io_probabilities: The same of io images.
        required_recall: In 0..1.
        false_call_budget: Share of io images, in 0..1. Where nio images are few it is half of what a new
            one has as a chance to lie below all `n` of them, 1 / (n + 1), if that is more, within the limit.
        false_call_limit: Share of io images, in 0..1.
        nio_parts: What each nio image shows; None: each another part.

    Returns:
        The threshold, rounded as verdicts round; an image is nio from it on.
    """
    io = sorted((rounded(probability) for probability in io_probabilities), reverse=True)
    limit = math.floor(false_call_limit * len(io))
    nio = sorted(rounded(probability) for probability in nio_probabilities)
    if not _can_prove(len(nio), required_recall) and _reached_by(io, nio[0]) > limit:
        parts = nio_parts or range(len(nio))
        worst = min(zip(nio_probabilities, parts, strict=True), key=lambda image: image[0])[1]
        others = (p for p, part in zip(nio_probabilities, parts, strict=True) if part != worst)
        nio = sorted(map(rounded, others)) or nio
    lowest = nio[_misses_allowed(len(nio), required_recall)]
    cost = _reached_by(io, lowest)
    few = min(0.5 / (len(nio) + 1) * len(io), limit - cost)
    below = io[cost + math.floor(max(false_call_budget * len(io), few)) :]
    above = [score for score in (*io, *nio) if score <= lowest and (not below or score > below[0])]
    return _lowered(min(above), below)


def given_up(probability: float, threshold: float, count: int, required_recall: float) -> bool:
    """Whether a nio image is below the threshold that was chosen on `count` of them since to catch it is too dear.

    Where they are enough to prove the recall, one that is missed is within what the recall allows.
    """
    return rounded(probability) < threshold and not _can_prove(count, required_recall)


def _can_prove(count: int, required_recall: float) -> bool:
    """Whether so many nio images prove the recall if none is missed."""
    return recall_lower_bound(count, 0) >= required_recall


def _reached_by(scores: Sequence[float], threshold: float) -> int:
    return sum(score >= threshold for score in scores)


def _misses_allowed(count: int, required_recall: float) -> int:
    """How many of `count` nio images may be missed for the rest to prove the required recall; at least none."""
    missed = 0
    while missed + 1 < count and recall_lower_bound(count, missed + 1) >= required_recall:
        missed += 1
    return missed


def tail_quantile(values: Sequence[float], share: float) -> float:
    """The value that a share of new ones exceeds: an order statistic, or beyond them all an exponential tail.

    After Weissman, "Estimation of parameters and large quantiles based on the k largest observations", JASA 1978.

    Args:
        values: At least one, in any order.
        share: In 0..1.
    """
    falling = np.sort(np.asarray(values, float))[::-1]
    allowed = math.floor(share * (len(falling) + 1))
    if allowed >= 1:
        return float(falling[allowed - 1])
    depth = min(max(_SMALLEST_TAIL, math.ceil(_TAIL * len(falling))), len(falling) - 1)
    if depth < 1 or share <= 0:
        return float(falling[0])
    mean_excess = float((falling[:depth] - falling[depth]).mean())
    return max(float(falling[0]), float(falling[depth] + mean_excess * math.log(depth / (len(falling) * share))))


def _lowered(target: float, below: Sequence[float]) -> float:
    """A threshold that judges all scores below `target` as it does, with room for new images."""
    if not below:
        return rounded(target)
    odds = _log_odds(target) + _TOWARDS_IO * (_log_odds(max(below)) - _log_odds(target))
    threshold = rounded(_probability(odds))
    # The rounding may reach one of the two where they are neighbours.
    return min(rounded(target), threshold) if threshold > max(below) else rounded(target)


def temperature(log_odds: Sequence[float], is_nio: Sequence[bool]) -> float:
    """What log-odds must be divided by for probabilities that mean what they say, with both classes weighing alike.

    After Guo, Pleiss, Sun and Weinberger, "On calibration of modern neural networks", ICML 2017.

    Args:
        log_odds: Of nio; of images that the scoring model was not fitted to.
        is_nio: Their labels.
    """
    signed = np.where(is_nio, log_odds, np.negative(log_odds))
    weights = np.where(is_nio, 0.5 / max(sum(is_nio), 1), 0.5 / max(len(is_nio) - sum(is_nio), 1))

    def loss(log_temperature: float) -> float:
        return float((weights * np.logaddexp(0, -signed / math.exp(log_temperature))).sum())

    # Well separated scores would have a temperature of nothing: nobody believes a probability of 1 - 1e-9.
    return float(math.exp(minimize_scalar(loss, bounds=(0.0, math.log(100)), method="bounded").x))


def _log_odds(probability: float) -> float:
    clipped = min(max(probability, 1e-12), 1 - 1e-12)
    return math.log(clipped / (1 - clipped))


def _probability(log_odds: float) -> float:
    return 1 / (1 + math.exp(-log_odds))
