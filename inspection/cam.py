"""Class activation maps through torchcam: where the network sees evidence for nio.

The default costs next to nothing: the encoder runs without gradients, gradients flow through the head only.
Shapes: N images, S pixels a side, maps of h x w.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torchcam import methods

from inspection.network import SupervisedAutoencoder

_NIO = 1
_SMOOTH_SEED = 0

# What torchcam offers for a convolutional network, gradient methods and the classical one. LeGrad needs a transformer;
# ScoreCAM and its kin cost about a hundred forward passes.
METHODS: dict[str, type] = {
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


class MapMaker:
    """One torchcam extractor for a network's life. Not thread-safe, as torchcam is not.

    Args:
        network: In evaluation mode.
        method: A name in METHODS.
        only_last_conv: Map the last convolution stage only; else fuse the maps of all stages.
    """

    def __init__(self, network: SupervisedAutoencoder, method: str, *, only_last_conv: bool) -> None:
        self._network = network
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
        self._extractor: Any = METHODS[method](hooked, layers, **options)

    def __call__(self, images_N1SS: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Score a batch and map the evidence for nio in each image.

        Args:
            images_N1SS: Normalised images.

        Returns:
            Logits `[N, 2]`; maps `[N, h, w]` in 0..1, each divided by its own peak; the peaks `[N]` before that, in
            logits, 0 where nothing speaks for nio. With several stages, or a method that normalises, peaks are
            relative (0 or about 1).
        """
        try:
            if self._method == "SmoothGradCAMpp":
                # One at a time and seeded anew, so that a map does not depend on its neighbours in the batch.
                parts = [self._smooth(image[None]) for image in images_N1SS]
                logits_N2 = torch.cat([logits for logits, _ in parts])
                maps_Nhw = torch.cat([maps for _, maps in parts])
            else:
                logits_N2, maps_Nhw = self._map(images_N1SS)
        finally:
            self._extractor.reset_hooks()
        maps_Nhw = maps_Nhw.nan_to_num(0.0, 0.0, 0.0).clamp(min=0)
        peaks_N = maps_Nhw.amax(dim=(1, 2))
        return logits_N2, maps_Nhw / peaks_N.clamp(min=1e-8)[:, None, None], peaks_N

    def _map(self, images_N1SS: Tensor) -> tuple[Tensor, Tensor]:
        if self._head_alone:
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

    def _smooth(self, image_11SS: Tensor) -> tuple[Tensor, Tensor]:
        devices = [image_11SS.device] if image_11SS.is_cuda else []
        with torch.random.fork_rng(devices):
            torch.manual_seed(_SMOOTH_SEED)
            return self._map(image_11SS)


def _margin(logits_2: Tensor) -> Tensor:
    return logits_2[1] - logits_2[0]
