"""What operators said of an image, as its record has it: acts, oldest first, of which some give a label.

An act whose `to` is null takes the last word back that stood until then; both stay in the record.
"""

from __future__ import annotations

from typing import Any

from inspection.verdict import LABELS

HISTORY = "relabelled"
"""The acts in a record."""


def acts(record: dict[str, Any]) -> list[dict[str, Any]]:
    """All of them, as far as they can be read."""
    history = record.get(HISTORY)
    return [act for act in history if isinstance(act, dict) and "to" in act] if isinstance(history, list) else []


def standing(record: dict[str, Any]) -> list[dict[str, Any]]:
    """Those that give a label and were not taken back."""
    found: list[dict[str, Any]] = []
    for act in acts(record):
        if act["to"] in LABELS:
            found.append(act)
        elif act["to"] is None and found:
            found.pop()
    return found
