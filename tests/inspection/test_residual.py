"""What the map of what is strange promises."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from inspection.residual import relative, residual

SIDE = 64
DICE = torch.Generator().manual_seed(0)


def disc(side: int = SIDE) -> Tensor:
    """A dark disc with sharp edges `[1, 1, S, S]`."""
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    return torch.where(torch.hypot(y - side / 2, x - side / 2) < side / 4, 0.2, 0.8)[None, None]


def blurred(image_11SS: Tensor) -> Tensor:
    """As a decoder rebuilds it: without its sharp edges."""
    return functional.avg_pool2d(image_11SS, 3, 1, 1, count_include_pad=False)


@pytest.mark.parametrize("side", [32, 48, 128, 256])
def test_a_batch_of_maps(side: int) -> None:
    """One map for each image, of its size, not negative, whatever the neighbours in the batch."""
    greys, rebuilt = torch.rand(2, 3, 1, side, side, generator=DICE)
    maps = residual(greys, rebuilt)
    assert maps.shape == (3, side, side)
    assert maps.min() >= 0
    assert torch.allclose(residual(greys[1:2], rebuilt[1:2])[0], maps[1], atol=1e-6)


def test_what_is_rebuilt_is_not_strange() -> None:
    """An image that is rebuilt as it was has an empty map."""
    assert float(residual(disc(), disc()).max()) == 0


@pytest.mark.parametrize("change", [-0.15, 0.15])
def test_the_map_lies_on_what_is_strange(change: float) -> None:
    """A patch that was not rebuilt is found where it is, though it is fainter than the edges of the disc are wide."""
    strange = disc()
    strange[..., 8:14, 44:50] += change
    found = residual(strange, blurred(disc()))[0]
    row, column = divmod(int(found.argmax()), SIDE)
    assert 7 <= row <= 14
    assert 43 <= column <= 50


def test_noise_in_single_pixels_counts_for_little() -> None:
    """One wild pixel weighs less than a patch of a tenth of its contrast."""
    pixel, patch = disc(), disc()
    pixel[..., 10, 10] -= 0.7
    patch[..., 8:15, 8:15] -= 0.07
    assert residual(pixel, disc()).max() < residual(patch, disc()).max()


def test_a_blurred_edge_is_forgiven() -> None:
    """Edges as a decoder leaves them are nothing beside a hole that it does not rebuild."""
    hole = disc()
    hole[..., 28:36, 28:36] = 0.5
    assert residual(disc(), blurred(disc())).max() < 0.25 * residual(hole, blurred(disc())).max()


def test_what_good_images_have_too_is_not_strange() -> None:
    """The peak is what exceeds the usual residual, and the map is relative to it."""
    usual = torch.full((SIDE, SIDE), 0.1)
    usual[:8] = 0.5
    found = torch.full((2, SIDE, SIDE), 0.05)
    found[0, :8], found[0, 40, 20] = 0.5, 0.3
    maps, peaks = relative(found, usual)
    assert peaks.tolist() == pytest.approx([0.2, 0])
    assert divmod(int(maps[0].argmax()), SIDE) == (40, 20)
    assert float(maps[0].max()) == pytest.approx(1)
    assert float(maps[1].max()) == 0


def test_no_number_is_an_empty_map() -> None:
    """An image of no numbers is told so by its verdict; its map is empty instead of NaN."""
    maps, peaks = relative(residual(torch.full((1, 1, SIDE, SIDE), torch.nan), disc()), 0.0)
    assert maps.isfinite().all()
    assert float(peaks[0]) == 0
