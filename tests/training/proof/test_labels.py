"""What the check of labels promises: wrong ones come first, each with its price, and none that a person confirmed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from inspection.model import Model, ModelCard, PreprocessingCard
from inspection.network import SupervisedAutoencoder
from inspection.novelty import DESCRIPTION, Novelty
from inspection.verdict import Label
from training.data.dataset import LabelledImage
from training.fitting.folds import Scored
from training.proof.labels import LabelCheck, check_labels
from training.proof.threshold import Choice, Worth, choose

WORTH = Worth(escape_cost=100, nio_share=0.01, required_recall=0.99)


def image(name: str, label: Label, *, confirmed: bool = False) -> LabelledImage:
    """One of that name and label, which shows the part before the name's colon; its pixels do not matter."""
    part = name.split(":", maxsplit=1)[0]
    return LabelledImage(Path(name), label, part, name, torch.zeros(1, 1, 1), part=part, confirmed=confirmed)


def checked(
    log_odds: dict[str, float], distances: dict[str, float] | None = None, confirmed: str = "nobody"
) -> LabelCheck:
    """The check of images by name, which begins with their label, after the threshold was chosen on their scores."""
    return check_labels(*chosen(log_odds, distances, confirmed), WORTH)


def chosen(
    log_odds: dict[str, float], distances: dict[str, float] | None = None, confirmed: str = "nobody"
) -> tuple[Scored, Model, Choice]:
    """Their scores, and a model with the threshold that was chosen on them."""
    labels: dict[str, Label] = {name: "nio" if name.startswith("nio") else "io" for name in log_odds}
    images = [image(name, label, confirmed=name.startswith(confirmed)) for name, label in labels.items()]
    far = torch.tensor([(distances or {}).get(name, 0.5) for name in log_odds])
    odd, pages = torch.full((len(images),), -9.0), torch.zeros(len(images), dtype=torch.long)
    scored = Scored(images, torch.tensor(list(log_odds.values())), far, odd, far * 0, pages)
    choice = choose(scored.to_choose_on(scored.distances > 1, 1.0), WORTH)
    card = ModelCard(
        created="",
        architecture="residual",
        dropout=0,
        preprocessing=PreprocessingCard(image_size=32, mean=0.5, std=0.2),
        threshold=choice.probability,
        training_data={},
        metrics={},
        versions={},
    )
    model = Model(card, SupervisedAutoencoder("residual"), Novelty(DESCRIPTION), torch.device("cpu"))
    model.novelty.farthest.fill_(1.0)
    model.novelty.oddest.fill_(0.0)
    return scored, model, choice


@pytest.fixture
def sound() -> dict[str, float]:
    """Two hundred images that nobody doubts."""
    io = {f"io{number:03d}": -6.0 + number / 50 for number in range(150)}
    return io | {f"nio{number:03d}": 3.0 + number / 20 for number in range(50)}


def test_sound_labels_are_not_doubted(sound: dict[str, float]) -> None:
    """Where the scores agree with the labels none is listed."""
    assert checked(sound) == LabelCheck(200, [], [], [])


def test_a_wrong_label_comes_first_with_its_price(sound: dict[str, float]) -> None:
    """A good part among the nio is the dearest: to catch it too would take so many good images; it is set aside."""
    found = checked(sound | {"nio_wrong:1": -4.0, "nio_wrong:2": -4.2, "nio_hard": -0.5})
    assert [doubt.image.path.name for doubt in found.nio] == ["nio_wrong:2", "nio_wrong:1", "nio_hard"]
    dearest = found.prices[0]
    assert (dearest.part, dearest.label, dearest.images, dearest.aside) == ("nio_wrong", "nio", 2, True)
    assert dearest.false_calls > 0.25
    assert str(dearest).startswith("nio_wrong (2 images): as nio it would cost ")
    assert sum(price.false_calls for price in found.prices[1:]) < 0.1


def test_a_defect_among_the_io(sound: dict[str, float]) -> None:
    """A defect among the good images is listed, the surest first, at the price of its own false call."""
    found = checked(sound | {"io_wrong": 6.0, "io_hard": 3.5})
    assert [doubt.image.path.name for doubt in found.io] == ["io_wrong", "io_hard"]
    assert [price.part for price in found.prices] == ["io_wrong", "io_hard"]
    assert found.prices[0].false_calls == pytest.approx(1 / 152)


def test_a_confirmed_label_is_not_asked_again(sound: dict[str, float]) -> None:
    """What a person has confirmed is in no list, and is not set aside."""
    found = checked(sound | {"nio_right": -4.0, "io_right": 5.0}, confirmed="nio_right")
    assert found.nio == []
    assert [price.part for price in found.prices] == ["io_right"]


def test_what_is_unlike_both_labels_contradicts_none(sound: dict[str, float]) -> None:
    """An unidentified image is not called wrongly labelled, and has no price."""
    found = checked(sound | {"nio_odd": -4.0}, {"nio_odd": 3.0})
    assert (found.nio, found.prices) == ([], [])


def test_several_wrong_labels_do_not_hide_each_other(sound: dict[str, float]) -> None:
    """Each of several good parts among the nio has a price of its own, though all of them lie low."""
    wrong = {f"nio_wrong{number}": -5.0 + 0.4 * number for number in range(5)}
    listed = [price.part for price in checked(sound | wrong).prices]
    assert set(listed[:6]) >= wrong.keys()


def test_a_single_nio_image(sound: dict[str, float]) -> None:
    """With one nio image there is a threshold and a list, whatever it says."""
    one = {name: score for name, score in sound.items() if name.startswith("io")} | {"nio0": -2.0}
    assert all(price.false_calls >= 0 for price in checked(one).prices)


def test_all_that_is_set_aside_is_listed() -> None:
    """However many parts are doubted, those that were set aside are named, also where each alone costs nothing."""
    rng = np.random.default_rng(0)
    scores = {f"nio{number}": float(rng.normal(1.5, 2)) for number in range(800)}
    scores |= {f"io{number}": float(rng.normal(-1.5, 2)) for number in range(3000)}
    scored, model, choice = chosen(scores)
    assert len(choice.aside) > 40
    listed = {price.part for price in check_labels(scored, model, choice, WORTH).prices if price.aside}
    assert listed == set(choice.aside)


def test_the_farthest_image_of_a_part_pays(sound: dict[str, float]) -> None:
    """The part whose image holds the threshold down has a price, though another one is lower on average."""
    apart = {"nio_apart:0": -9.0, "nio_apart:1": 8.9, "nio_alike:0": -5.0, "nio_alike:1": -5.1}
    prices = {price.part: price.false_calls for price in checked(sound | apart).prices}
    assert prices["nio_apart"] > 0.25
    assert prices["nio_alike"] > 0.25


def test_a_price_has_the_name_of_an_image_with_its_label(sound: dict[str, float]) -> None:
    """Of copies that carry both labels and hang together the one is named whose label looks wrong."""
    scored, model, _ = chosen(sound | {"io_good": -4.0, "nio_copy": -4.0})
    joined = [
        replace(image, group="both") if image.part in {"io_good", "nio_copy"} else image for image in scored.images
    ]
    scored = replace(scored, images=joined)
    choice = choose(scored.to_choose_on(scored.distances > 1, 1.0), WORTH)
    (price,) = (price for price in check_labels(scored, model, choice, WORTH).prices if price.false_calls > 0.25)
    assert (price.part, price.label, price.images) == ("nio_copy", "nio", 1)
