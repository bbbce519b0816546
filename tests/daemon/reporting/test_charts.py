"""What the charts promise: chance moves none of them, and what moves is told soon, whatever the reference's size."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest

from daemon.reporting.charts import Limits, ShareLimits, Sides
from inspection.reference import distribution

REFERENCES = (60, 240, 2000)


def run(limits: Limits, scores: Iterable[float], sides: Sides | None = None) -> int | None:
    """The number of the image at which the chart moved."""
    sides = sides or Sides()
    for number, score in enumerate(scores, start=1):
        limits.add(sides, score, score, "")
        if sides.moved:
            return number
    return None


def run_share(limits: ShareLimits, verdicts: Iterable[bool], sides: Sides | None = None) -> int | None:
    """The same of a share of nio."""
    sides = sides or Sides()
    for number, nio in enumerate(verdicts, start=1):
        limits.add(sides, nio=bool(nio), time="")
        if sides.moved:
            return number
    return None


@pytest.mark.parametrize("count", REFERENCES)
def test_chance_moves_nothing(count: int) -> None:
    """Ten references, each with its own sampling error, and 5,000 new images of each: no alarm."""
    rng = np.random.default_rng(count)
    for _ in range(10):
        known = distribution(rng.normal(0, 1, count).tolist(), [str(number) for number in range(count)])
        limits = Limits.of(known.standard_error)
        assert run(limits, map(known.normal_score, rng.normal(0, 1, 5000).tolist())) is None


@pytest.mark.parametrize(("count", "shift"), [(60, 1.8), (240, 0.9), (2000, 0.7)])
@pytest.mark.parametrize("way", [-1, 1])
def test_a_shift_is_told_within_200_images(count: int, shift: float, way: int) -> None:
    """The larger the reference, the smaller the shift that is told in time; which way and how far is told too."""
    rng = np.random.default_rng(count)
    for _ in range(10):
        known = distribution(rng.normal(0, 1, count).tolist(), [str(number) for number in range(count)])
        sides = Sides()
        found = run(Limits.of(known.standard_error), map(known.normal_score, rng.normal(way * shift, 1, 200)), sides)
        assert found is not None
        assert sides.moved == ("up" if way > 0 else "down")
        assert sides.leading.level * way == pytest.approx(shift, abs=1.3)


def test_a_shift_below_the_allowance_is_none() -> None:
    """Parts that differ by less than the allowance may come in runs of any length."""
    limits = Limits.of(0.02)
    rng = np.random.default_rng(0)
    runs = np.repeat(rng.choice([-0.15, 0.0, 0.15], 10), 1000) + rng.normal(0, 1, 10_000)
    assert run(limits, runs.tolist()) is None


def test_a_wild_image_is_no_shift() -> None:
    """Two of the strangest images in a row move nothing."""
    assert run(Limits.of(0.05), [3.0, 3.0]) is None


def test_it_is_over_soon_after_the_shift() -> None:
    """After any long shift the chart is back within 200 images, and not before the shift ends."""
    limits, sides = Limits.of(0.05), Sides()
    for _ in range(10_000):
        limits.add(sides, 1.0, 1.0, "")
    assert sides.moved == "up"
    rng = np.random.default_rng(0)
    for score in rng.normal(0, 1, 200):
        limits.add(sides, float(score), 0.0, "")
    assert sides.moved is None


@pytest.mark.parametrize("nio", [0, 5, 50, 250, 490])
def test_a_learned_share_is_calm(nio: int) -> None:
    """A share that was counted in 500 images alarms neither way while it stays."""
    rng = np.random.default_rng(nio)
    assert run_share(ShareLimits.of(500, nio), rng.random(50_000) < nio / 500) is None


@pytest.mark.parametrize(("usual", "now"), [(0.0, 0.2), (0.02, 0.3), (0.1, 0.5), (0.5, 0.98), (0.5, 0.02), (0.9, 0.1)])
def test_another_share_is_told_within_200_images(usual: float, now: float) -> None:
    """Many more or many fewer nio than usual are told."""
    rng = np.random.default_rng(0)
    assert run_share(ShareLimits.of(500, round(500 * usual)), rng.random(200) < now)
