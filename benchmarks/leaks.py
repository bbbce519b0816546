"""How many planted copies are found, and how many images are taken for copies that are none.

Half of the images get a copy of one kind, changed as people and programs change images. A join of two views of one real
ball counts neither way.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.real_images import BGA, ball_of
from benchmarks.row import Row
from inspection.image import decode
from simulator.simulate import simulate
from training.data.copies import find_copies, thumbnail

Pixels = NDArray[np.uint8]
Plant = Callable[[Pixels, np.random.Generator], Pixels]

FOUND, FALSE = 0.99, 0.005
_MAX_PIXELS = 10**6


def _turned(image: Pixels, degrees: float) -> Pixels:
    """By a small angle, black where nothing was."""
    return np.array(Image.fromarray(image).rotate(degrees, Image.Resampling.BICUBIC))


def _turned_within(image: Pixels, degrees: float) -> Pixels:
    """By a small angle, the border continued."""
    margin = max(image.shape) // 4
    return _turned(np.pad(image, margin, mode="edge"), degrees)[margin:-margin, margin:-margin]


def _encoded(image: Pixels, quality: int) -> Pixels:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG", quality=quality)
    return np.array(Image.open(stream))


def _resized(image: Pixels, factor: float) -> Pixels:
    height, width = (round(factor * side) for side in image.shape)
    return np.array(Image.fromarray(image).resize((width, height), Image.Resampling.LANCZOS))


def _cropped(image: Pixels, rng: np.random.Generator) -> Pixels:
    """2 % of each side away, wherever the rest lies."""
    height, width = (side - max(1, round(0.02 * side)) for side in image.shape)
    top, left = (rng.integers(0, whole - part + 1) for whole, part in zip(image.shape, (height, width), strict=True))
    cut: Pixels = image[top : top + height, left : left + width]
    return cut


def _cropped_around(image: Pixels) -> Pixels:
    down, across = (max(1, round(0.02 * side)) for side in image.shape)
    cut: Pixels = image[down:-down, across:-across]
    return cut


def _brighter(image: Pixels, gain: float, offset: float) -> Pixels:
    changed: Pixels = np.clip(np.rint(image * gain + offset), 0, 255).astype(np.uint8)
    return changed


PLANTS: dict[str, Plant] = {
    "flipped across": lambda image, _: image[:, ::-1],
    "flipped down": lambda image, _: image[::-1],
    "turned by 90": lambda image, _: np.rot90(image),
    "turned by 180": lambda image, _: np.rot90(image, 2),
    "turned by 270": lambda image, _: np.rot90(image, 3),
    "turned by 2, black corners": lambda image, rng: _turned(image, float(rng.choice([-2, 2]))),
    "turned by 2": lambda image, rng: _turned_within(image, float(rng.choice([-2, 2]))),
    "JPEG 60": lambda image, _: _encoded(image, 60),
    "JPEG 75": lambda image, _: _encoded(image, 75),
    "JPEG 90": lambda image, _: _encoded(image, 90),
    "resized to 90 %": lambda image, _: _resized(image, 0.9),
    "resized to 125 %": lambda image, _: _resized(image, 1.25),
    "cropped by 2 %": _cropped,
    "cropped by 2 % all around": lambda image, _: _cropped_around(image),
    "brightness by 5 %": lambda image, rng: _brighter(image, float(rng.choice([0.95, 1.05])), 0),
    "contrast by 15 %": lambda image, _: _brighter(image, 1.15, -15),
    "turned by 90, cropped, JPEG 75": lambda image, rng: _encoded(_cropped(np.rot90(image).copy(), rng), 75),
    "flipped, turned by 2, JPEG 60": lambda image, _: _encoded(_turned_within(image[:, ::-1].copy(), 2), 60),
}


@dataclass(frozen=True)
class _Set:
    """Images, no two of them copies, and what each shows."""

    name: str
    images: list[Pixels]
    parts: list[str]


def _real(_: int) -> _Set | None:
    if not BGA.is_dir():
        return None
    paths = sorted(path for label in ("io", "nio") for path in (BGA / label).iterdir())
    return _Set("real balls", [_read(path) for path in paths], [ball_of(path) for path in paths])


def _simulated(seed: int) -> _Set | None:
    with tempfile.TemporaryDirectory() as folder:
        simulate(Path(folder) / "set", io=320, nio=120, seed=500 + seed)
        paths = sorted(path for label in ("io", "nio") for path in (Path(folder) / "set" / label).iterdir())
        return _Set("simulated joints", [_read(path) for path in paths], [path.name for path in paths])


def _read(path: Path) -> Pixels:
    return np.rint(decode(path.read_bytes(), max_pixels=_MAX_PIXELS).pixels * 255).astype(np.uint8)


def _planted(one: _Set, seed: int) -> tuple[dict[str, list[bool]], int]:
    """Give half of the images a copy, all kinds in turn; which were found, by kind, and how many others were joined."""
    rng = np.random.default_rng(seed)
    kinds = list(PLANTS)
    chosen = rng.permutation(len(one.images))[: len(one.images) // 2]
    origins = [*range(len(one.images)), *chosen.tolist()]
    planted = [kinds[turn % len(kinds)] for turn in range(len(chosen))]
    images = one.images + [
        np.ascontiguousarray(PLANTS[kind](one.images[origin], rng))
        for kind, origin in zip(planted, chosen, strict=True)
    ]
    thumbnails = [thumbnail(image.astype(np.float32) / np.float32(255)) for image in images]
    joined = [(origins[first], origins[second]) for first, second in find_copies(thumbnails)]
    together = {first for first, second in joined if first == second}
    found: dict[str, list[bool]] = {kind: [] for kind in kinds}
    for kind, origin in zip(planted, chosen.tolist(), strict=True):
        found[kind].append(origin in together)
    strangers = {image for pair in joined if one.parts[pair[0]] != one.parts[pair[1]] for image in pair}
    return found, len(strangers)


def measure(seeds: Sequence[int]) -> Iterator[Row]:
    """Copies found, by kind, and false alarms; on each set, all seeds together."""
    for make in (_real, _simulated):
        found: dict[str, list[bool]] = {kind: [] for kind in PLANTS}
        false, count, name = 0, 0, ""
        for seed in seeds:
            one = make(seed)
            if one is None:
                break
            by_kind, strangers = _planted(one, seed)
            for kind, hits in by_kind.items():
                found[kind] += hits
            name, false, count = one.name, false + strangers, count + len(one.images)
        if count:
            yield from _rows(name, found, false / count, count)


def _rows(name: str, found: dict[str, list[bool]], false: float, count: int) -> Iterator[Row]:
    for kind, hits in found.items():
        yield Row(f"planted copies found, {name}: {kind}", "-", f"{sum(hits)} of {len(hits)}")
    everything = [hit for hits in found.values() for hit in hits]
    share = sum(everything) / len(everything)
    figure = f"{share:.2%} ({sum(everything)} of {len(everything)})"
    yield Row(f"planted copies found, {name}: all kinds", f"at least {FOUND:.0%}", figure, share >= FOUND)
    figure = f"{false:.2%} of {count} images"
    yield Row(f"images taken for copies that are none, {name}", f"at most {FALSE:.1%}", figure, false <= FALSE)
