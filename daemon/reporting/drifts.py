"""The watch for drift of a whole line: one for each of its products, each against its own model."""

from __future__ import annotations

from typing import Any

from daemon.reporting.drift import DriftWatch, Reading
from filing.folders import Folders
from filing.logs import Log
from settings import Settings


class Drifts:
    """The watches of a line, by product; by None on a line without products.

    Args:
        settings: What is watched, and the products.
        folders: The states are kept in `work`.
        log: Told when a line has moved; with products, which.
    """

    def __init__(self, settings: Settings, folders: Folders, log: Log) -> None:
        self._watches = {
            product: DriftWatch(settings.drift, folders, log.bind(product=product) if product else log, product)
            for product in settings.products or (None,)
        }

    def of(self, product: str | None) -> DriftWatch:
        """The watch of a product."""
        return self._watches[product]

    def save(self, *, now: bool = False) -> None:
        """Write down what is new, now and then; or `now`."""
        for watch in self._watches.values():
            watch.save(now=now)

    def readings(self) -> dict[str | None, list[Reading]]:
        """Where each chart stands."""
        return {product: watch.readings() for product, watch in self._watches.items()}

    def report(self, product: str | None) -> dict[str, Any]:
        """For the status; see `DriftWatch.report`."""
        return self.of(product).report()
