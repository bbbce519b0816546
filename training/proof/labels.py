"""Which labels of the data set the fold networks doubt, and what each costs: a short list for a person to answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from filing.doubts import Price
from inspection.model import Model
from inspection.verdict import Label, rounded
from training.data.dataset import LabelledImage
from training.fitting.folds import Scored, unidentified
from training.proof.threshold import Choice, Numbers, Scores, Worth, least_cost, reached

_MOST = 40


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
class LabelCheck:
    """Labels that look wrong.

    Attributes:
        scored: How many images were scored.
        nio: Images labelled nio that are likelier io, the likeliest first.
        io: Images labelled io that are likelier nio, the likeliest first.
        prices: Parts that look like the other label and that nobody has confirmed, the dearest first.
    """

    scored: int
    nio: list[Doubt]
    io: list[Doubt]
    prices: list[Price]


def check_labels(scored: Scored, model: Model, choice: Choice, worth: Worth) -> LabelCheck:
    """Find labels that the scores contradict; what is unidentified is like neither label, and contradicts none.

    A network that had not seen a part says that it is likelier the other label: that is confident learning
    (Northcutt, Jiang and Chuang, "Confident learning: estimating uncertainty in dataset labels", JAIR 2021), at even
    odds; what to ask first, the price tells.

    Args:
        scored: By networks that were not fitted to these images.
        model: Its limits were chosen on these scores.
        choice: Its threshold.
        worth: By which that was chosen.
    """
    temperature, threshold = model.card.temperature, model.card.threshold
    strange = unidentified(model, scored)
    probabilities = torch.sigmoid(scored.log_odds / temperature).tolist()
    doubts = [
        Doubt(image, rounded(probability), page)
        for image, probability, page, unlike in zip(
            scored.images, probabilities, scored.pages.tolist(), strange.tolist(), strict=True
        )
        if not unlike and not image.confirmed
    ]
    doubts.sort(key=lambda doubt: doubt.probability)
    even = max(0.5, threshold)
    return LabelCheck(
        scored=len(scored.images),
        nio=[doubt for doubt in doubts if doubt.image.label == "nio" and doubt.probability < even],
        io=[doubt for doubt in reversed(doubts) if doubt.image.label == "io" and doubt.probability >= even],
        prices=_prices(scored, scored.to_choose_on(strange, temperature), choice, worth),
    )


def _prices(scored: Scored, scores: Scores, choice: Choice, worth: Worth) -> list[Price]:
    """Nio parts from the lowest up, each by how far the threshold rises without it too; io parts as they are called.

    The dearest so many; and all that were set aside.
    """
    members: dict[tuple[Label, str], list[LabelledImage]] = {}
    for image in scored.images:
        members.setdefault((image.label, image.group), []).append(image)

    def price(label: Label, group: str, false_calls: float) -> Price:
        images = members[label, group]
        aside = label == "nio" and group in choice.aside
        return Price(images[0].part or images[0].path.name, label, len(images), false_calls, aside)

    prices = []
    kept, threshold = scores, least_cost(scores, worth)
    low = _alike(scores.nio, scores.nio_parts, scores.trusted)
    for part in [part for rank, part in enumerate(low) if rank < _MOST or part in choice.aside]:
        kept = kept.without([part])
        if not len(kept.nio):
            break
        risen = least_cost(kept, worth)
        before, after = reached(scores.io, np.array([threshold, risen]))
        prices.append(price("nio", part, max(0.0, before - after)))
        threshold = risen
    called = Counter(part for part, value in zip(scores.io_parts, scores.io, strict=True) if value >= choice.threshold)
    high = _alike(-scores.io, scores.io_parts, scores.trusted)[:_MOST]
    prices += [price("io", part, called[part] / len(scores.io)) for part in high]
    # Of equal prices the order stands, in which the surest of each label come first.
    told = sorted((one for one in prices if one.false_calls > 0 or one.aside), key=lambda one: -one.false_calls)
    return [one for rank, one in enumerate(told) if rank < _MOST or one.aside]


def _alike(towards: Numbers, parts: Sequence[str], trusted: frozenset[str]) -> list[str]:
    """Parts that are on the other side of even odds on average; the one with the farthest image first."""
    of_part: dict[str, list[float]] = {}
    for part, value in zip(parts, towards.tolist(), strict=True):
        of_part.setdefault(part, []).append(value)
    found = {part: min(values) for part, values in of_part.items() if part not in trusted and np.mean(values) < 0}
    return sorted(found, key=lambda part: found[part])
