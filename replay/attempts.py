"""Counts what was in hand when judges died; imports nothing heavy, as it has a process of its own."""

from __future__ import annotations

from collections import Counter


class Attempts:
    """What was begun, and how often, wherever it was."""

    def __init__(self) -> None:
        self._begun: Counter[tuple[str, int]] = Counter()

    def begin(self, kind: str, number: int) -> int:
        """Something is begun; returns for which time."""
        self._begun[kind, number] += 1
        return self._begun[kind, number]

    def end(self, kind: str, number: int) -> None:
        """It is done, and nobody died."""
        del self._begun[kind, number]
