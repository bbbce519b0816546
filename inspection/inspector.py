"""Puts model, map and verdict together: a batch of images in, a list of inspections out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inspection.cam import MapMaker
from inspection.model import Model
from inspection.signals import Signals, measure
from inspection.verdict import Verdict, judge


@dataclass(frozen=True)
class Inspection:
    """What was found out about one image.

    Attributes:
        verdict: io or nio, and why.
        evidence: Where the network sees evidence for nio, float32 `[h, w]` in 0..1, relative to its peak.
        peak: The map's maximum before it was divided by it; 0 where nothing speaks for nio.
        signals: What the watch for drift wants to know of the image, by name; see `inspection.signals`.
    """

    verdict: Verdict
    evidence: NDArray[np.float32]
    peak: float
    signals: Signals


class Inspector:
    """Judges images with one model. Not thread-safe.

    Args:
        model: Loaded on the device that judges.
        cam_method: A name in `inspection.cam.METHODS`.
        only_last_conv: Map the last convolution stage only.
    """

    def __init__(self, model: Model, cam_method: str, *, only_last_conv: bool) -> None:
        self.model = model
        self.cam_method = cam_method
        self._maps = MapMaker(model.network, cam_method, only_last_conv=only_last_conv)

    def inspect(self, images: Sequence[NDArray[np.float32]]) -> list[Inspection]:
        """Judge grey images `[H, W]` in 0..1, of any sizes; one inspection each, in their order."""
        greys_N1SS = self.model.preprocessing.resized(images)
        batch_N1SS = self.model.normalised(greys_N1SS)
        scores = self.model.scores(batch_N1SS)
        _, maps_Nhw, peaks_N = self._maps(batch_N1SS)
        verdicts = [
            judge(probability, self.model.card.threshold, novelty)
            for probability, novelty in zip(
                self.model.probability(scores.logits).tolist(), scores.novelty.tolist(), strict=True
            )
        ]
        return [
            Inspection(verdict, evidence, float(peak), signals)
            for verdict, evidence, peak, signals in zip(
                verdicts,
                maps_Nhw.float().cpu().numpy(),
                peaks_N.tolist(),
                measure(greys_N1SS, verdicts),
                strict=True,
            )
        ]
