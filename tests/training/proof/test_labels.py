"""What the check of labels promises: wrong ones come first, and their price is told."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from inspection.model import Model, ModelCard, PreprocessingCard
from inspection.network import SupervisedAutoencoder
from inspection.novelty import DESCRIPTION, Novelty
from inspection.verdict import Label
from settings.schema import TrainingSettings
from training.data.dataset import LabelledImage
from training.fitting.folds import Scored
from training.proof.labels import LabelCheck, check_labels
from training.proof.limits import choose_threshold

OPTIONS = TrainingSettings(required_recall=0.99, false_call_budget=0.005, false_call_limit=1.0)


def image(name: str, label: Label) -> LabelledImage:
    """One of that name and label; its pixels do not matter."""
    return LabelledImage(Path(name), label, name, name, torch.zeros(1, 1, 1))


def checked(
    log_odds: dict[str, float], distances: dict[str, float] | None = None, options: TrainingSettings = OPTIONS
) -> LabelCheck:
    """The check of images by name, which begins with their label, after the threshold was chosen on their scores."""
    images = [image(name, "nio" if name.startswith("nio") else "io") for name in log_odds]
    far = [(distances or {}).get(name, 0.5) for name in log_odds]
    odd, pages = torch.full((len(images),), -9.0), torch.zeros(len(images), dtype=torch.long)
    scored = Scored(images, torch.tensor(list(log_odds.values())), torch.tensor(far), odd, pages)
    limits = scored.to_choose_on(scored.distances > 1, 1.0)
    card = ModelCard(
        created="",
        architecture="residual",
        dropout=0,
        preprocessing=PreprocessingCard(image_size=32, mean=0.5, std=0.2),
        threshold=choose_threshold(
            *limits, options.required_recall, options.false_call_budget, options.false_call_limit
        ),
        training_data={},
        metrics={},
        versions={},
    )
    model = Model(card, SupervisedAutoencoder("residual"), Novelty(DESCRIPTION), torch.device("cpu"))
    model.novelty.farthest.fill_(1.0)
    model.novelty.oddest.fill_(0.0)
    return check_labels(scored, model, options)


@pytest.fixture
def sound() -> dict[str, float]:
    """Two hundred images that nobody doubts."""
    io = {f"io{number:03d}": -6.0 + number / 50 for number in range(150)}
    return io | {f"nio{number:03d}": 3.0 + number / 20 for number in range(50)}


def test_what_a_proven_recall_may_miss_is_not_given_up() -> None:
    """With nio images enough to prove the recall, one below the threshold is no matter of the limit."""
    found = checked(
        {f"io{number:03d}": -6.0 for number in range(50)}
        | {f"nio{number:03d}": 3.0 for number in range(500)}
        | {"nio_low": -7.0}
    )
    assert found.cost
    assert found.cost.lowest.probability < found.cost.threshold
    assert not found.cost.given_up


def test_what_a_given_up_image_would_have_cost_is_told() -> None:
    """Where the threshold leaves out the lowest nio image, the price is that of catching it, not of leaving it."""
    found = checked(
        {f"io{number:03d}": -6.0 for number in range(100)}
        | {f"io_hard{number}": -2.0 for number in range(20)}
        | {f"nio{number:03d}": 3.0 for number in range(20)}
        | {"nio_low": -3.0},
        options=OPTIONS.model_copy(update={"false_call_limit": 0.03}),
    )
    assert found.cost
    assert found.cost.given_up
    assert found.cost.threshold == found.cost.lowest.probability
    assert (found.cost.false_calls, found.cost.false_calls_without) == (20, 0)


def test_sound_labels_are_not_doubted(sound: dict[str, float]) -> None:
    """Where the scores agree with the labels none is listed, and the lowest nio image costs nothing."""
    found = checked(sound)
    assert (found.nio, found.io, found.scored) == ([], [], 200)
    assert found.cost is not None
    assert found.cost.lowest.image.path.name == "nio000"
    assert found.cost.false_calls <= 0.01 * 150


def test_a_wrong_label_comes_first_with_its_price(sound: dict[str, float]) -> None:
    """A good image among the nio is the first in doubt; with it the threshold calls many good ones, without it few."""
    found = checked(sound | {"nio_wrong": -4.0, "nio_hard": -0.5})
    assert [doubt.image.path.name for doubt in found.nio] == ["nio_wrong", "nio_hard"]
    assert found.nio[0].probability == pytest.approx(0.018, abs=1e-3)
    assert found.cost is not None
    assert found.cost.lowest == found.nio[0]
    assert found.cost.threshold < found.cost.threshold_without
    assert found.cost.false_calls > 40
    assert found.cost.false_calls_without <= 0.02 * 150


def test_a_defect_among_the_io(sound: dict[str, float]) -> None:
    """A defect among the good images is listed, the surest first."""
    found = checked(sound | {"io_wrong": 6.0, "io_hard": 3.5})
    assert [doubt.image.path.name for doubt in found.io] == ["io_wrong", "io_hard"]


def test_what_is_unlike_both_labels_contradicts_none(sound: dict[str, float]) -> None:
    """An unidentified image is not called wrongly labelled, and moves no threshold."""
    found = checked(sound | {"nio_odd": -4.0}, {"nio_odd": 3.0})
    assert found.nio == []
    assert found.cost == checked(sound).cost


def test_a_single_nio_image_has_no_price() -> None:
    """Without the only nio image there would be no threshold at all."""
    assert checked({"io0": -3.0, "io1": -2.0, "nio0": 2.0}).cost is None
