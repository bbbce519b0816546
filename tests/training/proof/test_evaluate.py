"""What the numbers of an evaluation mean, checked by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from inspection.inspector import Inspector
from inspection.model import load
from inspection.preprocess import resize
from inspection.verdict import Label, Verdict, judge
from training.proof.evaluate import Evaluation, evaluate, table, verdicts

pytestmark = pytest.mark.usefixtures("one_thread")

LABELS: list[Label] = ["io", "io", "io", "io", "io", "nio", "nio", "nio"]
SCORES = [0.1, 0.2, 0.3, 0.6, 0.1, 0.5, 0.9, 0.4]
"""At 0.5: one io of five is a false call, one nio of three escapes; 0.5 itself is nio."""


def judged(scores: list[float], threshold: float = 0.5, novelty: float = 0.0) -> list[Verdict]:
    """Verdicts on so many images."""
    return [judge(score, threshold, novelty) for score in scores]


@pytest.fixture
def hand_made() -> Evaluation:
    """The evaluation of the eight images above."""
    return evaluate(LABELS, judged(SCORES))


def test_numbers(hand_made: Evaluation) -> None:
    """Every number is what its name says, with nio as the positive class."""
    assert hand_made.counts == {"io": 5, "nio": 3}
    assert hand_made.threshold == 0.5
    assert hand_made.confusion == [[4, 1], [1, 2]]
    assert hand_made.accuracy == pytest.approx(6 / 8)
    assert hand_made.recall == pytest.approx(2 / 3)
    assert hand_made.precision == pytest.approx(2 / 3)
    assert hand_made.f1 == pytest.approx(2 / 3)
    assert hand_made.false_call_rate == pytest.approx(1 / 5)
    assert hand_made.auc == pytest.approx(13 / 15)
    right = [p if label == "nio" else 1 - p for label, p in zip(LABELS, SCORES, strict=True)]
    assert hand_made.loss == pytest.approx(-np.log(right).mean())


def test_for_json(hand_made: Evaluation) -> None:
    """As a dictionary it holds plain values of Python under the same names."""
    numbers = hand_made.as_dict()
    assert numbers["confusion"] == [[4, 1], [1, 2]]
    for name in ("accuracy", "loss", "recall", "precision", "f1", "false_call_rate", "auc"):
        assert type(numbers[name]) is float
        assert numbers[name] == getattr(hand_made, name)


def test_table(hand_made: Evaluation) -> None:
    """The table for a person tells counts, rates, confusion and the classification report."""
    text = table(hand_made)
    for told in ("5 io, 3 nio", "66.67%", "20.00%", "75.00%", "0.8667", "f1-score"):
        assert told in text
    rows = [line.split() for line in text.splitlines()]
    assert ["io", "4", "1"] in rows
    assert ["nio", "1", "2"] in rows


@pytest.mark.parametrize(
    ("labels", "recall", "false_calls", "confusion"),
    [
        (["io", "io"], 0.0, 0.5, [[1, 1], [0, 0]]),
        (["nio", "nio"], 0.5, 0.0, [[0, 0], [1, 1]]),
    ],
    ids=["io only", "nio only"],
)
def test_one_class_only(labels: list[Label], recall: float, false_calls: float, confusion: list[list[int]]) -> None:
    """With images of one class alone, what they cannot tell is 0, the AUC is None, and the table says so."""
    found = evaluate(labels, judged([0.2, 0.8]))
    assert (found.recall, found.false_call_rate) == (recall, false_calls)
    assert found.confusion == confusion
    assert found.auc is None
    assert "AUC              -" in table(found)


def test_no_number_is_nio() -> None:
    """What the network gives no number for is judged nio, and every number of the evaluation stays one."""
    found = evaluate(["io", "nio", "nio"], judged([0.1, math.nan, 0.9]))
    assert found.confusion == [[1, 0], [0, 2]]
    assert math.isfinite(found.loss)


def test_unidentified_is_nio_and_counted(hand_made: Evaluation) -> None:
    """An image that is only unlike the good ones is a false call or a found defect, and counted by its label."""
    strange = judged([0.1], novelty=2.0)
    found = evaluate(["io", "io", "nio", "nio"], [*judged([0.1]), *strange, *strange, *judged([0.9], novelty=2.0)])
    assert found.confusion == [[1, 1], [0, 2]]
    assert found.unidentified == {"io": 1, "nio": 1}
    assert "1 io, 1 nio" in table(found)
    assert hand_made.unidentified == {"io": 0, "nio": 0}


def test_certain_and_wrong() -> None:
    """A probability of 0 for a nio image makes a large loss, not an infinite one."""
    assert math.isfinite(evaluate(["io", "nio"], judged([1.0, 0.0])).loss)


def test_verdicts_are_those_of_the_inspector(
    untrained_model: Path, draw_disc: Callable[..., NDArray[np.uint8]]
) -> None:
    """Measured in batches, an image has the probability and the novelty that the daemon finds for it alone."""
    model = load(untrained_model, torch.device("cpu"))
    rng = np.random.default_rng(3)
    images = [draw_disc(rng, void=bool(index % 2)).astype(np.float32) / np.float32(255) for index in range(70)]
    measured = verdicts(model, torch.stack([resize(image, model.preprocessing.image_size) for image in images]))
    inspector = Inspector(model, "XGradCAM", only_last_conv=True)
    alone = [inspector.inspect([image])[0].verdict for image in images]
    assert len(measured) == 70
    assert [one.reason for one in measured] == [one.reason for one in alone]
    assert [one.probability for one in measured] == pytest.approx([one.probability for one in alone], rel=1e-4)
    assert [one.novelty for one in measured] == pytest.approx([one.novelty for one in alone], rel=1e-4)
