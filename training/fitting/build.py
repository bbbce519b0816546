"""Labelled images -> a model: fit, score what was not fitted to, choose the limits."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import torch

from inspection.errors import DatasetError
from inspection.model import Model, ModelCard, PreprocessingCard, library_versions, now
from inspection.network import SupervisedAutoencoder
from inspection.novelty import DESCRIPTION, Novelty
from settings.schema import TrainingSettings
from training.data.dataset import LabelledImage, Part, classes_of, grey_statistics
from training.fitting.balance import BalancedImages
from training.fitting.checkpoint import Checkpoint, told_of
from training.fitting.fit import History, fit
from training.fitting.folds import Scored, deal, fit_novelty, how_many, limit_novelty, score, together, unidentified
from training.fitting.side_by_side import Result, at_once, side_by_side
from training.proof.limits import temperature
from training.proof.threshold import Choice, Worth, choose

FitTo = Callable[[list[LabelledImage], list[LabelledImage] | None, Checkpoint | None, str, int], tuple[Model, History]]
"""Images to fit to, those to stop by, the checkpoint, title and row of the progress bar -> a model without limits."""

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
    # Else each tensor is filled with NaN before it is written: a twentieth of the time, and changes no bit.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
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
    dealt = deal(fitted, folds, options.seed) if folds else []
    own = [checkpoint.of(number) for number in range(1, folds + 1)] if checkpoint else [None] * folds
    if told := told_of([checkpoint, *own]):
        say(told)
    scores = [kept.scores if kept else [] for kept in own]
    left = [fold for fold, numbers in enumerate(scores) if not numbers]

    def fit_to(
        images: list[LabelledImage], watched: list[LabelledImage] | None, kept: Checkpoint | None, title: str, row: int
    ) -> tuple[Model, History]:
        return train(images, watched, fitted, options, device, kept, title, row)

    titles = [f"fit fold {fold + 1} of {folds}, to score what it leaves out" for fold in left]
    titles.append("fit (Ctrl-C stops and keeps what is there)")
    jobs = [partial(_fold, fit_to, f"fold {fold + 1}", *dealt[fold], own[fold]) for fold in left]
    seen, watched = (fitted, None) if folds else (parts["train"], kept_out)
    jobs.append(partial(_kept, fit_to, seen, watched, checkpoint))
    # Also where only one is left: with another number of threads its last digits would be others.
    results = dict(side_by_side(jobs, at_once(folds + 1, device), lambda number: say(titles[number])))
    final = results[len(left)]
    for number, fold in enumerate(left):
        scores[fold] = results[number]["numbers"]
    model, history = _new(fitted, options, device), History(**final["history"])
    model.network.load_state_dict(final["network"])
    model.novelty.load_state_dict(final["novelty"])
    stopped = "stopped by hand after " if history.interrupted else ""
    print(f"  {stopped}{len(history.train_loss)} epochs; kept the weights of epoch {history.best + 1}")
    if folds:
        found = together(Scored(left_out, *numbers) for (_, left_out), numbers in zip(dealt, scores, strict=True))
    else:
        found = score(model, kept_out)
    say(f"limits: recall on nio at least {options.required_recall:.1%}, from {len(found.images)} images not fitted to")
    model, choice = _with_limits(model, found, options)
    print(f"  nio from a probability of {model.card.threshold:.6g} on; temperature {model.card.temperature:.3g}")
    return Built(model, history, found, choice)


def _fold(
    fit_to: FitTo,
    title: str,
    seen: list[LabelledImage],
    left_out: list[LabelledImage],
    checkpoint: Checkpoint | None,
    row: int,
) -> Result:
    """What a network says of the images that its fold leaves out."""
    model, history = fit_to(seen, None, checkpoint, title, row)
    if history.interrupted:  # limits from less than a whole training would fit no model
        raise KeyboardInterrupt
    numbers = score(model, left_out).numbers
    if checkpoint:
        checkpoint.finish(numbers)
    return {"numbers": numbers}


def _kept(
    fit_to: FitTo,
    seen: list[LabelledImage],
    watched: list[LabelledImage] | None,
    checkpoint: Checkpoint | None,
    row: int,
) -> Result:
    """The network that is kept, and its novelty."""
    model, history = fit_to(seen, watched, checkpoint, "train", row)
    states = {"network": model.network.state_dict(), "novelty": model.novelty.state_dict()}
    return {"history": history.as_dict(), **states}


def train(
    images: list[LabelledImage],
    validation: list[LabelledImage] | None,
    normalised_by: list[LabelledImage],
    options: TrainingSettings,
    device: torch.device,
    checkpoint: Checkpoint | None = None,
    title: str = "train",
    row: int = 0,
) -> tuple[Model, History]:
    """A model whose network and novelty are fitted to images; its limits are open.

    Args:
        images: To fit to.
        validation: To stop by; None: the weights of the last epoch are kept.
        normalised_by: Whose grey levels tell the normalisation.
        options: How to train.
        device: Where.
        checkpoint: Where it is kept how far this has come.
        title: Of the progress bar.
        row: On which that is shown, from 0.

    Raises:
        DatasetError: There is nothing to learn from.
    """
    torch.manual_seed(options.seed)
    model = _new(normalised_by, options, device)
    train = BalancedImages([image.grey for image in images], classes_of(images), options)
    watched = ([image.grey for image in validation], classes_of(validation)) if validation else None
    network, preprocessing = model.network, model.preprocessing
    history = fit(network, train, watched, preprocessing, options, device, title, row, checkpoint=checkpoint)
    fit_novelty(model, images)
    return model, history


def _new(normalised_by: list[LabelledImage], options: TrainingSettings, device: torch.device) -> Model:
    """A model that has learnt nothing yet.

    Raises:
        DatasetError: There is nothing to learn from.
    """
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
    network.to(device).to(memory_format=torch.channels_last).eval()
    return Model(card, network, Novelty(DESCRIPTION).to(device), device)


def _with_limits(model: Model, scored: Scored, options: TrainingSettings) -> tuple[Model, Choice]:
    """Choose temperature, threshold and novelty limits on images that were not fitted to."""
    limit_novelty(model, scored, options.unidentified_budget)
    found = temperature(scored.log_odds.tolist(), scored.is_nio)
    choice = choose(scored.to_choose_on(unidentified(model, scored), found), Worth.of(options))
    card = model.card.model_copy(update={"temperature": found, "threshold": choice.probability})
    return replace(model, card=card), choice
