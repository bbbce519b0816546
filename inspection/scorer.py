"""Images -> everything that verdicts and maps are made of: the one definition that every runtime computes.

Shapes: N images, C channels, S pixels a side, features of h x w.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor, nn

from inspection.network import SupervisedAutoencoder
from inspection.novelty import Novelty, appearance, describe


class Findings(NamedTuple):
    """What the network says of a batch, wherever it was computed.

    Attributes:
        logits: Of io and nio `[N, 2]`.
        distance: From the good training images `[N]`.
        oddness: Log-odds of a pseudo-defect `[N]`.
        strangeness: How far the plain eye finds it from them `[N]`.
        novelty: Of all three `[N]`; unidentified above 1.
        evidence: What each place adds to the margin of the logits `[N, h, w]`, signed.
        features: Of the last stage `[N, C, h, w]`, for the decoder and for other maps.
    """

    logits: Tensor
    distance: Tensor
    oddness: Tensor
    strangeness: Tensor
    novelty: Tensor
    evidence: Tensor
    features: Tensor


Look = Callable[[Tensor], Findings]
"""Normalised images `[N, 1, S, S]` -> findings, by whatever runtime."""


class Scorer(nn.Module):
    """The network without its decoder, and the measure of novelty, in one graph.

    Args:
        network: In evaluation mode.
        novelty: Fitted to the good images.
    """

    def __init__(self, network: SupervisedAutoencoder, novelty: Novelty) -> None:
        super().__init__()
        self.network = network
        self.novelty = novelty

    def forward(self, images_N1SS: Tensor) -> Findings:
        """Normalised images -> findings."""
        stages = self.network.stages(images_N1SS)
        features_NChw = stages[-1]
        distance_N = self.novelty.distance(describe(stages))
        oddness_N = self.network.oddness(features_NChw)
        strangeness_N = self.novelty.strangeness(appearance(images_N1SS))
        return Findings(
            logits=self.network.head(features_NChw),
            distance=distance_N,
            oddness=oddness_N,
            strangeness=strangeness_N,
            novelty=self.novelty(distance_N, oddness_N, strangeness_N),
            evidence=self.network.head.evidence(features_NChw),
            features=features_NChw,
        )
