"""Random but harmless changes to training images; a defect stays one under each of them. Training only."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

_LYING = 0.5  # probability
_ROTATION = math.radians(10)
_SHIFT = 0.05  # of the side
_ZOOM = 0.1
_GAIN = 0.15
_OFFSET = 0.06
_NOISE = 0.01


def augment(greys_N1SS: Tensor, vertical_flip: float) -> Tensor:
    """Flip, lay on its side, turn, shift, zoom, and change brightness, contrast and noise, each image its own way.

    Args:
        greys_N1SS: Grey levels in 0..1.
        vertical_flip: Probability of a vertical flip; a horizontal one has 0.5. Where it is 0 up is up, and none is
            laid on its side.

    Returns:
        Grey levels in 0..1, same shape. Draws from torch's global generator.
    """
    count, _, side, _ = greys_N1SS.shape

    def uniform(limit: float) -> Tensor:
        return (torch.rand(count) * 2 - 1) * limit

    def sign(probability: float) -> Tensor:
        return 1 - 2 * (torch.rand(count) < probability).float()

    lying = torch.rand(count)[:, None, None] < (_LYING if vertical_flip else 0.0)
    angle, zoom = uniform(_ROTATION), 1 + uniform(_ZOOM)
    across, down = sign(0.5), sign(vertical_flip)
    cosine, sine = torch.cos(angle) * zoom, torch.sin(angle) * zoom
    rows = [
        torch.stack([cosine * across, -sine * down, uniform(2 * _SHIFT)], 1),
        torch.stack([sine * across, cosine * down, uniform(2 * _SHIFT)], 1),
    ]
    affine_N23 = torch.stack(rows, 1)
    # Rows exchanged: what is read across is read down.
    grid = sampling_grid(torch.where(lying, affine_N23.flip(1), affine_N23), side)
    moved = functional.grid_sample(greys_N1SS, grid, padding_mode="reflection", align_corners=False)
    gain, offset = 1 + uniform(_GAIN), uniform(_OFFSET)
    centre = moved.mean(dim=(1, 2, 3))
    noise = torch.randn_like(moved).mul_(_each(torch.rand(count) * _NOISE))
    return noise.addcmul_(moved, _each(gain)).add_(_each(centre * (1 - gain) + offset)).clamp_(0, 1)


def sampling_grid(affine_N23: Tensor, side: int) -> Tensor:
    """Where each pixel is read from, `[N, S, S, 2]` in -1..1: `affine_grid` at a fraction of its time on a CPU.

    Args:
        affine_N23: Maps a pixel's x, y and 1 to x and y in the image that is read.
        side: S.
    """
    axis_S = torch.arange(1 - side, side, 2) / side
    # A place as one complex number: torch adds those several times as fast as pairs.
    x_N, y_N, shift_N = torch.complex(affine_N23[:, 0], affine_N23[:, 1]).unbind(1)
    across_NS, down_NS = x_N[:, None] * axis_S, y_N[:, None] * axis_S + shift_N[:, None]
    return torch.view_as_real(across_NS[:, None, :] + down_NS[:, :, None])


def _each(values_N: Tensor) -> Tensor:
    """One number per image, to be applied to all its pixels."""
    return values_N[:, None, None, None]
