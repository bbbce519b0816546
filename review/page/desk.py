"""Who has which images in hand: nobody else is given them, until they are done, skipped, or left lying for too long."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from filing.ledger import Image, Ledger
from inspection.verdict import LABELS
from review.page.seals import Kind
from settings.schema import ReviewSettings

LEASE_S = 120.0

T = TypeVar("T")
Held = tuple[str | Path, ...]
"""What an image is told apart by: its outcome and path; in a data set also whose that is."""

_PAGE = 50
_TRIED = 30
"""io images that are drawn to choose the one that is nearest to the threshold."""

_DECOYS = 2.0
"""For each blind check so many nio images are shown without the verdict as well: then its absence says nothing."""


@dataclass(frozen=True)
class Wish:
    """Which images somebody wants to see.

    Attributes:
        product: Only of this one; None: of all.
        board: Only of this one.
    """

    product: str | None = None
    board: str | None = None


@dataclass
class _Hand:
    """What one browser window has."""

    until: float = 0.0
    held: set[Held] = field(default_factory=set)
    skipped: set[Held] = field(default_factory=set)


class Desk:
    """Deals out images.

    Args:
        settings: Shares of blind checks.
        clock: In seconds.
        chance: What draws them.
    """

    def __init__(
        self,
        settings: ReviewSettings,
        clock: Callable[[], float] = time.monotonic,
        chance: random.Random | None = None,
    ) -> None:
        self._settings, self._clock = settings, clock
        self._chance = chance or random.SystemRandom()
        self._hands: dict[str, _Hand] = {}
        self._lock = threading.Lock()

    def keep(self, client: str, places: Iterable[Held]) -> set[Held]:
        """What a window has in hand, as it says itself: also after this program was started anew.

        Returns:
            Those that it may keep; others went to somebody else meanwhile.
        """
        with self._lock:
            taken = self._taken(client)
            hand = self._hands.setdefault(client, _Hand())
            hand.until = self._clock() + LEASE_S
            hand.held = set(places) - taken
            return set(hand.held)

    def skip(self, client: str, place: Held) -> None:
        """Show it again to this window only when there is nothing else."""
        with self._lock:
            self._hands.setdefault(client, _Hand(self._clock() + LEASE_S)).skipped.add(place)

    def unskip(self, client: str, place: Held) -> None:
        """It was not meant so."""
        with self._lock:
            if client in self._hands:
                self._hands[client].skipped.discard(place)

    def in_turn(self, client: str, wanted: Sequence[tuple[Held, T]]) -> Iterator[T]:
        """Of these, each with its place, those that nobody has in hand; what this window skipped comes last."""
        with self._lock:
            skipped = set(self._hands[client].skipped) if client in self._hands else set()
        for place, one in sorted(wanted, key=lambda found: found[0] in skipped):
            if self._take(client, place):
                yield one

    def deal(self, client: str, wish: Wish, count: int, ledger: Ledger) -> Iterator[tuple[Image, Kind]]:
        """Give a window its next images; they are in its hand from then on.

        The caller sees whether they still are what the ledger says, and asks on until it has enough.
        """
        given = 0
        for image, kind in self._candidates(client, wish, ledger):
            if self._take(client, (image.outcome, image.path)):
                yield image, kind
                given += 1
                if given >= count:
                    return

    def _candidates(self, client: str, wish: Wish, ledger: Ledger) -> Iterator[tuple[Image, Kind]]:
        skipped: list[Image] = []
        for image in _open(wish, ledger):
            with self._lock:
                hand = self._hands.get(client)
                later = hand is not None and (image.outcome, image.path) in hand.skipped
            if later:
                skipped.append(image)
                continue
            yield from self._checks(image.product, ledger)
            yield image, "blind" if self._chance.random() < self._decoys else "open"
        with self._lock:
            if client in self._hands:
                self._hands[client].skipped.clear()
        yield from ((image, "open") for image in skipped)

    @property
    def _decoys(self) -> float:
        return min(_DECOYS * (self._settings.check_io + self._settings.repeat), 0.5)

    def _checks(self, product: str, ledger: Ledger) -> Iterator[tuple[Image, Kind]]:
        if self._chance.random() < self._settings.check_io:
            near = self._chance.random() < 0.5
            drawn = ledger.drawn([self._chance.random() for _ in range(_TRIED if near else 1)], "io", product, "")
            if drawn:
                yield min(drawn, key=_distance) if near else drawn[0], "near" if near else "even"
        if self._chance.random() < self._settings.repeat:
            worded = ledger.drawn([self._chance.random()], self._chance.choice(LABELS), product, None)
            yield from ((image, "repeat") for image in worded)

    def _take(self, client: str, place: Held) -> bool:
        with self._lock:
            hand = self._hands.setdefault(client, _Hand(self._clock() + LEASE_S))
            if place in hand.held or place in self._taken(client):
                return False
            hand.held.add(place)
            return True

    def _taken(self, client: str) -> set[Held]:
        """What others have in hand; who was not heard of for long has nothing."""
        now = self._clock()
        for name in [name for name, hand in self._hands.items() if hand.until < now and name != client]:
            del self._hands[name]
        return {place for name, hand in self._hands.items() if name != client for place in hand.held}


def _open(wish: Wish, ledger: Ledger) -> Iterator[Image]:
    last = None
    while page := ledger.to_review(wish.product, wish.board, last, _PAGE):
        yield from page
        last = page[-1]


def _distance(image: Image) -> float:
    p, threshold = image.nio_probability, image.threshold
    return 1.0 if p is None or threshold is None else abs(p - threshold)
