"""Where the joints of a board are: from a CSV, or from their names; and which ones lie beside one."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterable
from pathlib import Path

from inspection.errors import ConfigError

Point = tuple[float, float]

_ROW_COLUMN = re.compile(r"r(\d{1,6})c(\d{1,6})", re.IGNORECASE)
_LARGEST = 10**7


def read_layout(path: Path | None) -> dict[str, Point]:
    """The places that `review.layout` gives.

    Raises:
        ConfigError: It cannot be read, or has not the columns joint, x and y.
    """
    if path is None:
        return {}
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        found = {row["joint"]: (float(row["x"]), float(row["y"])) for row in rows}
    except OSError as error:
        raise ConfigError(f"review.layout: {path}: {error.strerror}") from None
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        raise ConfigError(f"review.layout: {path}: {error}: wants the columns joint, x, y, with numbers") from None
    if not all(math.isfinite(x) and math.isfinite(y) and abs(x) + abs(y) < _LARGEST for x, y in found.values()):
        raise ConfigError(f"review.layout: {path}: x and y should be numbers below {_LARGEST}")
    return found


def places(joints: Iterable[str], layout: dict[str, Point]) -> dict[str, Point]:
    """Where joints are; those that neither the layout nor their names place stand in rows below the others."""
    joints = list(dict.fromkeys(joints))
    found: dict[str, Point] = {}
    for joint in joints:
        if joint in layout:
            found[joint] = layout[joint]
        elif not layout and (match := _ROW_COLUMN.search(joint)):
            found[joint] = float(match[2]), float(match[1])
    left = sorted((joint for joint in joints if joint not in found), key=natural)
    across = max(8, math.isqrt(len(left)) * 2)
    step = spacing(found.values())
    top = max((y for _, y in found.values()), default=-step) + step
    start = min((x for x, _ in found.values()), default=0.0)
    for index, joint in enumerate(left):
        found[joint] = start + step * (index % across), top + step * (index // across)
    return found


def spacing(points: Iterable[Point]) -> float:
    """How far joints are apart, about: of the box around them, as if they filled it evenly."""
    found = list(points)
    if len(found) < 2:
        return 1.0
    width = max(x for x, _ in found) - min(x for x, _ in found)
    height = max(y for _, y in found) - min(y for _, y in found)
    return max(math.sqrt(max(width, 1e-9) * max(height, 1e-9) / len(found)), max(width, height) / len(found)) or 1.0


def neighbours(joint: str, points: dict[str, Point], count: int) -> list[str]:
    """The nearest other joints, the nearest first."""
    if joint not in points:
        return []
    x, y = points[joint]
    others = (name for name in points if name != joint)
    return sorted(others, key=lambda name: (math.hypot(points[name][0] - x, points[name][1] - y), natural(name)))[
        :count
    ]


def natural(name: str) -> list[tuple[int, str]]:
    """Orders r2 before r10."""
    return [(int(part) if part.isdecimal() else -1, part) for part in re.split(r"(\d{1,9})", name)]
