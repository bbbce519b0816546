"""Judges the images that were set aside as the daemon would: from their bytes, through the saved model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from inspection.files import readable
from inspection.image import Limits, open_stack
from inspection.inspector import Inspector
from inspection.stack import inspect_stack
from inspection.verdict import LABELS, Label
from training.data.dataset import LabelledImage, bytes_of

_KEPT_OF_NAME = 60  # characters, at its end; a whole name with a number before it might be too long


@dataclass(frozen=True)
class Prediction:
    """One image set aside: its label, and what the model says.

    Attributes:
        file: Its copy, in the folder of its verdict.
        label: What it was called.
        judged: What the model calls it.
        probability: Of nio, of the page that decides.
        where: Which page of how many that is, in words; nothing where there is one only.
    """

    file: str
    label: Label
    judged: Label
    probability: float | None
    where: str = ""

    @property
    def right(self) -> bool:
        """Whether the verdict is the label."""
        return self.label == self.judged

    @property
    def name(self) -> str:
        """`file` as text, for people."""
        return readable(self.file)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self) | {"file": self.name}


def predict(images: Sequence[LabelledImage], inspector: Inspector, folder: Path, limits: Limits) -> list[Prediction]:
    """Judge images and copy each into `io/` or `nio/` of a folder, as judged.

    Args:
        images: The images set aside.
        inspector: With the saved model.
        folder: Where `io/` and `nio/` are made.
        limits: Of what is decoded.

    Returns:
        One prediction per image whose file is still what was read, in their order; `file` is relative to `folder`.
    """
    for label in LABELS:
        (folder / label).mkdir(parents=True, exist_ok=True)
    predictions = []
    for index, image in enumerate(images):
        data = bytes_of(image)
        if data is None:
            continue
        found = inspect_stack(inspector, open_stack(data, limits))
        verdict = found.inspection.verdict
        # Sub-folders of the data set may hold equal names; the number keeps them apart and the label out.
        file = f"{verdict.label}/{index:03d}_{image.path.name[-_KEPT_OF_NAME:]}"
        (folder / file).write_bytes(data)
        where = image.named(found.page)
        predictions.append(Prediction(file, image.label, verdict.label, verdict.probability, where))
    return predictions
