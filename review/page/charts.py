"""Pictures of numbers as SVG, which carry their own colours, and the numbers as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

IO, NIO, OTHER, LIMIT = "#0072b2", "#d55e00", "#7f7f7f", "#cc79a7"
"""Okabe and Ito's colours: people who see fewer colours tell them apart, on white and on black."""

MANY = ("#0072b2", "#d55e00", "#009e73", "#e69f00", "#56b4e9", "#7f7f7f", "#111111")
"""The same, for lines beside each other."""

_WIDTH, _HEIGHT = 640, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 14, 34, 40
_MOST_LABELS = 8


@dataclass(frozen=True)
class Series:
    """Numbers that belong together, one for each place along the axis; None where there is none."""

    name: str
    values: Sequence[float | None]
    colour: str
    dashed: bool = False


@dataclass(frozen=True)
class Chart:
    """What is drawn.

    Attributes:
        title: Above it.
        axis: What is along the axis, such as days.
        labels: Each place along it.
        series: Bars are put on each other, lines beside each other.
        bars: Whether it has bars.
        marks: Places with a word, such as where another model came into use.
    """

    title: str
    axis: str
    labels: Sequence[str]
    series: Sequence[Series]
    bars: bool = True
    marks: Sequence[tuple[int, str]] = ()

    def csv(self) -> str:
        """The numbers; what a spreadsheet would take for a formula is text."""
        file = io.StringIO()
        rows = csv.writer(file, lineterminator="\r\n")
        rows.writerow([self.axis, *(series.name for series in self.series)])
        for index, label in enumerate(self.labels):
            values = (series.values[index] for series in self.series)
            rows.writerow([_plain(label), *("" if value is None else f"{value:.6g}" for value in values)])
        return file.getvalue()

    def svg(self) -> str:
        """The picture."""
        top = self._top()
        head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}"'
        look = (
            f'height="{_HEIGHT}" role="img" aria-label="{escape(self.title)}" font-family="sans-serif" font-size="11"'
        )
        parts = [
            f"{head} {look}>",
            f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#fff"/>',
            f'<text x="{_LEFT}" y="16" font-size="13" fill="#111">{escape(self.title)}</text>',
        ]
        parts += self._grid(top)
        parts += self._bars(top) if self.bars else self._lines(top)
        parts += self._words()
        return "\n".join([*parts, "</svg>\n"])

    def _top(self) -> float:
        rows = [[series.values[index] or 0.0 for series in self.series] for index in range(len(self.labels))]
        highest = max((sum(row) if self.bars else max(row, default=0.0) for row in rows), default=0.0)
        return _round_up(highest)

    def _x(self, index: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * (index + 0.5) / max(len(self.labels), 1)

    @staticmethod
    def _y(value: float, top: float) -> float:
        return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * value / top

    def _grid(self, top: float) -> list[str]:
        found = []
        for step in range(5):
            y = self._y(top * step / 4, top)
            found.append(f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>')
            found.append(
                f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end" fill="#333">{top * step / 4:g}</text>'
            )
        return found

    def _bars(self, top: float) -> list[str]:
        width = (_WIDTH - _LEFT - _RIGHT) / max(len(self.labels), 1)
        inner = min(width * 0.8, 48)
        found = []
        for index in range(len(self.labels)):
            below = 0.0
            for series in self.series:
                value = series.values[index] or 0.0
                y, end = self._y(below + value, top), self._y(below, top)
                below += value
                if value:
                    found.append(
                        f'<rect x="{self._x(index) - inner / 2:.1f}" y="{y:.1f}" width="{inner:.1f}" '
                        f'height="{end - y:.1f}" fill="{series.colour}"><title>{escape(self.labels[index])}: '
                        f"{escape(series.name)} {value:g}</title></rect>"
                    )
        return found

    def _lines(self, top: float) -> list[str]:
        found = []
        for series in self.series:
            points = [(self._x(i), self._y(value, top)) for i, value in enumerate(series.values) if value is not None]
            line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
            dash = ' stroke-dasharray="6 4"' if series.dashed else ""
            found.append(f'<polyline points="{line}" fill="none" stroke="{series.colour}" stroke-width="2"{dash}/>')
            if series.dashed:
                found += [
                    f'<line x1="{x - 7:.1f}" x2="{x + 7:.1f}" y1="{y:.1f}" y2="{y:.1f}" stroke="{series.colour}"/>'
                    for x, y in points
                ]
            else:
                found += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{series.colour}"/>' for x, y in points]
        return found

    def _words(self) -> list[str]:
        every = -(-max(len(self.labels), 1) // _MOST_LABELS)
        y = _HEIGHT - _BOTTOM + 15
        found = [
            f'<text x="{self._x(index):.1f}" y="{y}" text-anchor="middle" fill="#333">{escape(label[:14])}</text>'
            for index, label in enumerate(self.labels)
            if index % every == 0
        ]
        x = float(_LEFT)
        for series in self.series:
            found.append(f'<rect x="{x:.0f}" y="{_HEIGHT - 14}" width="10" height="10" fill="{series.colour}"/>')
            found.append(f'<text x="{x + 14:.0f}" y="{_HEIGHT - 5}" fill="#333">{escape(series.name)}</text>')
            x += 28 + 6.6 * len(series.name)
        for index, word in self.marks:
            found.append(f'<line x1="{self._x(index):.1f}" x2="{self._x(index):.1f}" y1="{_TOP}" '
                         f'y2="{_HEIGHT - _BOTTOM}" stroke="#555" stroke-dasharray="2 3"/>')  # fmt: skip
            found.append(f'<text x="{self._x(index) + 3:.1f}" y="{_TOP + 8}" fill="#555">{escape(word[:22])}</text>')
        return found


def _round_up(value: float) -> float:
    """A number at the top of an axis, of which the quarters are short as well."""
    if value <= 0:
        return 1.0
    power = 1.0
    while power < value:
        power *= 10
    while power >= value * 10:
        power /= 10
    return next(step * power for step in (0.2, 0.4, 0.6, 0.8, 1.0) if step * power >= value)


def _plain(text: str) -> str:
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text
