"""Labelled images -> a model: fit, score what was not fitted to, choose the limits."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import NamedTuple

import torch

from inspection.errors import DatasetError
from inspection.model import Model, ModelCard, PreprocessingCard, library_versions, now
from inspection.network import SupervisedAutoencoder
from inspection.novelty import DESCRIPTION, Novelty
from settings.schema import TrainingSettings
from training.data.dataset import LabelledImage, Part, classes_of, grey_statistics
from training.fitting.balance import BalancedImages
from training.fitting.checkpoint import Checkpoint
from training.fitting.fit import History, fit
from training.fitting.folds import Scored, deal, fit_novelty, how_many, limit_novelty, score, together, unidentified
from training.proof.limits import temperature
from training.proof.threshold import Choice, Worth, choose

_SMALLEST_STD = 1e-4  # of grey levels in 0..1; less than an 8-bit image can show


class Built(NamedTuple):
    """What a training made.

    Attributes:
        model: With its limits.
        history: Of the fit of the network kept.
        scored: The images that its limits were chosen on.
        choice: Its threshold.
    """

    model: Model
    history: History
    scored: Scored
    choice: Choice


def say(step: str) -> None:
    """Tell that a step begins."""
    print(f"==> {step}", flush=True)


def be_repeatable(seed: int) -> None:
    """The same seed, images and machine give the same weights, bit for bit."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(mode=True, warn_only=True)
    torch.manual_seed(seed)


def build(
    parts: dict[Part, list[LabelledImage]],
    options: TrainingSettings,
    device: torch.device,
    checkpoint: Checkpoint | None = None,
) -> Built:
    """Train a network, score images that were not fitted to, and choose the model's limits on their scores.

    With folds every image that is not for the test is scored by a network that has not seen its part, and the network
    kept is fitted to all of them; without, the validation images are scored by the network kept. With a checkpoint an
    interrupted training goes on from there.
    """
    fitted, kept_out = parts["train"] + parts["validation"], parts["validation"]
    folds = how_many(options, fitted)
    finished = list(checkpoint.folds) if checkpoint else []
    scored = []
    for number, (seen, left_out) in enumerate(deal(fitted, folds, options.seed) if folds else (), 1):
        if number <= len(finished):
            scored.append(Scored(list(left_out), *finished[number - 1]))
            continue
        say(f"fit fold {number} of {folds}, to score what it leaves out")
        model, history = train(seen, None, fitted, options, device, checkpoint)
        if history.interrupted:  # limits from less than a whole training would fit no model
            raise KeyboardInterrupt
        scored.append(score(model, left_out))
        if checkpoint:
            checkpoint.finish_fold(scored[-1].numbers)
    say("fit (Ctrl-C stops and keeps what is there)")
    if folds:
        model, history = train(fitted, None, fitted, options, device, checkpoint)
    else:
        model, history = train(parts["train"], kept_out, fitted, options, device, checkpoint)
        scored = [score(model, kept_out)]
    stopped = "stopped by hand after " if history.interrupted else ""
    print(f"  {stopped}{len(history.train_loss)} epochs; kept the weights of epoch {history.best + 1}")
    found = together(scored)
    say(f"limits: recall on nio at least {options.required_recall:.1%}, from {len(found.images)} images not fitted to")
    model, choice = _with_limits(model, found, options)
    print(f"  nio from a probability of {model.card.threshold:.6g} on; temperature {model.card.temperature:.3g}")
    return Built(model, history, found, choice)


def train(
    images: list[LabelledImage],
    validation: list[LabelledImage] | None,
    normalised_by: list[LabelledImage],
    options: TrainingSettings,
    device: torch.device,
    checkpoint: Checkpoint | None = None,
) -> tuple[Model, History]:
    """A model whose network and novelty are fitted to images; its limits are open.

    Args:
        images: To fit to.
        validation: To stop by; None: the weights of the last epoch are kept.
        normalised_by: Whose grey levels tell the normalisation.
        options: How to train.
        device: Where.
        checkpoint: Where it is kept how far this has come.

    Raises:
        DatasetError: There is nothing to learn from.
    """
    torch.manual_seed(options.seed)
    mean, std = grey_statistics(normalised_by)
    if std < _SMALLEST_STD:
        raise DatasetError("all images are of one and the same grey: nothing to learn from")
    card = ModelCard(
        created=now(),
        architecture=options.architecture,
        dropout=options.dropout,
        preprocessing=PreprocessingCard(image_size=options.pixels, mean=mean, std=std),
        threshold=1.0,
        training_data={},
        metrics={},
        versions=library_versions(),
    )
    network = SupervisedAutoencoder(options.architecture, options.dropout)
    model = Model(card, network, Novelty(DESCRIPTION).to(device), device)
    train = BalancedImages([image.grey for image in images], classes_of(images), options)
    watched = ([image.grey for image in validation], classes_of(validation)) if validation else None
    history = fit(network, train, watched, model.preprocessing, options, device, checkpoint=checkpoint)
    fit_novelty(model, images)
    return model, history


def _with_limits(model: Model, scored: Scored, options: TrainingSettings) -> tuple[Model, Choice]:
    """Choose temperature, threshold and novelty limits on images that were not fitted to."""
    limit_novelty(model, scored, options.unidentified_budget)
    found = temperature(scored.log_odds.tolist(), scored.is_nio)
    choice = choose(scored.to_choose_on(unidentified(model, scored), found), Worth.of(options))
    card = model.card.model_copy(update={"temperature": found, "threshold": choice.probability})
    return replace(model, card=card), choice
