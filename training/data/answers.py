"""What people said of labels, in `labels.csv` and in the operators' book, and what becomes of the images."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from filing.labels import ANSWERS, NAME, Answer, read_answers
from inspection.errors import DatasetError
from inspection.files import readable
from inspection.verdict import LABELS
from settings.schema import RELABELLED, Settings
from training.data.dataset import Dataset, LabelledImage, read


def labels_said(dataset: Path) -> dict[str, str]:
    """What operators said last of each image, by the hash of its bytes: a label, or `disputed` until a third look.

    Damaged lines of their book are passed over.
    """
    try:
        lines = (dataset / RELABELLED).read_bytes().splitlines()
    except FileNotFoundError:
        return {}
    said: dict[str, str] = {}
    for line in lines:
        with suppress(ValueError, KeyError, TypeError, AttributeError, RecursionError):
            content = json.loads(line)
            said[content["sha256"]] = "disputed" if content.get("disputed") is True else content["label"]
    return said


def read_answered(settings: Settings) -> Dataset:
    """Read a data set, with what people said of its labels; see `read` and `with_answers`."""
    return with_answers(read(settings), settings.paths.dataset)


def _check_changed(answers: Mapping[str, Answer], dataset: Dataset, folder: Path) -> None:
    """Refuse to exchange the labels of a part that has both: one of them is right.

    Raises:
        DatasetError: That is asked for.
    """
    labels: dict[str, set[str]] = {}
    for image in dataset.images:
        if image.path.relative_to(folder).as_posix() not in answers:
            labels.setdefault(image.part, set()).add(image.label)
    for key, answer in answers.items():
        if answer == "changed" and len(labels.get(key, ())) > 1:
            raise DatasetError(
                f"{folder / NAME}: {readable(key)},changed: some of its images are io and some nio: name the images "
                f"whose labels are wrong, such as nio/{readable(key)}"
            )


def with_answers(dataset: Dataset, folder: Path) -> Dataset:
    """Give images their right labels, mark those that were confirmed, and leave out what is disputed.

    What is said of an image goes before what is said of its part, and that before what an operator said at the line.

    Args:
        dataset: As its folders have it.
        folder: Where they lie.

    Raises:
        DatasetError: A line of the answers is wrong, or exchanges both labels of one part.
    """
    answers, said = read_answers(folder), labels_said(folder)
    kept: list[LabelledImage] = []
    counts = dict.fromkeys(ANSWERS, 0)
    used: set[str] = set()
    _check_changed(answers, dataset, folder)
    for image in dataset.images:
        keys = (image.path.relative_to(folder).as_posix(), image.part)
        used |= answers.keys() & set(keys)
        answer = next((answers[key] for key in keys if key in answers), None)
        if answer:
            counts[answer] += 1
        if answer == "changed":
            kept.append(replace(image, label=LABELS[1 - LABELS.index(image.label)], confirmed=True))
        elif answer == "confirmed":
            kept.append(replace(image, confirmed=True))
        elif answer is None and said.get(image.sha256) != "disputed":
            kept.append(replace(image, confirmed=said.get(image.sha256) == image.label))
    told = [f"{NAME}: {', '.join(f'{count} {answer}' for answer, count in counts.items() if count)}"] if used else []
    told += [f"{NAME}: {readable(key)}: no image or part of the data set" for key in sorted(answers.keys() - used)]
    # Those that operators dispute are mostly no longer in the folders.
    disputed = {sha256 for sha256, word in said.items() if word == "disputed"}
    disputed |= {image.sha256 for image in dataset.images}
    return replace(dataset, images=kept, answers=told, disputed=len(disputed - {image.sha256 for image in kept}))
