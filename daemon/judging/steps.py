"""Steps of judging one file, and what they make of it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from filing.claim import Claim
from inspection import picture
from inspection.image import GreyImage, Stack
from inspection.inspector import Inspection, Inspector
from inspection.signals import Signals
from inspection.stack import StackInspection


class JudgingError(Exception):
    """The model failed on an image.

    Args:
        why: How.
    """

    def __init__(self, why: Exception) -> None:
        super().__init__(why)
        self.why = why


@dataclass(frozen=True)
class Page:
    """A page that was decoded."""

    image: GreyImage
    decode_ms: float


@dataclass(frozen=True)
class Opened:
    """A file that was read; its pages are decoded one by one, by whatever thread."""

    claim: Claim
    stack: Stack
    sha256: str
    size: int
    read_ms: float

    def decode(self, number: int) -> Page:
        """Decode a page, counted from 0.

        Raises:
            ImageError: It is damaged, and so the file is no image.
            OSError: There is no memory for it.
        """
        started = time.perf_counter()
        try:
            image = self.stack[number]
        except MemoryError:
            raise OSError("no memory to decode it") from None
        return Page(image, ms_since(started))


@dataclass(frozen=True)
class Judged:
    """What a worker hands back of a file.

    Attributes:
        inspection: What was found out about the page that decides.
        signals: What the watch for drift wants to know of each page.
        picture: The map as PNG bytes.
        record: What the sidecar says of the file and the pages in it.
        milliseconds: What each stage took, all pages together.
    """

    inspection: Inspection
    signals: list[Signals]
    picture: bytes
    record: dict[str, Any]
    milliseconds: dict[str, float]


class Judging:
    """A file on its way through the stages, page by page; it holds the pixels of one page at most.

    Args:
        opened: The file; not kept, so that its bytes are free once its pages are decoded.
    """

    def __init__(self, opened: Opened) -> None:
        self._file = {"sha256": opened.sha256, "bytes": opened.size, "format": opened.stack.format}
        self._pages = len(opened.stack)
        self._decode_ms, self._judge_ms = opened.read_ms, 0.0
        self._found: StackInspection | None = None

    def add(self, page: Page, inspection: Inspection, judge_ms: float) -> None:
        """Take in the next page."""
        self._decode_ms += page.decode_ms
        self._judge_ms += judge_ms
        if self._found is None:
            self._found = StackInspection(page.image, inspection)
        else:
            self._found.add(page.image, inspection)

    @property
    def complete(self) -> bool:
        """Whether all pages are judged."""
        return self._found is not None and len(self._found.verdicts) == self._pages

    def draw(self) -> Judged:
        """Draw the map of the page that decides, and put down what is known of the file."""
        if self._found is None:
            raise AssertionError("drawn before a page was judged")
        found, started = self._found, time.perf_counter()
        drawn = picture.draw(found.image.pixels, found.inspection, found.page + 1, self._pages)
        milliseconds = {
            "decode": round(self._decode_ms, 2),
            "judge": round(self._judge_ms, 2),
            "draw": ms_since(started),
        }
        return Judged(found.inspection, found.signals, drawn, self._file | _told(found), milliseconds)


def _told(found: StackInspection) -> dict[str, Any]:
    """What the record says of the pages of a file."""
    height, width = found.image.pixels.shape
    record = {
        "width": width,
        "height": height,
        "bits": found.image.bits,
        "notes": found.notes,
        "pages": len(found.verdicts),
        "page": found.page + 1,
    }
    if len(found.verdicts) > 1:
        record["scores"] = {
            "nio_probability": [verdict.probability for verdict in found.verdicts],
            "novelty": [verdict.novelty for verdict in found.verdicts],
        }
    return record


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


def ms_since(started: float) -> float:
    """Milliseconds since a moment of `time.perf_counter`."""
    return round(1000 * (time.perf_counter() - started), 2)


def is_memory(error: Exception) -> bool:
    """Whether there was not enough memory, on whatever device; torch has no name of its own for the CPU's."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error)
