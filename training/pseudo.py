"""Pseudo-defects: good images with something wrong in one place, to learn from what no labelled defect shows.

Shapes: N images, S pixels a side.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

_CENTRE = 0.7  # how far from the image's centre a place may lie, of half a side
_RADIUS = (0.08, 0.4)  # of half a side; across
_LONGEST = 8.0  # times the radius across
_GRAIN = (4, 13)  # cells a side of the noise that gives a place its ragged outline
_BRIGHTNESS = (0.05, 0.35)
_PUSH = (0.04, 0.16)  # of half a side
_APART = (0.06, 0.35)  # of half a side, what is there twice
_SECOND = (0.15, 0.8)  # how opaque the second one is
_PUSHED, _DOUBLED = 3, 4  # after the three that paste a content
_KINDS = 5


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
    window, mask = _places(count, side)
    contents = torch.stack([_brighter(greys_N1SS), _from_elsewhere(greys_N1SS), _from_another(greys_N1SS)])
    kinds = torch.randint(0, _KINDS, (count,))
    content = contents[kinds.clamp(max=_PUSHED - 1), torch.arange(count)]
    spoilt = greys_N1SS * (1 - mask) + content * mask
    doubled = _are(kinds, _DOUBLED)
    moved = _pushed(greys_N1SS, window, torch.where(doubled, _uniform(count, *_APART), _uniform(count, *_PUSH)))
    spoilt = torch.where(_are(kinds, _PUSHED), moved, spoilt)
    return torch.where(doubled, _twice(greys_N1SS, moved), spoilt).clamp(0, 1)


def _places(count: int, side: int) -> tuple[Tensor, Tensor]:
    """A soft window per image around a random place, and a ragged or smooth mask in it; both in 0..1."""
    axis = torch.linspace(-1, 1, side)
    y, x = (axis[:, None] - _uniform(count, -_CENTRE, _CENTRE), axis - _uniform(count, -_CENTRE, _CENTRE))
    angle, width = _uniform(count, 0, torch.pi), _uniform(count, *_RADIUS)
    length = (width * _LONGEST ** _uniform(count, 0, 1)).clamp(max=1)
    along, across = x * angle.cos() + y * angle.sin(), y * angle.cos() - x * angle.sin()
    window = torch.exp(-((along / length) ** 2) - (across / width) ** 2)
    coarse = int(torch.randint(*_GRAIN, (1,)))
    noise = functional.interpolate(torch.rand(count, 1, coarse, coarse), (side, side), mode="bicubic").clamp(0, 1)
    ragged = torch.rand(count, 1, 1, 1) < 0.5
    mask = (torch.where(ragged, 0.6 * noise + 0.4, 0.7) * window > 0.35).float()
    for _ in range(2):
        mask = functional.avg_pool2d(mask, 3, 1, 1)
    return window, mask


def _brighter(greys: Tensor) -> Tensor:
    sign = 2 * torch.randint(0, 2, (len(greys), 1, 1, 1)) - 1
    return greys + sign * _uniform(len(greys), *_BRIGHTNESS)


def _from_elsewhere(greys: Tensor) -> Tensor:
    side = greys.shape[-1]
    shifts = [int(torch.randint(side // 8, side - side // 8, (1,))) for _ in range(2)]
    return torch.roll(greys, shifts, (2, 3))


def _from_another(greys: Tensor) -> Tensor:
    return greys[torch.randperm(len(greys))].flip(2)


def _pushed(greys: Tensor, window: Tensor, length: Tensor) -> Tensor:
    """What lies in the window, and around it less and less, moved in one direction by a length of half a side."""
    count = len(greys)
    wide = window**0.25  # twice the radius
    angle = _uniform(count, 0, 2 * torch.pi)
    push = torch.cat([angle.cos(), angle.sin()], 1) * length * wide
    still = functional.affine_grid(torch.eye(2, 3).expand(count, 2, 3), list(greys.shape), align_corners=False)
    return functional.grid_sample(greys, still + push.permute(0, 2, 3, 1), padding_mode="border", align_corners=False)


def _twice(greys: Tensor, moved: Tensor) -> Tensor:
    """What was moved beside where it was: both outlines, of what is darker or of what is brighter."""
    darker = torch.rand(len(greys), 1, 1, 1) < 0.5
    both = torch.where(darker, torch.minimum(greys, moved), torch.maximum(greys, moved))
    return torch.lerp(greys, both, _uniform(len(greys), *_SECOND))


def _are(kinds: Tensor, kind: int) -> Tensor:
    return (kinds == kind)[:, None, None, None]


def _uniform(count: int, low: float, high: float) -> Tensor:
    return low + (high - low) * torch.rand(count, 1, 1, 1)
