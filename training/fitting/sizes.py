"""`training.image_size: auto`: which size the images are worth, by their own, a short fit at each, and the time."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch.nn import functional

from inspection.device import choose_device
from inspection.errors import ConfigError
from inspection.image import Limits
from settings.schema import Settings, TrainingSettings
from training.data.answers import read_answered
from training.data.dataset import Dataset, LabelledImage, native_side, split
from training.fitting import processes
from training.fitting.build import be_repeatable, say, train
from training.fitting.folds import Scored, how_many, one_fold, score

SIZES = (96, 128, 192, 256, 384, 512)
_SHORT = 0.25  # of the draws of a whole fit
_FOLDS = 3
_GAIN = 0.005  # of the io images: a larger size must save so many false calls


def with_any_size(settings: Settings) -> Settings:
    """The settings with some number for an image size, where only the files matter."""
    return settings if settings.training.image_size != "auto" else _with_size(settings, SIZES[0])


def sized(settings: Settings) -> Settings:
    """The settings with a number for an image size; as they are, where there is one already.

    Sizes up to the images' own are tried, the smallest first, each with a short fit on two thirds of the parts that are
    not for the test; the next one only while a whole training at it would end within `training.max_minutes`. The
    smallest is taken that no larger one beats by half a percent of false calls at the required recall.

    Args:
        settings: Of the line, or of one of its products.

    Raises:
        DatasetError: The data set cannot be trained from.
        ConfigError: Several processes train: they have no one to agree by.
    """
    if settings.training.image_size != "auto":
        return settings
    if processes.count() > 1:
        raise ConfigError("training.image_size: auto is for one process; write the size that one process chose")
    largest = _with_size(settings, SIZES[-1])
    say("image size: read the images at the largest")
    images = _to_fit(read_answered(largest), largest)
    own = native_side(images, Limits.of(settings.inbox))
    candidates = [size for size, below in zip(SIZES, (0, *SIZES), strict=False) if below < own]
    device, _ = choose_device(settings.device)
    found: dict[int, float] = {}
    for size, following in zip(candidates, [*candidates[1:], None], strict=True):
        say(f"image size: a short fit at {size} pixels")
        began = time.monotonic()
        rate = _false_calls(images, size, settings.training, device)
        minutes = (time.monotonic() - began) / 60 / _SHORT * (how_many(settings.training, images) + 1)
        print(f"  {rate:.2%} false calls; a whole training takes about {minutes:.0f} min")
        if found and minutes > settings.training.max_minutes:
            print("  that is longer than training.max_minutes")
            break
        found[size] = rate
        if following and minutes * (following / size) ** 2 > settings.training.max_minutes:
            print(f"  at {following} pixels it would take longer than training.max_minutes")
            break
    chosen = min(size for size, rate in found.items() if rate <= min(found.values()) + _GAIN)
    say(f"image size: {chosen} pixels; the images' own is {own:.0f}")
    return _with_size(settings, chosen)


def _with_size(settings: Settings, size: int) -> Settings:
    return settings.model_copy(update={"training": settings.training.model_copy(update={"image_size": size})})


def _to_fit(dataset: Dataset, settings: Settings) -> list[LabelledImage]:
    """All that is not for the test: what is tested on has no say in the size either."""
    parts = split(dataset.images, settings.training)
    return parts["train"] + parts["validation"]


def _false_calls(images: Sequence[LabelledImage], size: int, options: TrainingSettings, device: torch.device) -> float:
    """Share of io images called nio at the required recall, with the best threshold in hindsight."""
    be_repeatable(options.seed)
    short = options.model_copy(update={"image_size": size, "draws": max(1, round(options.draws * _SHORT))})
    small = [replace(image, grey=_resized(image.grey, size)) for image in images]
    seen, left_out = one_fold(small, _FOLDS, options.seed)
    model, _ = train(seen, None, seen, short, device)
    return hindsight(score(model, left_out), options.required_recall)


def _resized(grey_PSS: torch.Tensor, size: int) -> torch.Tensor:
    """Grey levels `[P, S, S]` at a smaller size."""
    if grey_PSS.shape[-1] == size:
        return grey_PSS
    resized_P1SS = functional.interpolate(grey_PSS[:, None], (size, size), mode="bilinear", antialias=True)
    return resized_P1SS[:, 0]


def hindsight(scored: Scored, required_recall: float) -> float:
    """Share of io images that reach the highest threshold with which so many of these nio images are found."""
    nio, io = scored.log_odds[~scored.io].numpy(), scored.log_odds[scored.io].numpy()
    return float(np.mean(io >= np.quantile(nio, 1 - required_recall, method="lower")))
