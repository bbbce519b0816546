"""Class activation maps: where the network sees evidence for nio.

The default costs next to nothing: it is what the head adds up to the verdict, place by place. Shapes: N images,
S pixels a side, maps of h x w.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from inspection.network import SupervisedAutoencoder
from inspection.scorer import Findings

if TYPE_CHECKING:
    from inspection.extractor import Extractor

METHODS = (
    "ExcessCAM",
    "HiResCAM",
    "XGradCAM",
    "GradCAM",
    "GradCAMpp",
    "SmoothGradCAMpp",
    "LayerCAM",
    "FinerCAM",
    "RefineCAM",
    "CAM",
)
"""What there is for a convolutional network.

All but ExcessCAM are torchcam's or made with it. ExcessCAM is HiResCAM less what good images show at the same place,
smoothed over half a cell: a ball that is not there is no evidence of anything; what it lacks is the evidence for io
that good images have where their ball is. Evidence is signed until the good images' is taken off it. What a defect
shows in one cell or in the next is by chance, hence the smoothing.
"""

# On the last stage these start from the head's own sum: no extractor and no gradient.
_CLOSED_FORM = {"ExcessCAM", "HiResCAM"}

# On the last stage the maps of these are in logits: each place's share of the margin.
_IN_LOGITS = {"ExcessCAM", "HiResCAM", "XGradCAM", "GradCAM", "LayerCAM"}


class MapMaker:
    """Maps of one network's evidence for nio, by one method. Not thread-safe, as torchcam is not.

    Args:
        network: In evaluation mode.
        method: One of METHODS.
        only_last_conv: Map the last convolution stage only; else fuse the maps of all stages.
        usual_hw: The mean evidence of good images, which ExcessCAM takes off; without it, nothing.
    """

    def __init__(
        self, network: SupervisedAutoencoder, method: str, *, only_last_conv: bool, usual_hw: Tensor | None = None
    ) -> None:
        self._method, self._only_last_conv, self._usual_hw = method, only_last_conv, usual_hw
        self.peaks_in_logits = only_last_conv and method in _IN_LOGITS
        """Whether the peaks are absolute; else they only tell whether there is evidence at all."""
        self._extractor: Extractor | None = None
        if not (only_last_conv and method in _CLOSED_FORM):
            from inspection.extractor import Extractor  # noqa: PLC0415 - torchcam is slow to import

            self._extractor = Extractor(network, method, only_last_conv=only_last_conv)

    def twin(self, network: SupervisedAutoencoder) -> MapMaker:
        """Another one for another thread and its network, on which no hook of this one is."""
        return MapMaker(network, self._method, only_last_conv=self._only_last_conv, usual_hw=self._usual_hw)

    def __call__(self, images_N1SS: Tensor, found: Findings) -> tuple[Tensor, Tensor]:
        """Map the evidence for nio in each image of a batch.

        Args:
            images_N1SS: Normalised images, on the network's device.
            found: What was found in them; spares most methods on the last stage all but the head.

        Returns:
            On the CPU: maps `[N, h, w]` in 0..1, each divided by its own peak; the peaks `[N]` before that, in logits
            where `peaks_in_logits`, 0 where nothing speaks for nio.
        """
        maps_Nhw = self._extractor(images_N1SS, found) if self._extractor else found.evidence
        maps_Nhw = maps_Nhw.float().cpu()
        if self._method == "ExcessCAM":
            maps_Nhw = _smooth(maps_Nhw if self._usual_hw is None else maps_Nhw - self._usual_hw)
        maps_Nhw = maps_Nhw.nan_to_num(0.0, 0.0, 0.0).clamp(min=0)
        peaks_N = maps_Nhw.amax(dim=(1, 2))
        return maps_Nhw / peaks_N.clamp(min=1e-8)[:, None, None], peaks_N


_KERNEL_3 = torch.tensor([0.125, 0.75, 0.125])


def _smooth(maps_Nhw: Tensor) -> Tensor:
    """Each cell with an eighth of its neighbours, in both directions: a standard deviation of half a cell."""
    padded_N1hw = functional.pad(maps_Nhw[:, None], (1, 1, 1, 1), mode="replicate")
    return functional.conv2d(padded_N1hw, torch.outer(_KERNEL_3, _KERNEL_3)[None, None])[:, 0]
