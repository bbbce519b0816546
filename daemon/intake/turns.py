"""Whose turn it is, on a line with products: images are taken in groups of one product, and no product waits for long.

To change the product may cost the loading of a model, so each look at the inbox is sorted by product, and a product
keeps its turn until nothing of it is left, or its slice of time is over while others wait. The next turn is that of the
product which has waited longest; but a backlog, more than a group, counts as waiting a minute less. So a lone image
amid backlogs of other products waits for the end of one slice, not for a round of all; and a backlog, however many lone
images come, has a slice every minute or so.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import PurePath

from daemon.intake.inbox import Candidate

SLICE_S = 3.0
_LOOK_AGAIN_S = 3.0
_SHARE_OF_TIME = 0.1
_PATIENCE_S = 60.0
_KEPT, _KEPT_OF_EACH = 10_000, 100
"""Images of one look that are kept, so that a large backlog costs no memory: in all, and of each product anyway."""


class Turns:
    """Sorts what is in the inbox by product, and hands it out in groups.

    Args:
        product_of: The product of a path below the inbox; None: of none.
        size: Images in a group.
        clock: Monotonic seconds.

    Attributes:
        left: Images that the last look found and did not keep: there were too many.
        without: Images that the last look found of products without a model, by product; they stay where they are.
    """

    def __init__(
        self,
        product_of: Callable[[PurePath], str | None],
        size: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._product_of = product_of
        self._size = size
        self._clock = clock
        self._waiting: dict[str | None, deque[Candidate]] = {}
        self._since: dict[str | None, float] = {}
        self._interrupted: dict[str | None, float] = {}
        """When each product's turn ended that had more."""
        self._look_again = 0.0
        self.left = 0
        self.without: Counter[str] = Counter()

    @property
    def is_old(self) -> bool:
        """Whether it is time for another look at the inbox, though not all of the last one is handed out."""
        return self._clock() >= self._look_again

    def look(self, candidates: Iterable[Candidate], there: Collection[str | None]) -> None:
        """Take in all that is in the inbox now, instead of what was there.

        Args:
            candidates: What may be claimed.
            there: Products that have a model.
        """
        began = self._clock()
        self._waiting.clear()
        self.left = total = 0
        self.without.clear()
        kept: Counter[str | None] = Counter()
        for candidate in candidates:
            product = self._product_of(candidate.relative)
            if product is not None and product not in there:
                self.without[product] += 1
                continue
            if total >= _KEPT and kept[product] >= _KEPT_OF_EACH:
                self.left += 1
                continue
            total += 1
            kept[product] += 1
            self._waiting.setdefault(product, deque()).append(candidate)
        now = self._clock()
        self._since = {product: self._since.get(product, now) for product in self._waiting}
        self._interrupted = {product: end for product, end in self._interrupted.items() if product in self._waiting}
        self._look_again = now + max(_LOOK_AGAIN_S, (now - began) / _SHARE_OF_TIME)

    def groups(self) -> Iterator[tuple[str | None, list[Candidate]]]:
        """What is there, in groups of one product each; between two of them, anybody may `look`."""
        while self._waiting:
            product = min(self._waiting, key=self._due)
            self._interrupted.pop(product, None)
            began, end = self._clock(), None
            while queue := self._waiting.get(product):
                group = [queue.popleft() for _ in range(min(self._size, len(queue)))]
                if not queue:
                    del self._waiting[product]
                    del self._since[product]
                yield product, group
                now = self._clock()
                if end is None:
                    # With the first group a model may have been loaded: judge for as long as that took, or longer.
                    end = now + max(SLICE_S, now - began)
                if now >= end and len(self._waiting) > 1:
                    break
            if product in self._waiting:
                self._interrupted[product] = self._clock()

    def _due(self, product: str | None) -> float:
        """The moment from which a product waits for its turn."""
        since = self._interrupted.get(product, self._since[product])
        return since + (_PATIENCE_S if len(self._waiting[product]) > self._size else 0.0)
