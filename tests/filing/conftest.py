"""A line with records, and keepers of its ledger."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ledger_line import PACE, Kept, Records

from filing.ledger import Pace


@pytest.fixture
def records(tmp_path: Path) -> Records:
    """A line without images."""
    return Records(tmp_path)


@pytest.fixture
def keep() -> Iterator[Callable[..., Kept]]:
    """Starts keepers that work as fast as they can, and ends them."""
    started: list[Kept] = []

    def start(records: Records, pace: Pace = PACE) -> Kept:
        started.append(Kept(records, pace))
        return started[-1]

    yield start
    for kept in started:
        kept.keeper.close()
