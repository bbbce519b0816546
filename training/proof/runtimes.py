"""How each runtime of this machine judges what torch has judged: which of them a model may be judged by."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import fields, replace

import torch
from torch import Tensor

from inspection.errors import ModelError, in_one_line
from inspection.model import Model, RuntimeProof, Scores
from inspection.network import nio_log_odds
from inspection.runtime import Compiled, library_version, offered
from inspection.scorer import Look
from training.data.dataset import LabelledImage, all_pages
from training.fitting.folds import Scored, novelties

_BATCH = 64
_MOST = 2000
_NEAREST = 1e-9  # of a way: one of no length has no share
_CPU = torch.device("cpu")


def prove_runtimes(model: Model, scored: Scored) -> Iterator[tuple[str, RuntimeProof | str]]:
    """Judge images by torch, and by what else there is on this machine's CPU; whoever judged at the training.

    Args:
        model: With its limits.
        scored: The images; of many, those 2,000 pages that these scores have nearest to another verdict.

    Yields:
        The name of a runtime, and what came of it, or why nothing did; of none where there is only torch.
    """
    names = offered(_CPU)
    if not names:
        return
    here, images = _on_cpu(model), _nearest(model, scored)
    expected = _scores(here, here.look, images)
    for name in names:
        try:
            yield name, _compare(here, expected, _scores(here, Compiled(here, name).request(here), images))
        except Exception as error:  # noqa: BLE001 - another library's: it may cost its own use, not a training
            yield name, in_one_line(error)


def _on_cpu(model: Model) -> Model:
    """A copy there; the model may be on a GPU."""
    network = copy.deepcopy(model.network).to(_CPU).requires_grad_(requires_grad=False)
    return replace(model, network=network, novelty=copy.deepcopy(model.novelty).to(_CPU), device=_CPU)


def _nearest(model: Model, scored: Scored) -> list[LabelledImage]:
    """The images that are nearest to another verdict, of so many pages at most."""
    to_threshold, to_limit = _ways(model, scored.log_odds / model.card.temperature, novelties(model, scored))
    chosen: list[LabelledImage] = []
    pages = 0
    # What bfloat16 changes a novelty by is a third of what it changes log-odds by.
    for index in torch.minimum(to_threshold, 3 * to_limit).argsort().tolist():
        pages += len(scored.images[index].grey)
        if chosen and pages > _MOST:
            break
        chosen.append(scored.images[index])
    return chosen


def _ways(model: Model, log_odds_N: Tensor, novelty_N: Tensor) -> tuple[Tensor, Tensor]:
    """How far images are from the threshold and from the limit of novelty, `[N]` each; infinitely where it matters not.

    A defect is one however unlike good images it is, and what is unidentified is nio on either side of the threshold.
    """
    threshold = torch.logit(torch.tensor(model.card.threshold, dtype=torch.float64))
    is_defect = log_odds_N >= threshold
    to_threshold = torch.where(~is_defect & (novelty_N > 1), torch.inf, (log_odds_N - threshold).abs())
    return to_threshold, torch.where(is_defect, torch.inf, (novelty_N - 1).abs())


@torch.inference_mode()
def _scores(model: Model, look: Look, images: Sequence[LabelledImage]) -> Scores:
    """Of each page, one after another."""
    batches = (all_pages(images[start : start + _BATCH]) for start in range(0, len(images), _BATCH))
    found = [Scores.of(look(model.normalised(greys_P1SS))) for greys_P1SS in batches]
    return Scores(*(torch.cat([getattr(one, field.name) for one in found]) for field in fields(Scores)))


def _compare(model: Model, expected: Scores, found: Scores) -> RuntimeProof:
    log_odds, other = (nio_log_odds(one.logits) / model.card.temperature for one in (expected, found))
    to_threshold, to_limit = _ways(model, log_odds, expected.novelty.double())
    apart, off = (other - log_odds).abs(), (found.novelty - expected.novelty).abs().double()
    if not (apart + off).isfinite().all():
        raise ModelError("scores that are no numbers")
    way = torch.maximum(apart / to_threshold.clamp(min=_NEAREST), off / to_limit.clamp(min=_NEAREST))
    pairs = zip(model.verdicts(expected), model.verdicts(found), strict=True)
    return RuntimeProof(
        version=library_version(),
        images=len(way),
        changed=sum(one.label != another.label for one, another in pairs),
        log_odds=float(apart.max()),
        way=float(way.max()),
    )
