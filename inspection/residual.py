"""Where the decoder could not rebuild an image: what is strange about it, whatever the classifier makes of it.

Shapes: N images, S pixels a side.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

NAME = "residual"
"""What stands for the map's method where this is shown instead of the classifier's view."""

_REACH = 16  # of a box's half side; two boxes of 9 pixels at 128


def residual(greys_N1SS: Tensor, rebuilt_N1SS: Tensor) -> Tensor:
    """How far images are from what the decoder made of them, place by place.

    A decoder blurs edges and moves them by a pixel, so as much as its own slope is forgiven; averaged over a small
    neighbourhood, noise in single pixels comes to little.

    Args:
        greys_N1SS: Grey levels in 0..1.
        rebuilt_N1SS: The reconstruction, in the same units.

    Returns:
        `[N, S, S]`, not negative, in grey levels where 1 is black to white; NaN where the image is.
    """
    excess_N1SS = ((greys_N1SS - rebuilt_N1SS).abs() - _slope(rebuilt_N1SS)).clamp(min=0)
    side = greys_N1SS.shape[-1]
    half = max(1, side // (2 * _REACH))
    for _ in range(2):
        excess_N1SS = functional.avg_pool2d(excess_N1SS, 2 * half + 1, 1, half, count_include_pad=False)
    return excess_N1SS[:, 0]


def relative(maps_NSS: Tensor, usual_SS: Tensor | float) -> tuple[Tensor, Tensor]:
    """Maps of what is strange, beyond what good images have there.

    Args:
        maps_NSS: From `residual`.
        usual_SS: The mean residual of good images.

    Returns:
        Maps `[N, S, S]` in 0..1, each divided by its own peak; the peaks `[N]` before that. What is no number is 0.
    """
    beyond_NSS = (maps_NSS - usual_SS).nan_to_num(0.0, 0.0, 0.0).clamp(min=0)
    peaks_N = beyond_NSS.amax(dim=(1, 2))
    return beyond_NSS / peaks_N.clamp(min=1e-8)[:, None, None], peaks_N


def _slope(images_N1SS: Tensor) -> Tensor:
    """By how much a grey level changes from one pixel to the next, at most `[N, 1, S, S]`."""
    down = images_N1SS.diff(dim=2).abs()
    across = images_N1SS.diff(dim=3).abs()
    down = torch.maximum(functional.pad(down, (0, 0, 1, 0)), functional.pad(down, (0, 0, 0, 1)))
    across = torch.maximum(functional.pad(across, (1, 0, 0, 0)), functional.pad(across, (0, 1, 0, 0)))
    return torch.hypot(down, across)
