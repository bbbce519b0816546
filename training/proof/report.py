"""The report of one training: one HTML page that holds all that it shows, and the numbers beside it as JSON."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from jinja2 import Environment, PackageLoader, StrictUndefined

from inspection.files import readable
from inspection.image import Limits
from inspection.inspector import Inspector
from inspection.model import Certificate
from inspection.verdict import LABELS, Label, Verdict
from inspection.workload import workload
from settings.schema import NamesSettings, TrainingSettings
from training.data.dataset import Dataset, LabelledImage, page_of
from training.fitting.augment import augment
from training.fitting.fit import History
from training.proof import figures
from training.proof.evaluate import Evaluation, Judgement, as_judged
from training.proof.labels import Doubt, LabelCheck
from training.proof.predict import Prediction
from training.proof.strange import StrangeKind, is_novel, judge_strange
from training.proof.summary import of_no_use, told_disputed
from training.proof.threshold import Choice, Worth, curve, with_twice_the_nio
from training.release.operators import Operators

_SHOWN = 6  # images of one kind
_STRANGE = 20  # images that strange ones are made of


@dataclass(frozen=True)
class Findings:
    """All that a report tells."""

    dataset: Dataset
    parts: dict[str, list[LabelledImage]]
    history: History
    test: Evaluation
    tested: list[Judgement]
    certificate: Certificate
    labels: LabelCheck
    choice: Choice
    curve: list[str]
    predictions: list[Prediction]
    options: TrainingSettings
    names: NamesSettings
    operators: Operators

    @cached_property
    def _folder(self) -> str:
        return os.path.commonpath([image.path.parent for image in self.dataset.images]) + os.sep

    @property
    def test_verdicts(self) -> list[Verdict]:
        """On the test images, in their order."""
        return [one.verdict for one in self.tested]

    def name(self, path: Path | str) -> str:
        """A file's name for people, from the data set's folder on: where that lies is no customer's business."""
        return readable(str(path).removeprefix(self._folder))


@dataclass(frozen=True)
class Judged:
    """A test image, its verdict, and the page that this is about, from 0."""

    image: LabelledImage
    verdict: Verdict
    page: int

    @property
    def wrong(self) -> bool:
        """Whether the verdict is not the label."""
        return self.image.label != self.verdict.label

    @property
    def score(self) -> float:
        """What the verdicts go by: the nio probability, or more where the image is unidentified."""
        return float(as_judged([self.verdict])[0])


@dataclass(frozen=True)
class Shown:
    """A picture on the page, the map over it where there is one, and what is said under it."""

    picture: str
    mapped: str | None
    title: str
    lines: list[str]


def write_report(folder: Path, findings: Findings, inspector: Inspector, limits: Limits) -> Path:
    """Write `index.html`, which needs no other file, and `metrics.json`.

    Args:
        folder: Where the report goes; made if it is not there.
        findings: What the training found.
        inspector: With the trained model, for the maps.
        limits: Of what is decoded again for the pictures.

    Returns:
        The page.
    """
    folder.mkdir(parents=True, exist_ok=True)
    good = [one for one in _judged(findings) if one.image.label == "io"][:_STRANGE]
    strange = judge_strange([page_of(one.image, one.page, limits) for one in good], inspector.model)
    numbers = {
        "model": inspector.model.card.model_dump(mode="json", exclude={"golden"}),
        "history": findings.history.as_dict(),
        "unseen": [prediction.as_dict() for prediction in findings.predictions],
        "strange": [
            {"made": kind.name, "images": kind.count, "novel": kind.novel, "defect": kind.defect, "io": kind.io}
            for kind in strange
        ],
        "disputed": findings.dataset.disputed,
        "prices": [price.as_dict() for price in findings.labels.prices],
        "doubted_labels": [
            {
                "file": findings.name(doubt.image.path),
                "where": doubt.where,
                "label": doubt.image.label,
                "probability": doubt.probability,
            }
            for doubt in (*findings.labels.nio, *findings.labels.io)
        ],
    }
    (folder / "metrics.json").write_text(json.dumps(numbers, indent=2, allow_nan=False) + "\n", "utf-8")
    page = folder / "index.html"
    page.write_text(_page(findings, strange, inspector, limits), "utf-8")
    return page


def _judged(findings: Findings) -> list[Judged]:
    pairs = zip(findings.parts["test"], findings.tested, strict=True)
    return [Judged(image, one.verdict, one.page) for image, one in pairs]


def _page(findings: Findings, strange: list[StrangeKind], inspector: Inspector, limits: Limits) -> str:
    environment = Environment(
        loader=PackageLoader("training.proof"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "name": findings.name,
        "percent": _percent,
        "number": _number,
        "setting": json.dumps,
        "photograph": figures.photograph,
    }
    labels: list[Label] = [image.label for image in findings.parts["test"]]
    required, worth = findings.certificate.required_recall, Worth.of(findings.options)
    context: dict[str, Any] = {
        "card": inspector.model.card,
        "certificate": findings.certificate,
        "cam_method": inspector.cam_method,
        "findings": findings,
        "test": findings.test,
        "operating_curves": figures.operating_curves(labels, findings.test_verdicts, findings.test, required),
        "cost_curves": figures.cost_curves(curve(findings.choice, worth), findings.choice.threshold, required),
        "choice": findings.choice,
        "worth": worth,
        "with_twice_the_nio": with_twice_the_nio(findings.choice, worth),
        "workload": workload(inspector.model.card),
        "curve": findings.curve,
        "useless": of_no_use(inspector.model.card, findings.options.gate.most_false_calls),
        "score_histogram": figures.score_histogram(labels, findings.test_verdicts, findings.test.threshold),
        "novelty_histogram": figures.novelty_histogram(labels, findings.test_verdicts),
        "training_curves": figures.training_curves(findings.history),
        "galleries": _galleries(findings, inspector, limits),
        "novel": {
            label: sum(
                is_novel(verdict) for one, verdict in zip(labels, findings.test_verdicts, strict=True) if one == label
            )
            for label in LABELS
        },
        "strange": strange,
        "doubts": {
            label: [_doubt(doubt, findings.name(doubt.image.path), limits) for doubt in doubts[:_SHOWN]]
            for label, doubts in (("nio", findings.labels.nio), ("io", findings.labels.io))
        },
        "seen": _what_the_network_sees(findings, inspector, limits),
        "parts": {
            part: [sum(image.label == label for image in images) for label in LABELS]
            for part, images in findings.parts.items()
        },
        "fingerprint": findings.dataset.fingerprint(),
        "disputed": told_disputed(findings.dataset.disputed) if findings.dataset.disputed else "",
        "operators": findings.operators,
        "leaks": findings.dataset.leaks.lines(findings.name),
    }
    return environment.get_template("report.html").render(context)


def _galleries(findings: Findings, inspector: Inspector, limits: Limits) -> list[tuple[str, list[Shown]]]:
    """The worst mistakes, or where there is none of a kind the nearest to one; misses first. Then the surest nio."""
    test = _judged(findings)
    nio = sorted((one for one in test if one.image.label == "nio"), key=lambda one: one.score)
    io = sorted((one for one in test if one.image.label == "io"), key=lambda one: -one.score)
    missed, called = [one for one in nio if one.wrong], [one for one in io if one.wrong]
    half = _SHOWN // 2
    chosen = [
        (_heading("Missed defects", "escapes", missed), missed[:_SHOWN])
        if missed
        else ("No defect was missed; these came nearest", nio[:half]),
        (_heading("False calls", "io judged nio", called), called[:_SHOWN])
        if called
        else ("No io image was called nio; these came nearest", io[:half]),
        ("The surest defects", [one for one in reversed(nio) if one.verdict.reason == "defect"][:half]),
    ]
    return [(title, [_with_map(one, inspector, limits) for one in images]) for title, images in chosen]


def _heading(what: str, meaning: str, images: Sequence[Judged]) -> str:
    shown = f", the worst {_SHOWN} of {len(images)}" if len(images) > _SHOWN else f": {len(images)}"
    return f"{what} ({meaning}){shown}"


def _with_map(judged: Judged, inspector: Inspector, limits: Limits) -> Shown:
    pixels, where = page_of(judged.image, judged.page, limits), judged.image.named(judged.page)
    verdict = judged.verdict
    return Shown(
        figures.stretched(pixels),
        figures.mapped(pixels, inspector.inspect([pixels])[0]),
        readable(judged.image.path.name),
        [where] * bool(where)
        + [
            f"labelled {judged.image.label}, judged {verdict.label} ({verdict.reason})",
            f"p(nio) {_number(verdict.probability)}, threshold {_number(verdict.threshold)}",
            f"novelty {_number(verdict.novelty)}",
        ],
    )


def _doubt(doubt: Doubt, name: str, limits: Limits) -> Shown:
    picture = figures.stretched(page_of(doubt.image, doubt.page, limits))
    lines = [doubt.where] * bool(doubt.where) + [
        f"labelled {doubt.image.label}",
        f"p(nio) {_number(doubt.probability)}",
    ]
    return Shown(picture, None, name, lines)


def _what_the_network_sees(findings: Findings, inspector: Inspector, limits: Limits) -> list[Shown]:
    """One raw image beside what the network gets, an augmented self, and what the decoder rebuilds of it."""
    one = _judged(findings)[0]
    raw = page_of(one.image, one.page, limits)
    normalised = inspector.model.batch([raw])
    with torch.inference_mode():
        _, rebuilt = inspector.model.network(normalised)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        changed = augment(one.image.grey[one.page][None, None], findings.options.vertical_flip)
    return [
        Shown(figures.stretched(pixels), None, title, lines)
        for title, lines, pixels in (
            ("raw", [f"{raw.shape[1]} x {raw.shape[0]} pixels"], raw),
            ("resized and normalised", [f"{normalised.shape[-1]} pixels a side"], normalised[0, 0].cpu().numpy()),
            ("augmented", ["in training only"], changed[0, 0].numpy()),
            ("rebuilt by the decoder", [], rebuilt[0, 0].float().cpu().numpy()),
        )
    ]


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.4g}"
