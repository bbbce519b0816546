"""Which labels of the data set a model doubts, and what the worst one costs."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from inspection.model import Model
from inspection.verdict import rounded
from settings.schema import TrainingSettings
from training.data.dataset import LabelledImage
from training.fitting.folds import Scored, unidentified
from training.proof.limits import choose_threshold, given_up


@dataclass(frozen=True)
class Doubt:
    """One image, its calibrated nio probability by a network that was not fitted to it, and of which page that is."""

    image: LabelledImage
    probability: float
    page: int = 0

    @property
    def where(self) -> str:
        """That page in words; nothing where there is one only."""
        return self.image.named(self.page)


@dataclass(frozen=True)
class Cost:
    """What the nio image that looks most like io does to the threshold, if its label is wrong.

    Attributes:
        lowest: That image.
        io: How many io images were scored.
        threshold: The one chosen with it; where it was given up, the one that would just catch it.
        false_calls: Of those io images, how many reach that threshold.
        threshold_without: The one that would be chosen without it.
        false_calls_without: How many reach that one.
        given_up: Whether the threshold leaves it out, for to catch it would cost more than the limit.
    """

    lowest: Doubt
    io: int
    threshold: float
    false_calls: int
    threshold_without: float
    false_calls_without: int
    given_up: bool


@dataclass(frozen=True)
class LabelCheck:
    """Labels that look wrong.

    Attributes:
        scored: How many images were scored.
        nio: Images labelled nio that are likelier io, the likeliest first.
        io: Images labelled io that are likelier nio, the likeliest first.
        cost: None with a single nio image.
    """

    scored: int
    nio: list[Doubt]
    io: list[Doubt]
    cost: Cost | None


def check_labels(scored: Scored, model: Model, options: TrainingSettings) -> LabelCheck:
    """Find labels that the scores contradict; what is unidentified is like neither label, and contradicts none.

    Args:
        scored: By networks that were not fitted to these images.
        model: Its limits were chosen on these scores.
        options: With which they were.
    """
    temperature, threshold = model.card.temperature, model.card.threshold
    strange = unidentified(model, scored)
    probabilities = torch.sigmoid(scored.log_odds / temperature).tolist()
    doubts = [
        Doubt(image, rounded(probability), page)
        for image, probability, page, unlike in zip(
            scored.images, probabilities, scored.pages.tolist(), strange.tolist(), strict=True
        )
        if not unlike
    ]
    doubts.sort(key=lambda doubt: doubt.probability)
    even = max(0.5, threshold)
    return LabelCheck(
        scored=len(scored.images),
        nio=[doubt for doubt in doubts if doubt.image.label == "nio" and doubt.probability < even],
        io=[doubt for doubt in reversed(doubts) if doubt.image.label == "io" and doubt.probability >= even],
        cost=_cost(doubts, *scored.to_choose_on(strange, temperature), scored.nio_parts, threshold, options),
    )


def _cost(
    rising: list[Doubt],
    nio: list[float],
    io: list[float],
    nio_parts: list[str],
    threshold: float,
    options: TrainingSettings,
) -> Cost | None:
    lowest = next((doubt for doubt in rising if doubt.image.label == "nio"), None)
    if lowest is None or len(nio) < 2:
        return None
    others, parts = zip(*sorted(zip(nio, nio_parts, strict=True))[1:], strict=True)
    without = choose_threshold(
        others, io, options.required_recall, options.false_call_budget, options.false_call_limit, parts
    )
    too_dear = given_up(lowest.probability, threshold, len(nio), options.required_recall)
    catches = lowest.probability if too_dear else threshold
    return Cost(
        lowest=lowest,
        io=len(io),
        threshold=catches,
        false_calls=sum(rounded(score) >= catches for score in io),
        threshold_without=without,
        false_calls_without=sum(rounded(score) >= without for score in io),
        given_up=too_dear,
    )
