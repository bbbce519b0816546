"""The refresh, top to bottom.

Read, set aside, split, fit, choose the limits, test, save, predict, report, gate, promote.
Each step says what it does as it begins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from filing.doubts import units_of
from inspection.device import choose_device
from inspection.errors import DatasetError, NotPromotedError
from inspection.files import readable
from inspection.image import Limits
from inspection.inspector import Inspector
from inspection.model import Certificate, Model, ModelCard, RuntimeProof, load, save
from inspection.verdict import LABELS, Label
from settings.schema import CURRENT, Settings
from training.data.answers import read_answered
from training.data.dataset import Dataset, LabelledImage, Part, page_of, split
from training.fitting import processes
from training.fitting.build import Built, be_repeatable, build, say
from training.fitting.checkpoint import NAME, Checkpoint, fingerprint
from training.fitting.curve import what_may_help
from training.fitting.folds import Scored, score, together
from training.fitting.reference import make_reference
from training.fitting.sizes import sized
from training.proof.certificate import Tested, certify
from training.proof.evaluate import Evaluation, Judgement, evaluate, judge_files, table
from training.proof.labels import check_labels
from training.proof.predict import Prediction, predict
from training.proof.report import Findings, write_report
from training.proof.runtimes import prove_runtimes
from training.proof.summary import summary
from training.proof.threshold import Worth
from training.release.contest import hold_gate
from training.release.gate import GATE, as_text, write_record
from training.release.operators import Operators, read_operators
from training.release.promote import check_links, in_use, promote
from training.release.seen import SEEN, SEEN_KEY, digest, seen_lines

GOLDEN_PER_LABEL = 4
_GOLDEN_MAX_PIXELS = 1_000_000


def refresh(settings: Settings, dataset: Dataset | None = None, *, force: bool = False) -> Path:
    """Train a model from the labelled folders and put it to use, if it is no worse than the one in use.

    Args:
        settings: The configuration; of one product, where there are products.
        dataset: What the labelled folders hold, if they were read already.
        force: Put it to use in any case.

    Returns:
        The new model folder; `models/current` leads to it.

    Raises:
        DatasetError: The labelled folders cannot be trained from.
        DeviceError: The device that the configuration asks for is not there.
        NotPromotedError: The model in use stays; the new one's folder says why.
        SystemExit: This is not the first of several processes; with the exit code of that one.
    """
    check_links(settings.paths.models)
    device, why = choose_device(processes.device_of(settings.device))
    say(f"device: {device} ({why})")
    be_repeatable(settings.training.seed)

    if dataset is None:
        settings = sized(settings)
        say(f"read: {settings.paths.dataset}")
        dataset = read_answered(settings)
    for path, reason in dataset.unreadable:
        print(f"  skipped {readable(str(path))}: {reason}")
    for kept, dropped in dataset.duplicates:
        print(f"  left out {readable(str(dropped))}: the same image as {readable(str(kept))}")
    operators = read_operators(settings)
    for line in (*dataset.answers, *operators.lines()):
        print(f"  {line}")
    stacks = [image for image in dataset.images if image.is_stack]
    if stacks:
        print(f"  {len(stacks)} of {len(dataset.images)} are stacks, of {sum(len(one.grey) for one in stacks)} pages")

    _tell_unmatched(dataset, settings)
    say("copies and giveaways among the images")
    for line in dataset.leaks.lines() or ["none found"]:
        print(f"  {line}")
    say("set aside and split, by group")
    parts = split(dataset.images, settings.training)
    for part, images in parts.items():
        print(f"  {part:<11}" + "".join(f"{_count(images, label):>7} {label}" for label in LABELS))

    training = fingerprint(parts, settings.training)
    if not processes.alike(training.encode()):
        raise DatasetError("the processes' images, settings or libraries differ: give all machines the same")
    checkpoint = Checkpoint(settings.paths.models / NAME, training)
    built = build(parts, settings.training, device, checkpoint)
    with processes.first_alone(), checkpoint.until_ended():
        return _test_and_promote(settings, dataset, operators, parts, built, device=device, force=force)


def _test_and_promote(
    settings: Settings,
    dataset: Dataset,
    operators: Operators,
    parts: dict[Part, list[LabelledImage]],
    built: Built,
    *,
    device: torch.device,
    force: bool,
) -> Path:
    """What follows when the weights and the limits are there."""
    model, options = built.model, settings.training
    say("test: images that neither weights nor limits were chosen on")
    tested = list(zip(parts["test"], judge_files(model, parts["test"]), strict=True))
    test = evaluate([image.label for image, _ in tested], [one.verdict for _, one in tested])
    print(table(test))
    certificate = certify(
        [Tested(image.group, one.verdict.label == "nio", image.kind) for image, one in tested if image.label == "nio"],
        settings.training.required_recall,
        dataset.fingerprint(),
    )
    print(f"  {certificate}")

    say("reference: how io images look, for the watch over drift")
    model = _with_reference(model, tested, parts["train"] + parts["validation"])

    say("runtimes: whether they judge as torch does")
    model = _with_runtimes(model, together([built.scored, score(model, parts["test"])]))

    say("save")
    card = _filled_card(model.card, certificate, operators, parts, settings, test)
    golden = _golden(tested, Limits.of(settings.inbox))
    folder = save(settings.paths.models, replace(model, card=card), golden, {SEEN: seen_lines(parts)})
    print(f"  {folder}")

    say("predict the images set aside, and report")
    inspector = Inspector(load(folder, device), settings.cam.method, only_last_conv=settings.cam.only_last_conv)
    predictions = predict(parts["unseen"], inspector, folder / "report" / "unseen", Limits.of(settings.inbox))
    print(f"  {_how_many_right(predictions, len(parts['unseen']))}")
    labels = check_labels(built.scored, inspector.model, built.choice, Worth.of(options))
    findings = Findings(
        dataset=dataset,
        parts={str(part): images for part, images in parts.items()},
        history=built.history,
        test=test,
        tested=[one for _, one in tested],
        certificate=certificate,
        labels=labels,
        choice=built.choice,
        curve=what_may_help(card, parts, options, device),
        predictions=predictions,
        options=options,
        names=settings.names,
        operators=operators,
    )
    print(f"  {write_report(folder / 'report', findings, inspector, Limits.of(settings.inbox))}")

    champion = in_use(settings.paths.models)
    say(f"gate: {folder.name} against {champion.name if champion else 'none'}")
    record = hold_gate(settings, champion, folder, parts["test"], dataset.images, device=device, force=force)
    print(as_text(record))
    say("what it comes to")
    for line in summary(inspector.model.card, built.choice, labels, settings, dataset.disputed):
        print(f"  {line}")
    if in_use(settings.paths.models) != champion:
        raise NotPromotedError("trained, not promoted: another model was put to use meanwhile; refresh once more")
    write_record(folder, record)
    if not record.promoted:
        stays = "stays as it is" if champion else "is not made"
        raise NotPromotedError(
            f"trained, not promoted: {settings.paths.models / CURRENT} {stays}; {folder / GATE} says why, "
            "--force promotes all the same"
        )
    say(f"promote: {settings.paths.models / CURRENT} -> {folder.name}")
    promote(folder)
    return folder


def _tell_unmatched(dataset: Dataset, settings: Settings) -> None:
    """A pattern that matches nothing would let images of one part straddle the split in silence."""
    pattern = settings.names.pattern
    unmatched = sum(not units_of(image.path, settings).matched for image in dataset.images)
    if pattern and dataset.images and unmatched == len(dataset.images):
        raise DatasetError(f"names.pattern: {pattern!r} matches no file name, such as {dataset.images[0].path.name!r}")
    if pattern and unmatched:
        print(f"  {unmatched} of {len(dataset.images)} names do not match names.pattern: each its own part")


def _count(images: Sequence[LabelledImage], label: Label) -> int:
    return sum(image.label == label for image in images)


def _how_many_right(predictions: Sequence[Prediction], aside: int) -> str:
    right = sum(prediction.right for prediction in predictions)
    gone = aside - len(predictions)
    return f"{right} of {len(predictions)} judged as labelled" + f"; {gone} gone or changed meanwhile" * bool(gone)


def _with_reference(
    model: Model, judged: Sequence[tuple[LabelledImage, Judgement]], fitted: Sequence[LabelledImage]
) -> Model:
    reference = make_reference(judged, fitted)
    for name, known in reference.signals.items():
        print(f"  {name:<12}{known.typical:>9.4g}  in {known.images} images")
    return replace(model, card=model.card.model_copy(update={"reference": reference}))


def _with_runtimes(model: Model, scored: Scored) -> Model:
    proofs = {}
    for name, proof in prove_runtimes(model, scored):
        print(f"  {name:<15}{proof}")
        if isinstance(proof, RuntimeProof):
            proofs[name] = proof
    return replace(model, card=model.card.model_copy(update={"runtimes": proofs}))


def _filled_card(
    card: ModelCard,
    certificate: Certificate,
    operators: Operators,
    parts: dict[Part, list[LabelledImage]],
    settings: Settings,
    test: Evaluation,
) -> ModelCard:
    data: dict[str, Any] = {
        "fingerprint": certificate.data_fingerprint,
        "parts": {part: {label: _count(images, label) for label in LABELS} for part, images in parts.items()},
        "settings": settings.training.model_dump(mode="json"),
        "operators": operators.as_dict(),
        SEEN_KEY: digest(seen_lines(parts)),
    }
    return card.model_copy(
        update={"certificate": certificate, "training_data": data, "metrics": {"test": test.as_dict()}}
    )


def _golden(
    tested: Sequence[tuple[LabelledImage, Judgement]], limits: Limits
) -> list[tuple[NDArray[np.float32], Label]]:
    """A few test images of each label; large ones as the network sees them, to keep a model folder small.

    Of a stack the page that decides.
    """
    golden: list[tuple[NDArray[np.float32], Label]] = []
    for label in LABELS:
        chosen = sorted((one for one in tested if one[0].label == label), key=lambda one: one[0].sha256)
        for image, judgement in chosen[:GOLDEN_PER_LABEL]:
            pixels = page_of(image, judgement.page, limits)
            small = pixels.size <= _GOLDEN_MAX_PIXELS
            golden.append((pixels if small else image.grey[judgement.page].numpy(), label))
    return golden
