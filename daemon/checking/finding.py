"""What was found when something was looked at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warning", "problem"]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: `ok`, `warning` (works, but) or `problem` (must be mended)."""

    level: Level
    text: str
