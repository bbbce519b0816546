"""The training images as they are drawn: both classes equally often, augmented."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.utils.data import Dataset

from settings.schema import TrainingSettings
from training.augment import augment

_NIO = 1


class BalancedImages(Dataset[tuple[Tensor, Tensor]]):
    """The training images with nio repeated until both classes weigh alike, augmented as they are drawn.

    Every page of an io stack is io, and drawn. Of a nio stack one page is drawn, for the others may show nothing wrong:
    the first, until one is chosen.

    Args:
        greys: Grey levels in 0..1, `[P, S, S]` each, of P pages; none is copied before it is drawn.
        classes_N: 0 io, 1 nio.
        settings: Which classes are augmented, and how.
    """

    def __init__(self, greys: Sequence[Tensor] | Tensor, classes_N: Tensor, settings: TrainingSettings) -> None:
        self._greys, self._classes, self._settings = greys, classes_N, settings
        io, nio = (torch.nonzero(classes_N == label).flatten() for label in (0, 1))
        pages_N = torch.tensor([len(grey) for grey in greys])
        io_pages = io.repeat_interleave(pages_N[io])
        copies = nio.repeat(-(-max(len(io_pages), len(nio)) // len(nio)))[: max(len(io_pages), len(nio))]
        self.order = torch.cat([io_pages, copies])
        self._nio_places = torch.arange(len(io_pages), len(self.order))
        self._pages_there = pages_N[copies]
        every_page = [torch.arange(int(pages)) for pages in pages_N[io]]
        self.pages = torch.cat([*every_page, torch.zeros_like(copies)])
        self.nio_stacks = nio[pages_N[nio] > 1]
        """Which images are nio and have several pages."""

    def choose_at_random(self, generator: torch.Generator) -> None:
        """From now on draw any page of a nio stack, another one each time that it is repeated."""
        chance = torch.rand(len(self._pages_there), generator=generator, dtype=torch.float64)
        self.pages[self._nio_places] = (chance * self._pages_there).long()

    def choose_worst(self, look: Callable[[Sequence[Tensor]], Tensor]) -> None:
        """From now on draw the page of a nio stack that looks worst.

        Args:
            look: Tells of stacks which page that is `[N]`.
        """
        page_of = torch.zeros(len(self._greys), dtype=torch.long)
        page_of[self.nio_stacks] = look([self._greys[index] for index in self.nio_stacks.tolist()])
        self.pages[self._nio_places] = page_of[self.order[self._nio_places]]

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        greys, classes = self.__getitems__([index])
        return greys[0], classes[0]

    def __getitems__(self, indices: list[int]) -> tuple[Tensor, Tensor]:
        """A whole batch at once: `[N, 1, S, S]` and `[N]`; far faster than image by image."""
        chosen = self.order[indices]
        pages = zip(chosen.tolist(), self.pages[indices].tolist(), strict=True)
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
