"""The training images as they are drawn: both classes equally often, augmented."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.utils.data import Dataset

from settings.schema import TrainingSettings
from training.augment import augment

_NIO = 1


class BalancedImages(Dataset[tuple[Tensor, Tensor]]):
    """The training images with nio repeated until both classes weigh alike, augmented as they are drawn.

    Args:
        greys: Grey levels in 0..1, `[1, S, S]` each; none is copied before it is drawn.
        classes_N: 0 io, 1 nio.
        settings: Which classes are augmented, and how.
    """

    def __init__(self, greys: Sequence[Tensor] | Tensor, classes_N: Tensor, settings: TrainingSettings) -> None:
        self._greys, self._classes, self._settings = greys, classes_N, settings
        io, nio = (torch.nonzero(classes_N == label).flatten() for label in (0, 1))
        copies = nio.repeat(-(-max(len(io), len(nio)) // len(nio)))[: max(len(io), len(nio))]
        self.order = torch.cat([io, copies])

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        greys, classes = self.__getitems__([index])
        return greys[0], classes[0]

    def __getitems__(self, indices: list[int]) -> tuple[Tensor, Tensor]:
        """A whole batch at once: `[N, 1, S, S]` and `[N]`; far faster than image by image."""
        chosen = self.order[indices]
        greys, classes = torch.stack([self._greys[index] for index in chosen.tolist()]), self._classes[chosen]
        changed = torch.ones_like(classes, dtype=torch.bool) if self._settings.augment_io else classes == _NIO
        if changed.any():
            greys[changed] = augment(greys[changed], self._settings.vertical_flip)
        return greys, classes

    def class_weights(self) -> Tensor:
        """What makes both classes count alike in the loss `[2]`, whatever balance the repetition reached."""
        counts = torch.bincount(self._classes[self.order], minlength=2).float()
        return counts.sum() / (2 * counts)
