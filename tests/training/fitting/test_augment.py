"""What augmentation promises: harmless, as random as asked for, and repeatable."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from training.fitting.augment import augment, sampling_grid

SIDE = 16


def seeded(greys: Tensor, vertical_flip: float, seed: int = 0) -> Tensor:
    """The images augmented from a seed of torch's generator."""
    torch.manual_seed(seed)
    return augment(greys, vertical_flip)


def upside_down(count: int, vertical_flip: float) -> float:
    """Of images that are bright at the top, and of those that come out standing, the share bright at the bottom."""
    greys = torch.zeros(count, 1, SIDE, SIDE)
    greys[:, :, : SIDE // 2] = 1
    changed = seeded(greys, vertical_flip)
    half = SIDE // 2
    brighter_below = changed[:, :, half:].mean((1, 2, 3)) - changed[:, :, :half].mean((1, 2, 3))
    return (brighter_below[brighter_below.abs() > 0.4] > 0).float().mean().item()


@pytest.mark.parametrize("fill", [0.0, 0.5, 1.0], ids=["black", "grey", "white"])
@pytest.mark.parametrize("count", [1, 7])
def test_shape_and_range(fill: float, count: int) -> None:
    """The shape stays, and grey levels stay in 0..1, at both ends too."""
    changed = seeded(torch.full((count, 1, SIDE, SIDE), fill), 0.6)
    assert changed.shape == (count, 1, SIDE, SIDE)
    assert changed.dtype == torch.float32
    assert changed.min() >= 0
    assert changed.max() <= 1


@pytest.mark.parametrize(("vertical_flip", "tolerance"), [(0.0, 0.0), (0.6, 0.025), (1.0, 0.0)])
def test_vertical_flip(vertical_flip: float, tolerance: float) -> None:
    """An image stands upside down as often as asked for: never, 60 % of the time, always."""
    # 0.025 is more than three standard deviations of a share of 4000.
    assert upside_down(4000, vertical_flip) == pytest.approx(vertical_flip, abs=tolerance)


@pytest.mark.parametrize(("vertical_flip", "share"), [(0.0, 0.0), (0.6, 0.5)])
def test_half_lie_on_their_side_where_up_is_not_up(vertical_flip: float, share: float) -> None:
    """An image that may stand upside down may lie on its side as well; none other does."""
    greys = torch.zeros(4000, 1, SIDE, SIDE)
    greys[:, :, : SIDE // 2] = 1
    changed = seeded(greys, vertical_flip)
    aside = (changed[..., SIDE // 2 :].mean((1, 2, 3)) - changed[..., : SIDE // 2].mean((1, 2, 3))).abs() > 0.4
    assert aside.float().mean().item() == pytest.approx(share, abs=0.025)


def test_same_seed_same_images() -> None:
    """The changes come from torch's generator alone."""
    greys = torch.rand(5, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    assert torch.equal(seeded(greys, 0.6, 3), seeded(greys, 0.6, 3))
    assert not torch.equal(seeded(greys, 0.6, 3), seeded(greys, 0.6, 4))


def test_each_image_its_own_way() -> None:
    """Equal images of one batch come out unlike each other, and what was given stays as it was."""
    one = torch.rand(1, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    greys = one.repeat(4, 1, 1, 1)
    changed = seeded(greys, 0.6)
    assert torch.equal(greys, one.repeat(4, 1, 1, 1))
    assert all(not torch.allclose(changed[i], changed[j], atol=0.01) for i in range(4) for j in range(i))


def test_a_void_stays_a_void(draw_disc: Callable[..., NDArray[np.uint8]]) -> None:
    """A bright spot of a disc is there after every change: as bright against its disc, about as large."""
    count = 300
    # The same random disc with and without a void, through the same changes: what differs is the void.
    sound, faulty = (
        torch.from_numpy(draw_disc(np.random.default_rng(0), void=void)).float()[None, None] / 255
        for void in (False, True)
    )
    changed = [seeded(image.repeat(count, 1, 1, 1), 0.6) for image in (sound, faulty)]
    before, after_N1SS = (faulty - sound), changed[1] - changed[0]
    contrast_N = after_N1SS.amax((1, 2, 3)) / before.max()
    area_N = (after_N1SS > before.max() / 2).sum((1, 2, 3)) / (before > before.max() / 2).sum()
    assert contrast_N.min() > 0.7
    assert area_N.min() > 0.5
    assert area_N.max() < 1.6


@pytest.mark.parametrize("count", [0, 1, 5])
def test_sampling_grid_is_the_affine_grid(count: int) -> None:
    """Pixels are read from where torch's own, slower function says."""
    affine_N23 = torch.randn(count, 2, 3, generator=torch.Generator().manual_seed(1))
    grid = sampling_grid(affine_N23, SIDE)
    assert grid.shape == (count, SIDE, SIDE, 2)
    if count:
        expected = functional.affine_grid(affine_N23, [count, 1, SIDE, SIDE], align_corners=False)
        assert torch.allclose(grid, expected, atol=1e-5)
