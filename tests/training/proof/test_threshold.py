"""What the threshold promises: least cost, the recall kept on images to come, and no few wrong labels decide."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import logistic, norm

from inspection.verdict import judge
from training.proof.threshold import Scores, Worth, choose, curve, least_cost, missed, reached, with_twice_the_nio

DRAWS = 500
SAMPLING = 3 * math.sqrt(0.05 * 0.95 / DRAWS)
"""Three standard errors of a share of 5 % among so many draws."""
WORTH = Worth(escape_cost=100, nio_share=0.01, required_recall=0.99)
RNG = np.random.default_rng(3)
GOOD, BAD = np.sort(RNG.normal(-5, 1, 300)), np.sort(RNG.normal(5, 1.5, 60))


def scores(
    nio: Sequence[float] | NDArray[np.float64],
    io: Sequence[float] | NDArray[np.float64],
    nio_parts: Sequence[str] | None = None,
    trusted: Sequence[str] = (),
) -> Scores:
    """Log-odds; each image another part, unless said."""
    parts = list(nio_parts or (f"nio{index}" for index in range(len(nio))))
    names = [f"io{index}" for index in range(len(io))]
    return Scores(np.asarray(nio, float), np.asarray(io, float), parts, names, frozenset(trusted))


class TestLeastCost:
    """The threshold with no part set aside."""

    def test_between_what_is_far_apart(self) -> None:
        """It lies in the gap, with room on both sides; nearer to io the more an escape is worth."""
        found = [least_cost(scores(BAD, GOOD), Worth(cost, 0.01, 0.99)) for cost in (1, 10, 100, 1000, 10_000)]
        assert found == sorted(found, reverse=True)
        assert GOOD.max() < found[2] < BAD.min()
        assert found[0] > found[-1] + 1

    @pytest.mark.parametrize(("cost", "highest"), [(100, 0.0), (1000, -2.2)])
    def test_room_for_new_kinds_of_defects(self, cost: float, highest: float) -> None:
        """In a wide gap below a few nio images, all alike, it does not go up to them."""
        threshold = least_cost(scores(np.linspace(14, 14.5, 20), np.linspace(-16, -8, 60)), Worth(cost, 0.01, 0.99))
        assert -8 < threshold <= highest

    def test_the_share_of_nio_counts_like_the_cost(self) -> None:
        """Twice as many nio images are worth about as much as an escape that is twice as dear."""
        twice_dear, twice_many = (
            least_cost(scores(BAD, GOOD), Worth(*worth, 0.99)) for worth in ((200, 0.01), (100, 0.02))
        )
        assert twice_dear == pytest.approx(twice_many, abs=0.05)

    @pytest.mark.parametrize(("count", "missed_ones"), [(80, 0), (298, 0), (473, 1), (628, 2)])
    def test_as_many_misses_as_still_prove_the_recall(self, count: int, missed_ones: int) -> None:
        """However little an escape is worth, no more nio images lie below it than the proof of the recall allows."""
        nio = np.linspace(-30, 30, count)
        threshold = least_cost(scores(nio, np.linspace(-30, 30, 1000)), Worth(1e-3, 0.01, 0.99))
        assert (nio < threshold).sum() == missed_ones

    @pytest.mark.parametrize("shape", [norm, logistic], ids=["normal", "logistic"])
    @pytest.mark.parametrize("count", [299, 473])
    def test_enough_nio_images(self, shape: type[norm], count: int) -> None:
        """Chosen on 299 nio images or more, in at least 95 % of draws it keeps the 99 % on nio images still to come."""
        recalls = self.true_recalls(shape, 3.0, nio=count, draws=DRAWS)
        assert (recalls >= 0.99).mean() >= 0.95 - SAMPLING

    @pytest.mark.parametrize("shape", [norm, logistic], ids=["normal", "logistic"])
    @pytest.mark.parametrize(("apart", "nio", "kept"), [(4.0, 8, 0.96), (4.0, 40, 0.98), (5.0, 80, 0.985)])
    def test_few_nio_images(self, shape: type[norm], apart: float, nio: int, kept: float) -> None:
        """Chosen on few, it still keeps nearly the required recall on average."""
        assert self.true_recalls(shape, apart, nio=nio, draws=200).mean() >= kept

    def true_recalls(self, shape: type[norm], apart: float, nio: int, draws: int) -> NDArray[np.float64]:
        """Recall on images still to come of thresholds that were each chosen on a fresh draw of log-odds."""
        rng = np.random.default_rng(nio)
        recalls = []
        for _ in range(draws):
            defective = shape.rvs(loc=apart, size=nio, random_state=rng)
            good = shape.rvs(loc=-apart, size=400, random_state=rng)
            recalls.append(shape.sf(least_cost(scores(defective, good), WORTH), loc=apart))
        return np.array(recalls)

    def test_what_is_unidentified_moves_nothing(self) -> None:
        """A nio image that is caught anyway, and an io image on another budget, leave the threshold where it is."""
        plain = least_cost(scores(BAD, GOOD), WORTH)
        with_them = least_cost(scores([*BAD, math.inf], [*GOOD, -math.inf]), WORTH)
        assert with_them == pytest.approx(plain, abs=0.3)

    @pytest.mark.parametrize(("nio", "io"), [([1.0], [-1.0]), ([2.0, 3.0], []), ([math.inf] * 3, [-math.inf] * 3)])
    def test_hardly_any_images(self, nio: list[float], io: list[float]) -> None:
        """There is always a threshold, and it catches what nio images there are."""
        if not io:
            io = [-3.0]
        threshold = least_cost(scores(nio, io), WORTH)
        assert math.isfinite(threshold)
        assert threshold <= min(nio)

    def test_verdicts_compare_it_as_it_is(self) -> None:
        """As a probability it is rounded as verdicts round, so what it judges nio here is nio on the line."""
        choice = choose(scores(BAD, GOOD), WORTH)
        judged = [judge(1 / (1 + math.exp(-value)), choice.probability, 0.0).label == "nio" for value in (*BAD, *GOOD)]
        assert judged == [value >= choice.threshold for value in (*BAD, *GOOD)]


class TestShares:
    """How many images of either label a threshold costs."""

    def test_counted_within_and_foretold_beyond(self) -> None:
        """Within the scores shares are counted; beyond them they fall, and never to nothing."""
        thresholds = np.linspace(GOOD.min() - 1, GOOD.max() + 8, 200)
        found = reached(GOOD, thresholds)
        assert (np.diff(found) <= 1e-12).all()
        middle = thresholds < np.quantile(GOOD, 0.8)
        assert found[middle] == pytest.approx([(threshold <= GOOD).mean() for threshold in thresholds[middle]])
        assert 0 < found[-1] < 1e-3

    def test_on_average_as_many_as_come(self) -> None:
        """Beyond the lowest of 40 nio images it foretells, on average over draws, what share of new ones lies there."""
        rng = np.random.default_rng(1)
        foretold, true = [], []
        for _ in range(300):
            drawn = rng.logistic(5, 1, 40)
            limit = np.array([drawn.min() - 0.5])
            foretold.append(missed(drawn, limit)[0])
            true.append(logistic.cdf(limit[0], loc=5))
        assert 0.5 <= np.mean(foretold) / np.mean(true) <= 2


class TestSetAside:
    """A few labels that look wrong."""

    io = np.concatenate([GOOD, [-2.0, -1.5]])

    def test_one_wrong_label_does_not_decide(self) -> None:
        """A good part labelled nio is set aside, with all its images, and the threshold is as if it were not there."""
        wrong = scores([*BAD, -5.0, -4.5], self.io, [*(f"b{index}" for index in range(len(BAD))), "wrong", "wrong"])
        choice = choose(wrong, WORTH)
        assert choice.aside == ["wrong"]
        assert choice.threshold == pytest.approx(choose(scores(BAD, self.io), WORTH).threshold, abs=0.1)

    def test_two_alike_are_weighed_together(self) -> None:
        """Of two wrong parts side by side neither alone decides: without both the threshold rises, so both go."""
        parts = [*(f"b{index}" for index in range(len(BAD))), "one", "other"]
        choice = choose(scores([*BAD, -5.0, -4.99], self.io, parts), WORTH)
        assert choice.aside == ["one", "other"]
        assert choice.threshold == pytest.approx(choose(scores(BAD, self.io), WORTH).threshold, abs=0.1)

    def test_one_part_is_no_knifes_edge(self) -> None:
        """A doubtful part goes over from caught to set aside step by step, as an escape is worth less and less."""
        few = BAD[::4]
        doubtful = scores([*few, -3.2, -3.0], self.io, [*(f"b{index}" for index in range(len(few))), "doubt", "doubt"])
        chosen = [choose(doubtful, Worth(cost, 0.01, 0.99)) for cost in np.geomspace(20, 500, 16)]
        steps = -np.diff([choice.threshold for choice in chosen])
        assert steps.sum() > 2
        assert 0 <= steps.min() <= steps.max() < 0.6
        assert (chosen[0].aside, chosen[-1].aside) == (["doubt"], [])

    def test_not_what_a_person_has_confirmed(self) -> None:
        """A confirmed label weighs in full: the threshold catches it, whatever it costs."""
        parts = [*(f"b{index}" for index in range(len(BAD))), "hard"]
        choice = choose(scores([*BAD, -5.0], self.io, parts, ["hard"]), WORTH)
        assert choice.aside == []
        assert choice.threshold <= -5.0

    def test_not_what_costs_little(self) -> None:
        """A nio image that lies low where no good one is near stays: to catch it costs nothing."""
        choice = choose(scores([*BAD, -0.5], GOOD), WORTH)
        assert choice.aside == []
        assert choice.threshold <= -0.5

    @pytest.mark.parametrize("apart", [0.05, 0.5])
    def test_at_most_six_in_a_hundred(self, apart: float) -> None:
        """Where many nio images look like good ones the defects are hard, and not the labels wrong."""
        choice = choose(scores([*BAD, *(-7 + apart * np.arange(10))], self.io), WORTH)
        assert len(choice.aside) <= 5
        assert choice.threshold < -7 + apart * 6


class TestReported:
    """What the report shows of the choice."""

    def test_the_curve_has_its_lowest_cost_at_the_choice(self) -> None:
        """Expected cost is least at the chosen threshold, and the bands contain what is expected."""
        choice = choose(scores(BAD, GOOD), WORTH)
        found = curve(choice, WORTH)
        assert found.thresholds[np.argmin(found.cost[1])] == pytest.approx(choice.threshold, abs=0.15)
        for low, expected, high in (found.recall, found.false_calls):
            assert (low <= high).all()
            assert (low - 0.02 <= expected).all()
            assert (expected <= high + 0.02).all()

    def test_more_nio_images_buy_fewer_false_calls(self) -> None:
        """With twice as many nio images the tail below them is better known, and the threshold may be higher."""
        few = BAD[::8]
        choice = choose(scores(few, np.random.default_rng(0).normal(-3, 2, 400)), WORTH)
        assert with_twice_the_nio(choice, WORTH) <= choice.false_calls

    def test_also_where_all_labels_are_confirmed(self) -> None:
        """Never more of them, however low the nio images lie."""
        few = Scores(
            np.linspace(-3, 8, 50),
            np.random.default_rng(0).normal(-5, 1.5, 200),
            [f"nio {number}" for number in range(50)],
            [f"io {number}" for number in range(200)],
            frozenset(f"nio {number}" for number in range(50)),
        )
        choice = choose(few, WORTH)
        assert with_twice_the_nio(choice, WORTH) <= choice.false_calls

    def test_what_is_set_aside_counts_as_missed(self) -> None:
        """The curve's recall and cost are those of all labelled parts, not of the ones that are left."""
        choice = choose(scores([*BAD, -9.0, -9.5], GOOD), WORTH)
        assert len(choice.aside) == 2
        found, missed_share = curve(choice, WORTH), 2 / (len(BAD) + 2)
        assert found.recall.max() <= 1 - missed_share + 1e-9
        assert found.cost[1].min() >= 9900 * WORTH.weight * missed_share
