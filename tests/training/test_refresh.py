"""What a refresh promises, end to end on small discs: a whole model, put to use, that does its job again and again."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from inspection.errors import DatasetError
from inspection.image import decode
from inspection.inspector import Inspector
from inspection.model import library_versions, read_card
from inspection.model import load as load_model
from inspection.verdict import LABELS, Label
from settings import load
from training.data.dataset import read, split
from training.proof.certificate import recall_lower_bound
from training.refresh import refresh

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def model(trained: Path) -> Path:
    """The folder of the trained model, by its own name."""
    return (trained / "models" / "current").resolve()


@pytest.fixture(scope="module")
def card(model: Path) -> dict[str, Any]:
    """Its model.json."""
    content: dict[str, Any] = json.loads((model / "model.json").read_text(encoding="utf-8"))
    return content


CONFIG = """\
device: cpu
training: {image_size: 32, epochs: 2, folds: 2, unseen: {io: 2, nio: 2}}
names: {pattern: '(?P<kind>^...)'}
"""


@pytest.fixture(scope="module")
def twins(tmp_path_factory: pytest.TempPathFactory, write_labelled: Callable[..., None]) -> tuple[Path, Path, str]:
    """Two models of one data set, and what was said at the second, which had files beside it that must not matter."""
    first, second = tmp_path_factory.mktemp("first"), tmp_path_factory.mktemp("second")
    for folder in (first, second):
        (folder / "config.yaml").write_text(CONFIG, encoding="utf-8")
        write_labelled(folder / "dataset", io=30, nio=30)
    dataset = second / "dataset"
    (dataset / "io" / "broken.png").write_bytes(b"no image")
    shutil.copyfile(dataset / "nio" / "nio003.png", dataset / "nio" / "nio003_copy.png")
    shutil.copyfile(dataset / "nio" / "nio004.png", dataset / "nio" / "nio003.png.cam.png")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        one = refresh(load(first / "config.yaml"))
        torch.manual_seed(12345)
        with contextlib.redirect_stdout(io.StringIO()) as said:
            other = refresh(load(second / "config.yaml"))
    finally:
        torch.set_num_threads(threads)
    return one, other, said.getvalue()


def test_model_folder(model: Path) -> None:
    """A model folder holds weights, card, golden samples and report; beside it there is only the link to it."""
    assert sorted(path.name for path in model.iterdir()) == [
        *("gate.json", "golden", "model.json", "report", "training_images.txt", "weights.safetensors")
    ]
    assert sorted(path.name for path in model.parent.iterdir()) == sorted(["current", model.name])
    assert str((model.parent / "current").readlink()) == model.name


def test_card(card: dict[str, Any], model: Path, trained: Path) -> None:
    """model.json tells id, settings, what was learned from, and numbers that fit the data."""
    assert model.name.endswith(f"-{card['model_id']}")
    assert read_card(model).model_id == card["model_id"]
    settings = load(trained / "config.yaml")
    dataset = read(settings)
    assert card["training_data"]["fingerprint"] == dataset.fingerprint()
    assert card["training_data"]["settings"] == settings.training.model_dump(mode="json")
    for part, images in split(dataset.images, settings.training).items():
        counts = {label: sum(image.label == label for image in images) for label in LABELS}
        assert card["training_data"]["parts"][part] == counts
        if part == "test":
            assert card["metrics"][part]["counts"] == counts
            assert card["metrics"][part]["threshold"] == card["threshold"]


def test_the_certificate_counts_the_test_images(model: Path, trained: Path) -> None:
    """The certificate tells of the nio test images, no others, judged as the model judges; the id repeats its word."""
    card = read_card(model)
    settings = load(trained / "config.yaml")
    images = [image for image in split(read(settings).images, settings.training)["test"] if image.label == "nio"]
    inspector = Inspector(load_model(model, torch.device("cpu")), "XGradCAM", only_last_conv=True)
    pixels = [decode(image.path.read_bytes(), max_pixels=10**6).pixels for image in images]
    missed = [inspection.verdict.label for inspection in inspector.inspect(pixels)].count("io")
    proven = card.certificate
    assert proven is not None
    assert (proven.proof.nio, proven.proof.missed, proven.proof.images) == (len(images), missed, len(images))
    assert proven.proof.recall_bound == recall_lower_bound(len(images), missed)
    assert proven.required_recall == settings.training.required_recall
    assert proven.data_fingerprint == card.training_data["fingerprint"]
    assert not proven.certified
    assert card.model_id.endswith("-indicative")
    assert card.versions == library_versions()


def test_mean_and_std(card: dict[str, Any], trained: Path) -> None:
    """Images are normalised by mean and standard deviation of the train and validation images, and of no others."""
    settings = load(trained / "config.yaml")
    parts = split(read(settings).images, settings.training)
    seen = torch.stack([image.grey for image in parts["train"] + parts["validation"]]).double()
    assert card["preprocessing"]["mean"] == pytest.approx(seen.mean().item(), rel=1e-5)
    assert card["preprocessing"]["std"] == pytest.approx(seen.std(correction=0).item(), rel=1e-5)


def test_golden_samples(card: dict[str, Any], model: Path) -> None:
    """The model carries golden samples of both labels, and passes its self-test when it is loaded."""
    assert {sample["label"] for sample in card["golden"]} == set(LABELS)
    assert len(card["golden"]) == 8
    load_model(model, torch.device("cpu"))


def test_unseen_copies(model: Path, trained: Path) -> None:
    """The images set aside, no others, lie under report/unseen in the folder of their verdict, byte for byte."""
    settings = load(trained / "config.yaml")
    aside = split(read(settings).images, settings.training)["unseen"]
    unseen = model / "report" / "unseen"
    copies = sorted(path.read_bytes() for path in unseen.rglob("*.png"))
    assert copies == sorted(image.path.read_bytes() for image in aside)
    told = json.loads((model / "report" / "metrics.json").read_text(encoding="utf-8"))["unseen"]
    assert {prediction["file"] for prediction in told} == {
        path.relative_to(unseen).as_posix() for path in unseen.rglob("*.png")
    }
    by_content = {image.path.read_bytes(): image.label for image in aside}
    assert all(by_content[(unseen / p["file"]).read_bytes()] == p["label"] for p in told)


def judged(model: Path, draw_disc: Callable[..., NDArray[np.uint8]], label: Label) -> tuple[list[float], list[Label]]:
    """Probabilities and verdicts of a hundred discs that no training saw."""
    inspector = Inspector(load_model(model, torch.device("cpu")), "XGradCAM", only_last_conv=True)
    rng = np.random.default_rng(99)
    images = [draw_disc(rng, void=label == "nio").astype(np.float32) / np.float32(255) for _ in range(100)]
    verdicts = [inspection.verdict for inspection in inspector.inspect(images)]
    return [verdict.probability or 0 for verdict in verdicts], [verdict.label for verdict in verdicts]


def test_fresh_discs_are_told_apart(model: Path, draw_disc: Callable[..., NDArray[np.uint8]]) -> None:
    """On discs that no training saw nearly every nio scores above nearly every io, and false calls are rare."""
    nio, _ = judged(model, draw_disc, "nio")
    io, verdicts = judged(model, draw_disc, "io")
    assert np.mean(np.array(nio)[:, None] > np.array(io)) >= 0.99
    assert verdicts.count("nio") <= 5


def test_fresh_voids_are_found(model: Path, draw_disc: Callable[..., NDArray[np.uint8]]) -> None:
    """On the easiest task there is, nearly no void that no training saw escapes."""
    assert judged(model, draw_disc, "nio")[1].count("nio") >= 97


def test_strange_images_are_unidentified(model: Path, draw_disc: Callable[..., NDArray[np.uint8]]) -> None:
    """What is no image of the part is nio whatever the classifier says of it: blank, noise, another part or size."""
    rng = np.random.default_rng(5)
    good = draw_disc(rng, void=False).astype(np.float32) / np.float32(255)
    y, x = np.mgrid[:40, :40]
    strange = {
        "black": np.zeros((40, 40)),
        "grey": np.full((40, 40), 0.5),
        "saturated": np.ones((40, 40)),
        "noise": rng.random((40, 40)),
        "another part": np.where((x // 5 + y // 5) % 2, 0.3, 0.7),
        "inverted": 1 - good,
        "another magnification": np.kron(good[10:20, 10:20], np.ones((4, 4))),
    }
    inspector = Inspector(load_model(model, torch.device("cpu")), "XGradCAM", only_last_conv=True)
    found = inspector.inspect([image.astype(np.float32) for image in strange.values()])
    assert {name: one.verdict.label for name, one in zip(strange, found, strict=True)} == dict.fromkeys(strange, "nio")
    assert all((one.verdict.novelty or np.inf) > 1 for one in found)


def test_same_seed_same_model(twins: tuple[Path, Path, str]) -> None:
    """The same seed and images give the same model, id and weights, in another folder and at another time."""
    one, other, _ = twins
    assert read_card(one).model_id == read_card(other).model_id
    assert (one / "weights.safetensors").read_bytes() == (other / "weights.safetensors").read_bytes()


def test_it_says_what_it_left_out(twins: tuple[Path, Path, str]) -> None:
    """Skipped files and duplicates are named as they are left out; sidecars are nothing to talk about."""
    _, _, said = twins
    lines = said.splitlines()
    assert any("skipped" in line and "broken.png" in line for line in lines)
    assert any("nio003_copy.png" in line and line.endswith("nio003.png") for line in lines)
    assert "cam.png" not in said


def test_it_says_what_it_does(twins: tuple[Path, Path, str]) -> None:
    """Every step is announced as it begins, in the order in which it is done."""
    _, new, said = twins
    steps = [line.removeprefix("==> ").split(":")[0].split(" (")[0] for line in said.splitlines() if line[:3] == "==>"]
    assert [step.split(",")[0] for step in steps] == [
        "device",
        "read",
        "copies and giveaways among the images",
        "set aside and split",
        "fit fold 1 of 2",
        "fit fold 2 of 2",
        "fit",
        "limits",
        "test",
        "reference",
        "runtimes",
        "save",
        "predict the images set aside",
        "gate",
        "what it comes to",
        "promote",
    ]
    assert "of 10,000 images, 100 of them nio: " in said
    assert str(new / "report" / "index.html") in said
    assert str(read_card(new).certificate) in said
    assert all(str(proof) in said for proof in read_card(new).runtimes.values())


def test_the_certificate_by_part(twins: tuple[Path, Path, str]) -> None:
    """Where names say the kind of joint, the proof is also given for each among the nio test images."""
    proven = read_card(twins[0]).certificate
    assert proven is not None
    assert proven.by_part == {"nio": proven.proof}


def test_only_one_grey(tmp_path: Path) -> None:
    """Images that are all of one and the same grey cannot be learned from, and the error says so."""
    config = tmp_path / "config.yaml"
    config.write_text(CONFIG.replace("epochs: 2", "epochs: 1"), encoding="utf-8")
    for label in LABELS:
        (tmp_path / "dataset" / label).mkdir(parents=True)
        for index in range(30):
            # Other bytes, equal pixels.
            side = 10 + index + (30 if label == "nio" else 0)
            Image.new("L", (side, side), 128).save(tmp_path / "dataset" / label / f"{label}{index}.png")
    with pytest.raises(DatasetError, match="one and the same grey"):
        refresh(load(config))


def test_all_disputed(tmp_path: Path, write_labelled: Callable[..., None]) -> None:
    """Where every image is disputed nothing is left to learn from, and the error says so."""
    write_labelled(tmp_path / "dataset", io=2, nio=2)
    files = [path.relative_to(tmp_path / "dataset").as_posix() for path in (tmp_path / "dataset").rglob("*.png")]
    answers = "".join(f"{file},disputed\n" for file in files)
    (tmp_path / "dataset" / "labels.csv").write_text(answers, encoding="utf-8")
    config = tmp_path / "config.yaml"
    config.write_text(CONFIG, encoding="utf-8")
    with pytest.raises(DatasetError, match="no "):
        refresh(load(config))
