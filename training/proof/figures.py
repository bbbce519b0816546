"""The report's charts and pictures, each as a data URI, so that a page holds all that it shows."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from PIL import Image
from sklearn.metrics import roc_curve

from inspection.inspector import Inspection
from inspection.picture import overlay_map
from inspection.verdict import LABELS, Label, Verdict
from training.fitting.fit import History
from training.proof.evaluate import Evaluation, as_judged
from training.proof.threshold import Curve

mpl.use("Agg")

_HEIGHT = 280  # pixels of a picture; two of them stand side by side in a third of the page
_JPEG_QUALITY = 88
_COLOURS = {"io": "#2e7d32", "nio": "#c62828"}
_ACCENT = "#1565c0"
_SMALLEST_ODDS, _LARGEST_ODDS = 1e-9, 1e9
_SMALLEST_NOVELTY = 1e-3
_HALF, _WHOLE = (4.4, 3.1), (5.6, 2.7)  # inches; letters can be read on a telephone and are not huge on a screen
_BINS = 60
_STYLE: Any = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e5e5e5",
    "legend.frameon": False,
    "svg.hashsalt": "solderwatch",
}


def operating_curves(
    labels: Sequence[Label], verdicts: Sequence[Verdict], test: Evaluation, required_recall: float
) -> list[str]:
    """The receiver operating characteristic, and false calls against recall near the requirement; the chosen point."""
    false_calls, recalls, _ = roc_curve([label == "nio" for label in labels], as_judged(verdicts))
    chosen: Any = {
        "marker": "o",
        "color": _COLOURS["nio"],
        "linestyle": "none",
        "label": "this model",
        "clip_on": False,
    }
    with mpl.rc_context(_STYLE):
        whole, axis = plt.subplots(figsize=_HALF)
        axis.plot(100 * false_calls, 100 * recalls, color=_ACCENT, clip_on=False)
        axis.plot([0, 100], [0, 100], color="#bbb", linestyle=":")
        axis.plot(100 * test.false_call_rate, 100 * test.recall, **chosen)
        axis.set(xlabel="false calls, % of the io images", ylabel="recall on nio, %", xlim=(0, 100), ylim=(0, 100))
        axis.legend(loc="lower right")
        corner, axis = plt.subplots(figsize=_HALF)
        axis.plot(100 * recalls, 100 * false_calls, color=_ACCENT)
        axis.plot(100 * test.recall, 100 * test.false_call_rate, **chosen)
        axis.axvline(
            100 * required_recall, color="black", linestyle="--", label=f"required: {100 * required_recall:g} %"
        )
        lowest = 100 * min(0.9, test.recall - 0.02, required_recall - 0.02)
        axis.set(xlabel="recall on nio, %", ylabel="false calls, % of the io images")
        axis.set(xlim=(lowest, 100), ylim=(0, min(100.0, max(2.0, 300 * test.false_call_rate))))
        axis.legend(loc="upper left")
        return [_svg(whole), _svg(corner)]


def cost_curves(found: Curve, threshold: float, required_recall: float) -> str:
    """Expected cost, recall and false calls over the threshold, each with its uncertainty, and the chosen one."""
    rows: list[tuple[str, NDArray[np.float64]]] = [
        ("recall on nio, %", 100 * found.recall),
        ("false calls, % of io", 100 * found.false_calls),
        ("cost, in false calls\nper 10,000 images", found.cost),
    ]
    ticks = found.thresholds[:: len(found.thresholds) // 6]
    chosen = float(np.interp(threshold, found.thresholds, found.false_calls[1]))
    with mpl.rc_context(_STYLE):
        figure, axes = plt.subplots(len(rows), 1, figsize=(_WHOLE[0], 2.6 * _WHOLE[1]), sharex=True)
        for axis, (name, (low, expected, high)) in zip(axes, rows, strict=True):
            axis.fill_between(found.thresholds, low, high, color=_ACCENT, alpha=0.2, label="90 % of resampled sets")
            axis.plot(found.thresholds, expected, color=_ACCENT, label="expected")
            axis.axvline(threshold, color="black", linestyle="--", label="chosen")
            axis.set_ylabel(name)
        axes[0].axhline(100 * required_recall, color=_COLOURS["nio"], linestyle=":", label="required")
        axes[0].set_ylim(max(0.0, 100 * required_recall - 15), 100.3)
        axes[0].legend(loc="lower left", fontsize=7)
        axes[1].set_ylim(0, min(100.0, max(2.0, 400 * chosen)))
        axes[2].set_yscale("log")
        axes[2].set_xticks(ticks, [f"{1 / (1 + np.exp(-odds)):.3g}" for odds in ticks])
        axes[2].set_xlabel("threshold: nio from this probability on (log-odds scale)")
        return _svg(figure)


def score_histogram(labels: Sequence[Label], verdicts: Sequence[Verdict], threshold: float) -> str:
    """The nio probabilities by label in log-odds, where both ends can be seen, with the threshold."""
    scores = _log_odds([1.0 if one.probability is None else one.probability for one in verdicts])
    limit = _log_odds([threshold])[0]
    with mpl.rc_context(_STYLE):
        figure, axis = plt.subplots(figsize=_WHOLE)
        bins = np.linspace(min(*scores, limit) - 0.1, max(*scores, limit) + 0.1, _BINS)
        _by_label(axis, labels, scores, bins)
        axis.axvline(limit, color="black", linestyle="--", label=f"threshold {threshold:.4g}")
        ticks = [odds for odds in range(-9, 10) if bins[0] <= odds <= bins[-1]]
        axis.set_xticks(ticks, [_probability_text(odds) for odds in ticks])
        axis.set(xlabel="probability of nio (log-odds scale)")
        axis.legend()
        return _svg(figure)


def novelty_histogram(labels: Sequence[Label], verdicts: Sequence[Verdict]) -> str:
    """How unlike good training images the test images are, by label, with the limit of 1."""
    known = [(label, one.novelty) for label, one in zip(labels, verdicts, strict=True) if one.novelty is not None]
    values = np.array([max(novelty, _SMALLEST_NOVELTY) for _, novelty in known])
    with mpl.rc_context(_STYLE):
        figure, axis = plt.subplots(figsize=_WHOLE)
        bins = np.geomspace(min([*values, 0.8]) / 1.05, max([*values, 1.3]) * 1.05, _BINS)
        _by_label(axis, [label for label, _ in known], values, bins)
        axis.axvline(1, color="black", linestyle="--", label="limit")
        axis.set_xscale("log")
        ticks = [tick for tick in (0.01, 0.1, 0.2, 0.5, 1, 2, 5, 10, 100, 1000) if bins[0] <= tick <= bins[-1]]
        axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axis.minorticks_off()
        axis.set(xlabel="novelty: how unlike the good training images (log scale)")
        axis.legend()
        return _svg(figure)


def training_curves(history: History) -> list[str]:
    """Loss and accuracy over the epochs."""
    charts = []
    with mpl.rc_context(_STYLE):
        for name, train, validation in (
            ("loss", history.train_loss, history.validation_loss),
            ("accuracy", history.train_accuracy, history.validation_accuracy),
        ):
            figure, axis = plt.subplots(figsize=_HALF)
            axis.plot(range(1, len(train) + 1), train, label="training", color=_ACCENT)
            if validation:
                axis.plot(range(1, len(validation) + 1), validation, label="validation", color="#ef6c00")
            axis.axvline(history.best + 1, color="grey", linestyle=":", label="weights kept")
            axis.set(xlabel="epoch", ylabel=name)
            axis.xaxis.set_major_locator(MaxNLocator(integer=True))
            axis.legend()
            charts.append(_svg(figure))
    return charts


def photograph(pixels: NDArray[np.float32]) -> str:
    """A grey image `[H, W]` in 0..1 as it is."""
    levels = np.asarray(np.clip(pixels, 0, 1) * 255, np.uint8)
    picture = Image.fromarray(levels)
    scale = _HEIGHT / max(picture.size)
    return _jpeg(picture.resize((max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))))


def stretched(pixels: NDArray[np.float32]) -> str:
    """A grey image `[H, W]`, of any range, with its contrast stretched."""
    return _jpeg(overlay_map(pixels, np.zeros((1, 1), np.float32), 0.0, _HEIGHT))


def mapped(pixels: NDArray[np.float32], inspection: Inspection) -> str:
    """A grey image with its map over it, as the sidecar picture shows it."""
    return _jpeg(overlay_map(pixels, inspection.evidence, inspection.strength, _HEIGHT))


def _by_label(axis: Any, labels: Sequence[Label], values: NDArray[np.float64], bins: NDArray[np.float64]) -> None:
    of = np.array(labels)
    for label in LABELS:
        axis.hist(values[of == label], bins.tolist(), label=label, color=_COLOURS[label], alpha=0.6)
    # A single missed part must be seen beside hundreds.
    axis.set_yscale("symlog", linthresh=10)
    top = axis.get_ylim()[1]
    axis.set_yticks([tick for tick in (0, 2, 5, 10, 30, 100, 300, 1000, 3000, 10_000) if tick <= top])
    axis.yaxis.set_major_formatter("{x:.0f}")
    axis.set_ylabel("test images (log scale above 10)" if top > 10 else "test images")
    axis.minorticks_off()


def _log_odds(probabilities: Sequence[float]) -> NDArray[np.float64]:
    values = np.asarray(probabilities, float)
    odds = np.clip(values / np.maximum(1 - values, 1 / _LARGEST_ODDS), _SMALLEST_ODDS, _LARGEST_ODDS)
    return np.asarray(np.log10(odds), float)


def _probability_text(odds: int) -> str:
    """10^odds to 1 as a probability, short: 1e-5, 0.01, 0.5, 0.99, 1-1e-5."""
    if odds == 0:
        return "0.5"
    far = abs(odds)
    if far > 3:
        return f"1e-{far}" if odds < 0 else f"1-1e-{far}"
    return f"{10.0**odds:g}" if odds < 0 else f"{1 - 10.0**-odds:g}"


def _svg(figure: Figure) -> str:
    file = io.BytesIO()
    figure.tight_layout()
    figure.savefig(file, format="svg", metadata={"Date": None})
    plt.close(figure)
    return _uri("image/svg+xml", file.getvalue())


def _jpeg(picture: Image.Image) -> str:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=_JPEG_QUALITY)
    return _uri("image/jpeg", file.getvalue())


def _uri(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
