"""What people said of doubted labels: `dataset/labels.csv`, with a line for each image or part.

    file,answer
    nio/PCBA2_r04c04_view0.png,confirmed
    PCBA2_r02c08,disputed

`file` is a path below the data set's folder, or a part as the training lists it, which means all its images.
"""

from __future__ import annotations

import csv
import json
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Literal, get_args

from inspection.errors import DatasetError
from inspection.files import readable
from inspection.verdict import LABELS
from settings.schema import RELABELLED, Settings
from training.data.dataset import Dataset, LabelledImage, read

NAME = "labels.csv"

Answer = Literal["confirmed", "changed", "disputed"]
"""The label is right; it is the other one; nobody can tell, so the image is in no part."""

ANSWERS: tuple[Answer, ...] = get_args(Answer)
_COLUMNS = ["file", "answer"]


def read_answers(dataset: Path) -> dict[str, Answer]:
    """The answers by image or part; of several on the same the last one counts.

    Raises:
        DatasetError: A line is wrong.
    """
    path = dataset / NAME
    try:
        text = path.read_text(encoding="utf-8-sig", errors="surrogateescape")
    except FileNotFoundError:
        return {}
    rows = csv.reader(text.splitlines(), skipinitialspace=True)
    answers: dict[str, Answer] = {}
    for number, row in enumerate(rows, 1):
        if not row or row[:2] == _COLUMNS:
            continue
        answer = next((one for one in ANSWERS if len(row) > 1 and one == row[1].strip().lower()), None)
        if answer is None:
            said, known = readable(",".join(row)), ", ".join(ANSWERS)
            raise DatasetError(f"{path}, line {number}: {said!r} should be FILE,ANSWER, the answer one of {known}")
        answers[row[0].strip()] = answer
    return answers


def labels_said(dataset: Path) -> dict[str, str]:
    """What operators said last of each image, by the hash of its bytes; damaged lines of their book are passed over."""
    try:
        lines = (dataset / RELABELLED).read_bytes().splitlines()
    except FileNotFoundError:
        return {}
    said: dict[str, str] = {}
    for line in lines:
        with suppress(ValueError, KeyError, TypeError, RecursionError):
            content = json.loads(line)
            said[content["sha256"]] = content["label"]
    return said


def read_answered(settings: Settings) -> Dataset:
    """Read a data set, with what people said of its labels; see `read` and `with_answers`."""
    return with_answers(read(settings), settings.paths.dataset)


def with_answers(dataset: Dataset, folder: Path) -> Dataset:
    """Give images their right labels, mark those that were confirmed, and leave out what is disputed.

    What is said of an image goes before what is said of its part, and that before what an operator said at the line.

    Args:
        dataset: As its folders have it.
        folder: Where they lie.

    Raises:
        DatasetError: A line of the answers is wrong.
    """
    answers, said = read_answers(folder), labels_said(folder)
    kept: list[LabelledImage] = []
    counts = dict.fromkeys(ANSWERS, 0)
    used: set[str] = set()
    for image in dataset.images:
        keys = (image.path.relative_to(folder).as_posix(), image.part)
        used |= answers.keys() & set(keys)
        answer = next((answers[key] for key in keys if key in answers), None)
        if answer:
            counts[answer] += 1
        if answer == "changed":
            kept.append(replace(image, label=LABELS[1 - LABELS.index(image.label)], confirmed=True))
        elif answer != "disputed":
            at_the_line = answer is None and said.get(image.sha256) == image.label
            kept.append(replace(image, confirmed=at_the_line or answer == "confirmed"))
    told = [f"{NAME}: {', '.join(f'{count} {answer}' for answer, count in counts.items() if count)}"] if used else []
    told += [f"{NAME}: {readable(key)}: no image or part of the data set" for key in sorted(answers.keys() - used)]
    return replace(dataset, images=kept, answers=told)
