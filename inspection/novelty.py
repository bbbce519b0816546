"""How unlike every good image of the training set an image is.

Shapes: N images, S pixels a side, D numbers that describe one to the network's eye, A to the plain eye.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from inspection.network import WIDTHS

_PLACES = 3  # a side: the joint in the middle, and what lies around it
_FLOOR = 0.1  # of an activation's mean or deviation; what changes far below it is nearly silent and says nothing
_SILENT = 0.01  # the same of a contrast, in deviations of the training set's grey levels


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


_OCTAVES = 5  # an image has at least 32 pixels a side
_STEPS = (-2.0, -1.0, 0.0, 1.0, 2.0)  # of grey level, in deviations of the training set's
_SLOPE = 4.0


def appearance(images_N1SS: Tensor) -> Tensor:
    """What the plain eye sees: how much of it is how bright, and how much contrast structures of each size have.

    No learning is in it, so it holds however small the set is that a network was trained on.

    Args:
        images_N1SS: Normalised images.

    Returns:
        `[N, A]`; A is `APPEARANCE`.
    """
    level = images_N1SS.float()
    found = [torch.sigmoid(_SLOPE * (level - step)).mean(dim=(2, 3)) for step in _STEPS]
    for _ in range(_OCTAVES):
        coarser = functional.avg_pool2d(level, 2)
        detail = level - functional.interpolate(coarser, size=level.shape[2:], mode="nearest")
        found.append(torch.log(detail.square().mean(dim=(2, 3)).sqrt() + _SILENT))
        level = coarser
    found.append(torch.log(level.std(dim=(2, 3), correction=0) + _SILENT))
    return torch.cat(found, dim=1)


APPEARANCE = len(_STEPS) + _OCTAVES + 1
"""A."""


ADDED = ("plain_centre", "plain_whitening", "strangest")
"""What the models of before had not; as a new `Novelty` has it, it says nothing."""


class Novelty(nn.Module):
    """How far an image is from the good training images, and how odd; each as a share of what good images keep to.

    Far by what the network sees in it, or by what the plain eye does (`appearance`). The distance is that of
    Mahalanobis, after Lee, Lee, Lee and Shin, "A simple unified framework for detecting out-of-distribution samples and
    adversarial attacks", NeurIPS 2018; of the classes only io is kept: a new kind of defect may resemble a known one.

    Attributes:
        centre: Of the io images `[D]`.
        whitening: `[D, D]`; what has the spread of the io images has unit variance behind it.
        farthest: The distance that only the budgeted share of good images exceeds; infinite before it is known.
        oddest: The same of the log-odds of a pseudo-defect.
        plain_centre: As `centre`, of appearances `[A]`.
        plain_whitening: `[A, A]`.
        strangest: The same as `farthest` of their distance.
    """

    centre: Tensor
    whitening: Tensor
    farthest: Tensor
    oddest: Tensor
    plain_centre: Tensor
    plain_whitening: Tensor
    strangest: Tensor

    def __init__(self, dimensions: int) -> None:
        super().__init__()
        self.register_buffer("centre", torch.zeros(dimensions))
        self.register_buffer("whitening", torch.eye(dimensions))
        self.register_buffer("farthest", torch.tensor(torch.inf))
        self.register_buffer("oddest", torch.tensor(torch.inf))
        self.register_buffer("plain_centre", torch.zeros(APPEARANCE))
        self.register_buffer("plain_whitening", torch.eye(APPEARANCE))
        self.register_buffer("strangest", torch.tensor(torch.inf))

    def distance(self, descriptions_ND: Tensor) -> Tensor:
        """Descriptions -> distance `[N]` from the good training images."""
        distance_N: Tensor = torch.linalg.vector_norm((descriptions_ND - self.centre) @ self.whitening, dim=1)
        return distance_N

    def strangeness(self, appearances_NA: Tensor) -> Tensor:
        """Appearances -> distance `[N]` from those of the good training images."""
        apart_NA = (appearances_NA - self.plain_centre) @ self.plain_whitening
        strangeness_N: Tensor = torch.linalg.vector_norm(apart_NA, dim=1)
        return strangeness_N

    def forward(self, distance_N: Tensor, oddness_N: Tensor, strangeness_N: Tensor) -> Tensor:
        """The greatest share of the three `[N]`, not negative; unidentified above 1. What is no number stays none.

        Beyond its limit oddness counts by its log-odds: as a share it would soon be too large a number to be one.
        """
        beyond_N = oddness_N - self.oddest
        odd_N = torch.where(beyond_N > 0, 1 + beyond_N, torch.exp(beyond_N))
        return torch.maximum(torch.maximum(distance_N / self.farthest, strangeness_N / self.strangest), odd_N)
