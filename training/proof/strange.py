"""Images that show no part as it should be shown, made from ones that do, and what a model says of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from inspection.model import Model
from inspection.preprocess import resize
from inspection.verdict import Verdict
from training.proof.evaluate import verdicts

_Pixels = NDArray[np.float32]
_SEED = 0


@dataclass(frozen=True)
class StrangeKind:
    """How images that are strange in one way were judged.

    Attributes:
        name: What was done to them.
        example: The first of them `[H, W]` in 0..1.
        count: How many there are.
        novel: How many have a novelty above 1.
        defect: How many the classifier calls nio, novel or not.
        io: How many were judged io: none should be.
    """

    name: str
    example: _Pixels
    count: int
    novel: int
    defect: int
    io: int


def judge_strange(images: Sequence[_Pixels], model: Model) -> list[StrangeKind]:
    """Make strange images of ones that a model knows, and have it judge them.

    Args:
        images: Good ones, `[H, W]` in 0..1; at least one.
        model: On any device.
    """
    random = np.random.default_rng(_SEED)
    kinds: dict[str, Callable[[_Pixels], _Pixels]] = {
        "blank": lambda pixels: np.full_like(pixels, pixels.mean()),
        "noise": lambda pixels: random.uniform(0, 1, pixels.shape).astype(np.float32),
        "inverted": lambda pixels: 1 - pixels,
        "saturated (three times as bright)": lambda pixels: np.clip(3 * pixels, 0, 1),
        "half magnification": _half_magnification,
    }
    return [_judge(name, [make(pixels) for pixels in images], model) for name, make in kinds.items()]


def _judge(name: str, images: Sequence[_Pixels], model: Model) -> StrangeKind:
    size = model.card.preprocessing.image_size
    found = verdicts(model, torch.stack([resize(image, size) for image in images]))
    reasons = [verdict.reason for verdict in found]
    return StrangeKind(
        name=name,
        example=images[0],
        count=len(images),
        novel=sum(is_novel(verdict) for verdict in found),
        defect=reasons.count("defect"),
        io=reasons.count("clear"),
    )


def is_novel(verdict: Verdict) -> bool:
    """Whether an image is unlike the good ones, even where the classifier sees a defect in it."""
    return verdict.novelty is None or verdict.novelty > 1


def _half_magnification(pixels: _Pixels) -> _Pixels:
    """Twice the field of view: the surroundings are the image's own, mirrored."""
    height, width = pixels.shape
    return np.pad(pixels, ((height // 2,) * 2, (width // 2,) * 2), mode="symmetric")
