"""The training images as they are drawn: both classes equally often, augmented."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.utils.data import Dataset

from settings.schema import TrainingSettings
from training.fitting.augment import augment

_NIO = 1
_WORST_IO = 0.5  # of the io stacks: how often their worst page is drawn, rather than any


class BalancedImages(Dataset[tuple[Tensor, Tensor]]):
    """The training images with nio repeated until both classes weigh alike, augmented as they are drawn.

    Of a stack one page is drawn: the first one, until pages are dealt.

    Args:
        greys: Grey levels in 0..1, `[P, S, S]` each, of P pages; none is copied before it is drawn.
        classes_N: 0 io, 1 nio.
        settings: Which classes are augmented, and how.
    """

    def __init__(self, greys: Sequence[Tensor] | Tensor, classes_N: Tensor, settings: TrainingSettings) -> None:
        self._greys, self._classes, self._settings = greys, classes_N, settings
        io, nio = (torch.nonzero(classes_N == label).flatten() for label in (0, 1))
        copies = nio.repeat(-(-max(len(io), len(nio)) // len(nio)))[: max(len(io), len(nio))]
        self.order = torch.cat([io, copies])
        self._counts = torch.tensor([len(grey) for grey in greys])
        self._pages = torch.zeros_like(self.order)

    @property
    def has_stacks(self) -> bool:
        """Whether an image has several pages."""
        return bool((self._counts > 1).any())

    @property
    def greys(self) -> Sequence[Tensor] | Tensor:
        """The grey levels of each image `[P, S, S]`."""
        return self._greys

    @property
    def stack_pages(self) -> int:
        """How many pages the stacks have, all together."""
        return int(self._counts[self._counts > 1].sum())

    def deal_pages(self, worst_N: Tensor | None, generator: torch.Generator) -> None:
        """Say which pages are drawn from now on.

        Of a nio stack the one that looks worst, for others may show nothing wrong. Of an io stack as often that one, by
        which it is judged, as any: all of them are io.

        Args:
            worst_N: Which page that is of each image; None: not known yet, then any.
            generator: For what is random.
        """
        place, chance = torch.rand(2, len(self.order), generator=generator, dtype=torch.float64)
        self._pages = (place * self._counts[self.order]).long()
        if worst_N is not None:
            worst = (self._classes[self.order] == _NIO) | (chance < _WORST_IO)
            self._pages[worst] = worst_N[self.order[worst]]

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        greys, classes = self.__getitems__([index])
        return greys[0], classes[0]

    def __getitems__(self, indices: list[int]) -> tuple[Tensor, Tensor]:
        """A whole batch at once: `[N, 1, S, S]` and `[N]`; far faster than image by image."""
        chosen = self.order[indices]
        pages = zip(chosen.tolist(), self._pages[indices].tolist(), strict=True)
        greys = torch.stack([self._greys[index][page : page + 1] for index, page in pages])
        classes = self._classes[chosen]
        changed = torch.ones_like(classes, dtype=torch.bool) if self._settings.augment_io else classes == _NIO
        if changed.any():
            greys[changed] = augment(greys[changed], self._settings.vertical_flip)
        return greys, classes

    def class_weights(self) -> Tensor:
        """What makes both classes count alike in the loss `[2]`, whatever balance the repetition reached."""
        counts = torch.bincount(self._classes[self.order], minlength=2).float()
        return counts.sum() / (2 * counts)
