"""Which page of each stack looks worst to a network that is being trained: the one that a nio label is about."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from inspection.network import SupervisedAutoencoder, nio_log_odds
from inspection.preprocess import Preprocessing
from training import processes

_BATCH = 64


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
