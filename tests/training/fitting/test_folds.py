"""What scores of images that fitted nothing promise: nobody judges what he learned from, and good images stay good."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from inspection.errors import DatasetError
from inspection.model import Model
from inspection.novelty import DESCRIPTION, Novelty
from inspection.preprocess import resize
from inspection.verdict import LABELS, Label, Verdict
from settings.schema import TrainingSettings
from training.data.dataset import LabelledImage, Part
from training.fitting import build as training_build
from training.fitting.build import build
from training.fitting.folds import Scored, deal, fit_novelty, how_many, limit_novelty, one_fold, score, together
from training.proof.evaluate import verdicts

pytestmark = pytest.mark.usefixtures("one_thread")

SIDE = 32
CPU = torch.device("cpu")
Disc = Callable[..., NDArray[np.uint8]]


def image(label: Label, group: str, grey: Tensor | None = None) -> LabelledImage:
    """One labelled image of a part."""
    name = f"{label} {group}"
    return LabelledImage(Path(name), label, group, name, torch.zeros(1, SIDE, SIDE) if grey is None else grey)


def options(**training: object) -> TrainingSettings:
    """Settings for small discs."""
    small = {"image_size": SIDE, "epochs": 8, "batch_size": 16, "learning_rate": 0.005, "folds": 3}
    return TrainingSettings.model_validate(small | training)


def discs(draw: Disc, seed: int, io: int, nio: int) -> list[LabelledImage]:
    """Discs, two views of each part."""
    rng = np.random.default_rng(seed)

    def grey(*, void: bool) -> Tensor:
        return resize(draw(rng, void=void, side=SIDE).astype(np.float32) / np.float32(255), SIDE)

    return [image("io", f"io {index // 2}", grey(void=False)) for index in range(io)] + [
        image("nio", f"nio {index // 2}", grey(void=True)) for index in range(nio)
    ]


class TestDeal:
    """Which images a network is fitted to, and which it scores."""

    @given(
        sizes=st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)).filter(any), min_size=6, max_size=40),
        folds=st.integers(2, 5),
        seed=st.integers(0, 5),
    )
    @hypothesis_settings(deadline=None, max_examples=150, database=None, derandomize=True)
    def test_no_part_is_on_both_sides(self, sizes: list[tuple[int, int]], folds: int, seed: int) -> None:
        """Whatever the sizes of the parts: none is fitted to and scored, each image is scored once, and both labels
        are there to be fitted to.
        """  # noqa: D205 - one sentence
        images = [
            image(label, f"part {part}")
            for part, (io, nio) in enumerate(sizes)
            for label, count in zip(LABELS, (io, nio), strict=True)
            for _ in range(count)
        ]
        groups = {label: {one.group for one in images if one.label == label} for label in LABELS}
        if min(map(len, groups.values())) < folds:
            return
        dealt = deal(images, folds, seed)
        assert len(dealt) == folds
        assert Counter(id(one) for _, left_out in dealt for one in left_out) == Counter(id(one) for one in images)
        for seen, left_out in dealt:
            assert len(seen) + len(left_out) == len(images)
            assert {one.group for one in seen}.isdisjoint(one.group for one in left_out)
            assert {one.label for one in seen} == {"io", "nio"}

    def test_a_label_that_falls_into_one_fold(self) -> None:
        """Where a few large parts force all nio images into one fold nothing can be learned: a line says what to do."""
        sizes = {"A": (5, 99), "B": (10, 1), "C": (12, 0)}
        images = [
            image(label, part)
            for part, counts in sizes.items()
            for label, count in zip(LABELS, counts, strict=True)
            for _ in range(count)
        ]
        with pytest.raises(DatasetError, match=r"^training\.folds: .* set it to 0, or make names\.pattern finer$"):
            deal(images, 2, 0)

    def test_the_same_seed_deals_the_same(self) -> None:
        """Who is in which fold depends on images and seed alone; another seed deals otherwise."""
        images = [image("nio" if part % 3 == 0 else "io", str(part)) for part in range(40)]
        dealt = [[left_out for _, left_out in deal(images, 4, seed)] for seed in (1, 1, 2)]
        assert dealt[0] == dealt[1] != dealt[2]

    def test_every_fold_has_its_share_of_nio(self) -> None:
        """With ten nio parts among a hundred, each of five folds scores two of them."""
        images = [image("nio" if part < 10 else "io", str(part)) for part in range(100)]
        assert [sum(one.label == "nio" for one in left_out) for _, left_out in deal(images, 5, 0)] == [2] * 5


class TestHowMany:
    """Folds where nio images are few."""

    @pytest.mark.parametrize(
        ("parts", "views", "folds"),
        [(1, 1, 0), (2, 1, 2), (3, 2, 3), (4, 1, 4), (80, 2, 5), (299, 1, 5), (300, 1, 0), (150, 2, 0)],
    )
    def test_auto(self, parts: int, views: int, folds: int) -> None:
        """Four, or as many as there are nio parts; none where one validation part has enough of them, or one is all."""
        nio = [image("nio", f"nio {part}") for part in range(parts) for _ in range(views)]
        io = [image("io", f"io {part}") for part in range(500)]
        assert how_many(options(folds="auto"), [*io, *nio]) == folds

    def test_asked_for(self) -> None:
        """As many as asked for; more than there are parts are refused with the key and the most that can be had."""
        images = [image("io", f"io {part}") for part in range(50)] + [image("nio", f"nio {part}") for part in range(3)]
        assert [how_many(options(folds=folds), images) for folds in (0, 2, 3)] == [0, 2, 3]
        with pytest.raises(DatasetError, match=r"^training\.folds: 4 folds of 3 parts: use at most 3$"):
            how_many(options(folds=4), images)


def test_together_keeps_what_belongs_together() -> None:
    """The scores of several folds stand beside their own images."""
    numbers = [torch.tensor([1.0, 2.0]).double(), torch.tensor([3.0]).double()]
    images = [[image("io", "a"), image("nio", "b")], [image("io", "c")]]
    found = together(
        Scored(part, found, found * 10, found * 100, found * 1000, found * 0)
        for part, found in zip(images, numbers, strict=True)
    )
    assert [one.group for one in found.images] == ["a", "b", "c"]
    assert found.log_odds.tolist() == [1, 2, 3]
    assert found.distances.tolist() == [10, 20, 30]
    assert found.oddness.tolist() == [100, 200, 300]
    assert found.strangeness.tolist() == [1000, 2000, 3000]
    assert found.is_nio == [False, True, False]
    assert found.io.tolist() == [True, False, True]


class TestLimits:
    """The share of good images that may be unidentified."""

    def unidentified(self, count: int, budget: float, draws: int = 200) -> float:
        """Mean share of new good images beyond limits that were set from so many."""
        rng = np.random.default_rng(count)
        novelty = Novelty(1)
        shares = []
        for _ in range(draws):
            apart, oddness = np.exp(rng.normal(0, 0.3, (2, count + 4000))), rng.normal(-6, 1, count + 4000)
            images = [image("io", str(index)) for index in range(count)]
            measured = [torch.from_numpy(part) for part in (apart[0], oddness, apart[1])]
            distances, odd, strange = (part[:count] for part in measured)
            model = Model(None, None, novelty, CPU)  # type: ignore[arg-type]
            limit_novelty(model, Scored(images, odd, distances, odd, strange, torch.zeros(count)), budget)
            new = novelty(*(part[count:] for part in measured))
            shares.append(float((new > 1).double().mean()))
        return float(np.mean(shares))

    @pytest.mark.parametrize(("count", "budget"), [(60, 0.005), (400, 0.005), (60, 0.05), (1000, 0.02)])
    def test_the_budget_holds_on_new_images(self, count: int, budget: float) -> None:
        """On average no more of the good images still to come are unidentified than the budget, and not far less.

        Where there are far too few images to see such a share, the limits may be wider.
        """
        assert budget * (0.3 if count * budget < 2 else 0.6) <= self.unidentified(count, budget) <= budget * 1.15

    def test_defective_images_set_no_limit(self) -> None:
        """How strange defects are is no measure of what good images keep to."""
        limits = []
        for strange in (1.0, 1e6):
            model = Model(None, None, Novelty(1), CPU)  # type: ignore[arg-type]
            images = [image("io", str(index)) for index in range(20)] + [image("nio", "x")]
            numbers = torch.cat([torch.linspace(0.5, 1, 20), torch.tensor([strange])]).double()
            limit_novelty(model, Scored(images, numbers, numbers, numbers, numbers, numbers * 0), 0.1)
            limits.append([getattr(model.novelty, name).item() for name in ("farthest", "oddest", "strangest")])
        assert limits[0] == limits[1]


@pytest.fixture(scope="module")
def built(draw_disc: Disc) -> tuple[Model, Scored, list[LabelledImage]]:
    """A model really built of discs in folds, the scores its limits were chosen on, and what it was built of."""
    torch.set_num_threads(1)
    images = discs(draw_disc, 0, io=60, nio=30)
    parts: dict[Part, list[LabelledImage]] = {"train": images[10:], "validation": images[:10], "test": [], "unseen": []}
    model, _, scored, _ = build(parts, options(), CPU)
    return model, scored, images


def judged(model: Model, pictures: list[NDArray[np.float64]]) -> list[Verdict]:
    """Verdicts on grey pictures."""
    return verdicts(model, torch.stack([resize(picture.astype(np.float32), SIDE) for picture in pictures]))


class TestBuilt:
    """A model as it comes out of the folds."""

    def test_every_image_is_scored_once(self, built: tuple[Model, Scored, list[LabelledImage]]) -> None:
        """Each image that is not for the test is scored, and none twice; and nearly every nio above nearly every io."""
        _, scored, images = built
        assert Counter(map(id, scored.images)) == Counter(map(id, images))
        nio, io = scored.log_odds[~scored.io], scored.log_odds[scored.io]
        assert (nio[:, None] > io).double().mean() >= 0.97
        assert torch.isfinite(torch.cat([scored.distances, scored.oddness, scored.strangeness])).all()

    def test_strange_pictures_are_nio(self, built: tuple[Model, Scored, list[LabelledImage]], draw_disc: Disc) -> None:
        """Blank, saturated, noise, another part, another size: farther than any good image, whatever the classifier."""
        rng = np.random.default_rng(5)
        good = draw_disc(rng, void=False, side=SIDE) / 255
        y, x = np.mgrid[:SIDE, :SIDE]
        strange = {
            "black": np.zeros((SIDE, SIDE)),
            "grey": np.full((SIDE, SIDE), 0.5),
            "saturated": np.ones((SIDE, SIDE)),
            "noise": rng.random((SIDE, SIDE)),
            "another part": np.where((x // 4 + y // 4) % 2, 0.3, 0.7),
            "inverted": 1 - good,
            "far too near": good[10:18, 10:18],
            "far too dark": good * 0.3,
        }
        found = judged(built[0], list(strange.values()))
        assert {name: one.label for name, one in zip(strange, found, strict=True)} == dict.fromkeys(strange, "nio")
        assert all((one.novelty or np.inf) > 1 for one in found)
        assert any(one.reason == "unidentified" for one in found)

    def test_fresh_good_discs_are_not_strange(
        self, built: tuple[Model, Scored, list[LabelledImage]], draw_disc: Disc
    ) -> None:
        """Of good discs that nobody has seen nearly all are io; of those with a void nearly none."""
        rng = np.random.default_rng(6)
        good = judged(built[0], [draw_disc(rng, void=False, side=SIDE) / 255 for _ in range(100)])
        bad = judged(built[0], [draw_disc(rng, void=True, side=SIDE) / 255 for _ in range(100)])
        assert sum(one.reason == "unidentified" for one in good) <= 5
        assert sum(one.label == "nio" for one in good) <= 8
        assert sum(one.label == "nio" for one in bad) >= 97

    def test_the_same_seed_builds_the_same(self, draw_disc: Disc) -> None:
        """Limits and weights depend on images and settings alone, whatever was drawn before."""
        images = discs(draw_disc, 0, io=16, nio=8)
        parts: dict[Part, list[LabelledImage]] = {"train": images[2:], "validation": images[:2]}
        states = []
        for _ in range(2):
            torch.rand(3)
            model = build(parts, options(folds=2, epochs=1), CPU).model
            states.append((model.card.threshold, model.network.state_dict(), model.novelty.state_dict()))
        (one, network, novelty), (other, same_network, same_novelty) = states
        assert one == other
        assert all(torch.equal(network[name], same_network[name]) for name in network)
        assert all(torch.equal(novelty[name], same_novelty[name]) for name in novelty)

    def test_a_fold_stopped_by_hand_sets_no_limits(self, draw_disc: Disc, monkeypatch: pytest.MonkeyPatch) -> None:
        """Ctrl-C in a fold ends the training: limits from half a fold would fit no model."""
        train = training_build.train

        def stopped(*arguments: Any) -> object:
            model, history = train(*arguments)
            history.interrupted = True
            return model, history

        monkeypatch.setattr(training_build, "train", stopped)
        images = discs(draw_disc, 0, io=16, nio=8)
        with pytest.raises(KeyboardInterrupt):
            build({"train": images, "validation": []}, options(folds=2, epochs=1), CPU)


class TestNovelty:
    """The centre and the spread of good images."""

    def test_only_good_images_count(self, built: tuple[Model, Scored, list[LabelledImage]]) -> None:
        """Where the centre lies does not depend on the defects, and good images that were fitted to lie around it."""
        model, _, images = built
        model = Model(model.card, model.network, Novelty(DESCRIPTION), CPU)
        fit_novelty(model, images)
        with_nio = model.novelty.state_dict()
        good = [one for one in images if one.label == "io"]
        near = score(model, good).distances
        fit_novelty(model, good)
        assert all(torch.equal(with_nio[name], value) for name, value in model.novelty.state_dict().items())
        assert 0.2 < near.square().mean().sqrt() < 1.2
        assert torch.isinf(model.novelty.farthest)

    def test_the_fewest_good_images(self, built: tuple[Model, Scored, list[LabelledImage]], draw_disc: Disc) -> None:
        """Three good images have a spread, if a poor one; fewer are refused in one line."""
        model = Model(built[0].card, built[0].network, Novelty(DESCRIPTION), CPU)
        images = discs(draw_disc, 9, io=3, nio=3)
        fit_novelty(model, images)
        assert torch.isfinite(score(model, images).distances).all()
        with pytest.raises(DatasetError, match="only 2 io images to train on"):
            fit_novelty(model, images[1:])

    def test_a_channel_that_stirs_for_the_first_time(
        self, built: tuple[Model, Scored, list[LabelledImage]], draw_disc: Disc
    ) -> None:
        """Fitted to a handful of good discs, other good ones are hardly farther than these.

        Some channels are silent in all of so few; the first disc that stirs one is no stranger.
        """
        model = Model(built[0].card, built[0].network, Novelty(DESCRIPTION), CPU)
        few = discs(draw_disc, 7, io=8, nio=0)
        fit_novelty(model, few)
        assert score(model, discs(draw_disc, 8, io=60, nio=0)).distances.max() < 6


@given(st.lists(st.integers(1, 9), min_size=2, max_size=7), st.lists(st.integers(1, 9), min_size=2, max_size=7))
@hypothesis_settings(max_examples=60, deadline=None)
def test_one_fold_has_both_labels_on_both_sides(io: list[int], nio: list[int]) -> None:
    """However many images the parts have; or one line says that there is none."""
    sizes: list[tuple[Label, list[int]]] = [("io", io), ("nio", nio)]
    images = [
        image(label, f"{label} {part}")
        for label, parts in sizes
        for part, size in enumerate(parts)
        for _ in range(size)
    ]
    try:
        fitted, left_out = one_fold(images, 3, 0)
    except DatasetError:
        return
    assert {one.label for one in fitted} == {one.label for one in left_out} == set(LABELS)
    assert not {one.group for one in fitted} & {one.group for one in left_out}
