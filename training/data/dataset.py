"""Labelled folders -> images in memory, and which of them train, validate, test or are set aside.

An image is a file: a single picture, or a stack of pages that its label holds for as a whole.

The split is made before anything is augmented, by a hash of the image's group and the seed: images of one part never
straddle it, and what was test stays test when the data set grows.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from filing.doubts import labelled_files, units_of
from inspection.errors import DatasetError, ImageError
from inspection.files import dangling_link
from inspection.image import Limits, open_stack
from inspection.preprocess import resize
from inspection.verdict import LABELS, Label
from settings.schema import Settings, TrainingSettings
from training.data.leaks import Leaks, Trace, find_leaks, trace, whole
from training.data.memory import Room, room_for
from training.fitting import processes

Part = Literal["unseen", "test", "validation", "train"]
_SOME = 50
PARTS: tuple[Part, ...] = ("unseen", "test", "validation", "train")


@dataclass(frozen=True)
class LabelledImage:
    """One readable file of the data set: one picture, or a stack of several pages.

    Attributes:
        path: Where it lies.
        label: The folder that it lies in.
        group: Equal for all images of one part, and for copies; where the name says nothing the grey levels' hash, so
            each image is its own.
        sha256: Of the file's bytes.
        grey: The resized grey levels of its pages `[P, S, S]` in 0..1; most have one.
        kind: Of joint, if the name says so.
        part: What it shows, as its name says; where that says nothing, the file's name.
        confirmed: Whether a person has said that the label is right.
    """

    path: Path
    label: Label
    group: str
    sha256: str
    grey: Tensor
    kind: str | None = None
    part: str = ""
    confirmed: bool = False

    @property
    def is_stack(self) -> bool:
        """Whether it has several pages."""
        return len(self.grey) > 1

    def named(self, page: int) -> str:
        """Which page of how many, for people, with the page counted from 0; nothing where there is one only."""
        return f"page {page + 1} of {len(self.grey)}" if self.is_stack else ""


@dataclass(frozen=True)
class Dataset:
    """What was found in the labelled folders; each content once."""

    images: list[LabelledImage]
    unreadable: list[tuple[Path, str]]
    duplicates: list[tuple[Path, Path]]
    leaks: Leaks = field(default_factory=Leaks)
    answers: list[str] = field(default_factory=list)
    """What people said of labels, in words."""
    disputed: int = 0
    """Images that were left out because people disagree about them, or nobody can tell."""

    def fingerprint(self) -> str:
        """A hash of all labels and contents, and of which a person has confirmed, whatever the files are called."""
        lines = sorted(f"{image.label} {image.sha256}{' confirmed' * image.confirmed}\n" for image in self.images)
        return hashlib.sha256("".join(lines).encode()).hexdigest()


def bytes_of(image: LabelledImage) -> bytes | None:
    """The file's bytes; None where they are no longer those that were read, for a training may take hours."""
    try:
        data = image.path.read_bytes()
    except OSError:
        return None
    return data if hashlib.sha256(data).hexdigest() == image.sha256 else None


def pages_of(image: LabelledImage, limits: Limits) -> Iterator[NDArray[np.float32]]:
    """The grey levels `[H, W]` of each page; as the network sees them, where the file is gone or changed."""
    data = bytes_of(image)
    if data is None:
        return iter(image.grey.numpy())
    return (page.pixels for page in open_stack(data, limits))


def page_of(image: LabelledImage, page: int, limits: Limits) -> NDArray[np.float32]:
    """The same of one page, counted from 0; the others are not decoded."""
    data = bytes_of(image)
    return image.grey[page].numpy() if data is None else open_stack(data, limits)[page].pixels


def native_side(images: Sequence[LabelledImage], limits: Limits) -> float:
    """The median of the longer sides of some of the images as their files have them, in pixels."""
    some = images[:: max(1, len(images) // _SOME)]
    return float(np.median([max(next(pages_of(image, limits)).shape) for image in some]))


def read(settings: Settings) -> Dataset:
    """Read `dataset/io` and `dataset/nio`, recursively.

    Raises:
        DatasetError: A folder is missing or holds no readable image, too many files are unreadable, or an image carries
            both labels.
    """
    files = [(path, label) for label in LABELS for path in _image_files(settings, label)]
    room = Room(len(files), settings.training.pixels)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        loaded = pool.map(lambda item: _load(item[0], item[1], room, settings), files)
        results = list(tqdm(loaded, "read", len(files), unit="image", disable=None if not processes.rank() else True))
    unreadable = [(path, found) for (path, _), found in zip(files, results, strict=True) if isinstance(found, str)]
    allowed = settings.training.max_unreadable
    if len(unreadable) > allowed:
        listed = "\n".join(f"  {path}: {reason}" for path, reason in unreadable[:20])
        raise DatasetError(
            f"{settings.paths.dataset}: {len(unreadable)} unreadable files are more than training.max_unreadable "
            f"({allowed}); remove or replace them:\n{listed}"
        )
    for label in LABELS:
        of_label = [found for (_, known), found in zip(files, results, strict=True) if known == label]
        if all(isinstance(found, str) for found in of_label):
            folder = settings.paths.dataset / label
            raise DatasetError(f"{folder}: no readable image ({of_label[0]}); put labelled images there")
    unique, duplicates = _each_content_once([found for found in results if not isinstance(found, str)])
    images, traces = [image for image, _ in unique], [trace for _, trace in unique]
    groups, leaks = find_leaks(images, traces, [(kept.group, dropped.group) for kept, dropped in duplicates])
    images = [replace(image, group=group) for image, group in zip(images, groups, strict=True)]
    return Dataset(images, unreadable, [(kept.path, dropped.path) for kept, dropped in duplicates], leaks)


def _image_files(settings: Settings, label: Label) -> list[Path]:
    folder = settings.paths.dataset / label
    if not folder.is_dir():
        why = dangling_link(folder) or "no such folder"
        raise DatasetError(f"{folder}: {why}; put labelled images in {' and '.join(_folders(settings))}")
    files = labelled_files(settings, label)
    if not files:
        raise DatasetError(f"{folder}: no images ({', '.join(settings.inbox.suffixes)}); put labelled images there")
    return files


def _folders(settings: Settings) -> list[str]:
    return [str(settings.paths.dataset / label) for label in LABELS]


def _load(path: Path, label: Label, room: Room, settings: Settings) -> tuple[LabelledImage, Trace] | str:
    """The image, with its grey levels in the room, and its trace; or why it cannot be read."""
    traces = []
    try:
        data = path.read_bytes()
        pages = open_stack(data, Limits.of(settings.inbox))
        grey_PSS = room.take(len(pages))
        for page, grey_SS in zip(pages, grey_PSS, strict=True):
            traces.append(trace(path.name, page))
            grey_SS.copy_(resize(page.pixels, settings.training.pixels)[0])
    except ImageError as error:
        return str(error)
    except OSError as error:
        return error.strerror or str(error)
    found = whole(traces)
    units = units_of(path, settings)
    sha256 = hashlib.sha256(data).hexdigest()
    group = units.part or found.content
    return LabelledImage(path, label, group, sha256, grey_PSS, units.kind, units.part or path.name), found


def _each_content_once(
    loaded: list[tuple[LabelledImage, Trace]],
) -> tuple[list[tuple[LabelledImage, Trace]], list[tuple[LabelledImage, LabelledImage]]]:
    """Leave out what shows the same grey levels as another, in whatever format; each with the one that was kept."""
    first: dict[str, tuple[LabelledImage, Trace]] = {}
    duplicates = []
    for image, found in loaded:
        known, _ = first.setdefault(found.content, (image, found))
        if known is image:
            continue
        if known.label != image.label:
            raise DatasetError(
                f"{known.path} and {image.path} are the same image under both labels: remove the wrong one"
            )
        duplicates.append((known, image))
    return list(first.values()), duplicates


def split(images: Sequence[LabelledImage], settings: TrainingSettings) -> dict[Part, list[LabelledImage]]:
    """Give every group of images to one part.

    The images set aside are whole groups, so there may be a few more of them than `unseen` asks for.

    Raises:
        DatasetError: A part that must hold both labels lacks one.
    """
    groups: dict[str, list[LabelledImage]] = {}
    for image in images:
        groups.setdefault(image.group, []).append(image)
    parts: dict[Part, list[LabelledImage]] = {part: [] for part in PARTS}
    aside = set(_set_aside(groups, settings))
    for name, members in groups.items():
        if name in aside:
            part: Part = "unseen"
        elif _fraction(settings.seed, "test", name) < settings.test_share:
            part = "test"
        elif _fraction(settings.seed, "validation", name) < settings.validation_share:
            part = "validation"
        else:
            part = "train"
        parts[part] += members
    for part in ("test", "validation", "train"):
        for label in LABELS:
            if not any(image.label == label for image in parts[part]):
                raise DatasetError(
                    f"no {label} image fell into the {part} part of {len(images)} images in {len(groups)} groups: "
                    f"add labelled {label} images, lower training.unseen.{label}, or make names.pattern finer"
                )
    return parts


def _set_aside(groups: dict[str, list[LabelledImage]], settings: TrainingSettings) -> Iterator[str]:
    wanted = {"io": settings.unseen.io, "nio": settings.unseen.nio}
    for name in sorted(groups, key=lambda name: _fraction(settings.seed, "unseen", name)):
        if any(wanted[image.label] > 0 for image in groups[name]):
            yield name
            for image in groups[name]:
                wanted[image.label] -= 1


def _fraction(seed: int, purpose: str, group: str) -> float:
    """A number in 0..1 that depends on the seed, the purpose and the group alone."""
    digest = hashlib.sha256(f"{seed}\0{purpose}\0{group}".encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def all_pages(images: Sequence[LabelledImage]) -> Tensor:
    """The pages of all images, one after another: grey levels `[P, 1, S, S]` in 0..1."""
    greys_P1SS = room_for(sum(len(image.grey) for image in images), images[0].grey.shape[-1])
    torch.cat([image.grey for image in images], out=greys_P1SS[:, 0])
    return greys_P1SS


def classes_of(images: Sequence[LabelledImage]) -> Tensor:
    """Images -> classes `[N]`: 0 io, 1 nio."""
    return torch.tensor([LABELS.index(image.label) for image in images])


def grey_statistics(images: Sequence[LabelledImage]) -> tuple[float, float]:
    """Mean and standard deviation of all grey levels; a stack counts as much as a single picture."""
    moments = torch.tensor([[image.grey.double().mean(), image.grey.double().square().mean()] for image in images])
    mean, square = moments.double().mean(0).tolist()
    return mean, math.sqrt(max(0.0, square - mean**2))
