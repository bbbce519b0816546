"""Maps through torchcam, for every method that needs gradients or activations of its own.

Shapes: N images, S pixels a side, maps of h x w.
"""

from __future__ import annotations

import threading
from typing import Any

import torch
from torch import Tensor, nn
from torchcam import methods

from inspection.network import SupervisedAutoencoder
from inspection.scorer import Findings

_NIO = 1
_SMOOTH_SEED = 0
_DICE = threading.Lock()
"""Torch's random generator is one for all threads."""


class HiResCAM(methods.GradCAM):
    """Each place's own contribution: its activations times the gradient at that very place.

    After Draelos and Carin, "Use HiResCAM instead of Grad-CAM for faithful explanations of convolutional neural
    networks", arXiv 2011.08891. Pooling by an average or a generalised mean grows in proportion to what it pools, so on
    the last stage the contributions, before their negative part is cut off, add up to the margin of the logits less
    the bias. There `Head.evidence` has them without a gradient.
    """

    def _get_weights(self, class_idx: int | list[int], scores: Tensor, **kwargs: Any) -> list[Tensor]:
        self._backprop(scores, class_idx, **kwargs)
        return [gradient for gradient in self.hook_g if gradient is not None]


# What torchcam offers for a convolutional network, gradient methods and the classical one. LeGrad needs a transformer;
# ScoreCAM and its kin cost about a hundred forward passes.
_METHODS: dict[str, type] = {
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


class Extractor:
    """One torchcam extractor for a network's life. Not thread-safe, as torchcam is not.

    Args:
        network: In evaluation mode.
        method: A name in `inspection.cam.METHODS`, other than ExcessCAM.
        only_last_conv: Map the last convolution stage only; else fuse the maps of all stages.
    """

    def __init__(self, network: SupervisedAutoencoder, method: str, *, only_last_conv: bool) -> None:
        self._head = network.head
        self._method = method
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
        self._extractor: Any = _METHODS[method](hooked, layers, **options)

    def __call__(self, images_N1SS: Tensor, found: Findings) -> Tensor:
        """Maps `[N, h, w]` as the method makes them, of normalised images and what was found in them."""
        try:
            if self._method == "SmoothGradCAMpp":
                # One at a time and seeded anew, so that a map does not depend on its neighbours in the batch.
                return torch.cat([self._seeded(image[None], found) for image in images_N1SS])
            return self._map(images_N1SS, found)
        finally:
            self._extractor.reset_hooks()

    def _map(self, images_N1SS: Tensor, found: Findings) -> Tensor:
        if self._head_alone:
            logits_N2 = self._head(found.features.clone().requires_grad_())
        else:
            logits_N2 = self._classifier(images_N1SS.clone().requires_grad_())
        several = len(self._extractor.target_names) > 1
        target: dict[str, Any] = {"targets": _margin}
        if self._method in _BY_CLASS:
            target = {"class_idx": [_NIO] * len(images_N1SS)}
        # Stages differ in scale: each is normalised before they are fused.
        maps = self._extractor(scores=logits_N2, normalized=several, **target)
        fused: Tensor = self._extractor.fuse_cams(maps) if several and len(maps) > 1 else maps[0]
        return fused

    def _seeded(self, image_11SS: Tensor, found: Findings) -> Tensor:
        devices = [image_11SS.device] if image_11SS.is_cuda else []
        with _DICE, torch.random.fork_rng(devices):
            torch.manual_seed(_SMOOTH_SEED)
            return self._map(image_11SS, found)


def _margin(logits_2: Tensor) -> Tensor:
    return logits_2[1] - logits_2[0]
