"""Notes of images as the daemon makes them of its records, for tests of boards."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from filing.boards import Note, note_of
from filing.names import utc

BEGIN = datetime(2026, 3, 2, 6, 0, tzinfo=UTC)


def at(hours: float) -> str:
    """So many hours after the beginning."""
    return utc(BEGIN + timedelta(hours=hours))


def record(joint: str, view: str | None = "1", outcome: str = "io", hours: float = 0.0, **more: Any) -> dict[str, Any]:
    """What the sidecar of an image says, as far as boards ask."""
    file = more.get("file", f"B1_{joint}_v{view}.png")
    found = {"time": at(hours), "file": file, "board": "B1", "joint": joint, "view": view, "outcome": outcome}
    found |= {"filed_as": file, "decision_id": f"{joint}/{view}/{hours}"}
    judged = {"verdict": outcome, "reason": "threshold", "model": "m1"}
    return found | ({"error": "no image"} if outcome == "quarantine" else judged) | more


def note(joint: str, view: str | None = "1", outcome: str = "io", hours: float = 0.0, **more: Any) -> Note:
    """What that says of its board."""
    found = note_of(record(joint, view, outcome, hours, **more))
    assert found
    return found
