"""How unlike every good image of the training set an image is.

Shapes: N images, D numbers that describe one.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from inspection.network import WIDTHS

_PLACES = 3  # a side: the joint in the middle, and what lies around it
_FLOOR = 0.1  # of an activation's mean or deviation; what changes far below it is nearly silent and says nothing


def describe(stages: Sequence[Tensor]) -> Tensor:
    """Mean and standard deviation of every channel of every stage, and the last but one place by place; as logarithms.

    The last stage knows of defects, the first ones of sharpness, grain and size: what is no image of the part at all
    (blank, saturated, another part, another magnification) differs in some of them. What is out of place, or where
    nothing ought to be, shows in the last but one: it sees whole shapes, and nobody has taught it yet which of them
    count.

    Args:
        stages: The activations `[N, C, h, w]` of each convolution stage, at least two; not negative.

    Returns:
        `[N, D]`; D is `DESCRIPTION`.
    """
    found = [stage.float() for stage in stages]
    means = [stage.mean(dim=(2, 3)) for stage in found]
    deviations = [stage.std(dim=(2, 3), correction=0) for stage in found]
    places = functional.adaptive_avg_pool2d(found[-2], _PLACES).flatten(1)
    return torch.log(torch.cat([*means, *deviations, places], dim=1) + _FLOOR)


DESCRIPTION = 2 * sum(WIDTHS) + _PLACES**2 * WIDTHS[-2]
"""D, for the stages of either architecture."""


class Novelty(nn.Module):
    """How far an image is from the good training images, and how odd; each as a share of what good images keep to.

    The distance is that of Mahalanobis, after Lee, Lee, Lee and Shin, "A simple unified framework for detecting
    out-of-distribution samples and adversarial attacks", NeurIPS 2018; of the classes only io is kept, as a new kind
    of defect may resemble a known one.

    Attributes:
        centre: Of the io images `[D]`.
        whitening: `[D, D]`; what has the spread of the io images has unit variance behind it.
        farthest: The distance that only the budgeted share of good images exceeds; infinite before it is known.
        oddest: The same of the log-odds of a pseudo-defect.
    """

    centre: Tensor
    whitening: Tensor
    farthest: Tensor
    oddest: Tensor

    def __init__(self, dimensions: int) -> None:
        super().__init__()
        self.register_buffer("centre", torch.zeros(dimensions))
        self.register_buffer("whitening", torch.eye(dimensions))
        self.register_buffer("farthest", torch.tensor(torch.inf))
        self.register_buffer("oddest", torch.tensor(torch.inf))

    def distance(self, descriptions_ND: Tensor) -> Tensor:
        """Descriptions -> distance `[N]` from the good training images."""
        distance_N: Tensor = torch.linalg.vector_norm((descriptions_ND - self.centre) @ self.whitening, dim=1)
        return distance_N

    def forward(self, distance_N: Tensor, oddness_N: Tensor) -> Tensor:
        """The greater share of the two `[N]`, not negative; unidentified above 1. What is no number stays none.

        Beyond its limit oddness counts by its log-odds: as a share it would soon be too large a number to be one.
        """
        beyond_N = oddness_N - self.oddest
        odd_N = torch.where(beyond_N > 0, 1 + beyond_N, torch.exp(beyond_N))
        return torch.maximum(distance_N / self.farthest, odd_N)
