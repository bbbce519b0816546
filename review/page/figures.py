"""The numbers of the statistics page: per day, per reason, per hour."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from itertools import cycle

from review.page.charts import IO, LIMIT, MANY, NIO, OTHER, Chart, Series
from review.page.line import Line

DAYS = 30
_SIGMAS = 3.0


@dataclass
class Day:
    """What was judged on a day, and what people said of it since."""

    images: int = 0
    nio: int = 0
    false_calls: int = 0
    escapes: int = 0
    open: int = 0

    @property
    def share(self) -> float | None:
        """Of nio, by the model."""
        return self.nio / self.images if self.images else None


def per_day(line: Line, product: str | None) -> dict[date, Day]:
    """The last days; images count on the day when they were judged, words on that when they were said."""
    found = {day: Day() for day in line.last_days(DAYS)}
    for entry in line.days(product, DAYS):
        day, count = found.get(entry.day), entry.count
        if day is None or count.outcome == "quarantine":
            continue
        day.images += count.images
        # An io image that people call io was nio, or a check that found nothing; the latter are taken off below.
        if count.outcome == "nio" or count.word == "io":
            day.nio += count.images
        if count.outcome == "nio" and not count.word:
            day.open += count.images
    for subject in line.opinions.subjects(product):
        word = subject.words[-1]
        judged = found.get(word.judged.astimezone(UTC).date())
        if judged and word.verdict == "io":
            judged.nio = max(0, judged.nio - 1)
        day = found.get(word.at.astimezone(UTC).date())
        if day and not word.disputed:
            day.false_calls += word.verdict == "nio" and word.label == "io"
            day.escapes += word.verdict == "io" and word.label == "nio"
    return found


def summary(line: Line, product: str | None) -> list[tuple[date, Day]]:
    """The days on which anything happened, the newest first."""
    days = per_day(line, product).items()
    return [(day, what) for day, what in reversed(list(days)) if what != Day()]


def _images(line: Line, product: str | None) -> Chart:
    days = per_day(line, product)
    return Chart(
        "Images per day",
        "day",
        [f"{day:%m-%d}" for day in days],
        [
            Series("io", [max(day.images - day.nio, 0) for day in days.values()], IO),
            Series("nio", [day.nio for day in days.values()], NIO),
        ],
    )


def _false_calls(line: Line, product: str | None) -> Chart:
    days = per_day(line, product)
    return Chart(
        "False calls and escapes, by the day of the word",
        "day",
        [f"{day:%m-%d}" for day in days],
        [
            Series("false calls", [day.false_calls for day in days.values()], OTHER),
            Series("escapes", [day.escapes for day in days.values()], NIO),
        ],
    )


def _moved(line: Line, product: str | None) -> Chart:
    """The daemon's own charts: how near each signal came to the limit at which that is told."""
    dates = line.last_days(DAYS)
    found = line.drift(product)
    signals = sorted({signal for day in dates for signal in found.get(day, ())})
    series = [
        Series(signal, [found.get(day, {}).get(signal) for day in dates], colour)
        for signal, colour in zip(signals, cycle(MANY), strict=False)
    ]
    limit = Series("limit", [1.0] * len(dates), LIMIT, dashed=True)
    title = "Drift: each signal's highest sum of the day, as a share of its limit"
    return Chart(title, "day", [f"{day:%m-%d}" for day in dates], [*series, limit], bars=False)


def _share(line: Line, product: str | None) -> Chart:
    """A p-chart: the limits of each day follow from how many images it had."""
    days = list(per_day(line, product).items())
    images, nio = sum(day.images for _, day in days), sum(day.nio for _, day in days)
    mean = nio / images if images else 0.0
    spread = [_SIGMAS * math.sqrt(mean * (1 - mean) / day.images) if day.images else None for _, day in days]
    marks = []
    for model in line.models():
        created = str(model.card.get("created", ""))[:10]
        marks += [
            (i, model.name)
            for i, (day, _) in enumerate(days)
            if created == day.isoformat() and product in (None, model.product)
        ]
    return Chart(
        "Share of nio with its control limits (3 sigma), and new models",
        "day",
        [f"{day:%m-%d}" for day, _ in days],
        [
            Series("share of nio", [day.share for _, day in days], NIO),
            Series("mean", [mean if width is not None else None for width in spread], OTHER, dashed=True),
            Series(
                "upper limit", [None if width is None else min(mean + width, 1) for width in spread], LIMIT, dashed=True
            ),
            Series(
                "lower limit", [None if width is None else max(mean - width, 0) for width in spread], LIMIT, dashed=True
            ),
        ],
        bars=False,
        marks=marks,
    )


def _reasons(line: Line, product: str | None) -> Chart:
    """A Pareto: the commonest first."""
    words = (subject.words[-1] for subject in line.opinions.subjects(product))
    counts = Counter(word.reason or "none given" for word in words if word.label == "nio").most_common(12)
    return Chart(
        "Why images are nio", "reason", [name for name, _ in counts], [Series("images", [n for _, n in counts], NIO)]
    )


def _hours(line: Line, product: str | None) -> Chart:
    now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    ages = Counter(
        int((now - opinion.at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)).total_seconds() // 3600)
        for opinion in line.opinions.all(product)
        if not opinion.taken_back
    )
    hours = list(reversed(range(24)))
    labels = [f"{(now.hour - age) % 24:02d}h" for age in hours]
    return Chart("Reviews per hour, UTC", "hour", labels, [Series("words", [ages[age] for age in hours], IO)])


CHARTS: dict[str, Callable[[Line, str | None], Chart]] = {
    "images": _images,
    "false-calls": _false_calls,
    "drift": _moved,
    "share": _share,
    "reasons": _reasons,
    "hours": _hours,
}
"""By the name that files have."""


def make_chart(line: Line, name: str, product: str | None) -> Chart:
    """One of `CHARTS`."""
    return CHARTS[name](line, product)
