"""What threshold and temperature promise: the recall holds on images still to come, and no word too much."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import expit, logit
from scipy.stats import logistic, norm

from inspection.verdict import judge
from training.proof.limits import choose_threshold, tail_quantile, temperature

probability = st.floats(0, 1) | st.sampled_from([0.0, 0.1, 0.5, 0.9999994, 0.9999996, 1.0])
DRAWS = 1000
SAMPLING = 3 * math.sqrt(0.05 * 0.95 / DRAWS)
"""Three standard errors of a share of 5 % among so many draws."""


def judged_nio(threshold: float, probabilities: Sequence[float]) -> int:
    """How many images verdicts call nio at a threshold."""
    return sum(judge(p, threshold, 0.0).label == "nio" for p in probabilities)


class TestThreshold:
    """The required recall, and as much more as the budget buys."""

    @given(
        nio=st.lists(probability, min_size=1, max_size=60),
        io=st.lists(probability, max_size=60),
        percent=st.integers(1, 100),
        budget=st.sampled_from([0.0, 0.005, 0.03, 0.2]),
    )
    @hypothesis_settings(deadline=None, max_examples=300, database=None, derandomize=True)
    def test_recall_first_and_no_more_false_calls_than_that_takes(
        self, nio: list[float], io: list[float], percent: int, budget: float
    ) -> None:
        """On the given images it keeps the recall, costs at most the budget beyond that, and uses it for recall."""
        threshold = choose_threshold(nio, io, percent / 100, budget, 1.0)
        assert Fraction(judged_nio(threshold, nio), len(nio)) >= Fraction(percent, 100)
        keeping = [p for p in nio if Fraction(judged_nio(p, nio), len(nio)) >= Fraction(percent, 100)]
        demanded = max(judged_nio(p, io) for p in keeping)
        allowed = demanded + max(budget, 0.5 / (len(nio) + 1)) * len(io)
        assert judged_nio(threshold, io) <= allowed
        for other in (*nio, *io):
            if judged_nio(other, io) <= judged_nio(threshold, io):
                assert judged_nio(other, nio) <= judged_nio(threshold, nio)

    @pytest.mark.parametrize(
        ("count", "required", "missed"),
        [(1, 0.99, 0), (80, 0.99, 0), (298, 0.99, 0), (472, 0.99, 0), (473, 0.99, 1), (628, 0.99, 2), (628, 1.0, 0)],
    )
    def test_as_many_misses_as_still_prove_the_recall(self, count: int, required: float, missed: int) -> None:
        """Where nothing is free, a nio image is given up only if the others still prove the recall."""
        nio = [(index + 1) / (count + 2) for index in range(count)]
        io = [p - 0.3 / (count + 2) for p in nio]
        assert judged_nio(choose_threshold(nio, io, required, 0.0, 1.0), nio) == count - missed

    @pytest.mark.parametrize(
        ("budget", "false_calls"), [(0.0, 1), (0.009, 1), (0.021, 2), (0.05, 5), (0.051, 5), (0.3, 30)]
    )
    def test_the_budget_is_spent(self, budget: float, false_calls: int) -> None:
        """It goes down as far as the budget reaches, and spends something too where few nio images say little."""
        io = [0.005 * (index + 1) for index in range(100)]
        assert judged_nio(choose_threshold([0.9] * 49, io, 0.99, budget, 1.0), io) == false_calls

    def test_room_for_new_nio_images(self) -> None:
        """The threshold lies far below the lowest nio, near the image next below it, but above that one."""
        assert 0.1 < choose_threshold([0.9, 0.99], [0.001, 0.1], 0.99, 0.005, 1.0) < 0.2
        assert choose_threshold([0.9, 0.99], [], 0.99, 0.005, 1.0) == pytest.approx(0.9)

    @pytest.mark.parametrize(("limit", "caught"), [(0.03, 14), (0.2, 16)])
    def test_one_part_may_not_cost_more_than_the_limit(self, limit: float, caught: int) -> None:
        """Where nio are few, the worst part is given up if it is dear; all its images, and no second part."""
        nio = [0.1, 0.12, *[0.4] * 14]
        parts = ["a", "a", *(f"b{index // 2}" for index in range(14))]
        io = [0.001] * 85 + [0.2] * 15
        threshold = choose_threshold(nio, io, 0.99, 0.005, limit, parts)
        assert judged_nio(threshold, nio) == caught
        second = [0.1, 0.12, 0.15, 0.16, *nio[4:]]
        assert judged_nio(choose_threshold(second, io, 0.99, 0.005, limit, parts), second) >= 14

    def test_a_proven_recall_has_no_limit(self) -> None:
        """With nio images enough to prove the recall it is kept whatever it costs."""
        nio, io = [0.2] * 300, [0.5] * 50 + [0.1] * 50
        assert judged_nio(choose_threshold(nio, io, 0.99, 0.005, 0.03), nio) == 300

    @pytest.mark.parametrize("shape", [norm, logistic], ids=["normal", "logistic"])
    @pytest.mark.parametrize("apart", [3.0, 5.0])
    @pytest.mark.parametrize(("limit", "kept"), [(1.0, 0.985), (0.03, 0.975)])
    def test_few_nio_images(self, shape: type[norm], apart: float, limit: float, kept: float) -> None:
        """Chosen on 80 nio images it keeps on average 98.5 % recall on those to come; 97.5 % if one may be given up."""
        recalls = self._true_recalls(shape, apart, nio=80, draws=400, limit=limit)
        assert recalls.mean() >= kept

    @pytest.mark.parametrize("shape", [norm, logistic], ids=["normal", "logistic"])
    @pytest.mark.parametrize("count", [299, 473, 700])
    def test_enough_nio_images(self, shape: type[norm], count: int) -> None:
        """Chosen on 299 nio images or more, in at least 95 % of draws it keeps the 99 % on nio images still to come."""
        recalls = self._true_recalls(shape, 3.0, nio=count, draws=DRAWS // 2)
        assert (recalls >= 0.99).mean() >= 0.95 - SAMPLING * math.sqrt(2)

    def _true_recalls(
        self, shape: type[norm], apart: float, nio: int, draws: int, limit: float = 0.03
    ) -> NDArray[np.float64]:
        """Recall on images still to come of thresholds that were each chosen on a fresh draw of log-odds."""
        rng = np.random.default_rng(nio)
        recalls = []
        for _ in range(draws):
            defective = expit(shape.rvs(loc=apart, size=nio, random_state=rng))
            good = expit(shape.rvs(loc=-apart, size=400, random_state=rng))
            threshold = choose_threshold(defective.tolist(), good.tolist(), 0.99, 0.005, limit)
            recalls.append(shape.sf(logit(threshold), loc=apart))
        return np.array(recalls)


class TestTail:
    """The value that a share of new ones exceeds."""

    @pytest.mark.parametrize(("count", "share", "rank"), [(99, 0.01, 1), (199, 0.01, 2), (9, 0.5, 5), (1, 0.5, 1)])
    def test_an_order_statistic_where_there_are_enough(self, count: int, share: float, rank: int) -> None:
        """Of 99 values the largest is exceeded by one in a hundred new ones."""
        values = np.random.default_rng(0).permutation(count).astype(float)
        assert tail_quantile(values.tolist(), share) == count - rank

    @given(st.lists(st.floats(-50, 50), min_size=1, max_size=50))
    @hypothesis_settings(deadline=None, max_examples=100, database=None, derandomize=True)
    def test_a_smaller_share_is_never_exceeded_sooner(self, values: list[float]) -> None:
        """Beyond all values it only rises with less to be exceeded, and never lies below the largest of them."""
        found = [tail_quantile(values, share) for share in (0.01, 0.003, 0.001, 0.0001, 0.0)]
        assert found[:-1] == sorted(found[:-1])
        assert min(found) >= max(values)
        assert all(map(math.isfinite, found))

    def test_beyond_all_values(self) -> None:
        """From 60 values the limit of one in 200 is met on average, give or take half, where tails are exponential."""
        rng = np.random.default_rng(0)
        exceeded = [math.exp(-tail_quantile(rng.exponential(size=60).tolist(), 0.005)) for _ in range(400)]
        assert 0.0025 <= np.mean(exceeded) <= 0.01


class TestTemperature:
    """Probabilities that mean what they say."""

    def labelled(self, sharpened: float, count: int = 4000) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Log-odds that are so many times too large, and the labels that the true ones make."""
        rng = np.random.default_rng(1)
        true = rng.normal(0, 2, count)
        return true * sharpened, rng.random(count) < expit(true)

    @pytest.mark.parametrize("sharpened", [1.5, 4.0, 20.0])
    def test_overconfident_scores_are_cooled(self, sharpened: float) -> None:
        """Log-odds that claim too much are divided by what they exaggerate."""
        log_odds, is_nio = self.labelled(sharpened)
        assert temperature(log_odds.tolist(), is_nio.tolist()) == pytest.approx(sharpened, rel=0.12)

    @pytest.mark.parametrize("sharpened", [0.3, 1.0])
    def test_scores_are_never_sharpened(self, sharpened: float) -> None:
        """What claims as much as is true, or less, stays as it is."""
        log_odds, is_nio = self.labelled(sharpened)
        assert temperature(log_odds.tolist(), is_nio.tolist()) == pytest.approx(1, abs=0.1)

    def test_well_separated_scores_stay(self) -> None:
        """A few images without a mistake are no reason for certainty: the temperature is 1, not 0."""
        assert temperature([-5.0, -4.0, 4.0, 6.0], [False, False, True, True]) == pytest.approx(1, abs=1e-3)

    def test_one_confident_mistake(self) -> None:
        """A surest mistake among right ones makes all of them less sure."""
        log_odds = [-8.0] * 50 + [8.0] * 50
        assert temperature(log_odds, [False] * 50 + [True] * 49 + [False]) > 1.5

    def test_both_classes_weigh_alike(self) -> None:
        """How many good images there are for a defective one does not matter."""
        log_odds, is_nio = self.labelled(4.0)
        few = np.concatenate([np.flatnonzero(~is_nio), np.flatnonzero(is_nio)[:300]])
        assert temperature(log_odds[few].tolist(), is_nio[few].tolist()) == pytest.approx(4, rel=0.2)

    @pytest.mark.parametrize("is_nio", [[True, True], [False, False]])
    def test_one_class_only(self, is_nio: list[bool]) -> None:
        """With one class there is a temperature too."""
        assert 1 <= temperature([-3.0, 2.0], is_nio) <= 100
