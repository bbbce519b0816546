"""What may help a model that is of no use: a learning curve, measured."""

from __future__ import annotations

import random
from collections.abc import Sequence

import torch

from inspection.errors import DatasetError
from inspection.model import ModelCard
from inspection.verdict import LABELS
from settings.schema import TrainingSettings
from training.data.dataset import LabelledImage, Part
from training.fitting import processes
from training.fitting.build import say, train
from training.fitting.folds import one_fold, score
from training.fitting.sizes import hindsight
from training.proof.summary import of_no_use

_SHARES = (0.5, 0.75, 1.0)
_FOLDS = 4
_SAME = 0.9  # of the false calls: what is no less is no gain


def what_may_help(
    card: ModelCard,
    parts: dict[Part, list[LabelledImage]],
    options: TrainingSettings,
    device: torch.device,
) -> list[str]:
    """Lines for a person, of a model that sorts nothing; none of any other, or where several processes trained it.

    Networks learn from 50, 75 and 100 % of the parts of three quarters of the images, and are measured on the last one:
    false calls at the required recall, with the best threshold in hindsight.

    Args:
        card: Of the model, with its test.
        parts: The images.
        options: The settings.
        device: Where to train.
    """
    if not of_no_use(card, options.gate.most_false_calls) or processes.count() > 1:  # the others have gone on
        return []
    images = parts["train"] + parts["validation"]
    too_few = ["more images: these are too few to measure what else would help"]
    if min(len({image.group for image in images if image.label == label}) for label in LABELS) < 2 * _FOLDS:
        return too_few
    try:
        seen, left_out = one_fold(images, _FOLDS, options.seed)
    except DatasetError:
        return too_few
    found = []
    for share in _SHARES:
        say(f"learning curve: {share:.0%} of the parts")
        model, _ = train(_share_of(seen, share, options.seed), None, images, options, device)
        found.append(hindsight(score(model, left_out), options.required_recall))
    lines = [
        "learning curve: with "
        + ", ".join(f"{share:.0%} of the parts {rate:.0%}" for share, rate in zip(_SHARES, found, strict=True))
        + f" of good images are called nio at {options.required_recall:.0%} recall, the best threshold in hindsight"
    ]
    if found[-1] < _SAME * found[0]:
        lines.append("more labelled images: the curve still falls, and nio of the kinds that were missed teach most")
    else:
        lines.append("other images, not more: the curve is flat; larger ones (training.image_size) or cleaner labels")
    return lines


def _share_of(images: Sequence[LabelledImage], share: float, seed: int) -> list[LabelledImage]:
    """The images of some parts of each label, drawn at random; of a larger share the same ones and more."""
    kept: set[str] = set()
    for label in LABELS:
        groups = list(dict.fromkeys(image.group for image in images if image.label == label))
        random.Random(seed).shuffle(groups)  # noqa: S311 - a draw, not a secret
        kept.update(groups[: max(2, round(share * len(groups)))])
    return [image for image in images if image.group in kept]
