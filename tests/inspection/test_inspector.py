"""What inspecting promises: one inspection for each image, in order, whatever its neighbours."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from inspection.image import decode
from inspection.inspector import Inspection, Inspector
from inspection.model import Model, load
from inspection.novelty import Novelty
from inspection.residual import NAME as RESIDUAL
from inspection.verdict import judge

RNG = np.random.default_rng(0)
MIXED = [RNG.random(shape, dtype=np.float32) for shape in ((40, 40), (8, 300), (300, 8), (64, 32), (512, 480))]


@pytest.fixture
def inspector(untrained_model: Path) -> Inspector:
    """An inspector with random weights."""
    return Inspector(load(untrained_model, torch.device("cpu")), "ExcessCAM", only_last_conv=True)


def probability(inspection: Inspection) -> float:
    """The nio probability, which is there."""
    assert inspection.verdict.probability is not None
    return inspection.verdict.probability


def test_a_batch_is_one_by_one(inspector: Inspector) -> None:
    """A batch of mixed sizes gives in its order what each image gets alone: verdict, probability, map and peak."""
    together = inspector.inspect(MIXED)
    for image, inspection in zip(MIXED, together, strict=True):
        (alone,) = inspector.inspect([image])
        assert alone.verdict.label == inspection.verdict.label
        assert probability(alone) == pytest.approx(probability(inspection), abs=2e-6)
        np.testing.assert_allclose(alone.evidence, inspection.evidence, atol=1e-3)
        assert alone.peak == pytest.approx(inspection.peak, rel=1e-3)


def test_order_is_kept(inspector: Inspector) -> None:
    """Turned around, the images get their inspections turned around."""
    forward = [probability(inspection) for inspection in inspector.inspect(MIXED)]
    backward = [probability(inspection) for inspection in inspector.inspect(MIXED[::-1])]
    assert len(set(forward)) == len(MIXED)
    assert backward[::-1] == pytest.approx(forward, abs=2e-6)


def test_the_same_twice(inspector: Inspector) -> None:
    """Nothing is drawn by lot: the same images have the same inspections to the last bit."""
    for one, other in zip(inspector.inspect(MIXED), inspector.inspect(MIXED), strict=True):
        assert one.verdict == other.verdict
        assert np.array_equal(one.evidence, other.evidence)


def test_the_verdict_is_that_of_the_model(inspector: Inspector) -> None:
    """The map costs no accuracy: the probability is the one of the bare model, judged by its threshold."""
    model = inspector.model
    scores = model.scores(model.batch(MIXED))
    bare = zip(model.probability(scores.logits).tolist(), scores.novelty.tolist(), strict=True)
    for (nio, novelty), inspection in zip(bare, inspector.inspect(MIXED), strict=True):
        expected = judge(nio, model.card.threshold, novelty)
        assert inspection.verdict.label == expected.label
        assert inspection.verdict.probability == pytest.approx(expected.probability, abs=2e-6)
        assert inspection.verdict.novelty == pytest.approx(expected.novelty, rel=1e-4)
        assert inspection.evidence.dtype == np.float32


@pytest.mark.parametrize("level", [np.nan, np.inf])
def test_no_number_is_nio(inspector: Inspector, level: float) -> None:
    """An image that the network has no number for is nio and unidentified, and its neighbours are judged as ever."""
    strange: NDArray[np.float32] = np.full((40, 40), level, np.float32)
    before, broken, after = inspector.inspect([MIXED[0], strange, MIXED[1]])
    assert (broken.verdict.label, broken.verdict.reason) == ("nio", "unidentified")
    assert broken.verdict.probability is None
    assert broken.verdict.novelty is None
    assert (broken.method, broken.evidence.max(), broken.peak) == (RESIDUAL, 0, 0)
    assert [probability(before), probability(after)] == pytest.approx(
        [probability(inspection) for inspection in inspector.inspect(MIXED[:2])], abs=2e-6
    )


def with_a_limit(model: Model, farthest: float) -> Model:
    """The model with another limit to the distance from good images."""
    novelty = Novelty(len(model.novelty.centre))
    novelty.load_state_dict({**model.novelty.state_dict(), "farthest": torch.tensor(farthest)})
    return replace(model, novelty=novelty)


def test_an_unidentified_image_shows_what_is_strange(untrained_model: Path) -> None:
    """Its map is the residual's, of the image's own size."""
    model = load(untrained_model, torch.device("cpu"))
    model.network.head.linear.bias.copy_(torch.tensor([50.0, 0.0]))
    inspector = Inspector(with_a_limit(model, 1e-6), "ExcessCAM", only_last_conv=True)
    (strange,) = inspector.inspect([np.zeros((40, 60), np.float32)])
    assert (strange.verdict.label, strange.verdict.reason) == ("nio", "unidentified")
    assert (strange.method, strange.strength) == (RESIDUAL, 1)
    assert strange.evidence.shape == (32, 32)
    assert strange.evidence.max() == pytest.approx(1)
    assert 0 < strange.peak < 1


def test_the_decoder_runs_for_unidentified_images_alone(untrained_model: Path) -> None:
    """In a batch only what is unidentified is rebuilt, with the good golden samples once; else none."""
    model = with_a_limit(load(untrained_model, torch.device("cpu")), 1e6)
    inspector = Inspector(model, "ExcessCAM", only_last_conv=True)
    rebuilt: list[int] = []
    inspector.model.network.decoder.register_forward_hook(lambda _module, given, _out: rebuilt.append(len(given[0])))
    assert {one.method for one in inspector.inspect(MIXED)} == {"ExcessCAM"}
    assert rebuilt == []
    for _ in range(2):
        inspector.inspect([MIXED[0], np.full((40, 40), np.nan, np.float32), MIXED[1]])
    assert sorted(rebuilt) == sorted([1, 1, len(model.good)])


def test_the_golden_good_images_are_the_measure(trained: Path) -> None:
    """A loaded model brings its golden samples that are io; together they have no more evidence than is usual."""
    model = load(trained / "models" / "current", torch.device("cpu"))
    assert len(model.good) == sum(sample.label == "io" for sample in model.card.golden) > 0
    inspections = Inspector(model, "ExcessCAM", only_last_conv=True).inspect(
        [grey.numpy() for grey in model.good[:, 0]]
    )
    assert all(one.strength < 0.3 for one in inspections if one.verdict.label == "io")


def test_a_trained_model_judges(trained: Path) -> None:
    """Discs with a void are nio, those without are io, and the evidence in the former is stronger."""
    inspector = Inspector(load(trained / "models" / "current", torch.device("cpu")), "ExcessCAM", only_last_conv=True)
    found = {}
    for label in ("io", "nio"):
        paths = sorted((trained / "dataset" / label).iterdir())[:12]
        found[label] = inspector.inspect([decode(path.read_bytes(), max_pixels=10_000).pixels for path in paths])
        right = [inspection.verdict.label == label for inspection in found[label]]
        assert np.mean(right) >= 0.75
    faint = [one.strength for one in found["io"] if one.verdict.label == "io"]
    assert np.median(faint) < 0.3
    assert all(one.strength == 1 for one in found["nio"] if one.verdict.label == "nio")
    peaks = {label: float(np.median([one.peak for one in inspections])) for label, inspections in found.items()}
    assert peaks["nio"] > peaks["io"]


@pytest.mark.parametrize("method", ["ExcessCAM", "SmoothGradCAMpp"])
def test_twins_judge_alike_at_the_same_time(untrained_model: Path, method: str) -> None:
    """Several threads, each with a twin, find to the last bit what one finds alone, and the original stays usable."""
    original = Inspector(load(untrained_model, torch.device("cpu")), method, only_last_conv=True)
    expected = [original.inspect([image])[0] for image in MIXED]

    def inspect_all(inspector: Inspector) -> list[Inspection]:
        return [inspector.inspect([image])[0] for _ in range(3) for image in MIXED]

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(inspect_all, [original, *(original.twin() for _ in range(3))]))
    for inspection, alone in zip((one for thread in found for one in thread), expected * 12, strict=True):
        assert inspection.verdict == alone.verdict
        assert inspection.peak == alone.peak
        assert np.array_equal(inspection.evidence, alone.evidence)


def test_a_twin_draws_no_random_numbers(inspector: Inspector) -> None:
    """Making one disturbs nobody's seeded numbers, such as those that another thread's map is drawn with."""
    state = torch.get_rng_state()
    inspector.twin()
    assert torch.equal(torch.get_rng_state(), state)
