"""What would let a test be passed without skill: copies on both sides of the split, and labels told by the outside.

Copies are put into one group, so that they never straddle the split; the rest is told.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from inspection.files import readable
from inspection.image import GreyImage
from inspection.verdict import LABELS, Label
from training.data.copies import find_copies, projection, thumbnail
from training.data.giveaways import Giveaway, Outside, border_levels, find_giveaways

_SHOWN = 10


@dataclass(frozen=True)
class Trace:
    """What is kept of an image to find leaks.

    Attributes:
        content: A hash of the grey levels of all pages, whatever the file's format.
        thumbnail: A small picture.
        outside: What is known of it without looking at what it shows.
    """

    content: str
    thumbnail: NDArray[np.float16]
    outside: Outside


def trace(name: str, image: GreyImage) -> Trace:
    """The trace of a decoded image that came from a file of this name."""
    pixels = image.pixels
    levels = np.rint(pixels * 65535).astype(np.uint16)
    content = hashlib.sha256(repr(pixels.shape).encode() + levels.tobytes()).hexdigest()
    height, width = pixels.shape
    outside = Outside(name, width, height, image.bits, image.format, border_levels(pixels))
    return Trace(content, thumbnail(pixels), outside)


def whole(pages: Sequence[Trace]) -> Trace:
    """The trace of a file from those of its pages, at least one; so pages are never copies of their own stack's."""
    first, *others = pages
    if not others:
        return first
    content = hashlib.sha256("".join(page.content for page in pages).encode()).hexdigest()
    top, bottom, left, right = np.mean([page.outside.border for page in pages], axis=0).tolist()
    outside = replace(first.outside, pages=len(pages), border=(top, bottom, left, right))
    return Trace(content, projection([page.thumbnail for page in pages]), outside)


class Grouped(Protocol):
    """A labelled image, as far as it matters here."""

    @property
    def path(self) -> Path:
        """Where it lies."""

    @property
    def label(self) -> Label:
        """What it was called."""

    @property
    def group(self) -> str:
        """The part that it shows."""


@dataclass(frozen=True)
class Leaks:
    """What was found.

    Attributes:
        copies: Sets of images that are copies of one another, each with the one first that gives the group its name.
        contradictions: Copies that carry different labels: io first, then nio.
        giveaways: What predicts the label and should not.
    """

    copies: tuple[tuple[Path, ...], ...] = ()
    contradictions: tuple[tuple[Path, Path], ...] = ()
    giveaways: tuple[Giveaway, ...] = ()

    def lines(self, name: Callable[[Path], str] = lambda path: readable(str(path))) -> list[str]:
        """What a person should know, a line each, files called by `name`; nothing where nothing was found."""
        said = []
        if self.copies:
            count = sum(len(found) for found in self.copies)
            said.append(
                f"{count} images are near copies of one another, in {len(self.copies)} sets, each kept together:"
            )
            said += _first([", ".join(_first([name(path) for path in found])) for found in self.copies])
        if self.contradictions:
            said.append(f"WARNING: {len(self.contradictions)} near copies carry both labels; remove the wrong one:")
            said += _first([f"io {name(io)}, nio {name(nio)}" for io, nio in self.contradictions])
        return said + [f"WARNING: {giveaway}" for giveaway in self.giveaways]


def _first(said: list[str]) -> list[str]:
    return said[:_SHOWN] + ([f"and {len(said) - _SHOWN} more"] if len(said) > _SHOWN else [])


def find_leaks(
    images: Sequence[Grouped], traces: Sequence[Trace], same_groups: Sequence[tuple[str, str]] = ()
) -> tuple[list[str], Leaks]:
    """Look for leaks.

    Copies of different groups make these one group. It takes the name, and so the place in the split, of the group of
    the image whose file name is shortest, then first in the alphabet: copies are mostly called `x_2.png`, or get a
    later number or date, and so what was test stays test when they come. A copy under a shorter or earlier name may
    move the whole group.

    Args:
        images: No content twice.
        traces: Of each image.
        same_groups: Groups that had a content in common, before it was left out of one of them.

    Returns:
        The group of each image, and what was found.
    """
    pairs = find_copies([one.thumbnail for one in traces])
    groups = _joined([image.group for image in images], pairs, [image.path for image in images], same_groups)
    sets = _sets(len(images), pairs)
    leaks = Leaks(
        copies=tuple(tuple(sorted((images[i].path for i in one), key=_seniority)) for one in sets),
        contradictions=tuple(_contradictions(images, pairs)),
        giveaways=tuple(find_giveaways([one.outside for one in traces], [image.label for image in images], groups)),
    )
    return groups, leaks


def _seniority(path: Path) -> tuple[int, str, str]:
    return len(path.name), path.name, str(path)


def _parts(count: int, pairs: Sequence[tuple[int, int]]) -> NDArray[np.int32]:
    """Which of `count` things hang together by the pairs: equal numbers do."""
    ends = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    links = coo_array((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), shape=(count, count))
    found: NDArray[np.int32] = connected_components(links, directed=False)[1]
    return found


def _joined(
    groups: list[str], pairs: Sequence[tuple[int, int]], paths: Sequence[Path], same_groups: Sequence[tuple[str, str]]
) -> list[str]:
    """The groups, after those that share copies were made one."""
    # Also of groups that have no image left: two others may hang together by such a one.
    known = dict.fromkeys([*groups, *(group for same in same_groups for group in same)])
    numbers = {group: number for number, group in enumerate(known)}
    links = [(numbers[groups[one]], numbers[groups[other]]) for one, other in pairs]
    links += [(numbers[one], numbers[other]) for one, other in same_groups]
    part = _parts(len(numbers), links)
    names: dict[int, str] = {}
    for index in sorted(range(len(groups)), key=lambda index: _seniority(paths[index])):
        names.setdefault(part[numbers[groups[index]]], groups[index])
    return [names[part[numbers[group]]] for group in groups]


def _sets(count: int, pairs: Sequence[tuple[int, int]]) -> list[list[int]]:
    part = _parts(count, pairs)
    found: dict[int, list[int]] = {}
    for index in sorted({index for pair in pairs for index in pair}):
        found.setdefault(part[index], []).append(index)
    return list(found.values())


def _contradictions(images: Sequence[Grouped], pairs: Sequence[tuple[int, int]]) -> Iterator[tuple[Path, Path]]:
    for pair in pairs:
        one, other = sorted((images[index] for index in pair), key=lambda image: LABELS.index(image.label))
        if one.label != other.label:
            yield one.path, other.path
