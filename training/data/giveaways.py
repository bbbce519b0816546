"""What should not tell io from nio and yet does: the file's name, the image's size, its format, its border.

A model finds such a short cut faster than the defect, passes the test with it, and fails on the line.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePath

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from sklearn.tree import DecisionTreeClassifier

from inspection.verdict import LABELS, Label

BORDER = 0.03
"""Share of each side that counts as the border."""

_ENOUGH = 12  # parts of each label; with fewer, chance does anything
_FOLDS = 5
_SHUFFLES = 99  # of which none may do as well
_MOST_ROWS = 500  # of each label
_NOTEWORTHY_AUC = 0.65


@dataclass(frozen=True)
class Outside:
    """What is known of an image without looking at what it shows.

    Attributes:
        name: The file's name.
        width: Pixels.
        height: Pixels.
        bits: Per pixel in the file.
        format: `PNG`, `TIFF`, `BMP`, `JPEG` or `DICOM`.
        border: Mean grey level of the top, bottom, left and right border, in 0..1.
        pages: Of the file.
    """

    name: str
    width: int
    height: int
    bits: int
    format: str
    border: tuple[float, float, float, float]
    pages: int = 1


@dataclass(frozen=True)
class Giveaway:
    """Something outside of the picture that predicts the label.

    Attributes:
        what: Which it is.
        most_by: The feature that says most.
        auc: Area under the ROC curve in cross-validation, the parts kept together; 0.5 is chance.
        advice: What to do.
    """

    what: str
    most_by: str
    auc: float
    advice: str

    def __str__(self) -> str:
        return (
            f"{self.what} alone predicts the label, most by {self.most_by} (AUC {self.auc:.2f} in cross-validation, "
            f"chance is 0.5): {self.advice}"
        )


Features = dict[str, NDArray[np.float64]]


def border_levels(pixels: NDArray[np.float32]) -> tuple[float, float, float, float]:
    """Mean grey levels of the borders of an image `[H, W]`: top, bottom, left, right."""
    down, across = (max(1, round(BORDER * side)) for side in pixels.shape)
    sides = (pixels[:down], pixels[-down:], pixels[:, :across], pixels[:, -across:])
    top, bottom, left, right = (float(side.mean()) for side in sides)
    return top, bottom, left, right


def find_giveaways(outsides: Sequence[Outside], labels: Sequence[Label], groups: Sequence[str]) -> list[Giveaway]:
    """What predicts the label better than chance, and well enough to matter.

    Each is tried by a small decision tree in cross-validation. Of one part, one image per label counts, and its images
    are never on both sides. What chance may have done is left out: the labels are dealt out anew many times, and no
    deal may be predicted as well (a permutation test).
    """
    first = {
        (group, label): index for index, (group, label) in reversed([*enumerate(zip(groups, labels, strict=True))])
    }
    by_label = [[row for row in sorted(first.values()) if labels[row] == label] for label in LABELS]
    if min(map(len, by_label)) < _ENOUGH:
        return []
    # Each label by itself, or few nio among many io would be too few.
    rows = [row for of_label in by_label for row in of_label[:: -(-len(of_label) // _MOST_ROWS)]]
    y = np.array([LABELS.index(labels[row]) for row in rows])
    part = np.unique([groups[row] for row in rows], return_inverse=True)[1]
    some = [outsides[row] for row in rows]
    found = (_tried(what, make(some), y, part, advice) for what, make, advice in _NUISANCES)
    return [giveaway for giveaway in found if giveaway]


def _tried(
    what: str, features: Features, y: NDArray[np.int64], part: NDArray[np.int64], advice: str
) -> Giveaway | None:
    features = {name: column for name, column in features.items() if np.ptp(column) > 0}
    if not features:
        return None
    X = np.stack(list(features.values()), 1)
    auc = _auc(X, y, part)
    if auc < _NOTEWORTHY_AUC:
        return None
    rng = np.random.default_rng(0)
    if any(_auc(X, rng.permutation(y), part) >= auc for _ in range(_SHUFFLES)):
        return None
    tree = _tree().fit(X, y)
    return Giveaway(what, list(features)[int(np.argmax(tree.feature_importances_))], auc, advice)


def _tree() -> DecisionTreeClassifier:
    return DecisionTreeClassifier(max_depth=3, min_samples_leaf=5, class_weight="balanced", random_state=0)


def _auc(X: NDArray[np.float64], y: NDArray[np.int64], part: NDArray[np.int64]) -> float:
    """In cross-validation; no part is learned from and predicted at once."""
    fold = (np.random.default_rng(0).permutation(part.max() + 1) % _FOLDS)[part]
    scores = np.empty(len(y))
    for number in range(_FOLDS):
        apart = fold == number
        tree = _tree().fit(X[~apart], y[~apart])
        scores[apart] = tree.predict_proba(X[apart]) @ tree.classes_
    return float(roc_auc_score(y, scores))


def _sizes(outsides: Sequence[Outside]) -> Features:
    width, height = (np.array([getattr(one, side) for one in outsides], float) for side in ("width", "height"))
    return {"the width": width, "the height": height, "the area": width * height, "width : height": width / height}


def _formats(outsides: Sequence[Outside]) -> Features:
    found: Features = {
        "the bits per pixel": np.array([one.bits for one in outsides], float),
        "the number of pages": np.array([one.pages for one in outsides], float),
    }
    for kind in sorted({one.format for one in outsides}):
        found[f"the format {kind}"] = np.array([one.format == kind for one in outsides], float)
    return found


def _borders(outsides: Sequence[Outside]) -> Features:
    sides = np.array([one.border for one in outsides])
    named = dict(zip(("the top", "the bottom", "the left", "the right"), sides.T, strict=True))
    return {"all sides": sides.mean(1), "the darkest side": sides.min(1), "the brightest side": sides.max(1), **named}


def _names(outsides: Sequence[Outside]) -> Features:
    """Words with their numbers and without, length, and the numbers by size."""
    stems = [_without_label(PurePath(one.name).stem) for one in outsides]
    tokens = [{word for pattern in _WORDS for word in re.findall(pattern, stem)} for stem in stems]
    counts = Counter(token for found in tokens for token in found)
    telling = [token for token, count in counts.most_common(_MOST_TOKENS) if _FOLDS <= count < len(stems)]
    features = {f"'{token}' in it": np.array([token in found for found in tokens], float) for token in telling}
    features["its length"] = np.array([len(stem) for stem in stems], float)
    if len(set(stems)) > _MOSTLY * len(stems):  # else each label is numbered from the start
        numbers = [[float(number) for number in re.findall(r"\d{1,15}", stem)][:_MOST_NUMBERS] for stem in stems]
        for place in range(max(map(len, numbers))):
            column = [found[place] if place < len(found) else -1.0 for found in numbers]
            features[f"its number {place + 1}"] = np.array(column)
    return features


def _without_label(stem: str) -> str:
    """That a file is called after its label says nothing new."""
    return re.sub(rf"(?i)(?<![^\W\d_])({'|'.join(LABELS)})(?![^\W\d_])", "", stem)


_WORDS = (r"[^\W_]+", r"[^\W\d_]+\d+", r"[^\W\d_]+")
_MOST_TOKENS, _MOST_NUMBERS, _MOSTLY = 200, 6, 0.9

_NUISANCES: tuple[tuple[str, Callable[[Sequence[Outside]], Features], str], ...] = (
    ("the file's name", _names, "the labels differ in where or when they were taken; add io and nio of each"),
    ("the image's size", _sizes, "cut or scale io and nio alike"),
    ("the file's format", _formats, "export io and nio alike"),
    ("the grey level of the border", _borders, "take io and nio with the same exposure and the same cut"),
)
