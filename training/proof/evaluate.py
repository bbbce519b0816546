"""Measures a model on labelled images at its threshold: the numbers of the report and of model.json."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import islice
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import classification_report, confusion_matrix, log_loss, roc_auc_score
from torch import Tensor

from inspection.model import Model
from inspection.verdict import LABELS, Label, Verdict, deciding
from training.data.dataset import LabelledImage, all_pages

_BATCH = 64


@dataclass(frozen=True)
class Evaluation:
    """How a model did on labelled images; nio is the positive class.

    Attributes:
        counts: Images by label.
        threshold: From which nio probability on an image was judged nio.
        accuracy: Share judged right.
        loss: Mean negative log-likelihood of the true label, in nats.
        recall: Share of the nio images judged nio.
        precision: Share of those judged nio that are.
        f1: Harmonic mean of the two.
        false_call_rate: Share of the io images judged nio.
        unidentified: Images by label that were judged nio only because they are unlike good ones.
        auc: Area under the receiver operating characteristic; None with one class only.
        confusion: `[[io as io, io as nio], [nio as io, nio as nio]]`.
        report: scikit-learn's classification report as text.
    """

    counts: dict[str, int]
    threshold: float
    accuracy: float
    loss: float
    recall: float
    precision: float
    f1: float
    false_call_rate: float
    unidentified: dict[str, int]
    auc: float | None
    confusion: list[list[int]]
    report: str

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def verdicts(model: Model, greys_N1SS: Tensor) -> list[Verdict]:
    """Judge resized grey images in 0..1."""
    found: list[Verdict] = []
    for part in torch.split(greys_N1SS, _BATCH):
        found += model.verdicts(model.scores(model.preprocessing.normalise(part)))
    return found


@dataclass(frozen=True)
class Judgement:
    """What became of one file.

    Attributes:
        pages: The verdict on each of its pages, at least one.
    """

    pages: list[Verdict]

    @cached_property
    def page(self) -> int:
        """The page that decides, counted from 0."""
        return deciding(self.pages)

    @property
    def verdict(self) -> Verdict:
        """The verdict on the file: that page's."""
        return self.pages[self.page]


def judge_files(model: Model, images: Sequence[LabelledImage]) -> list[Judgement]:
    """Judge labelled images as the network sees them, each whole."""
    found = iter(verdicts(model, all_pages(images)))
    return [Judgement(list(islice(found, len(image.grey)))) for image in images]


def as_judged(verdicts: Sequence[Verdict]) -> NDArray[np.float64]:
    """Scores whose order the verdicts follow: nio probabilities, and more than any where an image is unidentified."""
    return np.array([2.0 if one.reason == "unidentified" else one.probability for one in verdicts], float)


def evaluate(labels: Sequence[Label], found: Sequence[Verdict]) -> Evaluation:
    """Compare verdicts, at least one, with the labels."""
    judged = [verdict.label for verdict in found]
    truth = np.array([label == "nio" for label in labels])
    # No number is judged nio, so it counts as the surest one.
    scores = np.array([1.0 if verdict.probability is None else verdict.probability for verdict in found])
    unidentified = [label for label, verdict in zip(labels, found, strict=True) if verdict.reason == "unidentified"]
    confusion = confusion_matrix(labels, judged, labels=list(LABELS))
    (io_io, io_nio), (nio_io, nio_nio) = confusion.tolist()
    recall = _share(nio_nio, nio_io + nio_nio)
    precision = _share(nio_nio, io_nio + nio_nio)
    return Evaluation(
        counts={"io": io_io + io_nio, "nio": nio_io + nio_nio},
        threshold=found[0].threshold,
        accuracy=_share(io_io + nio_nio, len(labels)),
        loss=float(log_loss(truth, np.clip(scores, 1e-9, 1 - 1e-9), labels=[False, True])),
        recall=recall,
        precision=precision,
        f1=_share(2 * precision * recall, precision + recall),
        false_call_rate=_share(io_nio, io_io + io_nio),
        unidentified={label: unidentified.count(label) for label in LABELS},
        auc=float(roc_auc_score(truth, scores)) if truth.any() and not truth.all() else None,
        confusion=confusion.tolist(),
        report=classification_report(labels, judged, labels=list(LABELS), zero_division=0.0),
    )


def table(evaluation: Evaluation) -> str:
    """The evaluation for a person to read."""
    found = evaluation
    rows = [
        ("images", f"{found.counts['io']} io, {found.counts['nio']} nio"),
        ("threshold", f"{found.threshold:.4g}"),
        ("recall on nio", f"{found.recall:.2%}"),
        ("false-call rate", f"{found.false_call_rate:.2%}"),
        ("unidentified", ", ".join(f"{count} {label}" for label, count in found.unidentified.items())),
        ("precision", f"{found.precision:.2%}"),
        ("F1", f"{found.f1:.4f}"),
        ("accuracy", f"{found.accuracy:.2%}"),
        ("loss", f"{found.loss:.4f}"),
        ("AUC", "-" if found.auc is None else f"{found.auc:.4f}"),
    ]
    lines = [f"  {name:<16} {value}" for name, value in rows]
    (io_io, io_nio), (nio_io, nio_nio) = found.confusion
    lines += ["", "  true \\ judged       io     nio", f"  io             {io_io:>7} {io_nio:>7}"]
    lines += [f"  nio            {nio_io:>7} {nio_nio:>7}", ""]
    lines += [f"  {line}" for line in found.report.splitlines() if line.strip()]
    return "\n".join(lines)


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0
