"""The refresh, top to bottom: read, set aside, split, fit, choose the limits, test, save, predict, report, promote.

Each step says what it does as it begins.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
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
from inspection.model import Certificate, Model, ModelCard, PreprocessingCard, library_versions, load, now, save
from inspection.network import DESCRIPTION, SupervisedAutoencoder
from inspection.novelty import Novelty
from inspection.verdict import LABELS, Label
from settings.schema import Settings, TrainingSettings
from training.certify import Tested, certify, choose_threshold, temperature
from training.dataset import Dataset, LabelledImage, Part, read, split, stack
from training.evaluate import Evaluation, evaluate, table, verdicts
from training.fit import BalancedImages, History, fit
from training.folds import Scored, deal, fit_novelty, how_many, novelty_limit, score, together
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

    model, history, scored = _fit(parts, settings, device)

    recall = settings.training.required_recall
    _say(f"limits: recall on nio at least {recall:.1%}, from {len(scored.images)} images not fitted to")
    model = _with_limits(model, scored, settings.training)
    print(f"  nio from a probability of {model.card.threshold:.6g} on; temperature {model.card.temperature:.3g}")

    _say("test: images that neither weights nor limits were chosen on")
    tested = verdicts(model, stack(parts["test"])[0])
    test = evaluate([image.label for image in parts["test"]], tested)
    print(table(test))
    certificate = certify(
        [
            Tested(image.path.name, image.group, verdict.label == "nio")
            for image, verdict in zip(parts["test"], tested, strict=True)
            if image.label == "nio"
        ],
        settings.training.required_recall,
        dataset.fingerprint(),
        settings.training.part_pattern,
    )
    print(f"  {certificate}")

    _say("save")
    card = _filled_card(model.card, certificate, parts, settings, test)
    folder = save(settings.paths.models, replace(model, card=card), _golden(parts["test"], settings))
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
        test_verdicts=tested,
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


def _fit(
    parts: dict[Part, list[LabelledImage]], settings: Settings, device: torch.device
) -> tuple[Model, History, Scored]:
    """Train a network, and score images that were not fitted to; the model's limits are still open.

    With folds every image that is not for the test is scored by a network that has not seen its part, and the network
    kept is fitted to all of them; without, the validation images are scored by the network kept.
    """
    fitted, kept_out = parts["train"] + parts["validation"], parts["validation"]
    folds = how_many(settings.training, fitted)
    scored = []
    for number, (seen, left_out) in enumerate(deal(fitted, folds, settings.training.seed) if folds else (), 1):
        _say(f"fit fold {number} of {folds}, to score what it leaves out")
        model, _ = _trained(seen, None, fitted, settings, device)
        scored.append(score(model, left_out))
    _say("fit (Ctrl-C stops and keeps what is there)")
    if folds:
        model, history = _trained(fitted, None, fitted, settings, device)
    else:
        model, history = _trained(parts["train"], kept_out, fitted, settings, device)
        scored = [score(model, kept_out)]
    stopped = "stopped by hand after " if history.interrupted else ""
    print(f"  {stopped}{len(history.train_loss)} epochs; kept the weights of epoch {history.best + 1}")
    return model, history, together(scored)


def _trained(
    images: list[LabelledImage],
    validation: list[LabelledImage] | None,
    normalised_by: list[LabelledImage],
    settings: Settings,
    device: torch.device,
) -> tuple[Model, History]:
    """A model whose network and novelty are fitted to `images`."""
    options = settings.training
    torch.manual_seed(options.seed)
    greys, _ = stack(normalised_by)
    std = greys.std(correction=0).item()
    if std < _SMALLEST_STD:
        raise DatasetError(f"{settings.paths.dataset}: all images are of one and the same grey: nothing to learn from")
    card = ModelCard(
        created=now(),
        architecture=options.architecture,
        dropout=options.dropout,
        preprocessing=PreprocessingCard(image_size=options.image_size, mean=greys.mean().item(), std=std),
        threshold=1.0,
        training_data={},
        metrics={},
        versions=library_versions(),
    )
    network = SupervisedAutoencoder(options.architecture, options.dropout)
    model = Model(card, network, Novelty(DESCRIPTION).to(device), device)
    train = BalancedImages(*stack(images), options)
    history = fit(network, train, stack(validation) if validation else None, model.preprocessing, options, device)
    fit_novelty(model, images)
    return model, history


def _with_limits(model: Model, scored: Scored, options: TrainingSettings) -> Model:
    """Choose temperature, threshold and novelty limit on images that were not fitted to."""
    limit = novelty_limit(scored.of("io")[1], options.unidentified_budget)
    found = temperature(scored.log_odds.tolist(), scored.is_nio)
    # What is unidentified is nio whatever its probability.
    nio, io = (
        torch.where(distances > limit, surest, torch.sigmoid(log_odds / found)).tolist()
        for (log_odds, distances), surest in ((scored.of("nio"), 1.0), (scored.of("io"), 0.0))
    )
    threshold = choose_threshold(nio, io, options.required_recall, options.false_call_budget)
    model.novelty.limit.fill_(limit)
    return replace(model, card=model.card.model_copy(update={"temperature": found, "threshold": threshold}))


def _filled_card(
    card: ModelCard,
    certificate: Certificate,
    parts: dict[Part, list[LabelledImage]],
    settings: Settings,
    test: Evaluation,
) -> ModelCard:
    data: dict[str, Any] = {
        "fingerprint": certificate.data_fingerprint,
        "parts": {part: {label: _count(images, label) for label in LABELS} for part, images in parts.items()},
        "settings": settings.training.model_dump(mode="json"),
    }
    return card.model_copy(
        update={"certificate": certificate, "training_data": data, "metrics": {"test": test.as_dict()}}
    )


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
