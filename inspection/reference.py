"""What the signals of io images were in training: the yardstick for drift. Part of model.json."""

from __future__ import annotations

import itertools
import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from statistics import NormalDist
from typing import Annotated

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

SCORES = tuple(quarter / 4 for quarter in range(-12, 13))
"""The normal scores at which a distribution's quantiles are kept: -3, -2.75, ... 3."""

_NORMAL = NormalDist()
_SURE, _UNSURE = 1e-6, 10.0
"""Of the standard errors that any number of images can have, in their own standard deviations."""


def _ascending(values: list[float]) -> list[float]:
    if any(one > other for one, other in itertools.pairwise(values)):
        raise ValueError("quantiles do not ascend")
    return values


class CardPart(BaseModel):
    """Part of model.json: refuses unknown keys, silent conversions and what is no number."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Distribution(CardPart):
    """What a signal was on io images, whatever its shape: skewed, with several humps or heavy tails.

    Attributes:
        quantiles: The values at SCORES.
        images: How many images they are from.
        standard_error: How far off the mean of their normal scores may be for chance, in standard deviations.
    """

    quantiles: Annotated[list[float], Field(min_length=len(SCORES), max_length=len(SCORES)), AfterValidator(_ascending)]
    images: Annotated[int, Field(gt=0)]
    standard_error: Annotated[float, Field(ge=_SURE, le=_UNSURE)]

    @property
    def typical(self) -> float:
        """The median."""
        return self.quantiles[len(SCORES) // 2]

    @property
    def highest_score(self) -> float:
        """What the highest of so many independent images scores (van der Waerden); none is told to be higher."""
        independent = 1 / self.standard_error**2
        return min(SCORES[-1], _NORMAL.inv_cdf(independent / (independent + 1)))

    def normal_score(self, value: float) -> float:
        """A value as standard deviations of a normal distribution; one wild image cannot move a chart far."""
        low, high = bisect_left(self.quantiles, value), bisect_right(self.quantiles, value)
        if high - low == 1:
            score = SCORES[low]
        elif low == high and low in {0, len(SCORES)}:
            score = SCORES[max(0, low - 1)]
        elif low == high:
            below, above = self.quantiles[low - 1], self.quantiles[low]
            score = SCORES[low - 1] + (value - below) / (above - below) * (SCORES[low] - SCORES[low - 1])
        else:  # many images had this very value: they share what lies between its first quantile and its last
            lowest = SCORES[low] if low > 0 else -math.inf
            highest = SCORES[high - 1] if high < len(SCORES) else math.inf
            score = _mean_between(lowest, highest)
        return max(-self.highest_score, min(score, self.highest_score))


def _mean_between(low: float, high: float) -> float:
    """The mean of a standard normal variable between two bounds."""
    return (_NORMAL.pdf(low) - _NORMAL.pdf(high)) / (_NORMAL.cdf(high) - _NORMAL.cdf(low))


class Reference(CardPart):
    """How io images looked in training.

    Attributes:
        signals: By name, of images labelled and judged io.
        nio_share: Of the labelled images; the line's own is often nothing like it.
    """

    signals: dict[str, Distribution]
    nio_share: Annotated[float, Field(ge=0, le=1)]


def distribution(values: Sequence[float], groups: Sequence[str]) -> Distribution:
    """Sum up a signal's values.

    Images of one part are alike, and say less than as many parts would: the standard error is that of a mean of
    clusters, after Liang and Zeger, "Longitudinal data analysis using generalized linear models", Biometrika 1986,
    and never less than that of images that have nothing to do with each other.

    Args:
        values: One for each image, at least one.
        groups: The part that each image shows.
    """
    levels = [_NORMAL.cdf(score) for score in SCORES]
    quantiles = np.quantile(np.asarray(values, np.float64), levels, method="weibull")
    bare = Distribution(
        quantiles=np.maximum.accumulate(quantiles).tolist(), images=len(values), standard_error=1 / len(values) ** 0.5
    )
    scores = [bare.normal_score(value) for value in values]
    mean = sum(scores) / len(scores)
    sums: dict[str, float] = {}
    for group, score in zip(groups, scores, strict=True):
        sums[group] = sums.get(group, 0.0) + score - mean
    few = len(sums) / max(1, len(sums) - 1)
    clustered = (few * sum(total**2 for total in sums.values())) ** 0.5 / len(values)
    return bare.model_copy(update={"standard_error": max(bare.standard_error, clustered)})
