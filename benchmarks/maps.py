"""Do the maps point at the defect? Measured on simulated joints, whose defects have masks, for every method."""

from __future__ import annotations

import copy
import csv
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import distance_transform_edt, gaussian_filter

from benchmarks import bga, simulated
from benchmarks.row import Row
from inspection.cam import METHODS, MapMaker
from inspection.image import decode
from inspection.inspector import Inspection, Inspector
from inspection.model import Model, Scores, load, save
from inspection.picture import enlarged
from inspection.residual import NAME as RESIDUAL
from settings.schema import CamSettings
from simulator.simulate import DEFECTS, simulate
from training.refresh import GOLDEN_PER_LABEL

_JUDGED_IO, _JUDGED_NIO = 300, 600
_TOLERANCE = 15 / 512
"""Of the side: what a peak may lie beside the mask, as 15 pixels in Zhang et al., "Top-down neural attention by
excitation backprop", ECCV 2016."""
_TARGET = 0.95
_BATCH = 8
_TIMED = 15

Grey = NDArray[np.float32]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class _Pointing:
    """How one map lies to its mask: the peak in it, with the tolerance or without; the map's share within it."""

    defect: str
    near: bool
    within: bool
    energy: float


@dataclass(frozen=True)
class _Masked:
    """An image whose defect lies where its mask says; an io image has none."""

    pixels: Grey
    mask: Mask | None
    defect: str


def measure(seeds: Sequence[int]) -> Iterator[Row]:
    """The default's pointing game, then that of all methods with their cost, what io images look like, the residual."""
    default = CamSettings()
    runs: dict[tuple[str, bool], list[list[_Pointing]]] = {}
    costs: dict[tuple[str, bool], list[float]] = {}
    strengths: list[float] = []
    strange: list[_Pointing] = []
    for seed in seeds:
        with tempfile.TemporaryDirectory() as folder:
            model = _trained(seed, Path(folder))
            judged = _masked(Path(folder) / "judged", 1000 * seed + 501)
        nio = [one for one in judged if one.mask is not None]
        io = [one for one in judged if one.mask is None]
        for key in _combinations():
            found = _inspected(Inspector(model, key[0], only_last_conv=key[1]), nio)
            right = [_pointing(one, seen) for one, seen in found if seen.verdict.reason == "defect"]
            runs.setdefault(key, []).append(right)
            costs.setdefault(key, []).append(_cost(model, key, [one.pixels for one in io[:_BATCH]]))
        inspector = Inspector(model, default.method, only_last_conv=default.only_last_conv)
        right = runs[default.method, default.only_last_conv][-1]
        print(f"    seed {seed}: {len(right)} of {len(nio)} judged nio; {_by_defect(right)}", flush=True)
        strengths += [seen.strength for _, seen in _inspected(inspector, io) if seen.verdict.label == "io"]
        doubter = Inspector(_that_knows_nothing(model), default.method, only_last_conv=default.only_last_conv)
        spoilt = _inspected(doubter, [_with_foreign_body(one, index) for index, one in enumerate(io)])
        strange += [_pointing(one, seen) for one, seen in spoilt if seen.method == RESIDUAL]
    near = statistics.median(map(_near, runs[default.method, default.only_last_conv]))
    yield Row("pointing game on simulated masks", "at least 95 %", f"{near:.2%} ({default.method})", near >= _TARGET)
    for (method, last), each in runs.items():
        within = statistics.median(statistics.mean(one.within for one in run) for run in each)
        energy = statistics.median(statistics.mean(one.energy for one in run) for run in each)
        yield Row(
            f"maps by {method}, {'last stage' if last else 'all stages'}: pointing game (without tolerance)",
            "-",
            f"{statistics.median(map(_near, each)):.1%} ({within:.1%}); {energy:.1%} of the energy inside; scores and "
            f"map in {statistics.median(costs[method, last]):.2f} of the time for the scores; {_by_defect(each[0])}",
        )
    median, many = np.quantile(strengths, (0.5, 0.95))
    yield Row("how boldly maps of io images are drawn", "-", f"median {median:.2f}, 95 % at most {many:.2f} of 1")
    yield Row("residual maps of good joints with a crumb, hole or wire on them: pointing game", "-", _summary(strange))


def _combinations() -> Iterator[tuple[str, bool]]:
    """What the configuration allows: each method, and whether it maps the last stage only."""
    for method in METHODS:
        for last in (True, False):
            try:
                CamSettings(method=method, only_last_conv=last)  # type: ignore[arg-type]
            except ValueError:
                continue
            yield method, last


def _trained(seed: int, folder: Path) -> Model:
    """What the training makes of simulated images, saved and loaded."""
    seen = simulated.images_of(seed, 2 * seed, io=simulated.LEARNT_IO, nio=simulated.LEARNT_NIO)
    model, validation = simulated.train_without_folds(seen, seed)
    golden = [
        (one.grey[0].numpy(), one.label)
        for label in ("io", "nio")
        for one in [one for one in validation if one.label == label][:GOLDEN_PER_LABEL]
    ]
    return load(save(folder / "models", model, golden), bga.CPU)


def _that_knows_nothing(model: Model) -> Model:
    """The model, were every image unidentified."""
    novelty = copy.deepcopy(model.novelty)
    novelty.farthest.fill_(torch.finfo().tiny)
    return replace(model, card=model.card.model_copy(update={"threshold": 1.0}), novelty=novelty)


def _masked(out: Path, seed: int) -> list[_Masked]:
    simulate(out, io=_JUDGED_IO, nio=_JUDGED_NIO, seed=seed, least_severity=simulated.LEAST_SEVERITY)
    with (out / "labels.csv").open(encoding="utf-8") as file:
        return [
            _Masked(
                decode((out / row["file"]).read_bytes(), max_pixels=10**7).pixels,
                np.asarray(Image.open(out / row["mask"])) > 0 if row["mask"] else None,
                row["defect"],
            )
            for row in csv.DictReader(file)
        ]


def _inspected(inspector: Inspector, images: Sequence[_Masked]) -> list[tuple[_Masked, Inspection]]:
    return [
        (one, seen)
        for start in range(0, len(images), _BATCH)
        for one, seen in zip(
            images[start : start + _BATCH],
            inspector.inspect([one.pixels for one in images[start : start + _BATCH]]),
            strict=True,
        )
    ]


def _pointing(one: _Masked, seen: Inspection) -> _Pointing:
    """Compare a map with its mask, as the picture shows it over the image."""
    assert one.mask is not None
    height, width = one.mask.shape
    shown = enlarged(seen.evidence, (width, height))
    peak = np.unravel_index(shown.argmax(), shown.shape)
    # In shares of the sides.
    beside = distance_transform_edt(~one.mask, sampling=(1 / height, 1 / width))[peak]
    energy = float(shown[one.mask].sum() / max(shown.sum(), 1e-9))
    return _Pointing(one.defect, bool(beside <= _TOLERANCE), bool(one.mask[peak]), energy)


def _near(pointings: Sequence[_Pointing]) -> float:
    return statistics.mean(one.near for one in pointings)


def _summary(pointings: Sequence[_Pointing]) -> str:
    within = statistics.mean(one.within for one in pointings)
    return f"{_near(pointings):.1%} ({within:.1%}) of {len(pointings)}"


def _by_defect(pointings: Sequence[_Pointing]) -> str:
    return ", ".join(f"{kind} {_near([one for one in pointings if one.defect == kind]):.0%}" for kind in DEFECTS)


def _cost(model: Model, key: tuple[str, bool], images: Sequence[Grey]) -> float:
    """Time for scores and maps of a batch, as a share of the time for the scores alone."""
    maker = MapMaker(model.network, key[0], only_last_conv=key[1])
    batch_N1SS = model.batch(images)

    def both() -> None:
        found = model.look(batch_N1SS)
        Scores.of(found)
        maker(batch_N1SS, found)

    def alone() -> None:
        model.scores(batch_N1SS)

    times: dict[Callable[[], None], list[float]] = {both: [], alone: []}
    for _ in range(_TIMED):
        for call, taken in times.items():
            begun = time.perf_counter()
            call()
            taken.append(time.perf_counter() - begun)
    return statistics.median(times[both]) / statistics.median(times[alone])


def _with_foreign_body(one: _Masked, index: int) -> _Masked:
    """A good image with something on it that is no defect of a joint: a crumb, a hole or a wire."""
    rng = np.random.default_rng(index)
    height, width = one.pixels.shape
    y, x = np.mgrid[:height, :width] / max(height, width) - rng.uniform(0.2, 0.6, (2, 1, 1))
    kind = ("crumb", "hole", "wire")[index % 3]
    if kind == "wire":
        turn = rng.uniform(0, np.pi)
        along, across = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
        mask = (np.abs(along) < 0.2) & (np.abs(across) < 0.012)
    else:
        mask = np.hypot(x, y) < rng.uniform(0.04, 0.1)
    change = gaussian_filter(mask.astype(np.float32), 0.7) * (0.3 if kind == "hole" else -0.4)
    return _Masked(np.clip(one.pixels + change, 0, 1).astype(np.float32), mask, kind)
