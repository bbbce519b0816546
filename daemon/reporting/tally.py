"""What this run of the daemon did, in numbers."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from daemon.reporting.metrics import Metrics


@dataclass
class Tally:
    """What this run of the daemon did."""

    metrics: Metrics = field(default_factory=Metrics)
    counts: dict[str, int] = field(default_factory=lambda: {"io": 0, "nio": 0, "quarantine": 0})
    last: dict[str, Any] | None = None
    times: deque[float] = field(default_factory=lambda: deque(maxlen=100_000))

    def add(self, record: dict[str, Any]) -> None:
        """Count one image that was filed."""
        self.counts[record["outcome"]] += 1
        self.last = {key: record[key] for key in ("time", "file", "outcome", "filed_as")}
        self.times.append(time.monotonic())
        self.metrics.filed(record)

    def per_minute(self, window_s: float = 300.0) -> float:
        """Images filed per minute, over the last few minutes."""
        now = time.monotonic()
        recent = [moment for moment in self.times if now - moment < window_s]
        return 60.0 * len(recent) / max(now - recent[0], 1.0) if recent else 0.0
