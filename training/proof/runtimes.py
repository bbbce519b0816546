"""How each runtime of this machine judges what torch has judged: which of them a model may be judged by."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from inspection.model import Model, RuntimeProof, Scores
from inspection.network import nio_log_odds
from inspection.runtime import Compiled, offered
from inspection.scorer import Look
from inspection.verdict import judge
from training.data.dataset import LabelledImage, all_pages

_BATCH = 64
_MOST = 2000
_CPU = torch.device("cpu")


def prove_runtimes(model: Model, images: Sequence[LabelledImage]) -> Iterator[tuple[str, RuntimeProof | str]]:
    """Judge images by torch, and by what else there is on this machine's CPU; whoever judged at the training.

    Args:
        model: With its limits.
        images: Of many the first 2,000 are judged: put those first that are nearest to another verdict.

    Yields:
        The name of a runtime, and what came of it, or why nothing did; of none where there is only torch.
    """
    names = offered(_CPU) if images else []
    if not names:
        return
    network, novelty = copy.deepcopy(model.network).to(_CPU), copy.deepcopy(model.novelty).to(_CPU)
    here = replace(model, network=network.requires_grad_(requires_grad=False), novelty=novelty, device=_CPU)
    greys = all_pages(images[:_MOST])
    expected = _scores(here, here.look, greys)
    for name in names:
        try:
            yield name, _compare(here, expected, _scores(here, Compiled(here, name).request(here), greys))
        except Exception as error:  # noqa: BLE001 - another library's: it may cost its own use, not a training
            yield name, " ".join(str(error).split()) or type(error).__name__


@torch.inference_mode()
def _scores(model: Model, look: Look, greys_N1SS: Tensor) -> tuple[Tensor, Tensor]:
    """Calibrated log-odds of nio `[N]`, and novelties `[N]`."""
    found = [Scores.of(look(model.normalised(part))) for part in torch.split(greys_N1SS, _BATCH)]
    log_odds_N = nio_log_odds(torch.cat([one.logits for one in found])) / model.card.temperature
    return log_odds_N, torch.cat([one.novelty for one in found]).double()


def _compare(model: Model, expected: tuple[Tensor, Tensor], found: tuple[Tensor, Tensor]) -> RuntimeProof:
    """What differs, between calibrated log-odds and novelties."""
    (log_odds, novelty), (other_log_odds, other_novelty) = expected, found
    threshold = torch.logit(torch.tensor(model.card.threshold, dtype=torch.float64))
    apart, off = (other_log_odds - log_odds).abs(), (other_novelty - novelty).abs()
    to_threshold = (log_odds - threshold).abs()
    # A defect is one however unlike good images it is, so there only the threshold counts.
    is_defect = log_odds >= threshold
    to_limit = torch.where(is_defect, torch.inf, (novelty - 1).abs())
    # An unidentified image is nio on either side of the threshold.
    to_threshold = torch.where(~is_defect & (novelty > 1), torch.inf, to_threshold)
    way = torch.maximum(apart / to_threshold.clamp(min=1e-9), off / to_limit.clamp(min=1e-9))
    pairs = zip(_labels(model, *expected), _labels(model, *found), strict=True)
    return RuntimeProof(
        images=len(log_odds),
        changed=sum(one != other for one, other in pairs),
        log_odds=float(apart.max()),
        novelty=float((off / novelty.clamp(min=1e-9)).max()),
        way=float(way.max()),
    )


def _labels(model: Model, log_odds_N: Tensor, novelty_N: Tensor) -> list[str]:
    pairs = zip(torch.sigmoid(log_odds_N).tolist(), novelty_N.tolist(), strict=True)
    return [judge(probability, model.card.threshold, novelty).label for probability, novelty in pairs]
