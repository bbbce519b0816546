"""How soon a line that moved is noticed, and how often one that did not is said to have moved.

A model is trained, fresh images are judged by it once, as they are and shifted, and the daemon's own watch is fed
streams drawn from them with replacement, one image in twenty nio.
"""

from __future__ import annotations

import contextlib
import io
import json
import statistics
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from benchmarks.real_images import BALL, BGA, lay_out
from benchmarks.row import Row
from benchmarks.simulated import LEAST_SEVERITY
from daemon.reporting.drift import DriftWatch
from filing.folders import Folders
from filing.logs import open_log
from inspection.image import decode
from inspection.inspector import Inspection, Inspector
from settings import Settings, load
from settings.schema import LogSettings
from simulator.simulate import simulate
from training.data.dataset import read, split
from training.fitting.build import build
from training.fitting.reference import make_reference
from training.proof.evaluate import judge_files

WITHIN, UNSHIFTED = 200, 50_000
_BEFORE, _STREAMS, _NIO_SHARE = 600, 20, 0.05
_BATCH = 32
_MAX_PIXELS = 10_000_000
_ANY_TIME = "2026-01-01T00:00:00.000Z"

Pixels = NDArray[np.float32]


def _zoomed(pixels: Pixels) -> Pixels:
    height, width = pixels.shape
    return pixels[height // 10 : height - height // 10, width // 10 : width - width // 10]


SHIFTS: dict[str, Callable[[Pixels], Pixels]] = {
    "5 % brighter": lambda pixels: np.minimum(pixels * np.float32(1.05), 1.0),
    "5 % darker": lambda pixels: pixels * np.float32(0.95),
    "blurred by 1 px": lambda pixels: gaussian_filter(pixels, 1.0),
    "magnified 1.25 times": _zoomed,
}


@dataclass(frozen=True)
class _Line:
    """A trained model, and what it finds in fresh images: as they are, and by shift.

    Attributes:
        inspector: Judged them.
        unshifted: Of each image.
        shifted: The same, by shift; of a new part, other images.
        good: So many of the images are io; those after them are nio.
    """

    inspector: Inspector
    unshifted: list[Inspection]
    shifted: dict[str, list[Inspection]]
    good: int

    def draw(self, images: Sequence[Inspection], count: int, rng: np.random.Generator) -> Iterator[Inspection]:
        """A stream, with replacement."""
        io_indexes = rng.integers(min(self.good, len(images)), size=count)
        if len(images) <= self.good:
            return (images[index] for index in io_indexes)
        nio_indexes = rng.integers(self.good, len(images), size=count)
        return (images[index] for index in np.where(rng.random(count) < _NIO_SHARE, nio_indexes, io_indexes))


def measure(seeds: Sequence[int]) -> Iterator[Row]:
    """Two rows for each data set: shifts noticed, and false alarms."""
    yield from _rows("simulated, 1,800 io + 200 nio at 64 px", _simulated, seeds)
    if BGA.is_dir():
        yield from _rows("bga, three quarters of the balls at 64 px", _bga, seeds)


def _rows(name: str, make: Callable[[Path, int], _Line], seeds: Sequence[int]) -> Iterator[Row]:
    delays: dict[str, list[int | None]] = {}
    alarms, images = [], set()
    for seed in seeds:
        with tempfile.TemporaryDirectory() as folder:
            line = make(Path(folder), seed)
            rng = np.random.default_rng(seed)
            alarms.append(_false_alarms(line, rng))
            reference = line.inspector.model.card.reference
            assert reference
            images |= {known.images for known in reference.signals.values()}
            for shift, shifted in line.shifted.items():
                delays.setdefault(shift, []).extend(_delay(line, shifted, rng) for _ in range(_STREAMS))
    found = [
        f"{shift}: {sum(delay is not None for delay in of_shift)} of {len(of_shift)}, "
        f"median {statistics.median(delay if delay is not None else WITHIN for delay in of_shift):.0f} images"
        for shift, of_shift in delays.items()
    ]
    all_noticed = all(delay is not None for of_shift in delays.values() for delay in of_shift)
    figure = f"{'; '.join(found)}; reference of {min(images)} to {max(images)} io images"
    yield Row(f"drift, {name}: planted shifts noticed within {WITHIN} images", "all", figure, all_noticed)
    counted = f"{', '.join(' '.join([str(len(told)), *told]) for told in alarms)} in {len(alarms)} streams"
    few = all(len(told) <= 1 for told in alarms)
    yield Row(f"drift, {name}: false alarms in {UNSHIFTED:,} unshifted images", "at most 1", counted, few)


def _false_alarms(line: _Line, rng: np.random.Generator) -> list[str]:
    """What was told to have moved in a long stream of images that did not."""
    with _Watch(line) as watch:
        for inspection in line.draw(line.unshifted, UNSHIFTED, rng):
            watch.add(inspection)
        return watch.told


def _delay(line: _Line, shifted: Sequence[Inspection], rng: np.random.Generator) -> int | None:
    """How many images after a shift it is told; None if not in time. What is told before it, is not of it."""
    with _Watch(line) as watch:
        for inspection in line.draw(line.unshifted, _BEFORE, rng):
            watch.add(inspection)
        before = len(watch.told)
        for number, inspection in enumerate(line.draw(shifted, WITHIN, rng), start=1):
            watch.add(inspection)
            if len(watch.told) > before:
                return number
    return None


class _Watch:
    """The daemon's watch in a folder of its own."""

    def __init__(self, line: _Line) -> None:
        self._card = line.inspector.model.card
        self._folder = tempfile.TemporaryDirectory()
        self._log = io.StringIO()
        settings = Settings.model_validate({}, context={"base": Path(self._folder.name)})
        folders = Folders(settings.paths.line)
        folders.make()
        folders.look()
        self._watch = DriftWatch(settings.drift, folders, open_log(LogSettings(file=None), self._log))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()

    def add(self, inspection: Inspection) -> None:
        self._watch.add(self._card, inspection.verdict, [inspection.signals], _ANY_TIME)

    @property
    def told(self) -> list[str]:
        """The drifts that the log tells of: each the signals that moved."""
        events = [json.loads(line) for line in self._log.getvalue().splitlines()]
        return [
            "+".join(chart["signal"] for chart in event["signals"]) for event in events if event["event"] == "drift"
        ]


def _simulated(folder: Path, seed: int) -> _Line:
    simulate(folder / "dataset", io=1800, nio=200, seed=seed, least_severity=LEAST_SEVERITY)
    inspector = _train(folder, f"training: {{image_size: 64, epochs: 20, folds: 0, seed: {seed}}}\n")
    simulate(folder / "fresh", io=1500, nio=150, seed=1000 + seed, least_severity=LEAST_SEVERITY)
    return _judge(inspector, folder / "fresh", BGA / "io")


def _bga(folder: Path, seed: int) -> _Line:
    lay_out(folder, seed, 64)
    inspector = _train(
        folder, f"names: {{pattern: '{BALL}'}}\ntraining: {{image_size: 64, epochs: 30, seed: {seed}}}\n"
    )
    simulate(folder / "other", io=50, nio=0, seed=seed)
    return _judge(inspector, folder / "held-out", folder / "other" / "io")


def _train(folder: Path, config: str) -> Inspector:
    """What the refresh does, but for certificate, report and gate, which no chart depends on."""
    (folder / "config.yaml").write_text(config, encoding="utf-8")
    settings = load(folder / "config.yaml")
    with contextlib.redirect_stdout(io.StringIO()):
        parts = split(read(settings).images, settings.training)
        model = build(parts, settings.training, torch.device("cpu")).model
    tested = zip(parts["test"], judge_files(model, parts["test"]), strict=True)
    reference = make_reference(list(tested), parts["train"] + parts["validation"])
    model = replace(model, card=model.card.model_copy(update={"model_id": "trained", "reference": reference}))
    return Inspector(model, "XGradCAM", only_last_conv=True)


def _judge(inspector: Inspector, fresh: Path, other_part: Path) -> _Line:
    good, bad = (_read(fresh / label) for label in ("io", "nio"))
    shifted = {name: _inspect(inspector, [shift(pixels) for pixels in good + bad]) for name, shift in SHIFTS.items()}
    if other_part.is_dir():
        shifted["new part"] = _inspect(inspector, _read(other_part))
    return _Line(inspector, _inspect(inspector, good + bad), shifted, len(good))


def _read(folder: Path) -> list[Pixels]:
    return [decode(path.read_bytes(), max_pixels=_MAX_PIXELS).pixels for path in sorted(folder.iterdir())]


def _inspect(inspector: Inspector, images: Sequence[Pixels]) -> list[Inspection]:
    starts = range(0, len(images), _BATCH)
    return [found for start in starts for found in inspector.inspect(images[start : start + _BATCH])]
