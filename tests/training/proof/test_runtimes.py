"""What is promised of the proof of a runtime: it counts each verdict that changes, and how near one came to it."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from inspection.model import Model, RuntimeProof, load
from inspection.network import nio_log_odds
from inspection.scorer import Findings, Look
from inspection.verdict import LABELS
from training.data.dataset import LabelledImage
from training.fitting.folds import score
from training.proof import runtimes
from training.proof.runtimes import prove_runtimes

pytestmark = pytest.mark.usefixtures("one_thread")

CPU = torch.device("cpu")
needs_openvino = pytest.mark.skipif(find_spec("openvino") is None, reason="OpenVINO is not installed")


@pytest.fixture
def model(trained: Path) -> Model:
    """A trained model."""
    return load(trained / "models" / "current", CPU)


@pytest.fixture
def images(trained: Path, model: Model) -> list[LabelledImage]:
    """Some that it was trained on, of both labels."""
    found = []
    for label in LABELS:
        for path in sorted((trained / "dataset" / label).iterdir())[:15]:
            grey = model.preprocessing.resized([np.asarray(Image.open(path), np.float32) / np.float32(255)])[0]
            found.append(LabelledImage(path, label, path.name, path.name, grey))
    return found


class _Stand:
    """Stands for another runtime."""

    def __init__(self, change: Callable[[Findings], Findings]) -> None:
        self._change = change

    def request(self, model: Model) -> Look:
        def look(images_N1SS: Tensor) -> Findings:
            return self._change(model.look(images_N1SS))

        return look


def _proof(
    model: Model, images: list[LabelledImage], change: Callable[[Findings], Findings], monkeypatch: pytest.MonkeyPatch
) -> RuntimeProof | str:
    monkeypatch.setattr(runtimes, "offered", lambda _device: ["other"])
    monkeypatch.setattr(runtimes, "library_version", lambda: "1.0")
    monkeypatch.setattr(runtimes, "Compiled", lambda _model, _name: _Stand(change))
    ((name, proof),) = prove_runtimes(model, score(model, images))
    assert name == "other"
    return proof


def _towards(model: Model, images: list[LabelledImage], share: float) -> Callable[[Findings], Findings]:
    """Moves all log-odds by so much of the way that the nearest image has to the threshold, to both sides."""
    greys = torch.stack([image.grey for image in images])
    log_odds = nio_log_odds(model.look(model.normalised(greys)).logits)
    limit = torch.logit(torch.tensor(model.card.threshold, dtype=torch.float64)) * model.card.temperature
    step = float((log_odds - limit).abs().min()) * share

    def change(found: Findings) -> Findings:
        sign = torch.where(nio_log_odds(found.logits) >= limit, -1.0, 1.0)
        return found._replace(logits=found.logits + torch.stack([torch.zeros_like(sign), sign * step], dim=1))

    return change


@pytest.mark.parametrize(("share", "holds", "changes"), [(0.3, True, False), (0.7, False, False), (1.1, False, True)])
def test_how_near_it_came_to_another_verdict(
    model: Model,
    images: list[LabelledImage],
    monkeypatch: pytest.MonkeyPatch,
    share: float,
    holds: bool,
    changes: bool,
) -> None:
    """Less than half the way is well, more is not, and beyond its end the verdict is counted."""
    proof = _proof(model, images, _towards(model, images, share), monkeypatch)
    assert isinstance(proof, RuntimeProof)
    assert proof.way == pytest.approx(share, rel=0.01)
    assert (proof.holds, bool(proof.changed), proof.images) == (holds, changes, len(images))


def test_what_is_strange_counts_too(model: Model, images: list[LabelledImage], monkeypatch: pytest.MonkeyPatch) -> None:
    """A good image that another runtime finds strange is another verdict."""
    strange = _proof(model, images, lambda found: found._replace(novelty=found.novelty + 2), monkeypatch)
    assert isinstance(strange, RuntimeProof)
    assert strange.changed > 0
    assert not strange.holds


def test_a_runtime_that_fails_costs_no_training(
    model: Model, images: list[LabelledImage], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever it raises is told in one line."""

    def fails(_: Findings) -> Findings:
        raise RuntimeError("no such\ninstruction")

    assert _proof(model, images, fails, monkeypatch) == "no such instruction"


def test_no_number_is_no_proof(model: Model, images: list[LabelledImage], monkeypatch: pytest.MonkeyPatch) -> None:
    """A runtime that gives none is told, and not proven."""
    proof = _proof(model, images, lambda found: found._replace(novelty=found.novelty * torch.nan), monkeypatch)
    assert proof == "scores that are no numbers"


def test_of_many_the_nearest_are_judged(
    model: Model, images: list[LabelledImage], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A few pages are enough for the one that a change would turn first."""
    monkeypatch.setattr(runtimes, "_MOST", 3)
    proof = _proof(model, images, _towards(model, images, 1.1), monkeypatch)
    assert isinstance(proof, RuntimeProof)
    assert (proof.images, bool(proof.changed)) == (3, True)


def test_only_torch_proves_nothing(model: Model, images: list[LabelledImage], monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing else is installed nothing is judged twice."""
    monkeypatch.setattr(runtimes, "offered", lambda _device: [])
    assert not list(prove_runtimes(model, score(model, images)))


@needs_openvino
def test_the_card_has_the_proofs(trained: Path, model: Model, images: list[LabelledImage]) -> None:
    """A training leaves one for each runtime of its machine, as it is found again; float32 is as near as can be."""
    found = model.card.runtimes
    assert list(found) == [name for name, _ in prove_runtimes(model, score(model, images))]
    assert found["openvino"].holds
    assert found["openvino"].way < 1e-3
    assert found["openvino"].images > len(images)
    assert (trained / "models" / "current").is_dir()
