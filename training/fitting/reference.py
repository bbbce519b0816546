"""What io images look like to the daemon: the yardstick that its watch for drift goes by."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from inspection.reference import Reference, distribution
from inspection.signals import Signals, grey_signals, measure
from training.data.dataset import LabelledImage
from training.proof.evaluate import Judgement

_BATCH = 64

T = TypeVar("T")


def make_reference(judged: Sequence[tuple[LabelledImage, Judgement]], fitted: Sequence[LabelledImage]) -> Reference:
    """Sum up the io images of a data set; of a stack every page, as the daemon charts them.

    The daemon charts what it judged io, so of the images that it could misjudge only those count that it would not.
    What the model makes of images that it was fitted to is no yardstick, but their grey levels are, and the more
    images, the smaller the shift that can be told from chance.

    Args:
        judged: Images that the model was not fitted to, and what it made of them.
        fitted: Images that it was fitted to.
    """
    held_out = [
        (image, page, verdict)
        for image, one in judged
        if image.label == one.verdict.label == "io"
        for page, verdict in enumerate(one.pages)
    ]
    found: dict[str, list[tuple[float, str]]] = {}
    for batch in _batches(held_out):
        greys_N1SS = _greys([(image, page) for image, page, _ in batch])
        _collect(found, [image for image, _, _ in batch], measure(greys_N1SS, [verdict for _, _, verdict in batch]))
    good = [image for image in fitted if image.label == "io"]
    for pages in _batches([(image, page) for image in good for page in range(len(image.grey))]):
        _collect(found, [image for image, _ in pages], grey_signals(_greys(pages)))
    labels = [image.label for image in (*(image for image, _ in judged), *fitted)]
    signals = {name: distribution(*zip(*pairs, strict=True)) for name, pairs in found.items()}
    return Reference(signals=signals, nio_share=labels.count("nio") / len(labels))


def _greys(pages: Sequence[tuple[LabelledImage, int]]) -> Tensor:
    return torch.stack([image.grey[page][None] for image, page in pages])


def _collect(
    found: dict[str, list[tuple[float, str]]], images: Iterable[LabelledImage], rows: Iterable[Signals]
) -> None:
    for image, row in zip(images, rows, strict=True):
        for name, value in row.items():
            found.setdefault(name, []).append((value, image.group))


def _batches(items: Sequence[T]) -> Iterable[Sequence[T]]:
    return (items[start : start + _BATCH] for start in range(0, len(items), _BATCH))
