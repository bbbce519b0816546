"""Class activation maps through torchcam: where the network sees evidence for nio.

The default costs next to nothing: it starts from the features that the verdict was made of, and gradients flow through
the head only. Shapes: N images, S pixels a side, maps of h x w.
"""

from __future__ import annotations

import threading
from copy import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchcam import methods

from inspection.network import SupervisedAutoencoder

_NIO = 1
_SMOOTH_SEED = 0
_SEEDING = threading.Lock()
"""There is one generator for all threads."""


class HiResCAM(methods.GradCAM):
    """Each place's own contribution: its activations times the gradient at that very place.

    After Draelos and Carin, "Use HiResCAM instead of Grad-CAM for faithful explanations of convolutional neural
    networks", arXiv 2011.08891. Pooling by an average or a generalised mean grows in proportion to what it pools, so on
    the last stage the contributions, before their negative part is cut off, add up to the margin of the logits less
    the bias.
    """

    def _get_weights(self, class_idx: int | list[int], scores: Tensor, **kwargs: Any) -> list[Tensor]:
        self._backprop(scores, class_idx, **kwargs)
        return [gradient for gradient in self.hook_g if gradient is not None]


class ExcessCAM(HiResCAM):
    """HiResCAM less what good images show at the same place, smoothed over half a cell.

    A ball that is not there is no evidence of anything; what it lacks is the evidence for io that good images have
    where their ball is. Evidence is signed until the good images' is taken off it. What a defect shows in one cell or
    in the next is by chance, hence the smoothing.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._relu = False


# What torchcam offers for a convolutional network, gradient methods and the classical one. LeGrad needs a transformer;
# ScoreCAM and its kin cost about a hundred forward passes.
METHODS: dict[str, type] = {
    "ExcessCAM": ExcessCAM,
    "HiResCAM": HiResCAM,
    "XGradCAM": methods.XGradCAM,
    "GradCAM": methods.GradCAM,
    "GradCAMpp": methods.GradCAMpp,
    "SmoothGradCAMpp": methods.SmoothGradCAMpp,
    "LayerCAM": methods.LayerCAM,
    "FinerCAM": methods.FinerCAM,
    "RefineCAM": methods.RefineCAM,
    "CAM": methods.CAM,
}

# The verdict depends on the difference of the two logits alone, so that is what the gradients are taken of. These
# define their own target instead.
_BY_CLASS = {"CAM", "FinerCAM"}

# On the last stage the maps of these are in logits: each place's share of the margin.
_IN_LOGITS = {"ExcessCAM", "HiResCAM", "XGradCAM", "GradCAM", "LayerCAM"}


class MapMaker:
    """One torchcam extractor for a network's life. Not thread-safe, as torchcam is not; each thread has a `twin`.

    Args:
        network: In evaluation mode.
        method: A name in METHODS.
        only_last_conv: Map the last convolution stage only; else fuse the maps of all stages.
        good_N1SS: Normalised images that are io, which ExcessCAM compares with; without any it is HiResCAM.
    """

    def __init__(
        self, network: SupervisedAutoencoder, method: str, *, only_last_conv: bool, good_N1SS: Tensor | None = None
    ) -> None:
        self._method = method
        self._only_last_conv = only_last_conv
        self._hook(network)
        self.peaks_in_logits = only_last_conv and method in _IN_LOGITS
        """Whether the peaks are absolute; else they only tell whether there is evidence at all."""
        self._usual_hw: Tensor | float = 0.0
        if method == "ExcessCAM" and good_N1SS is not None and len(good_N1SS):
            _, maps_Nhw = self._raw(good_N1SS, None)
            self._usual_hw = maps_Nhw.mean(dim=0)

    def twin(self, network: SupervisedAutoencoder) -> MapMaker:
        """One that makes the same maps of another network with the same weights."""
        twin = copy(self)
        twin._hook(network)  # noqa: SLF001 - it is one of us
        return twin

    def _hook(self, network: SupervisedAutoencoder) -> None:
        only_last_conv, method = self._only_last_conv, self._method
        self._network = network
        # The decoder has no part in the verdict.
        self._classifier = nn.Sequential()
        self._classifier.add_module("encoder", network.encoder)
        self._classifier.add_module("head", network.head)
        self._head_alone = only_last_conv and method != "SmoothGradCAMpp"
        hooked: nn.Module = network.head if self._head_alone else self._classifier
        layers: str | list[str] = network.convolution_stages()
        if only_last_conv:
            layers = "features" if self._head_alone else "head.features"
        options = {"fc_layer": "linear"} if method == "CAM" else {}
        self._extractor: Any = METHODS[method](hooked, layers, **options)

    def __call__(self, images_N1SS: Tensor, features_NChw: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Score a batch and map the evidence for nio in each image.

        Args:
            images_N1SS: Normalised images.
            features_NChw: What the encoder makes of them, where that is known; spares most methods on the last stage
                all but the head.

        Returns:
            Logits `[N, 2]`; maps `[N, h, w]` in 0..1, each divided by its own peak; the peaks `[N]` before that, in
            logits where `peaks_in_logits`, 0 where nothing speaks for nio.
        """
        logits_N2, maps_Nhw = self._raw(images_N1SS, features_NChw)
        if self._method == "ExcessCAM":
            maps_Nhw = _smooth(maps_Nhw - self._usual_hw)
        maps_Nhw = maps_Nhw.nan_to_num(0.0, 0.0, 0.0).clamp(min=0)
        peaks_N = maps_Nhw.amax(dim=(1, 2))
        return logits_N2, maps_Nhw / peaks_N.clamp(min=1e-8)[:, None, None], peaks_N

    def _raw(self, images_N1SS: Tensor, features_NChw: Tensor | None) -> tuple[Tensor, Tensor]:
        """Logits, and maps as the method makes them."""
        try:
            if self._method == "SmoothGradCAMpp":
                # One at a time and seeded anew, so that a map does not depend on its neighbours in the batch.
                parts = [self._seeded(image[None]) for image in images_N1SS]
                return torch.cat([logits for logits, _ in parts]), torch.cat([maps for _, maps in parts])
            return self._map(images_N1SS, features_NChw)
        finally:
            self._extractor.reset_hooks()

    def _map(self, images_N1SS: Tensor, features_NChw: Tensor | None = None) -> tuple[Tensor, Tensor]:
        if self._head_alone:
            if features_NChw is None:
                with torch.inference_mode():
                    features_NChw = self._network.encoder(images_N1SS)
            logits_N2 = self._network.head(features_NChw.clone().requires_grad_())
        else:
            logits_N2 = self._classifier(images_N1SS.clone().requires_grad_())
        several = len(self._extractor.target_names) > 1
        target: dict[str, Any] = {"targets": _margin}
        if self._method in _BY_CLASS:
            target = {"class_idx": [_NIO] * len(images_N1SS)}
        # Stages differ in scale: each is normalised before they are fused.
        maps = self._extractor(scores=logits_N2, normalized=several, **target)
        fused: Tensor = self._extractor.fuse_cams(maps) if several and len(maps) > 1 else maps[0]
        return logits_N2.detach(), fused

    def _seeded(self, image_11SS: Tensor) -> tuple[Tensor, Tensor]:
        devices = [image_11SS.device] if image_11SS.is_cuda else []
        with _SEEDING, torch.random.fork_rng(devices):
            torch.manual_seed(_SMOOTH_SEED)
            return self._map(image_11SS)


def _smooth(maps_Nhw: Tensor) -> Tensor:
    """Each cell with an eighth of its neighbours, in both directions: a standard deviation of half a cell."""
    kernel_3 = torch.tensor([0.125, 0.75, 0.125], device=maps_Nhw.device)
    padded_N1hw = functional.pad(maps_Nhw[:, None], (1, 1, 1, 1), mode="replicate")
    return functional.conv2d(padded_N1hw, torch.outer(kernel_3, kernel_3)[None, None])[:, 0]


def _margin(logits_2: Tensor) -> Tensor:
    return logits_2[1] - logits_2[0]
