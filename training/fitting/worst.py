"""Which page of each stack a network learns from: the one that looks worst to it, of an io stack any other as well.

A label holds for a stack, and a defect may show in some of its pages only (multiple-instance learning, after Andrews,
Tsochantaridis and Hofmann, "Support vector machines for multiple-instance learning", NIPS 2002).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from inspection.network import SupervisedAutoencoder, nio_log_odds
from inspection.preprocess import Preprocessing
from training.fitting import processes
from training.fitting.balance import BalancedImages

_BATCH = 64
_LOOKS_PER_DRAW = 3
_ANY_PAGE = 0.2  # of the epochs: before a network has learnt something, what looks worst to it is an accident


class PageDealer:
    """Deals the pages of stacks to epochs; where there are only single pictures it does nothing.

    Args:
        train: What is learnt from.
        epochs: How many there are at most.
    """

    def __init__(self, train: BalancedImages, epochs: int) -> None:
        self._train, self._epochs = train, epochs
        self.worst_N: Tensor | None = None
        """The page of each image that looked worst; None before anybody looked."""

    def deal(self, epoch: int, look: Callable[[Sequence[Tensor] | Tensor], Tensor], seed: int) -> None:
        """Deal the pages of an epoch.

        Args:
            epoch: Its number, from 0.
            look: Which page of each of some images looks worst to the network as it is.
            seed: Of pages dealt at random.
        """
        if not self._train.has_stacks:
            return
        if epoch >= _ANY_PAGE * self._epochs and self._may_look(epoch):
            self.worst_N = look(self._train.greys)
        self._train.deal_pages(self.worst_N, torch.Generator().manual_seed(seed))

    def _may_look(self, epoch: int) -> bool:
        """Whether to look at all pages of the stacks again, so that this costs less than to learn does."""
        drawn, looks = _LOOKS_PER_DRAW * len(self._train), self._train.stack_pages
        return self.worst_N is None or epoch * drawn // looks > (epoch - 1) * drawn // looks


@torch.inference_mode()
def worst_pages(
    network: SupervisedAutoencoder, greys: Sequence[Tensor] | Tensor, preprocessing: Preprocessing, device: torch.device
) -> Tensor:
    """The page with the highest log-odds of nio, counted from 0, `[N]`; single pictures are not looked at.

    Args:
        network: Is put into evaluation mode.
        greys: Grey levels in 0..1, `[P, S, S]` each.
        preprocessing: What images go through.
        device: Where the network is.
    """
    network.eval()
    worst_N = torch.zeros(len(greys), dtype=torch.long)
    stacks = [index for index, grey in enumerate(greys) if len(grey) > 1]
    pages = [(index, page) for index in processes.share(stacks) for page in range(len(greys[index]))]
    highest: dict[int, float] = {}
    for start in range(0, len(pages), _BATCH):
        batch = pages[start : start + _BATCH]
        greys_N1SS = torch.stack([greys[index][page : page + 1] for index, page in batch])
        seen = preprocessing.normalise(greys_N1SS.to(device)).contiguous(memory_format=torch.channels_last)
        odds = nio_log_odds(network.head(network.encoder(seen))).tolist()
        for (index, page), value in zip(batch, odds, strict=True):
            if page == 0 or value > highest[index]:
                highest[index], worst_N[index] = value, page
    return processes.summed(worst_N) if stacks else worst_N
