"""What pseudo-defects promise: good images, each spoilt in one place, in every batch otherwise."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.fitting.pseudo import pseudo_defects

pytestmark = pytest.mark.usefixtures("one_thread")

SIDE = 48


@pytest.fixture
def good(draw_disc: Callable[..., NDArray[np.uint8]]) -> Tensor:
    """Forty good discs in 0..1."""
    rng = np.random.default_rng(0)
    return torch.from_numpy(np.stack([draw_disc(rng, void=False, side=SIDE) for _ in range(40)])).float()[:, None] / 255


def test_one_place_of_each_image_is_spoilt(good: Tensor) -> None:
    """Nearly every image is changed, visibly and in a small part of it; brightness stays in 0..1, the originals too."""
    torch.manual_seed(0)
    kept = good.clone()
    spoilt = pseudo_defects(good)
    assert torch.equal(good, kept)
    assert spoilt.shape == good.shape
    assert ((spoilt >= 0) & (spoilt <= 1)).all()
    changed = (spoilt - good).abs() > 0.05
    assert changed.any(dim=(1, 2, 3)).float().mean() > 0.8
    assert 0.01 < changed.float().mean() < 0.3


def test_places_and_kinds_are_drawn(good: Tensor) -> None:
    """The same seed spoils alike, another one otherwise: no two batches are the same."""
    batches = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        batches.append(pseudo_defects(good))
    assert torch.equal(batches[0], batches[1])
    assert not torch.equal(batches[0], batches[2])


@pytest.mark.parametrize("side", [32, 48, 256])
@pytest.mark.parametrize("count", [1, 2])
def test_small_batches_and_any_size(count: int, side: int) -> None:
    """One image can be spoilt too, whatever its size."""
    assert pseudo_defects(torch.rand(count, 1, side, side)).shape == (count, 1, side, side)
