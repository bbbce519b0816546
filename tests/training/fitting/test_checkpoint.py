"""What a checkpoint promises: an interrupted training ends as if nothing had been, at hardly any cost."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor

from inspection.errors import NotPromotedError
from inspection.network import SupervisedAutoencoder
from inspection.preprocess import Preprocessing
from settings import load
from settings.schema import TrainingSettings
from training.data.dataset import read, split
from training.fitting.balance import BalancedImages
from training.fitting.checkpoint import NAME, Checkpoint, State, _unpacked, fingerprint, told_of
from training.fitting.fit import History, fit

pytestmark = pytest.mark.usefixtures("one_thread")

SIDE = 32
CPU = torch.device("cpu")
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).resolve().parents[3])}
CONFIG = """\
device: cpu
training: {image_size: 32, epochs: 3, folds: 2, unseen: {io: 2, nio: 2}}
"""


class StoppedError(Exception):
    """Instead of a power cut."""


def options(**training: Any) -> TrainingSettings:
    """Settings for small images."""
    return TrainingSettings(**{"image_size": SIDE, "epochs": 6, "batch_size": 8, "learning_rate": 0.005} | training)


def images(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Noise, every second image with a bright corner, and the classes."""
    greys = torch.rand(count, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(seed)) * 0.5
    greys[1::2, :, : SIDE // 2, : SIDE // 2] += 0.3
    return greys, torch.arange(count) % 2


class Stopping(Checkpoint):
    """Ends the fit when its second epoch was kept."""

    def keep(self, state: Callable[[], State]) -> None:
        """Keep it, whatever it costs."""
        super().keep(state)
        if len(state()["history"]["train_loss"]) == 2:
            raise StoppedError


def run(
    settings: TrainingSettings, checkpoint: Checkpoint | None, *, watched: bool
) -> tuple[SupervisedAutoencoder, History]:
    """Fit a new network."""
    torch.manual_seed(settings.seed)
    network = SupervisedAutoencoder(settings.architecture, settings.dropout)
    train = BalancedImages(*images(32, 0), settings)
    validation = images(12, 1) if watched else None
    preprocessing = Preprocessing(SIDE, 0.4, 0.2)
    return network, fit(network, train, validation, preprocessing, settings, CPU, checkpoint=checkpoint)


@pytest.mark.parametrize(
    ("training", "watched"),
    [({}, False), ({}, True), ({"optimizer": "adam"}, True), ({"workers": 2}, False)],
    ids=["default", "watched", "adam", "workers"],
)
def test_goes_on_as_if_nothing_had_been(tmp_path: Path, training: dict[str, Any], watched: bool) -> None:
    """A fit that ended after its second epoch goes on with the third: same weights, bit for bit, and same history."""
    settings = options(epochs=4, **training)
    whole, history = run(settings, None, watched=watched)
    path = tmp_path / "models" / NAME
    with pytest.raises(StoppedError):
        run(settings, Stopping(path, "one", cost=1e9), watched=watched)
    checkpoint = Checkpoint(path, "one")
    assert told_of([checkpoint]) == "goes on where a training was interrupted: after 0 folds and 2 epochs"
    again, resumed = run(settings, checkpoint, watched=watched)
    assert resumed == history
    assert all(torch.equal(a, b) for a, b in zip(whole.state_dict().values(), again.state_dict().values(), strict=True))


def test_killed_and_run_again(tmp_path: Path, write_labelled: Callable[..., None]) -> None:
    """A refresh that was killed amid its folds is gone on with by the next one, which says so: the same model.

    Also the same as where one fold is fitted after the other. What was kept is removed when the training has ended.
    """
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    for folder in (whole, killed):
        folder.mkdir()
        (folder / "config.yaml").write_text(CONFIG, encoding="utf-8")
        write_labelled(folder / "dataset", io=24, nio=24)
    command = [sys.executable, "-m", "training"]
    subprocess.run(command, cwd=whole, env=ENVIRONMENT, capture_output=True, check=True, timeout=200)
    assert not list((whole / "models").glob(f"{NAME}*"))

    path = killed / "models" / f"{NAME}-1"
    environment = {**ENVIRONMENT, "OMP_NUM_THREADS": "2"}
    with subprocess.Popen(
        command, cwd=killed, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        deadline = time.monotonic() + 200
        while not (path.exists() and (kept := _unpacked(path.read_bytes())) and kept["scores"]):
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.2)
        process.send_signal(signal.SIGKILL)
    assert not list(killed.glob("models/*/"))
    again = subprocess.run(
        command, cwd=killed, env=environment, capture_output=True, check=True, timeout=200, text=True
    )
    assert "==> goes on where a training was interrupted: after " in again.stdout
    assert "fit fold 1 of 2" not in again.stdout
    one, other = (
        safetensors.torch.load_file(folder / "models/current/weights.safetensors") for folder in (whole, killed)
    )
    for name in one:
        # The libraries that look for what good images have in common share out their sums among threads.
        assert torch.allclose(one[name], other[name], rtol=0 if name.startswith("network.") else 1e-4, atol=0), name
    assert not list((killed / "models").glob(f"{NAME}*"))


def test_of_another_training(tmp_path: Path) -> None:
    """What was kept of other images, settings or libraries is not gone on with, and that is said."""
    Checkpoint(tmp_path / NAME, "one").of(2).finish([torch.ones(3)])
    assert Checkpoint(tmp_path / NAME, "one").of(2).scores[0].tolist() == [1, 1, 1]
    assert Checkpoint(tmp_path / NAME, "one").of(1).scores == []
    other = Checkpoint(tmp_path / NAME, "another").of(2)
    assert other.scores == []
    assert other.fit() is None
    assert told_of([None, other]) == "an interrupted training was of other images, settings or libraries: begins anew"


def test_fingerprint(tmp_path: Path, write_labelled: Callable[..., None]) -> None:
    """A seed, an image or a label more make another training; what the gate tolerates does not."""
    (tmp_path / "config.yaml").write_text(CONFIG, encoding="utf-8")
    write_labelled(tmp_path / "dataset", io=24, nio=24)
    settings = load(tmp_path / "config.yaml")
    parts = split(read(settings).images, settings.training)
    first = fingerprint(parts, settings.training)
    gate = settings.training.gate.model_copy(update={"cost_limit": 9.0})
    assert fingerprint(parts, settings.training.model_copy(update={"gate": gate})) == first
    assert fingerprint(parts, settings.training.model_copy(update={"seed": 1})) != first
    assert fingerprint(parts | {"train": parts["train"][1:]}, settings.training) != first


class Malice:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
        return os.mkdir, (str(self._path),)


@pytest.mark.parametrize("content", ["truncated", "text", "malicious"])
def test_damaged(tmp_path: Path, content: str) -> None:
    """A damaged or planted file runs no code and costs no more than a beginning; it is said."""
    path, harm = tmp_path / NAME, tmp_path / "harm"
    Checkpoint(path, "one").finish([torch.ones(3)])
    if content == "truncated":
        path.write_bytes(path.read_bytes()[:-100])
    elif content == "text":
        path.write_bytes(b"hello")
    else:
        planted = io.BytesIO()
        torch.save({"fingerprint": "one", "scores": [Malice(harm)], "fit": None}, planted)
        path.write_bytes(hashlib.sha256(planted.getvalue()).digest() + planted.getvalue())
    checkpoint = Checkpoint(path, "one")
    assert told_of([checkpoint]) == f"{path} is damaged: begins anew"
    assert checkpoint.scores == []
    assert not harm.exists()


def test_costs_a_small_share_of_the_time(tmp_path: Path) -> None:
    """After an epoch was kept, those that end soon after are not; the end of a fold always is."""
    checkpoint = Checkpoint(tmp_path / NAME, "one")
    asked = []

    def state() -> State:
        asked.append(True)
        return {"history": {"train_loss": [1.0]}}

    for _ in range(3):
        checkpoint.keep(state)
    assert len(asked) == 1
    checkpoint.finish([torch.ones(3)])
    assert len(Checkpoint(tmp_path / NAME, "one").scores) == 1


def test_a_full_disk_does_not_end_a_training(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where nothing can be kept, that is said, and the training goes on."""
    (tmp_path / "models").write_text("no folder", encoding="utf-8")
    Checkpoint(tmp_path / "models" / NAME, "one").finish([torch.ones(3)])
    assert "cannot keep how far it has come" in capsys.readouterr().out


@pytest.mark.parametrize(("error", "kept"), [(None, False), (NotPromotedError(), False), (OSError(), True)])
def test_removed_when_it_has_ended(tmp_path: Path, error: Exception | None, kept: bool) -> None:
    """Promoted or not, the training has ended; after any other trouble the next one begins with what is there."""
    checkpoint = Checkpoint(tmp_path / NAME, "one")
    checkpoint.of(1).finish([torch.ones(3)])
    with contextlib.suppress(Exception), checkpoint.until_ended():
        if error:
            raise error
    assert (tmp_path / f"{NAME}-1").exists() == kept
