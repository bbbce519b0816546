"""What the reference of a model promises: it is of io images that the daemon would judge io."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from inspection.model import read_card
from inspection.reference import SCORES
from inspection.verdict import Label, judge
from training.data.dataset import LabelledImage
from training.fitting.reference import make_reference
from training.proof.evaluate import Judgement

IO, NIO = (Judgement([judge(probability, 0.5, 0.5)]) for probability in (0.1, 0.9))


def labelled(label: Label, level: float) -> LabelledImage:
    """An image of one grey level."""
    return LabelledImage(Path("x.png"), label, str(level), str(level), torch.full((1, 32, 32), level))


def test_only_io_images_count() -> None:
    """What is nio, or judged nio, is no yardstick; what the model was fitted to is one, but not for the score."""
    judged = [(labelled("io", 0.5), IO), (labelled("io", 0.9), NIO), (labelled("nio", 0.8), IO)]
    reference = make_reference(judged, [labelled("io", 0.4), labelled("nio", 0.1)])
    assert reference.signals["grey_mean"].images == 2
    assert reference.signals["grey_mean"].quantiles[:: len(SCORES) - 1] == pytest.approx([0.4, 0.5])
    assert reference.signals["score"].images == 1
    assert reference.nio_share == 2 / 5


def test_a_model_that_calls_everything_nio_has_one_too() -> None:
    """Its score has no yardstick, but what it was fitted to looks like something, and its share of nio is charted."""
    reference = make_reference([(labelled("io", 0.5), NIO)], [labelled("io", 0.4)])
    assert set(reference.signals) == {"grey_mean", "grey_bright", "contrast", "sharpness"}
    assert reference.nio_share == 0


def test_a_trained_model_has_one(trained: Path, draw_disc: Callable[..., Any]) -> None:
    """It is in model.json, with all signals; the grey levels of what it was trained on are typical of it."""
    reference = read_card(trained / "models" / "current").reference
    assert reference
    assert set(reference.signals) == {"grey_mean", "grey_bright", "contrast", "sharpness", "score", "novelty"}
    assert reference.signals["score"].images < reference.signals["grey_mean"].images <= 60
    rng = np.random.default_rng(5)
    levels = [float(draw_disc(rng, void=False).mean()) / 255 for _ in range(100)]
    assert abs(np.mean([reference.signals["grey_mean"].normal_score(level) for level in levels])) < 0.6
