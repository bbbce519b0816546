"""What a reference promises: any distribution becomes a normal one, and it knows how uncertain it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from inspection.reference import SCORES, Distribution, distribution

SHAPES: dict[str, Callable[[np.random.Generator, int], Any]] = {
    "normal": lambda rng, count: rng.normal(5, 2, count),
    "even": lambda rng, count: rng.uniform(0, 1, count),
    "skewed": lambda rng, count: rng.lognormal(0, 1, count),
    "heavy": lambda rng, count: rng.standard_cauchy(count),
    "two humps": lambda rng, count: rng.normal(0, 1, count) + 10 * rng.integers(0, 2, count),
    "steps": lambda rng, count: rng.integers(0, 5, count).astype(float),
}


def alone(count: int) -> list[str]:
    """Each image shows another part."""
    return [str(number) for number in range(count)]


@pytest.mark.parametrize("shape", SHAPES)
def test_new_values_of_the_same_kind_score_like_a_normal_variable(shape: str) -> None:
    """Whatever its shape, new values have scores of mean 0 and standard deviation 1 at most."""
    rng = np.random.default_rng(1)
    known = distribution(SHAPES[shape](rng, 1000), alone(1000))
    scores = [known.normal_score(value) for value in SHAPES[shape](rng, 5000)]
    assert abs(np.mean(scores)) < 4 * known.standard_error
    assert 0.75 < np.std(scores) < 1.08


@pytest.mark.parametrize(("count", "highest"), [(2000, 3.0), (200, 2.58), (24, 1.75)])
def test_scores_rise_with_the_value_and_end(count: int, highest: float) -> None:
    """A larger value never scores lower; the wildest image scores what the reference's extreme does, 3 at most."""
    known = distribution(np.random.default_rng(2).normal(0, 1, count).tolist(), alone(count))
    scores = [known.normal_score(value) for value in np.linspace(-9, 9, 500)]
    assert scores == sorted(scores)
    assert known.normal_score(-1e300) == pytest.approx(-highest, abs=0.01)
    assert known.normal_score(1e300) == pytest.approx(highest, abs=0.01)
    assert known.normal_score(known.typical) == pytest.approx(0)


def test_one_value_only_scores_nothing() -> None:
    """A signal that never varied has score 0 as long as it does not."""
    known = distribution([0.25] * 50, alone(50))
    assert known.normal_score(0.25) == 0
    assert known.normal_score(0.2) == -known.normal_score(0.3) < -2


def test_the_standard_error_is_that_of_the_parts() -> None:
    """Ten images each of twenty parts that differ are no more than twenty; of parts that do not, two hundred."""
    rng = np.random.default_rng(3)
    groups = [str(number // 10) for number in range(200)]
    differing = np.repeat(rng.normal(0, 1, 20), 10) + rng.normal(0, 0.1, 200)
    assert distribution(differing.tolist(), groups).standard_error == pytest.approx(20**-0.5, rel=0.2)
    assert distribution(rng.normal(0, 1, 200).tolist(), groups).standard_error == pytest.approx(200**-0.5, rel=0.4)
    assert distribution(differing.tolist(), alone(200)).standard_error >= 200**-0.5


def test_quantiles_that_fall_are_refused() -> None:
    """What a damaged model.json says is not charted."""
    falling = [float(-score) for score in SCORES]
    with pytest.raises(ValidationError, match="ascend"):
        Distribution(quantiles=falling, images=100, standard_error=0.1)


@pytest.mark.parametrize("standard_error", [0.0, 1e-200, 1e-9, 1e9, 1e200])
def test_a_standard_error_that_no_images_have_is_refused(standard_error: float) -> None:
    """Nothing that model.json may say makes the charts divide by zero or overflow."""
    with pytest.raises(ValidationError, match="standard_error"):
        Distribution(quantiles=list(SCORES), images=100, standard_error=standard_error)
