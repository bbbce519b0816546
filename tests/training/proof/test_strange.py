"""What is promised of strange images: they are made as they say, and a trained model passes none of the coarse ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from inspection.model import load
from training.proof.strange import StrangeKind, judge_strange

pytestmark = pytest.mark.usefixtures("one_thread")

SIDE = 40


@pytest.fixture(scope="module")
def kinds(trained: Path) -> dict[str, StrangeKind]:
    """By their first word; made from discs that the model was trained on."""
    paths = sorted((trained / "dataset" / "io").iterdir())[:10]
    images = [np.asarray(Image.open(path), np.float32) / np.float32(255) for path in paths]
    model = load(trained / "models" / "current", torch.device("cpu"))
    return {kind.name.split()[0]: kind for kind in judge_strange(images, model)}


def test_each_is_judged_once(kinds: dict[str, StrangeKind]) -> None:
    """Every image is counted as io or nio, and none of io has a novelty above 1."""
    for kind in kinds.values():
        assert kind.count == 10
        assert kind.io + kind.novel <= kind.count <= kind.io + kind.novel + kind.defect


def test_they_are_what_they_are_called(kinds: dict[str, StrangeKind]) -> None:
    """All stay within the grey levels of an image; a blank one has one level, a saturated one is mostly white."""
    for kind in kinds.values():
        assert 0 <= kind.example.min() <= kind.example.max() <= 1
    assert np.ptp(kinds["blank"].example) == 0
    assert (kinds["saturated"].example == 1).mean() > 0.5
    assert kinds["half"].example.shape == (2 * SIDE, 2 * SIDE)


def test_what_shows_no_part_is_not_passed(kinds: dict[str, StrangeKind]) -> None:
    """Blank, noisy and inverted images are never io."""
    assert [kinds[name].io for name in ("blank", "noise", "inverted")] == [0, 0, 0]
