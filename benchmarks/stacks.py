"""Verdicts on stacks, against those of a network that is trained on one of their slices and judges that one alone.

The joints are simulated, of five slices; a defect is in focus in one to three of them, and well visible there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from benchmarks.bga import CPU, Figures, Judged, median
from benchmarks.row import Row
from benchmarks.simulated import LEAST_SEVERITY
from inspection.preprocess import resize
from settings.schema import TrainingSettings
from simulator.simulate import DEFECTS
from simulator.slices import simulate_stack
from training.data.dataset import LabelledImage, Part
from training.fitting.build import be_repeatable, build
from training.proof.evaluate import as_judged, judge_files

_SIDE = 64
_SLICES = 5
_LEARNT_IO, _LEARNT_NIO = 400, 200
_FRESH_IO, _FRESH_NIO = 200, 100
_DRAWS = 12_000  # of each training: a few minutes of one core


def measure(seeds: Sequence[int]) -> Iterator[Row]:
    """Fresh stacks at the threshold that the training chose; the best slice is that of the highest AUC."""
    whole: list[Figures] = []
    single: list[list[Figures]] = [[] for _ in range(_SLICES)]
    for seed in seeds:
        seen = _joints(seed, 0, io=_LEARNT_IO, nio=_LEARNT_NIO)
        fresh = _joints(seed, 1, io=_FRESH_IO, nio=_FRESH_NIO)
        whole.append(_train_and_judge(seen, fresh, seed))
        print(f"    seed {seed}, stacks: {whole[-1]}", flush=True)
        for number, found in enumerate(single):
            found.append(_train_and_judge(_slice(seen, number), _slice(fresh, number), seed))
            print(f"    seed {seed}, slice {number + 1} alone: {found[-1]}", flush=True)
    stacks = median(whole)
    number, best = max(enumerate(map(median, single)), key=lambda pair: pair[1].auc)
    most = 1.5 * max(best.false_calls, 1 / _FRESH_IO)
    yield Row(
        f"{_FRESH_IO + _FRESH_NIO} fresh stacks of {_SLICES} slices: recall / false calls at our threshold",
        f"those of slice {number + 1} alone, the best: at least {best.recall:.2%} / at most 1.5 x "
        f"{best.false_calls:.2%} (its AUC {best.auc:.4f}, in hindsight {best.hindsight:.2%})",
        f"{stacks.recall:.2%} / {stacks.false_calls:.2%} (AUC {stacks.auc:.4f}, in hindsight {stacks.hindsight:.2%})",
        stacks.recall >= best.recall and stacks.false_calls <= most,
    )


def _joints(seed: int, stream: int, *, io: int, nio: int) -> list[LabelledImage]:
    """Simulated stacks; those of two streams have nothing in common."""
    defects = [None] * io + [DEFECTS[number % len(DEFECTS)] for number in range(nio)]
    images = []
    for number, defect in enumerate(defects):
        rng = np.random.default_rng([seed, stream, number])
        levels_khw = simulate_stack(
            rng, defect, _SLICES, size=_SIDE, least_severity=LEAST_SEVERITY
        ).pixels / np.float32(255)
        grey_PSS = torch.cat([resize(level_hw, _SIDE) for level_hw in levels_khw])
        name = f"{stream}-{number}"
        images.append(LabelledImage(Path(name), "nio" if defect else "io", name, name, grey_PSS))
    return images


def _slice(images: Sequence[LabelledImage], number: int) -> list[LabelledImage]:
    return [replace(image, grey=image.grey[number : number + 1]) for image in images]


def _train_and_judge(seen: Sequence[LabelledImage], fresh: Sequence[LabelledImage], seed: int) -> Figures:
    """How a model judges; its limits are chosen on every fourth image that is there to learn from."""
    options = TrainingSettings(image_size=_SIDE, seed=seed, folds=0, draws=_DRAWS)
    be_repeatable(seed)
    parts: dict[Part, list[LabelledImage]] = {
        "train": [one for index, one in enumerate(seen) if index % 4],
        "validation": list(seen[::4]),
    }
    model = build(parts, options, CPU).model
    found = [one.verdict for one in judge_files(model, fresh)]
    return Figures.of([Judged(*one) for one in zip(fresh, found, as_judged(found).tolist(), strict=True)])
