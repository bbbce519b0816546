"""Control charts: sums that stay near zero while a line is as it was, and grow when it has moved.

Each signal has a two-sided CUSUM of its normal scores, and the share of nio has one of its likelihood ratios (Page,
"Continuous inspection schemes", Biometrika 1954). At the same rate of false alarms no other chart notices the shift
that it is made for sooner (Moustakides, "Optimal stopping times for detecting changes in distributions", 1986), and the
moment at which its sum left zero is the best guess of when the shift began.

What chance may do: the allowance k lets shifts of less than 0.3 standard deviations pass. The reference's own mean is
off by its standard error or so, and that of what comes by as much again, for it is of no more parts than those of the
training: s is the standard error of the difference. k is at least 6.2 s, and the limit h such that, averaged over that
error, a sum alarms falsely once in ten million images. By Siegmund's approximation ("Sequential analysis", 1985) it is

    2 k^2 exp(-2 k (h + 1.17) + 2 s^2 (h + 1.17)^2) = 1e-7

so that a dozen sums together do so once in some hundred thousand images, if those have nothing to do with each other.

On a real line images of one part come in runs, and what a run deviates by adds up like a shift. Below k it never does;
so runs matter where parts differ by more than that among themselves, and only if a run is as long as it takes to notice
such a shift, about h / (shift - k) images. Then the line has indeed been unlike its training for so long: the chart
says so, and when it is over. Where training knows the parts (`names.pattern`), s grows with the differences
between them, and k with s.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt

FALSE_ALARMS_PER_IMAGE = 1e-7
_LEAST_ALLOWANCE = 0.3
_STANDARD_ERRORS = 6.2
_OVERSHOOT = 1.166
_CAP = 1.5
_MEMORY = 50
_ODDS_RATIO = 3.0
_ON_ITS_WAY = 0.5

_Finite = Annotated[float, Field(allow_inf_nan=False)]


@dataclass
class Sum:
    """One side of a chart.

    Attributes:
        total: 0 while all is well; at the chart's limit it has moved. Capped, so that it comes back in due time.
        images: Since it last left zero.
        level: Mean of what it adds up over these images, the last fifty at most.
        value: Mean of the signal itself, likewise.
        since: Time of the first of them.
        moved: The limit was reached, and zero not yet again.
    """

    total: Annotated[_Finite, Field(ge=0)] = 0.0
    images: NonNegativeInt = 0
    level: _Finite = 0.0
    value: _Finite = 0.0
    since: str = ""
    moved: bool = False

    def add(self, step: float, limit: float, *, level: float, value: float, time: str) -> None:
        """Take in one image."""
        if self.total == 0.0:
            self.images, self.since = 0, time
        self.total = min(max(0.0, self.total + step), _CAP * limit)
        self.images += 1
        weight = 1 / min(self.images, _MEMORY)
        self.level += weight * (level - self.level)
        self.value += weight * (value - self.value)
        if self.total == 0.0:
            self.moved = False
        elif self.total >= limit:
            self.moved = True


@dataclass
class Sides:
    """Both sides of a chart."""

    up: Sum = field(default_factory=Sum)
    down: Sum = field(default_factory=Sum)

    @property
    def leading(self) -> Sum:
        """The side that has moved, or is nearer to it."""
        return max(self.up, self.down, key=lambda side: (side.moved, side.total))

    @property
    def moved(self) -> Literal["up", "down"] | None:
        """Which way the signal has moved."""
        if not (self.up.moved or self.down.moved):
            return None
        return "up" if self.leading is self.up else "down"

    def join(self, limit: float) -> None:
        """Something else has moved: so has this, if it is half-way there."""
        if self.leading.total >= _ON_ITS_WAY * limit:
            self.leading.moved = True


@dataclass(frozen=True)
class Limits:
    """What makes a chart of normal scores; see the module's docstring.

    Attributes:
        allowance: k, in standard deviations.
        limit: h, likewise.
    """

    allowance: float
    limit: float

    @classmethod
    def of(cls, standard_error: float) -> Limits:
        """For a reference of this standard error."""
        of_difference = math.sqrt(2) * standard_error
        allowance = max(_LEAST_ALLOWANCE, _STANDARD_ERRORS * of_difference)
        surprise = math.log(2 * allowance**2 / FALSE_ALARMS_PER_IMAGE)
        root = math.sqrt(max(0.0, allowance**2 - 2 * of_difference**2 * surprise))
        return cls(allowance, surprise / (allowance + root) - _OVERSHOOT)

    def add(self, sides: Sides, score: float, value: float, time: str) -> None:
        """Take one image's normal score into both sums."""
        sides.up.add(score - self.allowance, self.limit, level=score, value=value, time=time)
        sides.down.add(-score - self.allowance, self.limit, level=score, value=value, time=time)


@dataclass(frozen=True)
class ShareLimits:
    """What makes a chart of the share of nio: of that share against three times its odds, or a third.

    The sum is of log-likelihood ratios, so that whatever the share, a limit h lets it alarm falsely at most once in
    exp(h) images (Lorden, "Procedures for reacting to a change in distribution", 1971).

    Attributes:
        most: The share is at most this as long as all is well.
        least: It is at least this.
    """

    most: float
    least: float
    limit: float = -math.log(FALSE_ALARMS_PER_IMAGE)

    @classmethod
    def of(cls, images: int, nio: int) -> ShareLimits:
        """For a share that was counted: three standard errors either way, after Wilson, JASA 1927."""
        z2 = 9.0
        centre = nio + z2 / 2
        spread = math.sqrt(z2 * (nio * (images - nio) / images + z2 / 4))
        return cls((centre + spread) / (images + z2), (centre - spread) / (images + z2))

    def add(self, sides: Sides, *, nio: bool, time: str) -> None:
        """Take one verdict into both sums."""
        for side, share, ratio in ((sides.up, self.most, _ODDS_RATIO), (sides.down, self.least, 1 / _ODDS_RATIO)):
            step = _log_likelihood_ratio(nio, share, ratio)
            side.add(step, self.limit, level=float(nio), value=float(nio), time=time)


def _log_likelihood_ratio(nio: bool, share: float, ratio: float) -> float:
    """Of one verdict: for odds times `ratio` against the odds of `share`."""
    normaliser = 1 - share + ratio * share
    return math.log((ratio if nio else 1.0) / normaliser)
