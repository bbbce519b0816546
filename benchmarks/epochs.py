"""The training against what its arithmetic alone takes, and two processes against one."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.bench import REPO, Bench, cores
from benchmarks.row import Row, ratio_row
from inspection.network import SupervisedAutoencoder
from inspection.preprocess import Preprocessing
from settings.schema import TrainingSettings
from simulator.simulate import simulate
from training.fitting.balance import BalancedImages
from training.fitting.fit import fit

_SIDE = 128
_EPOCHS = 3
_FEW_EPOCHS, _MORE_EPOCHS = 2, 6


def epoch(bench: Bench) -> Iterator[Row]:
    """An epoch of `training.fitting.fit`, and the same batches forward and backward."""
    ratios, note = [], ""
    for run in range(bench.runs):
        torch.manual_seed(run)
        network, seen = SupervisedAutoencoder("residual", 0.2), _Batches()
        with seen.watched(network):
            _fit(network, bench.files)
        steps = len(seen.starts) // _EPOCHS
        whole = seen.starts[2 * steps] - seen.starts[steps]
        alone = statistics.median(_alone(network, seen) for _ in range(2))
        ratios.append(whole / alone)
        note = f"{whole:.1f} s against {alone:.1f} s for {steps} batches"
        print(f"    run {run + 1}: {note}", flush=True)
    measure = f"epoch of training, {bench.files} images at {_SIDE} px: against forward + backward alone on its batches"
    yield ratio_row(measure, ratios, f"last: {note}", at_most=1.15)


class _Batches:
    """What the training feeds to a network, and when; as the encoder sees it, whatever was made of it before.

    Attributes:
        starts: When each step reached the encoder.
        images: Each step's input, spoilt copies included.
        rebuilt: How many of each step's images are rebuilt.
        half: Whether the training computed in half precision.
    """

    def __init__(self) -> None:
        self.starts: list[float] = []
        self.images: list[Tensor] = []
        self.rebuilt: list[int] = []
        self.half = False

    @contextmanager
    def watched(self, network: SupervisedAutoencoder) -> Iterator[None]:
        """Note the steps of a training that runs inside, as a context."""
        hooks = [
            network.encoder.register_forward_pre_hook(self._encodes),
            network.decoder.register_forward_pre_hook(self._decodes),
        ]
        yield
        for hook in hooks:
            hook.remove()

    def _encodes(self, _: nn.Module, arguments: Any) -> None:
        self.starts.append(time.perf_counter())
        self.images.append(arguments[0])
        self.half = torch.is_autocast_enabled("cpu")

    def _decodes(self, _: nn.Module, arguments: Any) -> None:
        self.rebuilt.append(len(arguments[0]))


def _fit(network: SupervisedAutoencoder, count: int) -> None:
    settings = TrainingSettings(image_size=_SIDE, epochs=_EPOCHS, draws=10**9)
    greys = torch.rand(count, 1, _SIDE, _SIDE)
    train = BalancedImages(greys, torch.arange(count) % 2, settings)
    fit(network, train, None, Preprocessing(_SIDE, 0.5, 0.3), settings, torch.device("cpu"))


def _alone(network: SupervisedAutoencoder, seen: _Batches) -> float:
    """Forward and backward through everything that is trained, for the batches of one epoch; no optimizer."""
    network.train()
    steps = len(seen.starts) // _EPOCHS
    begun = time.perf_counter()
    for images, count in zip(seen.images[-steps:], seen.rebuilt[-steps:], strict=True):
        network.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=seen.half):
            features = network.encoder(images)
            outputs = network.decoder(features[:count]), network.head(features[:count]), network.oddness(features)
        loss = torch.stack([output.float().square().mean() for output in outputs]).sum()
        torch.autograd.backward(loss)
    return time.perf_counter() - begun


def processes(bench: Bench) -> Iterator[Row]:
    """Two processes with torchrun on two cores against one process on one core."""
    measure = "2 processes with torchrun on 2 cores: against 1 process on 1 core"
    if cores() < 2:
        yield Row(measure, "at least 1.6x", "not measured: there is one core only")
        return
    dataset = bench.folder / "dataset"
    simulate(dataset, io=bench.files // 2, nio=bench.files // 2, seed=0, size=_SIDE)
    ratios, note = [], ""
    for run in range(bench.runs):
        one, two = _epoch_seconds(bench, dataset, 1), _epoch_seconds(bench, dataset, 2)
        ratios.append(one / two)
        note = f"{one:.1f} s against {two:.1f} s an epoch"
        print(f"    run {run + 1}: {note}", flush=True)
    yield ratio_row(measure, ratios, f"last: {note}", at_least=1.6)


def _epoch_seconds(bench: Bench, dataset: Path, count: int) -> float:
    """What an epoch of the whole program takes with so many processes, each with a core: the start is not counted."""
    begun = [_train(bench, dataset, count, epochs) for epochs in (_FEW_EPOCHS, _MORE_EPOCHS)]
    return (begun[1] - begun[0]) / (_MORE_EPOCHS - _FEW_EPOCHS)


def _train(bench: Bench, dataset: Path, count: int, epochs: int) -> float:
    folder = bench.folder / f"training-{time.monotonic_ns()}"
    folder.mkdir()
    (folder / "config.yaml").write_text(
        f"device: cpu\npaths: {{dataset: {dataset}}}\ntraining: {{image_size: {_SIDE}, folds: 0, epochs: {epochs}, "
        "draws: 100_000_000, patience: 1000}\n",
        encoding="utf-8",
    )
    torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}"]
    chosen = ",".join(map(str, sorted(os.sched_getaffinity(0))[:count]))
    begun = time.perf_counter()
    subprocess.run(
        ["taskset", "--cpu-list", chosen, sys.executable, *torchrun, "-m", "training"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(REPO), "OMP_NUM_THREADS": "1"},
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return time.perf_counter() - begun
