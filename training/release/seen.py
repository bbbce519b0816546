"""What a model was trained on, so that nobody judges it by what it knows: `training_images.txt` in its folder.

One line per image that its weights or its threshold were chosen on: the part, the beginning of the file's SHA-256, and
that of its group's name. `training_data` in model.json holds the hash of it all.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from inspection.model import ModelCard
from training.data.dataset import LabelledImage, Part

SEEN, SEEN_KEY = "training_images.txt", "training_images_sha256"
_KEPT_APART: tuple[Part, ...] = ("unseen", "test")
_DIGITS = 16


@dataclass(frozen=True)
class Seen:
    """What a model was trained on, as shortened hashes of contents and of group names."""

    images: frozenset[str]
    groups: frozenset[str]

    def unseen(self, test: Sequence[LabelledImage], everything: Sequence[LabelledImage]) -> list[LabelledImage]:
        """Those test images of which the model saw neither the bytes nor another image of their group.

        Args:
            test: The images in question.
            everything: The whole data set: groups may have been called otherwise when the model was trained, and are
                known by their members.
        """
        known = {
            image.group
            for image in (*everything, *test)
            if image.sha256[:_DIGITS] in self.images or _short(image.group) in self.groups
        }
        return [image for image in test if image.group not in known]


def seen_lines(parts: Mapping[Part, Sequence[LabelledImage]]) -> bytes:
    """The content of `training_images.txt`."""
    lines = sorted(
        f"{part} {image.sha256[:_DIGITS]} {_short(image.group)}\n"
        for part, images in parts.items()
        if part not in _KEPT_APART
        for image in images
    )
    return "".join(lines).encode()


def digest(lines: bytes) -> str:
    """What the card holds of it."""
    return hashlib.sha256(lines).hexdigest()


def read_seen(folder: Path, card: ModelCard) -> Seen | None:
    """What the model in a folder was trained on; None where that cannot be known for sure."""
    try:
        lines = (folder / SEEN).read_bytes()
    except OSError:
        return None
    if digest(lines) != card.training_data.get(SEEN_KEY):
        return None
    fields = [line.split() for line in lines.decode().splitlines()]
    return Seen(frozenset(image for _, image, _ in fields), frozenset(group for _, _, group in fields))


def _short(group: str) -> str:
    return hashlib.sha256(os.fsencode(group)).hexdigest()[:_DIGITS]
