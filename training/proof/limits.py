"""Beyond what good images keep to, and how sure probabilities may be."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.optimize import minimize_scalar

_TAIL = 0.25
"""Share of the values, the largest ones, that the tail beyond all of them is fitted to."""
_SMALLEST_TAIL = 3


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
