"""Which threshold costs least: one rule, from what an escape is worth, and its curve for the report.

Scores are log-odds of nio, of images that the scoring network was not fitted to. Shapes: T thresholds, N images.
"""

from __future__ import annotations

import functools
import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inspection.verdict import rounded
from settings.schema import TrainingSettings
from training.proof.certificate import recall_lower_bound

_FEWEST_TAIL = 3
_TAIL = {"nio": 1.5, "io": 2.0}  # of the square root of the images: so many of the outermost ones tell the tail
_STEP, _REACH = 0.02, 12.0  # of the thresholds looked at; and how far beyond all scores
_MOST_ASIDE, _FEWEST_KEPT = 0.06, 2
_DRAWN, _RESAMPLED = 100, 200
_NOTHING = 0.1  # of what a part is worth
_BAND = (5.0, 95.0)
_SEED = 0

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Worth:
    """What a process engineer says is wanted.

    Attributes:
        escape_cost: How many false calls one escape, a nio image judged io, is worth.
        nio_share: Of the images that reach the inbox, in 0..1.
        required_recall: In 0..1.
    """

    escape_cost: float
    nio_share: float
    required_recall: float

    @classmethod
    def of(cls, options: TrainingSettings) -> Worth:
        """What the configuration says."""
        return cls(options.escape_cost, options.nio_share, options.required_recall)

    @property
    def weight(self) -> float:
        """The share of io images called nio that is worth as much as to miss every nio image."""
        return self.escape_cost * self.nio_share / (1 - self.nio_share)


@dataclass(frozen=True)
class Scores:
    """Images of both labels; those of one part hang together.

    Attributes:
        nio: Of the nio images; infinite where one is nio whatever its score is.
        io: Of the io images; negative infinite where one is on another budget.
        nio_parts: What each of them shows.
        io_parts: The same.
        trusted: Parts whose label a person has confirmed.
    """

    nio: Numbers
    io: Numbers
    nio_parts: list[str]
    io_parts: list[str]
    trusted: frozenset[str] = frozenset()

    def resampled(self, random: np.random.Generator) -> Scores:
        """As many parts of each label, drawn with replacement; one that is drawn twice counts twice."""
        nio, nio_parts = _resampled(self.nio, self.nio_parts, random)
        io, io_parts = _resampled(self.io, self.io_parts, random)
        return Scores(nio, io, nio_parts, io_parts, self.trusted)

    def without(self, parts: Sequence[str]) -> Scores:
        """The same less some parts."""
        nio = [index for index, part in enumerate(self.nio_parts) if part not in parts]
        io = [index for index, part in enumerate(self.io_parts) if part not in parts]
        return Scores(
            self.nio[nio],
            self.io[io],
            [self.nio_parts[index] for index in nio],
            [self.io_parts[index] for index in io],
            self.trusted,
        )


@dataclass(frozen=True)
class Choice:
    """A threshold, in log-odds, and what it was chosen on.

    Attributes:
        threshold: An image is nio from it on.
        aside: Parts that were set aside for the choice: they look like the other label, and cost more than they are
            worth, all together.
        kept: The scores without them.
    """

    threshold: float
    aside: list[str]
    kept: Scores

    @property
    def probability(self) -> float:
        """The threshold as verdicts compare it: rounded, an image is nio from this probability on."""
        return rounded(1 / (1 + math.exp(-self.threshold)))

    @property
    def false_calls(self) -> float:
        """The expected share of io images called nio, less those that are unidentified."""
        return float(reached(self.kept.io, np.array([self.threshold]))[0])


def choose(scores: Scores, worth: Worth) -> Choice:
    """The threshold of least expected cost among those that keep the required recall as well as the scores can tell.

    The cost is that of missed nio images plus that of false calls. How many of either a threshold makes is counted
    within the scores and, beyond the outermost of them, told by their tails. The required recall is kept with a
    confidence of 95 % where the nio images are enough to tell (299 for 99 %), otherwise none of them is missed. Nor
    does it lie above even odds, weighed by the cost.

    A few wrong labels would decide that. So parts that look like the other label are set aside, the lowest first, as
    many as make the whole cost least, in which each of them counts as missed: they cost more false calls than they are
    worth. At most six in a hundred, and none that a person has confirmed.

    Then it would still hang on whether one part is set aside or not. So this is done anew with parts drawn with
    replacement, many times, and the mean of all those thresholds is taken (Breiman, "Bagging predictors", Machine
    Learning 1996); a lower one where that costs next to nothing, and none that would set more parts aside.
    """
    random = np.random.default_rng(_SEED)
    found = _cheapest(scores, worth)
    drawn = [_cheapest(scores.resampled(random), worth).threshold for _ in range(_DRAWN)]
    threshold = min(float(np.mean(drawn)), found.highest)
    lower = np.arange(threshold, min(threshold, found.threshold) - _STEP, -_STEP)
    called = reached(scores.io, lower)
    threshold = float(lower[called[0] - called >= -_NOTHING * worth.weight / len(set(scores.nio_parts))].min())
    below = {part for part, value in zip(scores.nio_parts, scores.nio.tolist(), strict=True) if value < threshold}
    aside = [part for part in found.doubted if part in below]
    return Choice(threshold, aside, scores.without(aside))


@dataclass(frozen=True)
class _Cheapest:
    """The cheapest threshold, with as many parts set aside as that takes.

    Attributes:
        threshold: In log-odds.
        doubted: The parts that might be set aside, the lowest first.
        highest: The highest threshold that keeps the required recall on all others.
    """

    threshold: float
    doubted: list[str]
    highest: float


def _cheapest(scores: Scores, worth: Worth) -> _Cheapest:
    """Shapes: N nio images, P nio parts."""
    names_P, part_of_N = np.unique(np.array(scores.nio_parts), return_inverse=True)
    lowest_P = np.full(len(names_P), np.inf)
    np.minimum.at(lowest_P, part_of_N, scores.nio)
    looks_io_P = np.bincount(part_of_N, scores.nio) < 0  # on average
    order_P = np.argsort(lowest_P, kind="stable")
    rank_N = np.argsort(order_P)[part_of_N]
    firm_P = ~looks_io_P | np.isin(names_P, list(scores.trusted))
    most = int(np.argmax(np.append(firm_P[order_P], True)))
    most = max(0, min(most, math.ceil(_MOST_ASIDE * len(names_P)), len(names_P) - _FEWEST_KEPT))
    thresholds = _grid(scores)
    called = reached(scores.io, thresholds)
    shares = [(aside, aside / len(names_P)) for aside in range(most + 1)]
    found = [_least(scores.nio[rank_N >= aside], share, thresholds, called, worth) for aside, share in shares]
    _, threshold = min(found, key=lambda one: one[0])
    return _Cheapest(threshold, names_P[order_P[:most]].tolist(), _highest(scores.nio[rank_N >= most], worth))


def least_cost(scores: Scores, worth: Worth) -> float:
    """The cheapest threshold that keeps the required recall, with no part set aside."""
    thresholds = _grid(scores)
    return _least(scores.nio, 0.0, thresholds, reached(scores.io, thresholds), worth)[1]


def _least(kept: Numbers, aside: float, thresholds_T: Numbers, called_T: Numbers, worth: Worth) -> tuple[float, float]:
    """The least cost, and the threshold that has it, where a share of the nio parts is set aside."""
    cost_T = worth.weight * (aside + (1 - aside) * missed(kept, thresholds_T)) + called_T
    cost_T[thresholds_T > _highest(kept, worth)] = np.inf
    least = int(np.argmin(cost_T))
    return float(cost_T[least]), float(thresholds_T[least])


def _highest(nio: Numbers, worth: Worth) -> float:
    """The highest threshold that is allowed.

    What is likelier nio than io, both weighed by the cost, is nio: where a wide gap lies between them its far end would
    cost as little, but new kinds of defects come from there.
    """
    return min(_recall_kept(nio, worth.required_recall), -math.log(worth.weight))


def _grid(scores: Scores) -> Numbers:
    finite = np.concatenate([scores.nio[np.isfinite(scores.nio)], scores.io[np.isfinite(scores.io)], [0.0]])
    return np.arange(finite.min() - _REACH, finite.max() + _REACH, _STEP)


def _recall_kept(nio: Numbers, required_recall: float) -> float:
    """The highest threshold that misses no more than the requirement allows.

    After Tong, Feng and Li, "Neyman-Pearson classification algorithms and NP receiver operating characteristics",
    Science Advances 2018.
    """
    return float(np.sort(nio)[_allowed(len(nio), required_recall)])


@functools.cache
def _allowed(count: int, required_recall: float) -> int:
    """How many of so many nio images may be missed; none where they are too few to tell."""
    lost = bisect_left(range(1, count), True, key=lambda misses: recall_lower_bound(count, misses) < required_recall)
    return int(lost)


def missed(nio: Numbers, thresholds_T: Numbers) -> Numbers:
    """The expected share of nio images below each threshold `[T]`."""
    return _beyond(-nio, -thresholds_T, _TAIL["nio"], inclusive=False)


def reached(io: Numbers, thresholds_T: Numbers) -> Numbers:
    """The expected share of io images at or above each threshold `[T]`."""
    return _beyond(io, thresholds_T, _TAIL["io"], inclusive=True)


def _beyond(values: Numbers, limits_T: Numbers, depth: float, *, inclusive: bool) -> Numbers:
    """The share of new values beyond each limit: counted among those there are, and in the tail by its excesses.

    The excesses of a tail are exponential; with their scale known from `k` of them only, new ones follow Lomax's
    distribution (the predictive one, with the scale's prior that says nothing): the fewer there are, the longer it is.
    After Weissman, "Estimation of parameters and large quantiles based on the k largest observations", JASA 1978.
    """
    rising = np.sort(values)
    count = len(rising)
    within = 1 - np.searchsorted(rising, limits_T, side="left" if inclusive else "right") / count
    known = rising[np.isfinite(rising)]
    k = min(max(_FEWEST_TAIL, math.ceil(depth * math.sqrt(count))), len(known) - 1)
    if k < 1:
        return within
    begin = known[-k - 1]
    excess = float((known[-k:] - begin).sum())
    tail = (k / count) * (1 + np.maximum(limits_T - begin, 0) / max(excess, 1e-9)) ** -k
    return np.where(limits_T > begin, tail, within)


@dataclass(frozen=True)
class Curve:
    """What each threshold would cost, with its uncertainty: three rows each, low, expected and high `[3, T]`.

    Parts that were set aside count as missed at any of them, as in the choice.

    Attributes:
        thresholds: In log-odds `[T]`.
        recall: Share of the nio images.
        false_calls: Share of the io images.
        cost: In false calls per 10,000 images.
    """

    thresholds: Numbers
    recall: Numbers
    false_calls: Numbers
    cost: Numbers


def curve(choice: Choice, worth: Worth) -> Curve:
    """The curve around a choice; the uncertainty by a bootstrap over parts."""
    random = np.random.default_rng(_SEED)
    kept, aside = choice.kept, len(choice.aside)
    share = aside / (aside + len(set(kept.nio_parts)))
    thresholds = np.linspace(choice.threshold - 6, choice.threshold + 6, 121)
    drawn = [_point(kept, share, thresholds, worth)]
    drawn += [_point(kept.resampled(random), share, thresholds, worth) for _ in range(_RESAMPLED)]
    low, high = np.percentile(np.stack(drawn[1:]), _BAND, axis=0)
    recall, false_calls, cost = (np.stack(rows) for rows in zip(low, drawn[0], high, strict=True))
    return Curve(thresholds, recall, false_calls, cost)


def _point(kept: Scores, aside: float, thresholds: Numbers, worth: Worth) -> Numbers:
    misses = aside + (1 - aside) * missed(kept.nio, thresholds)
    calls = reached(kept.io, thresholds)
    images = 10_000 * (1 - worth.nio_share)
    return np.stack([1 - misses, calls, images * (worth.weight * misses + calls)])


def _resampled(values: Numbers, parts: Sequence[str], random: np.random.Generator) -> tuple[Numbers, list[str]]:
    of_part: dict[str, list[float]] = {}
    for part, value in zip(parts, values.tolist(), strict=True):
        of_part.setdefault(part, []).append(value)
    several = list(of_part.items())
    drawn = [several[index] for index in random.integers(0, len(several), len(several))]
    return (
        np.array([value for _, values in drawn for value in values]),
        [part for part, values in drawn for _ in values],
    )


def with_twice_the_nio(choice: Choice, worth: Worth) -> float:
    """The expected share of false calls if there were twice as many nio images, and like these."""
    kept = choice.kept
    twice = Scores(np.tile(kept.nio, 2), kept.io, [*kept.nio_parts, *kept.nio_parts], kept.io_parts, kept.trusted)
    higher = max(0.0, least_cost(twice, worth) - least_cost(kept, worth))
    return float(reached(kept.io, np.array([choice.threshold + higher]))[0])
