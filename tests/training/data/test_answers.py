"""What people said of labels: `labels.csv` and the operators' book, and what becomes of the images."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from filing.labels import NAME, Said, open_answers, read_answers
from inspection.errors import DatasetError
from inspection.verdict import Label
from settings.schema import RELABELLED
from simulator.simulate import simulate
from training.data.answers import with_answers
from training.data.dataset import Dataset, LabelledImage


def dataset(folder: Path, *, both: bool = False) -> Dataset:
    """Two views of a nio part, another nio part, and two io images; `both`: a third view of the first part is io."""
    places: list[tuple[str, Label, str]] = [
        ("nio/B1_r1_v0.png", "nio", "B1/r1"),
        ("nio/B1_r1_v1.png", "nio", "B1/r1"),
        ("nio/B1_r2.png", "nio", "B1/r2"),
        ("io/B1_r3.png", "io", "B1/r3"),
        ("io/plain, with comma.png", "io", "plain, with comma.png"),
    ]
    if both:
        places.append(("io/B1_r1_v2.png", "io", "B1/r1"))
    return Dataset(
        [
            LabelledImage(folder / place, label, part, f"hash of {place}", torch.zeros(1, 1, 1), part=part)
            for place, label, part in places
        ],
        [],
        [],
    )


def answered(folder: Path, text: str, *, both: bool = False) -> tuple[dict[str, tuple[Label, bool]], list[str]]:
    """Label and whether it is confirmed, by path; and what is told."""
    (folder / NAME).write_text(text, encoding="utf-8")
    found = with_answers(dataset(folder, both=both), folder)
    labels = {image.path.relative_to(folder).as_posix(): (image.label, image.confirmed) for image in found.images}
    return labels, found.answers


def test_nobody_said_anything(tmp_path: Path) -> None:
    """Without a file the data set is as it was."""
    assert with_answers(dataset(tmp_path), tmp_path) == dataset(tmp_path)


def test_each_answer(tmp_path: Path) -> None:
    """Confirmed is trusted, changed has the other label, disputed is in no part; a part's answer is all its images'."""
    text = 'file,answer\nB1/r1,disputed\nnio/B1_r2.png, Changed\n"io/plain, with comma.png",confirmed\n'
    labels, told = answered(tmp_path, text)
    assert labels == {
        "nio/B1_r2.png": ("io", True),
        "io/B1_r3.png": ("io", False),
        "io/plain, with comma.png": ("io", True),
    }
    assert told == ["labels.csv: 1 confirmed, 1 changed, 2 disputed"]


def test_an_image_goes_before_its_part_and_the_last_line_counts(tmp_path: Path) -> None:
    """Of several answers the closest one counts, and of the same kind the last."""
    labels, _ = answered(tmp_path, "B1/r1,disputed\nnio/B1_r1_v0.png,changed\nnio/B1_r1_v0.png,confirmed\n")
    assert labels["nio/B1_r1_v0.png"] == ("nio", True)
    assert "nio/B1_r1_v1.png" not in labels


def test_an_answer_changes_the_fingerprint(tmp_path: Path) -> None:
    """A product is trained anew when somebody answered, also where that only confirmed a label."""
    fingerprints = set()
    for answer in ("", "B1/r1,confirmed\n", "B1/r1,changed\n", "B1/r1,disputed\n"):
        (tmp_path / NAME).write_text(answer, encoding="utf-8")
        fingerprints.add(with_answers(dataset(tmp_path), tmp_path).fingerprint())
    assert len(fingerprints) == 4


def test_an_operator_confirms_at_the_line(tmp_path: Path) -> None:
    """What an operator said last of an image with `solderwatch relabel` is trusted; damaged lines cost nothing."""
    words = [("hash of nio/B1_r2.png", "io"), ("hash of nio/B1_r2.png", "nio"), ("hash of io/B1_r3.png", "nio")]
    lines = [json.dumps({"sha256": sha256, "label": label}) for sha256, label in words]
    (tmp_path / RELABELLED).write_text("\n".join(["{cut", "[1]", *lines]) + "\n", encoding="utf-8")
    confirmed = [image.path.name for image in with_answers(dataset(tmp_path), tmp_path).images if image.confirmed]
    assert confirmed == ["B1_r2.png"]


def test_disputed_images_are_left_out_and_counted(tmp_path: Path) -> None:
    """Disputed in `labels.csv` or at the line, and not settled since: it is in no part, also where its copy is gone."""
    words: list[dict[str, object]] = [
        {"sha256": "hash of nio/B1_r2.png", "label": "io", "disputed": True},
        {"sha256": "of a copy that was taken out", "label": "nio", "disputed": True},
        {"sha256": "hash of io/B1_r3.png", "label": "nio", "disputed": True},
        {"sha256": "hash of io/B1_r3.png", "label": "io", "shown": "third"},
    ]
    (tmp_path / RELABELLED).write_text("".join(json.dumps(word) + "\n" for word in words), encoding="utf-8")
    (tmp_path / NAME).write_text("nio/B1_r1_v0.png,disputed\n", encoding="utf-8")
    found = with_answers(dataset(tmp_path), tmp_path)
    assert found.disputed == 3
    assert [image.path.name for image in found.images] == ["B1_r1_v1.png", "B1_r3.png", "plain, with comma.png"]
    assert found.images[1].confirmed


def test_an_answer_about_nothing_is_told(tmp_path: Path) -> None:
    """A line about an image that is not there, or no longer, is told and does no harm."""
    labels, told = answered(tmp_path, "nio/gone.png,confirmed\n")
    assert len(labels) == 5
    assert told == ["labels.csv: nio/gone.png: no image or part of the data set"]


@pytest.mark.parametrize("line", ["B1/r1,maybe", "B1/r1", "B1/r1;confirmed", ",confirm"])
def test_a_wrong_line_is_named(tmp_path: Path, line: str) -> None:
    """A mistake is told with the file, the line, and what may stand there."""
    with pytest.raises(DatasetError, match=r"labels\.csv, line 2: .* one of confirmed, changed, disputed$"):
        answered(tmp_path, f"file,answer\n{line}\n")


@pytest.mark.parametrize("lines", ["\n", ",,,,\n", "  \n", "File, Answer\n", "file,answer,by,at,comment\n"])
def test_what_a_spreadsheet_leaves_says_nothing(tmp_path: Path, lines: str) -> None:
    """Rows without a word in them, and headings however they are written."""
    labels, told = answered(tmp_path, f"{lines}nio/B1_r2.png,confirmed\n{lines}")
    assert labels["nio/B1_r2.png"] == ("nio", True)
    assert told == ["labels.csv: 1 confirmed"]


def test_the_simulators_table_says_nothing(tmp_path: Path) -> None:
    """What `solderwatch-simulate` writes can be trained from as it is, and answered in all the same."""
    simulate(tmp_path, io=2, nio=2, seed=0)
    assert read_answers(tmp_path) == {}
    with open_answers(tmp_path) as answers:
        answers.add(Said("nio/sim_000000.png", "disputed"))
    with open_answers(tmp_path) as answers:
        assert answers.last("nio/sim_000000.png")
        assert answers.last("nio/sim_000001.png") is None
    assert read_answers(tmp_path) == {"nio/sim_000000.png": "disputed"}
    with open_answers(tmp_path) as answers:
        answers.remove_last("nio/sim_000000.png")
    assert read_answers(tmp_path) == {}


def test_a_quotation_mark_left_open_is_told(tmp_path: Path) -> None:
    """Such a row has no end: one line says so, not a traceback."""
    with pytest.raises(DatasetError, match=r"labels\.csv, line \d+: .*quotation mark"):
        answered(tmp_path, 'file,answer\n"B1/r1,confirmed\n' + "io/a.png,confirmed\n" * 10_000)


def test_both_labels_of_a_part_are_not_exchanged(tmp_path: Path) -> None:
    """One of them is right. Where the others are answered by name, the part's answer is of one label alone."""
    text = "B1/r1,changed\n"
    with pytest.raises(DatasetError, match=r"B1/r1,changed: some of its images are io and some nio"):
        answered(tmp_path, text, both=True)
    labels, _ = answered(tmp_path, text + "io/B1_r1_v2.png,confirmed\n", both=True)
    assert labels["nio/B1_r1_v0.png"] == ("io", True)
    assert labels["io/B1_r1_v2.png"] == ("io", True)
