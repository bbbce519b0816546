"""What several processes of torchrun promise: one training, the same in each of them, told and written once."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import torch

from inspection.network import SupervisedAutoencoder
from training.fitting import processes

REPO = Path(__file__).resolve().parents[3]
CONFIG = """\
device: cpu
training:
  {image_size: 32, epochs: 2, folds: 2, unseen: {io: 2, nio: 2}, gate: {most_false_calls: 1}}
"""

# All that is random or rounded to half precision is off, so that shares of batches add up to batches of one process.
FIT = """\
import json, sys
import torch
from inspection.network import SupervisedAutoencoder
from inspection.preprocess import Preprocessing
from settings.schema import TrainingSettings
from training.fitting import fit, processes
from training.fitting.balance import BalancedImages

torch.set_num_threads(1)
fit.pseudo_defects = lambda greys: greys[:0]
fit._has_bfloat16 = lambda device: False
fit._REBUILT_EVERY = 1
settings = TrainingSettings(
    image_size=32, architecture="plain", dropout=0, augment_io=False, epochs=2, batch_size=10, optimizer="adam"
)
greys = torch.rand(44, 1, 32, 32, generator=torch.Generator().manual_seed(0)) * 0.5
greys[22:, :, :16, :16] += 0.3
classes = (torch.arange(44) >= 22).long()


class Plain(BalancedImages):
    def __getitems__(self, indices):
        return self._greys[self.order[indices]], self._classes[self.order[indices]]


with processes.joined():
    torch.manual_seed(0)
    network = SupervisedAutoencoder("plain")
    watched = greys[::2], classes[::2]
    history = fit.fit(
        network, Plain(greys, classes, settings), watched, Preprocessing(32, 0.3, 0.2), settings, torch.device("cpu")
    )
    print("told")
    torch.save({"weights": network.state_dict(), "history": history.as_dict()}, f"{sys.argv[1]}{processes.rank()}")
"""

Started = list[subprocess.Popen[str]]
Start = Callable[..., Started]


@pytest.fixture
def start() -> Iterator[Start]:
    """`start(arguments, *folders)`: a Python process in each folder, as torchrun would start them."""
    with ExitStack() as running:

        def begin(arguments: list[str], *folders: Path) -> Started:
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                port = free.getsockname()[1]
            world = {"WORLD_SIZE": str(len(folders)), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
            started = []
            for rank, folder in enumerate(folders):
                own = {"RANK": str(rank), "LOCAL_RANK": str(rank), "LOCAL_WORLD_SIZE": str(len(folders))}
                process = subprocess.Popen(
                    [sys.executable, *arguments],
                    cwd=folder,
                    env={**os.environ, "PYTHONPATH": str(REPO), "GLOO_SOCKET_IFNAME": "lo", **world, **own},
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
                running.enter_context(process)
                running.callback(process.kill)
                started.append(process)
            return started

        yield begin


@pytest.fixture
def line(tmp_path: Path, write_labelled: Callable[..., None]) -> Path:
    """A folder to train in."""
    folder = tmp_path / "line"
    folder.mkdir()
    (folder / "config.yaml").write_text(CONFIG, encoding="utf-8")
    write_labelled(folder / "dataset", io=24, nio=24)
    return folder


def complaints(stderr: str) -> list[str]:
    """The lines of the program itself: neither progress nor what libraries say."""
    return [told for told in stderr.splitlines() if told.startswith("solderwatch-train:")]


def test_alone_nothing_is_exchanged() -> None:
    """Without torchrun there is one process, which is the first and does everything."""
    values = torch.tensor([1.0, 2.0])
    with processes.joined(), processes.first_alone():
        assert (processes.rank(), processes.count()) == (0, 1)
        assert processes.share([1, 2, 3]) == [1, 2, 3]
        assert processes.summed(values).tolist() == [1, 2]
        assert processes.from_first(b"mine") == b"mine"
        assert processes.alike(b"mine")
        assert processes.device_of("auto") == "auto"


def test_two_are_as_one(tmp_path: Path, start: Start) -> None:
    """Two processes end with the same weights bit for bit, close to those of one with the same batches.

    Losses and accuracies are those of all images, also where the last batch is uneven; only the first process prints.
    """
    script = tmp_path / "fit.py"
    script.write_text(FIT, encoding="utf-8")
    for folders, name in (((tmp_path, tmp_path), "two"), ((tmp_path,), "one")):
        started = start([str(script), str(tmp_path / name)], *folders)
        said = [process.communicate(timeout=200)[0] for process in started]
        assert [process.returncode for process in started] == [0] * len(folders)
        assert said == ["told\n", ""][: len(folders)]
    first, second, alone = (torch.load(tmp_path / name, weights_only=True) for name in ("two0", "two1", "one0"))
    assert first["history"] == second["history"]
    torch.manual_seed(0)
    begun = SupervisedAutoencoder("plain").state_dict()
    apart = moved = 0.0
    for key, values in alone["weights"].items():
        assert torch.equal(first["weights"][key], second["weights"][key])
        apart += float((first["weights"][key] - values).square().sum())
        moved += float((begun[key] - values).square().sum())
    assert apart < 0.001**2 * moved
    for key in ("train_loss", "validation_loss", "train_accuracy", "validation_accuracy"):
        assert first["history"][key] == pytest.approx(alone["history"][key], rel=1e-4), key


def test_torchrun(line: Path) -> None:
    """The two processes of torchrun train one model between them, say everything once, and leave one model folder."""
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "training"]
    environment = {**os.environ, "PYTHONPATH": str(REPO), "GLOO_SOCKET_IFNAME": "lo"}
    ended = subprocess.run(
        [sys.executable, *command], cwd=line, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert ended.returncode == 0, ended.stderr
    for step in ("read", "fit fold 1 of 2", "fit (Ctrl-C", "save", "promote"):
        assert ended.stdout.count(f"==> {step}") == 1
    (folder,) = [path for path in (line / "models").iterdir() if path.is_dir() and not path.is_symlink()]
    assert (line / "models" / "current").resolve() == folder
    assert json.loads((folder / "model.json").read_text(encoding="utf-8"))["training_data"]
    assert not (line / "models" / ".resume").exists()


def test_one_that_fails_ends_all(line: Path, tmp_path: Path, write_labelled: Callable[..., None], start: Start) -> None:
    """Where a process has other images than another all end, with one line that says why."""
    other = tmp_path / "other"
    other.mkdir()
    (other / "config.yaml").write_text(CONFIG, encoding="utf-8")
    write_labelled(other / "dataset", io=24, nio=24, seed=1)
    started = start(["-m", "training"], line, other)
    told = [process.communicate(timeout=200)[1] for process in started]
    assert [process.returncode for process in started] == [1, 1]
    (why,) = complaints(told[0]) + complaints(told[1])
    assert "the processes' images, settings or libraries differ" in why
    assert not list(line.glob("models/*/"))


def test_one_that_is_killed_ends_all(line: Path, start: Start) -> None:
    """Where a process is killed amid the training the other one ends too, and says so in one line."""
    first, second = start(["-m", "training"], line, line)
    assert first.stdout
    for said in first.stdout:
        if said.startswith("==> fit"):
            break
    second.send_signal(signal.SIGKILL)
    _, told = first.communicate(timeout=200)
    assert first.returncode == 1
    (why,) = complaints(told)
    assert "another process of this training ended" in why
    assert "Traceback" not in told
