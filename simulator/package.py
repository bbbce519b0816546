"""What all joints of one product have in common, where a simulated set is to be of one product."""

from __future__ import annotations

import math
from dataclasses import dataclass

from simulator.errors import SimulationError

BALL_MM = (0.1, 1.5)
PITCH_PER_BALL = (1.2, 3.0)  # balls closer than that would touch a neighbour that sits a little off
TILT_DEG = (0.0, 45.0)


@dataclass(frozen=True)
class Package:
    """A ball grid array and how it is looked at; what is None varies from joint to joint.

    The same seed with another tilt shows the same joints from another side: so a joint gets several views.

    Attributes:
        pitch: mm from ball to ball.
        ball: diameter of a ball in mm.
        tilt: degrees by which the beam leans away from straight down.

    Raises:
        SimulationError: There is no such package, or nobody looks at one like that.
    """

    pitch: float | None = None
    ball: float | None = None
    tilt: float | None = None

    def __post_init__(self) -> None:
        _check("--ball-size", self.ball, BALL_MM, "mm")
        _check("--tilt", self.tilt, TILT_DEG, "degrees")
        low, high = BALL_MM if self.ball is None else (self.ball, self.ball)
        _check("--pitch", self.pitch, (PITCH_PER_BALL[0] * low, PITCH_PER_BALL[1] * high), "mm")

    def sizes(self, ball: float, pitch_per_ball: float) -> tuple[float, float]:
        """Diameter and pitch in mm of a joint for which these were drawn."""
        if self.ball is not None:
            ball = self.ball
        elif self.pitch is not None:
            ball = self.pitch / pitch_per_ball
        return ball, ball * pitch_per_ball if self.pitch is None else self.pitch

    def lean(self, drawn: float) -> float:
        """Radians by which the beam leans where this was drawn, in degrees."""
        return math.radians(drawn if self.tilt is None else self.tilt)


def _check(option: str, value: float | None, allowed: tuple[float, float], unit: str) -> None:
    low, high = allowed
    if value is not None and not low <= value <= high:
        raise SimulationError(f"{option} must lie in {low:.3g}..{high:.3g} {unit}, not {value:g}")


ANY = Package()
"""Another package for each joint: what a model meets that is to know them all."""
