"""The page's charts as SVG, drawn by hand: a band and lines over days."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from markupsafe import Markup

_WIDTH, _HEIGHT = 720, 190
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 8, 8, 22


@dataclass(frozen=True)
class Line:
    """One value for each day.

    Attributes:
        name: For the reader.
        colour: Of CSS.
        values: In the days' order.
    """

    name: str
    colour: str
    values: Sequence[float]


def over_days(
    days: Sequence[date], lines: Sequence[Line], band: tuple[Sequence[float], Sequence[float]] | None = None
) -> Markup:
    """A chart of values over days.

    Args:
        days: In order, at least one.
        lines: What is drawn.
        band: Lower and upper edge of an area behind them.
    """
    values = [value for line in lines for value in line.values] + [value for edge in band or () for value in edge]
    low, high = min(values), max(values)
    room = (high - low) * 0.05 or 0.5
    low, high = low - room, high + room
    span = max((days[-1] - days[0]).days, 1)

    def x(day: date) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * (day - days[0]).days / span

    def y(value: float) -> float:
        return _TOP + (_HEIGHT - _TOP - _BOTTOM) * (high - value) / (high - low)

    def points(series: Sequence[float]) -> list[str]:
        return [f"{x(day):.1f},{y(value):.1f}" for day, value in zip(days, series, strict=True)]

    parts = [f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">']
    for step in range(5):
        value = low + (high - low) * step / 4
        parts.append(f'<path class="grid" d="M{_LEFT} {y(value):.1f}H{_WIDTH - _RIGHT}"/>')
        parts.append(f'<text x="{_LEFT - 5}" y="{y(value) + 4:.1f}" text-anchor="end">{value:.3g}</text>')
    if band:
        edge = " ".join([*points(band[1]), *reversed(points(band[0]))])
        parts.append(f'<polygon class="band" points="{edge}"/>')
    for line in lines:
        drawn = points(line.values)
        mark = f' stroke="{line.colour}" points="{" ".join(drawn)}"'
        parts.append(f'<polyline class="line"{mark}/>' if len(drawn) > 1 else _dot(drawn[0], line.colour))
    for day, anchor in ((days[0], "start"), (days[-1], "end")) if len(days) > 1 else ((days[0], "start"),):
        parts.append(f'<text x="{x(day):.1f}" y="{_HEIGHT - 5}" text-anchor="{anchor}">{day.isoformat()}</text>')
    return Markup("".join([*parts, "</svg>"]))  # noqa: S704 - numbers and our own words are all that is in it


def _dot(point: str, colour: str) -> str:
    x, y = point.split(",")
    return f'<circle cx="{x}" cy="{y}" r="3" fill="{colour}"/>'
