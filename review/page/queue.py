"""What the browser asks for while somebody decides: the next images, a word, the word back, not now."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any, cast

from filing.ledger import Ledger
from filing.opinions import Opinions
from inspection.errors import SolderwatchError
from inspection.verdict import LABELS, Label
from review.page.archive import GoneError
from review.page.desk import Desk, Held, Wish
from review.page.guard import Visitor
from review.page.items import Teller
from review.page.labels import Labels, disputed
from review.page.seals import BLIND, Handle, Seals
from review.page.words import LONGEST_COMMENT, Speaker, Words
from settings import Settings

Item = dict[str, Any]

_MOST = 12
_LONGEST_CLIENT = 64


@dataclass(frozen=True)
class Queue:
    """Answers the browser, in objects for JSON.

    Attributes:
        settings: The line's.
        desk: Who has what in hand.
        teller: Tells of images.
        words: Takes words.
        labels: To be checked.
        opinions: What was said before.
        seals: Of the images' names.
    """

    settings: Settings
    desk: Desk
    teller: Teller
    words: Words
    labels: Labels
    opinions: Opinions
    seals: Seals

    def next(self, visitor: Visitor, asked: dict[str, Any]) -> dict[str, Any]:
        """The next images for a window that says what it has; and how many are open in all."""
        client = _client(asked)
        handles = [handle for seal in _list(asked, "have") if (handle := self._opened(seal))]
        kept = self.desk.keep(client, [handle.place for handle in handles])
        count = min(max(_number(asked, "count"), 0), _MOST)
        wish = Wish(product=_text(asked, "product") or None, board=_text(asked, "board") or None)
        with Ledger(self.settings.paths.ledger) as ledger:
            if asked.get("labels") is True:
                items, left = self._to_check(client, speaker(visitor).name, wish.product, count, ledger)
            else:
                items, left = self._to_review(client, wish, count, ledger)
        lost = [seal for seal in _list(asked, "have") if (found := self._opened(seal)) and found.place not in kept]
        return {"items": items, "left": left, "lost": lost}

    def _to_review(self, client: str, wish: Wish, count: int, ledger: Ledger) -> tuple[list[Item], int]:
        """The next open images, and how many there are."""
        # More than are wanted: what the ledger has not heard of yet is passed over.
        dealt = self.desk.deal(client, wish, _MOST * 20, ledger) if count else ()
        items = _first(count, (self.teller.item(image, kind, ledger) for image, kind in dealt))
        counts = ledger.summary().counts
        return items, sum(found.images for found in counts if found.outcome == "nio" and not found.word)

    def _to_check(
        self, client: str, who: str, product: str | None, count: int, ledger: Ledger
    ) -> tuple[list[Item], int]:
        """The next labels to check, and how many there are: first the images that people dispute."""
        wanted: list[tuple[Held, Callable[[], Item | None]]] = [
            ((image.outcome, image.path), partial(self.teller.item, image, "third", ledger))
            for image in disputed(who, product, ledger, self.opinions)
        ]
        wanted += [(one.handle.place, partial(self.labels.item, one)) for one in self.labels.open(product)]
        in_turn = self.desk.in_turn(client, wanted) if count else ()
        return _first(count, (item() for item in in_turn)), len(wanted)

    def word(self, visitor: Visitor, asked: dict[str, Any]) -> dict[str, Any]:
        """Take a word; what the model had said may be told from now on."""
        handle = self._handle(asked)
        reason, comment = _text(asked, "reason"), " ".join(_text(asked, "comment").split())[:LONGEST_COMMENT]
        if handle.kind == "label":
            said = "disputed" if asked.get("label") == "disputed" else _label(asked)
            return {"told": f"{self.labels.answer(handle, said, speaker(visitor), comment)}: in labels.csv"}
        label = _label(asked)
        record = self.words.say(handle, label, speaker(visitor), reason[:40], comment)
        told = ""
        if handle.kind in ("even", "near") and label != record["verdict"]:
            told = "an escape: the model had called it io"
        elif handle.kind in BLIND:
            told = f"the model had called it {record['verdict']}"
        return {"told": told}

    def undo(self, visitor: Visitor, asked: dict[str, Any]) -> dict[str, Any]:
        """Take one's last word on an image back, or the skipping of it."""
        handle = self._handle(asked)
        if asked.get("skipped") is True:
            self.desk.unskip(_client(asked), handle.place)
        elif handle.kind == "label":
            self.labels.take_back(handle, speaker(visitor))
        else:
            self.words.take_back(handle, speaker(visitor))
        return {}

    def skip(self, _: Visitor, asked: dict[str, Any]) -> dict[str, Any]:
        """Show it again only when there is nothing else."""
        self.desk.skip(_client(asked), self._handle(asked).place)
        return {}

    def _opened(self, seal: object) -> Handle | None:
        return self.seals.open(seal) if isinstance(seal, str) else None

    def _handle(self, asked: dict[str, Any]) -> Handle:
        handle = self._opened(asked.get("seal"))
        if handle is None or not handle.decision:
            raise GoneError("no such image")
        return handle


def speaker(visitor: Visitor) -> Speaker:
    """Who says it."""
    if visitor.user is None:
        raise SolderwatchError("sign in first")
    return Speaker(visitor.user.name, visitor.address)


def _first(count: int, items: Iterable[Item | None]) -> list[Item]:
    """So many of those that are still there."""
    return list(islice(filter(None, items), count))


def _client(asked: dict[str, Any]) -> str:
    client = _text(asked, "client")
    if not client or len(client) > _LONGEST_CLIENT:
        raise SolderwatchError("a window says which one it is")
    return client


def _label(asked: dict[str, Any]) -> Label:
    label = asked.get("label")
    if label not in LABELS:
        raise SolderwatchError("a word is io or nio")
    return cast("Label", label)


def _text(asked: dict[str, Any], name: str) -> str:
    value = asked.get(name)
    return value if isinstance(value, str) and _storable(value) else ""


def _storable(text: str) -> bool:
    """Half a surrogate pair is no text."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _number(asked: dict[str, Any], name: str) -> int:
    value = asked.get(name)
    return value if type(value) is int else 0


def _list(asked: dict[str, Any], name: str) -> list[Any]:
    value = asked.get(name)
    return value[:100] if isinstance(value, list) else []
