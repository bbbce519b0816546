"""Puts model, map and verdict together: a batch of images in, a list of inspections out."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from inspection import residual
from inspection.cam import MapMaker
from inspection.model import Model, Scores
from inspection.runtime import Compiled, Runtime
from inspection.scorer import Look
from inspection.signals import Signals, measure
from inspection.verdict import Verdict


@dataclass(frozen=True)
class Inspection:
    """What was found out about one image.

    Attributes:
        verdict: io or nio, and why.
        evidence: Where the network sees evidence for nio, or what is strange, float32 `[h, w]` in 0..1, relative to
            its peak.
        peak: The map's maximum before it was divided by it; 0 where nothing speaks for nio. In grey levels (1 is black
            to white) for what is strange.
        method: What made the map: the class activation map's method, or `residual` where the image is unidentified.
        strength: How much of the evidence that makes an image nio there is, in 0..1; 1 for nio.
        signals: What the watch for drift wants to know of the image, by name; see `inspection.signals`.
    """

    verdict: Verdict
    evidence: NDArray[np.float32]
    peak: float
    method: str
    strength: float
    signals: Signals


class Inspector:
    """Judges images with one model. Not thread-safe: each thread has its own `twin`.

    Args:
        model: Loaded on the device that judges.
        cam_method: One of `inspection.cam.METHODS`.
        only_last_conv: Map the last convolution stage only.
        compiled: The model as OpenVINO runs it; without it, torch does.
    """

    def __init__(
        self, model: Model, cam_method: str, *, only_last_conv: bool, compiled: Compiled | None = None
    ) -> None:
        self.model = model
        self.cam_method = cam_method
        self._compiled = compiled
        self.look: Look = compiled.request(model) if compiled else model.look
        """What scores the images."""
        usual_hw: Tensor | None = None
        self._usual_residual_SS: Callable[[], Tensor | float] = lambda: 0.0
        """Worked out for the first image that is unidentified: most shifts have none."""
        if len(model.good):
            found = self.look(model.normalised(model.good))
            usual_hw = found.evidence.float().mean(dim=0).cpu()
            self._usual_residual_SS = functools.cache(lambda: _residual(model, model.good, found.features).mean(dim=0))
        self._maps = MapMaker(model.network, cam_method, only_last_conv=only_last_conv, usual_hw=usual_hw)

    @property
    def runtime(self) -> Runtime:
        """What computes the scores."""
        return self._compiled.name if self._compiled else "torch"

    def twin(self) -> Inspector:
        """Another one for another thread: the same weights in memory, and whatever state there is of its own."""
        other = copy.copy(self)
        other.model = self.model.twin()
        other.look = self._compiled.request(other.model) if self._compiled else other.model.look
        other._maps = self._maps.twin(other.model.network)  # noqa: SLF001 - a twin's
        return other

    def inspect(self, images: Sequence[NDArray[np.float32]]) -> list[Inspection]:
        """Judge grey images `[H, W]` in 0..1, of any sizes; one inspection each, in their order."""
        greys_N1SS = self.model.preprocessing.resized(images)
        batch_N1SS = self.model.normalised(greys_N1SS)
        found = self.look(batch_N1SS)
        scores = Scores.of(found)
        maps_Nhw, peaks_N = self._maps(batch_N1SS, found)
        verdicts = self.model.verdicts(scores)
        inspections = [
            Inspection(verdict, evidence, peak, self.cam_method, self._strength(verdict, peak), signals)
            for verdict, evidence, peak, signals in zip(
                verdicts,
                maps_Nhw.numpy(),
                peaks_N.tolist(),
                measure(greys_N1SS, verdicts),
                strict=True,
            )
        ]
        strange = [index for index, verdict in enumerate(verdicts) if verdict.reason == "unidentified"]
        if strange:
            self._show_what_is_strange(inspections, strange, greys_N1SS[strange], found.features[strange])
        return inspections

    def _strength(self, verdict: Verdict, peak: float) -> float:
        return verdict.strength(peak / self.model.card.temperature if self._maps.peaks_in_logits else None)

    def _show_what_is_strange(
        self, inspections: list[Inspection], strange: list[int], greys_N1SS: Tensor, features_NChw: Tensor
    ) -> None:
        """Give the inspections at `strange` the residual's map; the decoder runs for them alone."""
        residuals_NSS = _residual(self.model, greys_N1SS, features_NChw)
        maps_NSS, peaks_N = residual.relative(residuals_NSS, self._usual_residual_SS())
        for index, evidence, peak in zip(strange, maps_NSS.float().cpu().numpy(), peaks_N.tolist(), strict=True):
            inspections[index] = replace(
                inspections[index], evidence=evidence, peak=peak, method=residual.NAME, strength=1.0
            )


@torch.inference_mode()
def _residual(model: Model, greys_N1SS: Tensor, features_NChw: Tensor) -> Tensor:
    """`[N, S, S]` of images as they were and their features."""
    rebuilt_N1SS = model.network.decoder(features_NChw)
    return residual.residual(greys_N1SS.to(rebuilt_N1SS.device), rebuilt_N1SS)
