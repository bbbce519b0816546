"""Labels that a training doubts, each with its price, and the images of the data set that a person should look at."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePath
from typing import Any

from filing.labels import Answer, read_answers
from filing.models import METRICS, model_folders
from inspection.errors import ModelError
from inspection.files import readable
from inspection.verdict import Label
from settings.names import Units
from settings.schema import Settings

_PER = 10_000


@dataclass(frozen=True)
class Price:
    """A part that looks like the other label, and what its label costs if it is wrong.

    Attributes:
        part: As names tell it.
        label: Of its images.
        images: How many of them.
        false_calls: Share of the io images that are called nio because of it: of a nio part by the threshold that
            catches it too, of an io part its own.
        aside: Whether it was set aside for the choice of the threshold.
    """

    part: str
    label: Label
    images: int
    false_calls: float
    aside: bool

    def __str__(self) -> str:
        """For a person to read."""
        count = f"{self.images} image{'s' * (self.images > 1)}"
        return f"{readable(self.part)} ({count}): {self.cost}"

    @property
    def cost(self) -> str:
        """What it costs, in words."""
        word = "would cost" if self.aside else "costs" if self.label == "nio" else "is"
        return (
            f"as {self.label} it {word} {self.false_calls:.2%} false calls "
            f"({_PER * self.false_calls:.0f} of {_PER:,} io images)" + "; set aside for the threshold" * self.aside
        )

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Doubts:
    """What the newest model's training doubts.

    Attributes:
        model: Its folder.
        prices: All doubted parts, the dearest first.
        open: Those that nobody has answered.
        answers: What was answered, by image or part.
    """

    model: Path
    prices: list[Price]
    open: list[Price]
    answers: Mapping[str, Answer]


Parts = Mapping[tuple[Label, str], Sequence[str]]
"""Images of a data set by label and part."""


def read_doubts(settings: Settings, images: Parts | None = None) -> Doubts | None:
    """The doubts of the newest model, promoted or not; None where no model has a report.

    Args:
        settings: Of the line, or of one of its products.
        images: Of its data set, if they were listed already; see `images_by_part`.

    Raises:
        DatasetError: A line of the answers is wrong.
        ModelError: The report is damaged.
    """
    folders = [folder for folder in model_folders(settings.paths.models) if (folder / METRICS).is_file()]
    if not folders:
        return None
    prices, answers = _prices(folders[-1] / METRICS), read_answers(settings.paths.dataset)
    if images is None:
        images = images_by_part(settings, {price.label for price in prices}) if answers else {}
    left = [price for price in prices if not _is_answered(price, images, answers)]
    return Doubts(folders[-1], prices, left, answers)


def _is_answered(price: Price, images: Parts, answers: Mapping[str, Answer]) -> bool:
    """Whether the part was answered, or each of its images."""
    of_part = images.get((price.label, price.part), [])
    return price.part in answers or (bool(of_part) and answers.keys() >= set(of_part))


def images_by_part(settings: Settings, labels: Iterable[Label]) -> dict[tuple[Label, str], list[str]]:
    """The images of the data set by label and part, each as a path below its folder, such as `nio/a.png`."""
    found: dict[tuple[Label, str], list[str]] = {}
    for label in labels:
        for path in labelled_files(settings, label):
            place = path.relative_to(settings.paths.dataset).as_posix()
            found.setdefault((label, units_of(path, settings).part or path.name), []).append(place)
    return found


def labelled_files(settings: Settings, label: Label) -> list[Path]:
    """The images in `dataset/io` or `dataset/nio`, whatever lies between."""
    return [
        path
        for path in sorted((settings.paths.dataset / label).rglob("*"))
        # A judged image may be moved there together with its sidecars; its map is no image of a part.
        if settings.inbox.admits(path.name) and path.is_file()
    ]


def units_of(path: Path, settings: Settings) -> Units:
    """What the name of a labelled image says of the line's units, by its path below `io` or `nio`."""
    return settings.names.units(PurePath(*path.relative_to(settings.paths.dataset).parts[1:]))


def _prices(path: Path) -> list[Price]:
    try:
        numbers: dict[str, Any] = json.loads(path.read_bytes())
        return [Price(**price) for price in numbers.get("prices", [])]
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        raise ModelError(f"{path}: damaged; train anew") from None
