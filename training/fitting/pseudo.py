"""Pseudo-defects: good images with something wrong in one place, to learn from what no labelled defect shows.

Shapes: N images, S pixels a side.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from training.fitting.augment import sampling_grid

_CENTRE = 0.7  # how far from the image's centre a place may lie, of half a side
_RADIUS = (0.08, 0.4)  # of half a side; across
_LONGEST = 8.0  # times the radius across
_GRAIN = (4, 13)  # cells a side of the noise that gives a place its ragged outline
_BRIGHTNESS = (0.05, 0.35)
_PUSH = (0.04, 0.16)  # of half a side
_MIDDLE, _WIDE = 0.3, (0.3, 0.8)  # where and how wide a place is in which all is there twice, of half a side
_APART = (0.1, 0.35)  # how far from each other, of half a side
_SECOND = (0.3, 0.9)  # how opaque the second one is
_PUSHED, _DOUBLED = 3, 4  # after the three that paste a content
_KINDS = 5
_BLUR = torch.tensor([[1.0, 2.0, 3.0, 2.0, 1.0]]).T @ torch.tensor([[1.0, 2.0, 3.0, 2.0, 1.0]])[None, None] / 81


def pseudo_defects(greys_N1SS: Tensor) -> Tensor:
    """Spoil one place in each image: brighter, darker, pasted from elsewhere or another image, pushed aside, doubled.

    The place is ragged or smooth, round or up to eight times as long as wide, at any angle: crumb, bubble, bridge.

    After Li, Sohn, Yoon and Pfister, "CutPaste: self-supervised learning for anomaly detection and localization",
    CVPR 2021, and Zavrtanik, Kristan and Skocaj, "DRAEM", ICCV 2021.

    Args:
        greys_N1SS: Grey levels in 0..1; a batch may hold no good image at all.

    Returns:
        Grey levels in 0..1, same shape. Draws from torch's global generator.
    """
    count, _, side, _ = greys_N1SS.shape
    if not count:
        return greys_N1SS
    away, mask = _places(count, side)
    contents = torch.stack([_brighter(greys_N1SS), _from_elsewhere(greys_N1SS), _from_another(greys_N1SS)])
    kinds = torch.randint(0, _KINDS, (count,))
    content = contents[kinds.clamp(max=len(contents) - 1), torch.arange(count)]
    spoilt = torch.lerp(greys_N1SS, content, mask)
    pushed, doubled = kinds == _PUSHED, kinds == _DOUBLED
    spoilt[pushed] = _moved(greys_N1SS[pushed], away[pushed], _PUSH)
    spoilt[doubled] = _twice(greys_N1SS[doubled])
    return spoilt.clamp_(0, 1)


def _places(count: int, side: int) -> tuple[Tensor, Tensor]:
    """Per image a place: how far each pixel is from it, in radii, squared; and its ragged or smooth mask in 0..1."""
    y, x = _from_a_point(count, side, _CENTRE)
    angle, width = _uniform(count, 0, torch.pi), _uniform(count, *_RADIUS)
    length = (width * _LONGEST ** _uniform(count, 0, 1)).clamp(max=1)
    along, across = x * angle.cos() + y * angle.sin(), y * angle.cos() - x * angle.sin()
    away = (along / length).square_() + (across / width).square_()
    ragged = torch.rand(count, 1, 1, 1) < 0.5
    outline = torch.where(ragged, 0.6 * _grain(count, side) + 0.4, 0.7)
    mask = (outline * torch.exp(-away) > 0.35).float()
    return away, functional.conv2d(mask, _BLUR, padding=2)


def _from_a_point(count: int, side: int, reach: float) -> tuple[Tensor, Tensor]:
    """How far each pixel is down and to the right of a point at most so far from the middle; in halves of a side."""
    axis = torch.linspace(-1, 1, side)
    return axis[:, None] - _uniform(count, -reach, reach), axis - _uniform(count, -reach, reach)


def _grain(count: int, side: int) -> Tensor:
    """Smooth noise in 0..1: a few random cells a side, enlarged bicubically."""
    coarse = int(torch.randint(*_GRAIN, (1,)))
    # Once down and once across: the same as both at once, for each pixel of which 16 cells are weighed.
    enlarge_Sc = functional.interpolate(torch.eye(coarse)[None, None], (side, coarse), mode="bicubic")[0, 0]
    return (enlarge_Sc @ torch.rand(count, 1, coarse, coarse) @ enlarge_Sc.T).clamp_(0, 1)


def _brighter(greys: Tensor) -> Tensor:
    sign = 2 * torch.randint(0, 2, (len(greys), 1, 1, 1)) - 1
    return greys + sign * _uniform(len(greys), *_BRIGHTNESS)


def _from_elsewhere(greys: Tensor) -> Tensor:
    side = greys.shape[-1]
    shifts = [int(torch.randint(side // 8, side - side // 8, (1,))) for _ in range(2)]
    return torch.roll(greys, shifts, (2, 3))


def _from_another(greys: Tensor) -> Tensor:
    return greys[torch.randperm(len(greys))].flip(2)


def _moved(greys: Tensor, away: Tensor, lengths: tuple[float, float]) -> Tensor:
    """What lies in the place, and around it less and less, moved in one direction."""
    count = len(greys)
    wide = torch.exp(-away / 4)  # twice the radius
    angle, length = _uniform(count, 0, 2 * torch.pi), _uniform(count, *lengths)
    push = torch.cat([angle.cos(), angle.sin()], 1) * length * wide
    grid = sampling_grid(torch.eye(2, 3).expand(count, 2, 3), greys.shape[-1]).add_(push.permute(0, 2, 3, 1))
    return functional.grid_sample(greys, grid, padding_mode="border", align_corners=False)


def _twice(greys: Tensor) -> Tensor:
    """What lies around the middle, and faintly beside it once more: both outlines, of what is darker or brighter.

    Around the middle, for there is the joint: nothing would be seen of the same grey twice.
    """
    count = len(greys)
    y, x = _from_a_point(count, greys.shape[-1], _MIDDLE)
    moved = _moved(greys, (x.square() + y.square()) / _uniform(count, *_WIDE).square(), _APART)
    darker = torch.rand(count, 1, 1, 1) < 0.5
    both = torch.where(darker, torch.minimum(greys, moved), torch.maximum(greys, moved))
    return torch.lerp(greys, both, _uniform(count, *_SECOND))


def _uniform(count: int, low: float, high: float) -> Tensor:
    return low + (high - low) * torch.rand(count, 1, 1, 1)
