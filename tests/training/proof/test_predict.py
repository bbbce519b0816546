"""What the prediction of images set aside promises: verdicts from pixels alone, and copies where they belong."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from inspection.image import Limits, decode
from inspection.inspector import Inspector
from inspection.model import load as load_model
from settings import load
from training.data.dataset import LabelledImage, read
from training.proof.predict import predict

pytestmark = pytest.mark.usefixtures("one_thread")

LIMITS = Limits(10**6)


@pytest.fixture(scope="module")
def inspector(trained: Path) -> Inspector:
    """With the trained model."""
    return Inspector(load_model(trained / "models" / "current", torch.device("cpu")), "XGradCAM", only_last_conv=True)


@pytest.fixture(scope="module")
def images(trained: Path) -> list[LabelledImage]:
    """Some labelled images of each kind."""
    found = read(load(trained / "config.yaml")).images
    return [*found[:4], *found[-4:]]


def test_copies(images: list[LabelledImage], inspector: Inspector, tmp_path: Path) -> None:
    """Each image is copied, byte for byte, into the folder of its verdict; what was set aside stays where it is."""
    predictions = predict(images, inspector, tmp_path / "unseen", LIMITS)
    copies = {path.relative_to(tmp_path / "unseen").as_posix() for path in tmp_path.rglob("*.png")}
    assert copies == {prediction.file for prediction in predictions}
    for image, prediction in zip(images, predictions, strict=True):
        assert prediction.file.startswith(f"{prediction.judged}/")
        assert (tmp_path / "unseen" / prediction.file).read_bytes() == image.path.read_bytes()
        assert prediction.label == image.label
        assert prediction.right == (prediction.label == prediction.judged)


def test_verdicts_are_those_of_the_inspector(images: list[LabelledImage], inspector: Inspector, tmp_path: Path) -> None:
    """Verdict and probability are what the daemon finds for the same file."""
    for image, prediction in zip(images, predict(images, inspector, tmp_path, LIMITS), strict=True):
        pixels = decode(image.path.read_bytes(), max_pixels=LIMITS.max_pixels).pixels
        verdict = inspector.inspect([pixels])[0].verdict
        assert (prediction.judged, prediction.probability) == (verdict.label, verdict.probability)


def test_from_pixels_alone(images: list[LabelledImage], inspector: Inspector, tmp_path: Path) -> None:
    """Under another name, in the other label's folder, in another order: the same verdicts and probabilities."""
    disguised = []
    for number, image in enumerate(reversed(images)):
        other = tmp_path / ("nio" if image.label == "io" else "io") / f"{image.label}_no_it_is_not_{number}.png"
        other.parent.mkdir(exist_ok=True)
        shutil.copyfile(image.path, other)
        disguised.append(replace(image, path=other, label="nio" if image.label == "io" else "io", group="other"))
    plain = predict(images, inspector, tmp_path / "plain", LIMITS)
    renamed = predict(disguised, inspector, tmp_path / "renamed", LIMITS)
    assert [(p.judged, p.probability) for p in reversed(renamed)] == [(p.judged, p.probability) for p in plain]


def test_equal_names_are_kept_apart(images: list[LabelledImage], inspector: Inspector, tmp_path: Path) -> None:
    """Images of one name from several sub-folders each have their copy."""
    same = []
    for number, image in enumerate(images[:3]):
        path = tmp_path / str(number) / "x.png"
        path.parent.mkdir()
        shutil.copyfile(image.path, path)
        same.append(replace(image, path=path))
    predictions = predict(same, inspector, tmp_path / "unseen", LIMITS)
    assert len({prediction.file for prediction in predictions}) == 3
    assert all(prediction.file.endswith("_x.png") for prediction in predictions)


def test_a_file_that_is_gone(images: list[LabelledImage], inspector: Inspector, tmp_path: Path) -> None:
    """An image that was deleted or replaced during the training is left out; the others are judged as ever."""
    (tmp_path / "replaced.png").write_bytes(b"no image any more")
    lost = [replace(images[0], path=tmp_path / name) for name in ("gone.png", "replaced.png")]
    found = predict([lost[0], images[1], lost[1]], inspector, tmp_path / "unseen", LIMITS)
    assert [prediction.label for prediction in found] == [images[1].label]
    assert len(list((tmp_path / "unseen").rglob("*.png"))) == 1


def test_none_set_aside(inspector: Inspector, tmp_path: Path) -> None:
    """With no image set aside there are two empty folders and no prediction."""
    assert predict([], inspector, tmp_path / "unseen", LIMITS) == []
    assert sorted(path.name for path in (tmp_path / "unseen").iterdir()) == ["io", "nio"]
