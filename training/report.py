"""The report of one training: figures, and one HTML page that works offline."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import torch
from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from inspection.files import readable
from inspection.image import decode
from inspection.inspector import Inspector
from inspection.picture import overlay_map, strength
from inspection.verdict import LABELS, Verdict
from training.augment import augment
from training.dataset import Dataset, LabelledImage
from training.evaluate import Evaluation
from training.fit import History
from training.predict import Prediction

mpl.use("Agg")

_MAPS = 4  # images of each kind in the figure of maps


@dataclass(frozen=True)
class Findings:
    """All that a report tells."""

    dataset: Dataset
    parts: dict[str, list[LabelledImage]]
    history: History
    test: Evaluation
    test_verdicts: list[Verdict]
    predictions: list[Prediction]
    required_recall: float
    vertical_flip: float


def write_report(folder: Path, findings: Findings, inspector: Inspector, max_pixels: int) -> Path:
    """Write the figures, `metrics.json` and `index.html`.

    Args:
        folder: Where the report goes; made if it is not there.
        findings: What the training found.
        inspector: With the trained model, for the maps.
        max_pixels: Limit when images are decoded again for the figures.

    Returns:
        The page.
    """
    folder.mkdir(parents=True, exist_ok=True)
    test = findings.parts["test"]
    _save(_curves(findings.history), folder / "epochs.png")
    _save(_confusion(findings.test), folder / "confusion.png")
    _save(_scores(findings), folder / "scores.png")
    _save(_transformed(test[0], inspector, findings.vertical_flip, max_pixels), folder / "transformed.png")
    shown = _worth_showing(test, _probabilities(findings))
    _save(_maps(shown, inspector, max_pixels), folder / "maps.png")
    numbers = {
        "model": inspector.model.card.model_dump(mode="json", exclude={"golden"}),
        "history": findings.history.as_dict(),
        "unseen": [prediction.as_dict() for prediction in findings.predictions],
    }
    (folder / "metrics.json").write_text(json.dumps(numbers, indent=2, allow_nan=False) + "\n", "utf-8")
    page = folder / "index.html"
    page.write_text(_page(findings, inspector), "utf-8")
    return page


def _page(findings: Findings, inspector: Inspector) -> str:
    environment = Environment(
        loader=PackageLoader("training"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters["name"] = lambda path: readable(str(path))
    counts = [
        (part, *(sum(image.label == label for image in images) for label in LABELS))
        for part, images in findings.parts.items()
    ]
    context: dict[str, Any] = {
        "card": inspector.model.card,
        "cam_method": inspector.cam_method,
        "findings": findings,
        "parts": counts,
        "fingerprint": findings.dataset.fingerprint(),
        "wrong": [prediction for prediction in findings.predictions if not prediction.right],
    }
    return environment.get_template("report.html").render(context)


def _save(figure: Figure, path: Path) -> None:
    figure.savefig(path, dpi=110, bbox_inches="tight")
    plt.close(figure)


def _curves(history: History) -> Figure:
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6))
    epochs = range(1, len(history.train_loss) + 1)
    for axis, name, train, validation in (
        (left, "loss", history.train_loss, history.validation_loss),
        (right, "accuracy", history.train_accuracy, history.validation_accuracy),
    ):
        axis.plot(epochs, train, label="training")
        if validation:
            axis.plot(epochs, validation, label="validation")
        axis.axvline(history.best + 1, color="grey", linestyle=":", label="weights kept")
        axis.set(xlabel="epoch", ylabel=name)
        axis.legend()
    left.set_yscale("log")
    return figure


def _confusion(evaluation: Evaluation) -> Figure:
    figure, axis = plt.subplots(figsize=(3.8, 3.4))
    matrix = np.array(evaluation.confusion)
    axis.imshow(matrix / np.maximum(matrix.sum(1, keepdims=True), 1), cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(matrix):
        dark = count > matrix[row].sum() / 2
        axis.text(column, row, str(count), ha="center", va="center", color="white" if dark else "black")
    axis.set(xticks=(0, 1), xticklabels=LABELS, yticks=(0, 1), yticklabels=LABELS, xlabel="judged", ylabel="true")
    return figure


def _probabilities(findings: Findings) -> list[float]:
    return [1.0 if verdict.probability is None else verdict.probability for verdict in findings.test_verdicts]


def _scores(findings: Findings) -> Figure:
    """The test images' nio probabilities in log-odds, where both ends can be seen."""
    figure, axis = plt.subplots(figsize=(7, 3.2))

    def log_odds(values: Sequence[float]) -> Any:
        clipped = np.clip(values, 1e-9, 1 - 1e-9)
        return np.log10(clipped / (1 - clipped))

    labels = np.array([image.label for image in findings.parts["test"]])
    scores = log_odds(_probabilities(findings))
    bins = np.linspace(scores.min() - 0.1, scores.max() + 0.1, 40).tolist()
    for label, colour in zip(LABELS, ("tab:green", "tab:red"), strict=True):
        axis.hist(scores[labels == label], bins, label=label, color=colour, alpha=0.6)
    axis.axvline(log_odds([findings.test.threshold])[0], color="black", linestyle="--", label="threshold")
    axis.set(xlabel="log10 odds of nio", ylabel="test images")
    axis.legend()
    return figure


def _decode(image: LabelledImage, max_pixels: int) -> Any:
    return decode(image.path.read_bytes(), max_pixels=max_pixels).pixels


def _transformed(image: LabelledImage, inspector: Inspector, vertical_flip: float, max_pixels: int) -> Figure:
    """One raw image beside what the network gets, an augmented self, and what the decoder rebuilds of it."""
    model = inspector.model
    raw = _decode(image, max_pixels)
    with torch.inference_mode():
        normalised = model.batch([raw])
        _, rebuilt = model.network(normalised)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        changed = augment(image.grey[None], vertical_flip)
    panels = [
        (f"raw, {raw.shape[1]} x {raw.shape[0]}", raw),
        (f"resized and normalised, {normalised.shape[-1]} a side", normalised[0, 0].cpu().numpy()),
        ("augmented (training only)", changed[0, 0].numpy()),
        ("rebuilt by the decoder", rebuilt[0, 0].float().cpu().numpy()),
    ]
    figure, axes = plt.subplots(1, len(panels), figsize=(3 * len(panels), 3.3))
    for axis, (title, pixels) in zip(axes, panels, strict=True):
        axis.imshow(pixels, cmap="gray")
        axis.set_title(title, fontsize=9)
        axis.axis("off")
    return figure


def _worth_showing(images: Sequence[LabelledImage], probabilities: Sequence[float]) -> list[LabelledImage]:
    """The surest nio and io images, and of each label the one that was judged worst."""
    ranked = sorted(zip(probabilities, images, strict=True), key=lambda pair: pair[0])
    io = [image for _, image in ranked if image.label == "io"]
    nio = [image for _, image in reversed(ranked) if image.label == "nio"]
    half = _MAPS - 1
    return [*nio[:half], *nio[half:][-1:], *io[:half], *io[half:][-1:]]


def _maps(images: Sequence[LabelledImage], inspector: Inspector, max_pixels: int) -> Figure:
    columns = (len(images) + 1) // 2
    figure, axes = plt.subplots(4, columns, figsize=(2.6 * columns, 10.5), squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for index, image in enumerate(images):
        raw = _decode(image, max_pixels)
        inspection = inspector.inspect([raw])[0]
        verdict = inspection.verdict
        row, column = divmod(index, columns)
        axes[2 * row, column].imshow(raw, cmap="gray")
        axes[2 * row, column].set_title(f"is {image.label}", fontsize=9)
        axes[2 * row + 1, column].imshow(overlay_map(raw, inspection.evidence, strength(verdict), 480))
        title = f"judged {verdict.label}, p(nio) {verdict.probability or 0:.3g}"
        axes[2 * row + 1, column].set_title(title, fontsize=9)
    return figure
