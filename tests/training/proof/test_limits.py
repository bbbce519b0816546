"""What limits and temperature promise: a budget that holds on images still to come, and no word too much."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import expit

from training.proof.limits import tail_quantile, temperature


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
