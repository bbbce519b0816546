"""What the signals promise: each moves with what it is named after, and every image has its own."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from inspection.signals import grey_signals, measure, verdict_signals
from inspection.verdict import judge


@pytest.fixture
def discs(draw_disc: Callable[..., Any]) -> Tensor:
    """Four discs `[4, 1, 48, 48]` in 0..1."""
    rng = np.random.default_rng(0)
    return torch.stack([torch.from_numpy(draw_disc(rng, void=False, side=48) / 255).float()[None] for _ in range(4)])


def test_brightness_moves_the_grey_levels_and_not_the_sharpness(discs: Tensor) -> None:
    """5 % more light is 5 % more of mean, background and contrast; the edges are as sharp as they were."""
    for before, after in zip(grey_signals(discs), grey_signals(1.05 * discs), strict=True):
        for name in ("grey_mean", "grey_bright", "contrast"):
            assert after[name] == pytest.approx(1.05 * before[name], rel=1e-4)
        assert after["sharpness"] == pytest.approx(before["sharpness"], rel=1e-4)


def test_blur_lowers_the_sharpness_alone(discs: Tensor) -> None:
    """A blurred image has the same grey levels and much less sharpness."""
    blurred = functional.avg_pool2d(functional.pad(discs, (1, 1, 1, 1), "replicate"), 3, stride=1)
    for before, after in zip(grey_signals(discs), grey_signals(blurred), strict=True):
        assert after["sharpness"] < 0.7 * before["sharpness"]
        assert after["grey_mean"] == pytest.approx(before["grey_mean"], rel=0.01)


def test_a_batch_is_one_by_one(discs: Tensor) -> None:
    """An image's signals do not depend on its neighbours, nor on where it stands."""
    together = grey_signals(discs)
    assert grey_signals(discs.flip(0))[::-1] == [pytest.approx(row, rel=1e-6) for row in together]
    assert grey_signals(discs[:1])[0] == pytest.approx(together[0], rel=1e-6)


@pytest.mark.parametrize(("level", "known"), [(0.0, 4), (1.0, 4), (math.nan, 0), (math.inf, 0)])
def test_what_is_no_picture_has_no_wild_numbers(discs: Tensor, level: float, known: int) -> None:
    """A blank image has plain signals; what cannot be measured is left out, and the neighbours keep theirs."""
    batch = torch.cat([discs[:1], torch.full((1, 1, 48, 48), level)])
    picture, strange = grey_signals(batch)
    assert len(picture) == 4
    assert len(strange) == known
    assert all(map(math.isfinite, strange.values()))


def test_score_and_novelty_are_the_verdicts() -> None:
    """Even odds are 0; the surest verdict is a number too; where the network gave none there is neither."""
    assert verdict_signals(judge(0.5, 0.9, 0.25)) == {"score": 0.0, "novelty": 0.25}
    assert verdict_signals(judge(0.001, 0.9, 0.25))["score"] == pytest.approx(math.log(0.001 / 0.999))
    assert all(math.isfinite(verdict_signals(judge(sure, 0.9, 0.25))["score"]) for sure in (0.0, 1.0))
    assert verdict_signals(judge(math.nan, 0.9, 0.25)) == {}


def test_all_signals_of_an_image_are_together(discs: Tensor) -> None:
    """Grey levels and verdict of the same image stand in one row."""
    rows = measure(discs, [judge(0.1 * number, 0.9, 0.5) for number in range(1, 5)])
    assert [set(row) for row in rows] == [{"grey_mean", "grey_bright", "contrast", "sharpness", "score", "novelty"}] * 4
    assert sorted(row["score"] for row in rows) == [row["score"] for row in rows]
