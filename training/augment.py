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
    count = len(greys_N1SS)
    lying = torch.rand(count)[:, None, None, None] < (_LYING if vertical_flip else 0.0)
    greys_N1SS = torch.where(lying, greys_N1SS.transpose(2, 3), greys_N1SS)

    def uniform(limit: float) -> Tensor:
        return (torch.rand(count) * 2 - 1) * limit

    def sign(probability: float) -> Tensor:
        return 1 - 2 * (torch.rand(count) < probability).float()

    angle, zoom = uniform(_ROTATION), 1 + uniform(_ZOOM)
    across, down = sign(0.5), sign(vertical_flip)
    cosine, sine = torch.cos(angle) * zoom, torch.sin(angle) * zoom
    rows = [
        torch.stack([cosine * across, -sine * down, uniform(2 * _SHIFT)], 1),
        torch.stack([sine * across, cosine * down, uniform(2 * _SHIFT)], 1),
    ]
    grid = functional.affine_grid(torch.stack(rows, 1), list(greys_N1SS.shape), align_corners=False)
    moved = functional.grid_sample(greys_N1SS, grid, padding_mode="reflection", align_corners=False)
    gain, offset = (1 + uniform(_GAIN))[:, None, None, None], uniform(_OFFSET)[:, None, None, None]
    centre = moved.mean(dim=(1, 2, 3), keepdim=True)
    noise = torch.randn_like(moved) * (torch.rand(count)[:, None, None, None] * _NOISE)
    return ((moved - centre) * gain + centre + offset + noise).clamp(0, 1)
