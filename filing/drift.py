"""How near each drift chart came to its limit, by day, in the daemon's state in work/: what others can draw of it."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import date
from pathlib import Path

DAYS = 31
_STATE = ".drift.json"

Days = dict[str, dict[str, float]]
"""By day and signal the highest sum, as a share of its chart's limit: from 1 on the line has moved."""


def state_name(product: str | None) -> str:
    """The state's name in work/; with products, each has one of its own."""
    return f".{product}{_STATE}" if product else _STATE


def enter(days: Days, time: str, signal: str, share: float) -> None:
    """Keep the highest of a day; days that are long past are forgotten.

    Args:
        days: Which is changed.
        time: UTC, of the image that moved the sum.
        signal: Whose sum.
        share: Of the limit.
    """
    day = time[:10]
    if day not in days:
        days[day] = {}
        for old in sorted(days)[:-DAYS]:
            del days[old]
    # A clock that was set back may lead to a day that was forgotten at once.
    found = days.get(day, {})
    found[signal] = max(found.get(signal, 0.0), round(share, 3))


def read_days(work: Path, product: str | None) -> dict[date, dict[str, float]]:
    """What the daemon has written down; nothing where it has not, or that cannot be read.

    Args:
        work: `paths.work`.
        product: Whose charts; None on a line without products.
    """
    found: dict[date, dict[str, float]] = {}
    with suppress(OSError, ValueError, AttributeError, TypeError, KeyError, RecursionError):
        for day, signals in json.loads((work / state_name(product)).read_bytes())["days"].items():
            found[date.fromisoformat(day)] = {str(name): float(share) for name, share in signals.items()}
    return found
