"""The only preprocessing: what training, test and daemon do to a grey image before the network sees it.

Shapes: N images, one channel, S pixels a side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Preprocessing:
    """How a model wants its images.

    Attributes:
        image_size: Pixels a side after the resize.
        mean: Mean grey level of the images that the model was trained on, in 0..1.
        std: Their standard deviation.
    """

    image_size: int
    mean: float
    std: float

    def resized(self, images: Sequence[NDArray[np.float32]]) -> Tensor:
        """Grey images `[H, W]` of any sizes -> batch `[N, 1, S, S]`, still in 0..1."""
        return torch.stack([resize(pixels, self.image_size) for pixels in images])

    def normalise(self, images_N1SS: Tensor) -> Tensor:
        """Grey levels in 0..1 -> zero mean and unit variance over the training images."""
        return (images_N1SS - self.mean) / self.std

    def __call__(self, images: Sequence[NDArray[np.float32]]) -> Tensor:
        """Grey images `[H, W]` of any sizes -> normalised batch `[N, 1, S, S]`."""
        return self.normalise(self.resized(images))


def resize(pixels: NDArray[np.float32], image_size: int) -> Tensor:
    """Resize one grey image with antialiasing, to a square; the aspect ratio is not kept.

    Args:
        pixels: Grey levels `[H, W]` in 0..1.
        image_size: S, pixels a side.

    Returns:
        float32 `[1, S, S]` in 0..1.
    """
    image_11HW = torch.from_numpy(np.ascontiguousarray(pixels))[None, None]
    resized = functional.interpolate(
        image_11HW, (image_size, image_size), mode="bilinear", antialias=True, align_corners=False
    )
    return resized[0]
