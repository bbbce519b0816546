"""What the measures of speed share: a place on the disk, images, a model, daemons as real processes, and their logs."""

from __future__ import annotations

import argparse
import functools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.row import Row, check_names, print_rows
from filing.folders import file_system
from inspection.image import decode
from inspection.model import Model, ModelCard, PreprocessingCard, RuntimeProof, library_versions, now, save
from inspection.network import SupervisedAutoencoder
from inspection.novelty import DESCRIPTION, Novelty
from inspection.verdict import LABELS, Label
from settings.schema import CURRENT
from simulator.simulate import simulate
from training.data.dataset import LabelledImage
from training.fitting.folds import score
from training.proof.runtimes import prove_runtimes

REPO = Path(__file__).resolve().parents[1]
SIDE = 512
"""Pixels of the images that are judged."""

_DIFFERENT = 40
_PATIENCE_S = 1800.0

Event = dict[str, Any]


@dataclass(frozen=True)
class Bench:
    """Where and how thoroughly to measure.

    Attributes:
        folder: Empty at first, on the checkout's disk.
        runs: How often each ratio is measured; the median counts.
        files: How many files the daemon judges in one run.
    """

    folder: Path
    runs: int
    files: int

    def images(self, side: int) -> list[Path]:
        """Some dozens of simulated images, made once; PNG of 8 bits."""
        out = self.folder / f"images-{side}"
        if not out.exists():
            print(f"    simulating {_DIFFERENT} images of {side} x {side}", flush=True)
            simulate(out, io=_DIFFERENT * 3 // 4, nio=_DIFFERENT // 4, seed=0, size=side)
        return sorted(path for label in ("io", "nio") for path in (out / label).iterdir())

    def line(self, image_size: int = 256, config: str = "") -> Line:
        """A fresh folder with a configuration, of the CPU and what else is given as YAML, and a model."""
        folder = self.folder / f"line-{time.monotonic_ns()}"
        (folder / "data" / "inbox").mkdir(parents=True)
        (folder / "config.yaml").write_text(f"device: cpu\n{config}", encoding="utf-8")
        saved = save(folder / "models", _proven(image_size, *self.images(SIDE)), _golden())
        (folder / "models" / CURRENT).symlink_to(saved.name)
        return Line(folder)


def _model(image_size: int) -> Model:
    """The default network with random weights: as fast as any; every image is io, clearly, and none unidentified."""
    torch.manual_seed(0)
    network = SupervisedAutoencoder("residual", 0.2).eval()
    with torch.no_grad():
        network.head.linear.bias.copy_(torch.tensor([5.0, -5.0]))
    novelty = Novelty(DESCRIPTION)
    novelty.farthest.fill_(1e6)
    novelty.oddest.fill_(1e6)
    card = ModelCard(
        created=now(),
        architecture="residual",
        dropout=0.2,
        preprocessing=PreprocessingCard(image_size=image_size, mean=0.5, std=0.25),
        threshold=0.5,
        training_data={},
        metrics={},
        versions=library_versions(),
    )
    return Model(card, network, novelty, torch.device("cpu"))


@functools.cache
def _proven(image_size: int, *paths: Path) -> Model:
    """That model with the proof of each runtime, as a training ends with it; made once for all lines."""
    model, images = _model(image_size), []
    for path in paths:
        grey = model.preprocessing.resized([decode(path.read_bytes(), max_pixels=SIDE**2).pixels])[0]
        images.append(LabelledImage(path, "io", path.name, path.name, grey))
    proofs = {
        name: proof for name, proof in prove_runtimes(model, score(model, images)) if isinstance(proof, RuntimeProof)
    }
    return replace(model, card=model.card.model_copy(update={"runtimes": proofs}))


def _golden() -> list[tuple[NDArray[np.float32], Label]]:
    """As many good ones as a training keeps; of noise."""
    return [(np.random.default_rng(number).random((64, 64), np.float32), "io") for number in range(8)]


class Line:
    """A daemon's folder.

    Args:
        folder: With `config.yaml` and `models`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.inbox = folder / "data" / "inbox"
        self._log = folder / "logs" / "decisions.jsonl"

    def fill(self, images: Sequence[Path], count: int, *, linked: bool = False) -> None:
        """Put so many files into the inbox, and let the disk come to rest.

        Args:
            images: Taken in turn.
            count: How many.
            linked: As hard links to a few copies, which is fast; else each is a copy of its own.
        """
        for number in range(count):
            target = self.inbox / f"{number:06d}.png"
            if linked and number >= len(images):
                os.link(self.inbox / f"{number % len(images):06d}.png", target)
            else:
                shutil.copyfile(images[number % len(images)], target)
        os.sync()

    def once(self) -> list[Event]:
        """Empty the inbox; returns the decisions."""
        with self._daemon("--once") as process:
            if process.wait(_PATIENCE_S) != 0:
                raise SystemExit(f"benchmarks: {self.folder}: the daemon failed: {self._log.read_text()[-2000:]}")
        return self.events("decision")

    @contextmanager
    def running(self) -> Iterator[int]:
        """A daemon that watches, as a context; its process number."""
        with self._daemon() as process:
            self.wait_for("watching")
            yield process.pid

    @contextmanager
    def _daemon(self, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
        command = [sys.executable, "-m", "daemon", "run", *arguments]
        environment = os.environ | {"PYTHONPATH": str(REPO)}
        process = subprocess.Popen(command, cwd=self.folder, env=environment, stdout=subprocess.DEVNULL)
        try:
            yield process
        finally:
            process.terminate()
            process.wait(60)

    def wait_for(self, event: str, count: int = 1) -> list[Event]:
        """Wait until an event was logged so often; returns all of them. Looks only at what is new, so costs nothing."""
        end = time.monotonic() + _PATIENCE_S
        seen, found = 0, 0
        while found < count:
            if time.monotonic() > end:
                raise SystemExit(f"benchmarks: {self.folder}: no {count} x {event} in {_PATIENCE_S:.0f} s")
            time.sleep(0.05)
            new = self._lines_from(seen)
            seen, found = seen + len(new), found + new.count(f'"event": "{event}"'.encode())
        return self.events(event)

    def _lines_from(self, offset: int) -> bytes:
        """The whole lines of the log that begin there."""
        try:
            with self._log.open("rb") as file:
                file.seek(offset)
                text = file.read()
        except FileNotFoundError:
            return b""
        return text[: text.rfind(b"\n") + 1]

    def events(self, event: str) -> list[Event]:
        """What was logged of one kind."""
        found = (json.loads(text) for text in self._log.read_text(encoding="utf-8").splitlines())
        return [one for one in found if one["event"] == event]

    def place(self, name: str) -> Path | None:
        """Where an image lies that was judged; None while it is not."""
        places = (self.folder / "data" / label / name for label in LABELS)
        return next((place for place in places if os.path.lexists(place)), None)

    def remove(self) -> None:
        """Give the room back."""
        shutil.rmtree(self.folder)


def moment(time: str) -> float:
    """Seconds of a time as logs write it."""
    return datetime.fromisoformat(time).timestamp()


def cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0))


def run_measures(
    description: str | None,
    measures: Mapping[str, Callable[[Bench], Iterator[Row]]],
    *,
    runs: int,
    files: int,
    fewest: int,
) -> int:
    """The command line of a module of measures: print the rows of those that are named.

    Args:
        description: What they are, and how to call them.
        measures: By name; each makes rows, as soon as they are known.
        runs: How often each ratio is measured, if nothing else is said.
        files: How many files a run takes, if nothing else is said.
        fewest: So many at least.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(measures))
    parser.add_argument("--runs", type=int, default=runs, help=f"of which the median counts; default: {runs}")
    parser.add_argument("--files", type=int, default=files, help=f"in each run, at least {fewest}; default: {files}")
    arguments = parser.parse_args()
    check_names(parser, arguments.names, measures)
    if arguments.runs < 1 or arguments.files < fewest:
        parser.error(f"--runs must be 1 or more, and --files {fewest} or more")
    print(f"{cores()} cores, {file_system(REPO)}; {arguments.runs} runs, {arguments.files} files", flush=True)
    with tempfile.TemporaryDirectory(prefix="bench-run.", dir=REPO) as folder:
        bench = Bench(Path(folder), arguments.runs, arguments.files)
        print_rows(arguments.names or measures, lambda name: measures[name](bench))
    return 0
