"""How far two pictures differ at best, once one is laid over the other: small turn, zoom, shear and shift are undone.

Both are thumbnails of `SIDE` pixels. N pairs, S pixels a side, P pixels in all; coordinates run from -1 to 1.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor
from torch.nn import functional

SIDE = 64
"""Pixels a side: what is finer is noise that a new encoding takes away, what is coarser all joints share."""

_COARSE = 32
_STEPS = {_COARSE: 5, SIDE: 4}
_LARGEST_STEP = 0.05
_DAMPING = 1e-4
_RADIUS = 0.9  # of the disc that is compared: beyond it a turned copy shows what was never in the picture
_WINDOW, _STRIDE = 11, 3  # pixels
_WINDOWS_WITHIN = 0.8
_WORST_SHARE = 0.1
_TINY = 1e-6


def mismatch(fixed_NSS: Tensor, moving_NSS: Tensor, start_N23: Tensor) -> tuple[Tensor, Tensor]:
    """Register each pair and tell how far it still differs.

    The affine map is found by the inverse compositional method (Baker and Matthews, Lucas-Kanade 20 years on, 2004) on
    grey levels without their gain and offset. What is compared then has lost its slow changes, so that the outline
    that all joints have in common counts little and the small things count; and the pictures must agree everywhere:
    half of the figure is about the worst tenth of all windows.

    Args:
        fixed_NSS: Thumbnails, float32.
        moving_NSS: Thumbnails that may be copies of them.
        start_N23: Affine maps from fixed to moving coordinates, where the search begins.

    Returns:
        The mismatch `[N]`, mean of two logarithms of one minus a correlation: 0 for nothing in common, below -4 for
        copies. And how far the maps went from the start `[N]`, the largest entry of the change.
    """
    maps_N33 = _square(start_N23)
    for side, steps in _STEPS.items():
        fixed, moving = (_blurred(_shrunk(images, side), 0.7) for images in (fixed_NSS, moving_NSS))
        maps_N33 = _registered(fixed, moving, maps_N33, steps)
    change_N33 = torch.linalg.solve(_square(start_N23), maps_N33) - torch.eye(3)
    laid_over_NSS = warped(moving_NSS, maps_N33[:, :2])
    difference_N = _difference(_without_slow_changes(fixed_NSS), _without_slow_changes(laid_over_NSS))
    return difference_N, change_N33.abs().amax((1, 2))


def _square(maps_N23: Tensor) -> Tensor:
    bottom = torch.tensor([0.0, 0.0, 1.0]).expand(len(maps_N23), 1, 3)
    return torch.cat([maps_N23, bottom], 1)


def _shrunk(images_NSS: Tensor, side: int) -> Tensor:
    return functional.adaptive_avg_pool2d(images_NSS, side) if side < images_NSS.shape[-1] else images_NSS


@cache
def _gaussian(side: int, sigma: float) -> Tensor:
    """The matrix `[S, S]` that blurs columns; what lies outside counts as not there."""
    place = torch.arange(side, dtype=torch.float32)
    weights = torch.exp(-((place[:, None] - place) ** 2) / (2 * sigma**2))
    return weights / weights.sum(1, keepdim=True)


def _blurred(images_NSS: Tensor, sigma: float) -> Tensor:
    matrix = _gaussian(images_NSS.shape[-1], sigma)
    return matrix @ images_NSS @ matrix.T


def _without_slow_changes(images_NSS: Tensor) -> Tensor:
    return _blurred(images_NSS, 0.7) - _blurred(images_NSS, 4.0)


@cache
def _coordinates(side: int) -> tuple[Tensor, Tensor]:
    """Across and down `[S, S]`."""
    place = (torch.arange(side) + 0.5) / side * 2 - 1
    return place.expand(side, side), place[:, None].expand(side, side)


@cache
def disc(side: int, radius: float) -> Tensor:
    """1 within the radius around the middle, 0 elsewhere, `[S, S]`."""
    across, down = _coordinates(side)
    return (across**2 + down**2 < radius**2).float()


@cache
def _places(side: int) -> Tensor:
    """Across, down and 1 `[3, P]`."""
    across, down = (axis.flatten() for axis in _coordinates(side))
    return torch.stack([across, down, torch.ones_like(across)])


def warped(images_NSS: Tensor, maps_N23: Tensor) -> Tensor:
    """Show at each place what the images have where the affine maps lead from there."""
    count, side, _ = images_NSS.shape
    # Three times faster than functional.affine_grid.
    grid_NSS2 = (maps_N23 @ _places(side)).mT.view(count, side, side, 2)
    sampled = functional.grid_sample(images_NSS[:, None], grid_NSS2, padding_mode="border", align_corners=False)
    return sampled[:, 0]


def _registered(fixed_NSS: Tensor, moving_NSS: Tensor, maps_N33: Tensor, steps: int) -> Tensor:
    side = fixed_NSS.shape[-1]
    mask_P = disc(side, _RADIUS).flatten()
    fixed_NP = _standardised(fixed_NSS.flatten(1), mask_P)
    slope_NSS = fixed_NP.view_as(fixed_NSS)
    down_NSS, across_NSS = torch.gradient(slope_NSS, spacing=2 / side, dim=(1, 2))
    around = _places(side).mT * mask_P[:, None]
    gain_and_offset = torch.stack([fixed_NP, mask_P.expand_as(fixed_NP)], 2)
    slopes_NP8 = torch.cat(
        [across_NSS.flatten(1)[:, :, None] * around, down_NSS.flatten(1)[:, :, None] * around, gain_and_offset], 2
    )
    hessian_N88 = slopes_NP8.mT @ slopes_NP8
    damping = _DAMPING * hessian_N88.diagonal(dim1=1, dim2=2).mean(1) + _TINY
    inverse_N88 = torch.linalg.inv(hessian_N88 + damping[:, None, None] * torch.eye(8))
    for _ in range(steps):
        error_NP = _standardised(warped(moving_NSS, maps_N33[:, :2]).flatten(1), mask_P) - fixed_NP
        step_N8 = (inverse_N88 @ (slopes_NP8.mT @ error_NP[:, :, None]))[:, :, 0]
        step_N33 = torch.eye(3).repeat(len(maps_N33), 1, 1)
        step_N33[:, :2] += step_N8[:, :6].view(-1, 2, 3).clamp(-_LARGEST_STEP, _LARGEST_STEP)
        maps_N33 = torch.linalg.solve(step_N33, maps_N33, left=False)
    return maps_N33


def _standardised(images_NP: Tensor, mask_P: Tensor) -> Tensor:
    """Mean 0 and variance 1 within the mask, 0 outside."""
    count = mask_P.sum()
    centred = (images_NP - (images_NP * mask_P).sum(1, keepdim=True) / count) * mask_P
    return centred / ((centred**2).sum(1, keepdim=True) / count).sqrt().clamp_min(_TINY)


def _difference(one_NSS: Tensor, other_NSS: Tensor) -> Tensor:
    mask_P = disc(SIDE, _RADIUS).flatten()
    standard = [_standardised(images.flatten(1), mask_P) for images in (one_NSS, other_NSS)]
    overall_N = (standard[0] * standard[1]).sum(1) / mask_P.sum()
    products = torch.stack([one_NSS * other_NSS, one_NSS**2, other_NSS**2], 1)
    both, first, second = functional.avg_pool2d(products, _WINDOW, _STRIDE).unbind(1)
    middle = _coordinates(SIDE)[0][0][_WINDOW // 2 :: _STRIDE][: both.shape[-1]]
    within = middle[:, None] ** 2 + middle**2 < _WINDOWS_WITHIN**2
    local_NW = (both / (first * second).sqrt().clamp_min(_TINY**2))[:, within]
    worst_N = local_NW.quantile(_WORST_SHARE, dim=1)
    return (_log_rest(overall_N) + _log_rest(worst_N)) / 2


def _log_rest(correlation: Tensor) -> Tensor:
    return (1 - correlation).clamp_min(_TINY).log()
