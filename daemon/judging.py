"""Steps of judging one image, and what they make of it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from daemon.claim import Claim
from inspection import picture
from inspection.image import GreyImage
from inspection.inspector import Inspection, Inspector


class JudgingError(Exception):
    """The model failed on an image.

    Args:
        why: How.
    """

    def __init__(self, why: Exception) -> None:
        super().__init__(why)
        self.why = why


@dataclass(frozen=True)
class Opened:
    """An image that was read and decoded."""

    claim: Claim
    image: GreyImage
    sha256: str
    size: int
    decode_ms: float


@dataclass(frozen=True)
class Judged:
    """What a worker hands back of an image.

    Attributes:
        inspection: What was found out.
        picture: The map as PNG bytes.
        record: What the sidecar says of the file and the image in it.
        milliseconds: What each stage took.
    """

    inspection: Inspection
    picture: bytes
    record: dict[str, Any]
    milliseconds: dict[str, float]


class Twins:
    """As many twins of an inspector as there are threads that want one at the same time.

    The original is not among them: whoever has it may use it meanwhile.
    """

    def __init__(self, original: Inspector) -> None:
        self.original = original
        self._free: list[Inspector] = []

    @contextmanager
    def one(self) -> Iterator[Inspector]:
        """One for this thread alone."""
        try:
            twin = self._free.pop()
        except IndexError:
            twin = self.original.twin()
        yield twin
        # Not after an error: nobody knows what it has left in there.
        self._free.append(twin)


def draw(opened: Opened, inspection: Inspection, judge_ms: float) -> Judged:
    """Draw an image's map, and put down what is known of it."""
    started = time.perf_counter()
    drawn = picture.draw(opened.image.pixels, inspection)
    height, width = opened.image.pixels.shape
    record = {
        "sha256": opened.sha256,
        "bytes": opened.size,
        "format": opened.image.format,
        "width": width,
        "height": height,
        "bits": opened.image.bits,
        "notes": list(opened.image.notes),
    }
    milliseconds = {"decode": opened.decode_ms, "judge": judge_ms, "draw": ms_since(started)}
    return Judged(inspection, drawn, record, milliseconds)


def ms_since(started: float) -> float:
    """Milliseconds since a moment of `time.perf_counter`."""
    return round(1000 * (time.perf_counter() - started), 2)


def is_memory(error: Exception) -> bool:
    """Whether there was not enough memory, on whatever device; torch has no name of its own for the CPU's."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error)
