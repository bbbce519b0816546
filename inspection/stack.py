"""Judges a file whole: every page of it; the one that decides gives its verdict, its map and its picture."""

from __future__ import annotations

from collections.abc import Sequence

from inspection.image import GreyImage, Stack
from inspection.inspector import Inspection, Inspector
from inspection.signals import Signals
from inspection.verdict import Verdict, deciding


class StackInspection:
    """What was found out about a file's pages so far; keeps the pixels of the one that decides, and of no other.

    Attributes:
        image: The page that decides; see `inspection.verdict.deciding`.
        inspection: What was found out about it.
        page: Its index, from 0.
        verdicts: Of each page, in their order.
        signals: What the watch for drift wants to know of each page.

    Args:
        image: The first page.
        inspection: What was found out about it.
    """

    def __init__(self, image: GreyImage, inspection: Inspection) -> None:
        self.image, self.inspection, self.page = image, inspection, 0
        self.verdicts: list[Verdict] = []
        self.signals: list[Signals] = []
        self._noted: dict[str, list[int]] = {}
        self._count(image, inspection)

    def add(self, image: GreyImage, inspection: Inspection) -> None:
        """Take in the next page."""
        if deciding([self.inspection.verdict, inspection.verdict]):
            self.image, self.inspection, self.page = image, inspection, len(self.verdicts)
        self._count(image, inspection)

    def _count(self, image: GreyImage, inspection: Inspection) -> None:
        self.verdicts.append(inspection.verdict)
        self.signals.append(inspection.signals)
        for note in image.notes:
            self._noted.setdefault(note, []).append(len(self.verdicts))

    @property
    def notes(self) -> list[str]:
        """What a person should know, each once; of a file with several pages it begins with those that it is about."""
        if len(self.verdicts) == 1:
            return list(self._noted)
        return [f"{self._named(pages)}: {note}" for note, pages in self._noted.items()]

    def _named(self, pages: list[int]) -> str:
        if len(pages) == len(self.verdicts):
            return "all pages"
        return f"page{'s' if len(pages) > 1 else ''} {', '.join(map(str, pages))}"


def inspect_stack(inspector: Inspector, stack: Stack) -> StackInspection:
    """Judge every page of a file, one after the other, as the daemon does on a CPU: to the last bit the same verdict.

    The pixels of two pages at most are in memory, however many there are.

    Raises:
        ImageError: A page is damaged; then none of the file counts.
    """
    (found,) = inspect_by([inspector], stack)
    return found


def inspect_by(inspectors: Sequence[Inspector], stack: Stack) -> list[StackInspection]:
    """The same by several inspectors, in their order; each page is decoded once.

    Raises:
        ImageError: A page is damaged; then none of the file counts.
    """
    found = _begun(inspectors, stack[0])
    for page in range(1, len(stack)):
        _add(inspectors, found, stack[page])
    return found


def _begun(inspectors: Sequence[Inspector], image: GreyImage) -> list[StackInspection]:
    return [StackInspection(image, _inspected(inspector, image)) for inspector in inspectors]


def _add(inspectors: Sequence[Inspector], found: Sequence[StackInspection], image: GreyImage) -> None:
    """Judge the next page; nobody here holds it, or the one before, while another one is decoded."""
    for inspector, one in zip(inspectors, found, strict=True):
        one.add(image, _inspected(inspector, image))


def _inspected(inspector: Inspector, image: GreyImage) -> Inspection:
    (inspection,) = inspector.inspect([image.pixels])
    return inspection
