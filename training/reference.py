"""What io images look like to the daemon: the yardstick that its watch for drift goes by."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

import torch

from inspection.reference import Reference, distribution
from inspection.signals import Signals, grey_signals, measure
from inspection.verdict import Verdict
from training.dataset import LabelledImage

_BATCH = 64

T = TypeVar("T")


def make_reference(judged: Sequence[tuple[LabelledImage, Verdict]], fitted: Sequence[LabelledImage]) -> Reference:
    """Sum up the io images of a data set.

    The daemon charts what it judged io, so of the images that it could misjudge only those count that it would not.
    What the model makes of images that it was fitted to is no yardstick, but their grey levels are, and the more
    images, the smaller the shift that can be told from chance.

    Args:
        judged: Images that the model was not fitted to, with its verdicts.
        fitted: Images that it was fitted to.
    """
    held_out = [(image, verdict) for image, verdict in judged if image.label == verdict.label == "io"]
    found: dict[str, list[tuple[float, str]]] = {}
    for batch in _batches(held_out):
        greys_N1SS = torch.stack([image.grey for image, _ in batch])
        _collect(found, [image for image, _ in batch], measure(greys_N1SS, [verdict for _, verdict in batch]))
    for images in _batches([image for image in fitted if image.label == "io"]):
        _collect(found, images, grey_signals(torch.stack([image.grey for image in images])))
    labels = [image.label for image in (*(image for image, _ in judged), *fitted)]
    signals = {name: distribution(*zip(*pairs, strict=True)) for name, pairs in found.items()}
    return Reference(signals=signals, nio_share=labels.count("nio") / len(labels))


def _collect(
    found: dict[str, list[tuple[float, str]]], images: Iterable[LabelledImage], rows: Iterable[Signals]
) -> None:
    for image, row in zip(images, rows, strict=True):
        for name, value in row.items():
            found.setdefault(name, []).append((value, image.group))


def _batches(items: Sequence[T]) -> Iterable[Sequence[T]]:
    return (items[start : start + _BATCH] for start in range(0, len(items), _BATCH))
