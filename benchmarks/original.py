"""The original way, written out: one image at a time, a map by torchcam, laid over it by torchcam, moved by shutil.

Nothing is durable, nothing is logged, and torch runs eagerly with as many threads as it takes by itself. Network and
weights are ours, so that what differs is the way, not the model.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import nn
from torchcam import methods
from torchcam.utils import overlay_mask
from torchvision.transforms import v2
from torchvision.transforms.v2.functional import to_pil_image

from inspection.model import load

_WARM_UP = 2


def seconds_per_file(model: Path, images: Sequence[Path], folder: Path, method: str) -> float:
    """Judge, map and move images one after the other.

    Args:
        model: A model's folder.
        images: Copied to `folder/inbox` first; the first two are not counted.
        folder: Made, and left with `io` and `nio` in it.
        method: `SmoothGradCAMpp` or `XGradCAM`.
    """
    for name in ("inbox", "io", "nio"):
        (folder / name).mkdir(parents=True)
    waiting = [Path(shutil.copyfile(path, folder / "inbox" / f"{at}.png")) for at, path in enumerate(images)]
    loaded = load(model, torch.device("cpu"))
    network = nn.Sequential(loaded.network.encoder, loaded.network.head).to(memory_format=torch.contiguous_format)
    extractor = getattr(methods, method)(network, "1.features")
    size, card = loaded.card.preprocessing.image_size, loaded.card
    prepare = v2.Compose(
        [
            v2.Resize((size, size), antialias=True),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize([card.preprocessing.mean], [card.preprocessing.std]),
        ]
    )
    begun = 0.0
    for number, path in enumerate(waiting):
        if number == _WARM_UP:
            begun = time.perf_counter()
        _sort_one(path, folder, network, extractor, prepare, card.threshold)
    return (time.perf_counter() - begun) / (len(waiting) - _WARM_UP)


def _sort_one(
    path: Path, folder: Path, network: nn.Module, extractor: Any, prepare: v2.Transform, threshold: float
) -> None:
    image = Image.open(path).convert("L")
    scores = network(prepare(image)[None].requires_grad_())
    label = "nio" if float(scores.softmax(dim=1)[0, 1].detach()) >= threshold else "io"
    activation = extractor(1, scores)[0]
    overlay = overlay_mask(image.convert("RGB"), to_pil_image(activation, mode="F"), alpha=0.5)
    overlay.save(folder / label / f"{path.stem}_cam.png")
    shutil.move(path, folder / label / path.name)
