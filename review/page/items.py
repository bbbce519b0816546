"""What the browser is told of an image: what it shows, what the model says, views, neighbours, and the last words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from filing.ledger import Image, Ledger, Spoken
from inspection.files import readable
from inspection.verdict import Label
from review.page.archive import Archive
from review.page.layout import Point, neighbours, places
from review.page.seals import BLIND, Handle, Kind, Seals
from settings import Settings

_VIEWS, _NEIGHBOURS, _WORDS = 12, 6, 6
_MOST_PAGES = 24


@dataclass(frozen=True)
class Teller:
    """Tells of images.

    Attributes:
        settings: The line's.
        archive: Where they are.
        seals: For their names.
        layout: Where joints are.
    """

    settings: Settings
    archive: Archive
    seals: Seals
    layout: dict[str, Point]

    def item(self, image: Image, kind: Kind, ledger: Ledger) -> dict[str, Any] | None:
        """An image to be decided; None where its record says something else than the ledger.

        Raises:
            LedgerError: It cannot answer now.
        """
        if image.outcome == "quarantine":
            return None
        record = self.archive.record(image.outcome, image.path)
        if record is None:
            return None
        blind = kind in BLIND
        handle = Handle(image.outcome, image.path, record["decision_id"], kind)
        board = ledger.board(image.board, image.product) if image.board else []
        words = ledger.words(image.joint, image.product, image.board or None, _WORDS) if image.joint else []
        return {
            "seal": self.seals.seal(handle),
            "file": readable(str(image.path)),
            "product": image.product,
            "board": image.board,
            "joint": image.joint,
            "view": image.view,
            "pages": min(image.pages or 1, _MOST_PAGES),
            "page": 0 if blind else max((image.page or 1) - 1, 0),
            "size": [record.get("width"), record.get("height")],
            "says": None if blind else says(image),
            "scores": None if blind else _scores(record),
            "map": not blind,
            "notes": [readable(str(note)) for note in record.get("notes") or [] if isinstance(note, str)][:5],
            "reasons": self.settings.reasons_of(image.product),
            "views": self._views(image, board),
            "neighbours": self._neighbours(image, board),
            "words": [_word(word) for word in words if not blind or word.image.id != image.id],
        }

    def _views(self, image: Image, board: Sequence[Image]) -> list[dict[str, Any]]:
        same = [other for other in board if other.joint == image.joint and image.joint]
        return [self.look(other, other.view or "-") for other in same if other.id != image.id][:_VIEWS]

    def _neighbours(self, image: Image, board: Sequence[Image]) -> list[dict[str, Any]]:
        first: dict[str, Image] = {}
        for other in board:
            if other.joint and (other.joint not in first or other.view == image.view):
                first[other.joint] = other
        points = places(first, self.layout)
        return [self.look(first[name], name) for name in neighbours(image.joint, points, _NEIGHBOURS)]

    def look(self, image: Image, name: str) -> dict[str, Any]:
        """An image beside the one that is decided."""
        outcome: Label = "io" if image.outcome == "io" else "nio"
        return {"seal": self.seals.seal(Handle(outcome, image.path, "", "look")), "name": name}


def says(image: Image) -> str:
    """What the model says, in words."""
    if image.nio_probability is None or image.threshold is None:
        return f"{image.verdict or 'no verdict'}: {image.reason}"
    number = f"{image.nio_probability:.3g}, nio from {image.threshold:.3g} on"
    if image.reason == "unidentified":
        novelty = "no number" if image.novelty is None else f"{image.novelty:.2f} (limit 1)"
        return f"not understood, novelty {novelty}; {number}"
    return f"{image.verdict}: {number}"


def _scores(record: dict[str, Any]) -> list[float | None] | None:
    scores = record.get("scores")
    found = scores.get("nio_probability") if isinstance(scores, dict) else None
    if not isinstance(found, list):
        return None
    return [score if isinstance(score, float | int) else None for score in found][:_MOST_PAGES]


def _word(word: Spoken) -> dict[str, str]:
    return {
        "at": word.at.strftime("%Y-%m-%d %H:%M"),
        "label": word.label,
        "by": word.by,
        "view": word.image.view,
    }
