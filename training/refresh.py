"""The refresh, top to bottom: read, set aside, split, fit, choose the threshold, test, save, predict, report, promote.

Each step says what it does as it begins.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from inspection.device import choose_device
from inspection.errors import DatasetError
from inspection.files import readable
from inspection.image import decode
from inspection.inspector import Inspector
from inspection.model import Model, ModelCard, PreprocessingCard, library_versions, load, now, save
from inspection.network import SupervisedAutoencoder
from inspection.verdict import LABELS, Label
from settings.schema import Settings
from training.certify import choose_threshold
from training.dataset import Dataset, LabelledImage, Part, read, split, stack
from training.evaluate import Evaluation, evaluate, probabilities, table
from training.fit import BalancedImages, History, fit
from training.predict import predict
from training.promote import check_links, promote
from training.report import Findings, write_report

_SMALLEST_STD = 1e-4  # of grey levels in 0..1; less than an 8-bit image can show
_GOLDEN_PER_LABEL = 4
_GOLDEN_MAX_PIXELS = 1_000_000


def refresh(settings: Settings) -> Path:
    """Train a model from the labelled folders and put it to use.

    Returns:
        The new model folder; `models/current` leads to it.

    Raises:
        DatasetError: The labelled folders cannot be trained from.
        DeviceError: The device that the configuration asks for is not there.
    """
    check_links(settings.paths.models)
    device, why = choose_device(settings.device)
    _say(f"device: {device} ({why})")
    _be_repeatable(settings.training.seed)

    _say(f"read: {settings.paths.dataset}")
    dataset = read(settings)
    for path, reason in dataset.unreadable:
        print(f"  skipped {readable(str(path))}: {reason}")
    for kept, dropped in dataset.duplicates:
        print(f"  left out {readable(str(dropped))}: the same image as {readable(str(kept))}")

    _tell_unmatched(dataset, settings)
    _say("set aside and split, by group")
    parts = split(dataset.images, settings.training)
    for part, images in parts.items():
        print(f"  {part:<11}" + "".join(f"{_count(images, label):>7} {label}" for label in LABELS))

    _say("fit (Ctrl-C stops and keeps the best so far)")
    model, history = _fit(parts, settings, device)
    if history.interrupted:
        print(f"  stopped by hand after {len(history.validation_loss)} epochs; kept those of epoch {history.best + 1}")
    else:
        print(f"  {len(history.validation_loss)} epochs; best validation loss in epoch {history.best + 1}")

    _say(f"threshold: recall on nio at least {settings.training.required_recall:.1%} in validation")
    model, validation = _with_threshold(model, parts["validation"], settings.training.required_recall)
    print(f"  {model.card.threshold:.6g}")

    _say("test: images that neither weights nor threshold were chosen on")
    test_probabilities, test = _evaluate(model, parts["test"])
    print(table(test))

    _say("save")
    card = _filled_card(model.card, dataset, parts, settings, validation, test)
    folder = save(settings.paths.models, model.network, card, _golden(parts["test"], settings))
    print(f"  {folder}")

    _say("predict the images set aside, and report")
    inspector = Inspector(load(folder, device), settings.cam.method, only_last_conv=settings.cam.only_last_conv)
    predictions = predict(parts["unseen"], inspector, folder / "report" / "unseen", settings.inbox.max_pixels)
    right = sum(prediction.right for prediction in predictions)
    print(f"  {right} of {len(predictions)} judged as labelled")
    findings = Findings(
        dataset=dataset,
        parts={str(part): images for part, images in parts.items()},
        history=history,
        test=test,
        test_probabilities=test_probabilities,
        predictions=predictions,
        required_recall=settings.training.required_recall,
        vertical_flip=settings.training.vertical_flip,
    )
    print(f"  {write_report(folder / 'report', findings, inspector, settings.inbox.max_pixels)}")

    _say(f"promote: {settings.paths.models / 'current'} -> {folder.name}")
    promote(folder)
    return folder


def _tell_unmatched(dataset: Dataset, settings: Settings) -> None:
    """A pattern that matches nothing would let images of one part straddle the split in silence."""
    pattern = settings.training.group_pattern
    unmatched = sum(image.group == image.sha256 for image in dataset.images)
    if pattern and unmatched == len(dataset.images):
        raise DatasetError(
            f"training.group_pattern: {pattern!r} matches no file name, such as {dataset.images[0].path.name!r}"
        )
    if pattern and unmatched:
        print(f"  {unmatched} of {len(dataset.images)} names do not match training.group_pattern: each its own part")


def _say(step: str) -> None:
    print(f"==> {step}", flush=True)


def _count(images: Sequence[LabelledImage], label: Label) -> int:
    return sum(image.label == label for image in images)


def _be_repeatable(seed: int) -> None:
    """The same seed, images and machine give the same weights, bit for bit."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(mode=True, warn_only=True)
    torch.manual_seed(seed)


def _fit(parts: dict[Part, list[LabelledImage]], settings: Settings, device: torch.device) -> tuple[Model, History]:
    """Train a network; the model's threshold is still open."""
    options = settings.training
    train_greys, train_classes = stack(parts["train"])
    validation = stack(parts["validation"])
    seen = torch.cat([train_greys, validation[0]])
    std = seen.std(correction=0).item()
    if std < _SMALLEST_STD:
        raise DatasetError(f"{settings.paths.dataset}: all images are of one and the same grey: nothing to learn from")
    card = ModelCard(
        created=now(),
        architecture=options.architecture,
        dropout=options.dropout,
        preprocessing=PreprocessingCard(image_size=options.image_size, mean=seen.mean().item(), std=std),
        threshold=1.0,
        training_data={},
        metrics={},
        versions=library_versions(),
    )
    network = SupervisedAutoencoder(options.architecture, options.dropout)
    model = Model(card, network, device)
    train = BalancedImages(train_greys, train_classes, options)
    history = fit(network, train, validation, model.preprocessing, options, device)
    return model, history


def _with_threshold(model: Model, validation: list[LabelledImage], required_recall: float) -> tuple[Model, Evaluation]:
    found = probabilities(model, stack(validation)[0])
    nio, io = (
        [score for score, image in zip(found, validation, strict=True) if image.label == label]
        for label in ("nio", "io")
    )
    threshold = choose_threshold(nio, io, required_recall)
    card = model.card.model_copy(update={"threshold": threshold})
    labels = [image.label for image in validation]
    return Model(card, model.network, model.device), evaluate(labels, found, threshold)


def _evaluate(model: Model, images: list[LabelledImage]) -> tuple[list[float], Evaluation]:
    found = probabilities(model, stack(images)[0])
    return found, evaluate([image.label for image in images], found, model.card.threshold)


def _filled_card(
    card: ModelCard,
    dataset: Dataset,
    parts: dict[Part, list[LabelledImage]],
    settings: Settings,
    validation: Evaluation,
    test: Evaluation,
) -> ModelCard:
    data: dict[str, Any] = {
        "fingerprint": dataset.fingerprint(),
        "parts": {part: {label: _count(images, label) for label in LABELS} for part, images in parts.items()},
        "settings": settings.training.model_dump(mode="json"),
    }
    metrics = {"validation": validation.as_dict(), "test": test.as_dict()}
    return card.model_copy(update={"training_data": data, "metrics": metrics})


def _golden(images: Sequence[LabelledImage], settings: Settings) -> list[tuple[NDArray[np.float32], Label]]:
    """A few test images of each label; large ones as the network sees them, to keep a model folder small."""
    golden: list[tuple[NDArray[np.float32], Label]] = []
    for label in LABELS:
        chosen = sorted((image for image in images if image.label == label), key=lambda image: image.sha256)
        for image in chosen[:_GOLDEN_PER_LABEL]:
            pixels = decode(image.path.read_bytes(), max_pixels=settings.inbox.max_pixels).pixels
            small = pixels.size <= _GOLDEN_MAX_PIXELS
            golden.append((pixels if small else image.grey[0].numpy(), label))
    return golden
