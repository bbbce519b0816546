"""Rays from the tube through solids: where each pixel's ray runs, and how far inside a body.

Every solid is an ellipsoid cut flat below and above, so that a ray's path through it is exact at any tilt.
Heights `z` run along the beam, lengths are millimetres, and names that end in `_hw` are `[H, W]` images.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.floating[Any]]


@dataclass(frozen=True, eq=False)
class View:
    """Where each pixel's ray crosses height 0 (mm), and how far it moves sideways per mm of height.

    Attributes:
        u_hw: Where it crosses, across.
        v_hw: Where it crosses, down.
        pixel: A pixel's side.
        slope: Movement per mm of height, across and down.
        between: Heights between which there is something; what lies beyond is not seen.
    """

    u_hw: Field
    v_hw: Field
    pixel: float
    slope: tuple[float, float]
    between: tuple[float, float] = (-math.inf, math.inf)

    def at(self, x: float, y: float, z: float) -> tuple[Field, Field]:
        """Where each ray crosses height `z`, seen from the point (x, y)."""
        return self.u_hw + (z * self.slope[0] - x), self.v_hw + (z * self.slope[1] - y)

    def sees(self, x: float, y: float, reach: float) -> bool:
        """Whether something within `reach` of (x, y) can fall into the picture."""
        left, right = float(self.u_hw[0, 0]), float(self.u_hw[0, -1])
        top, bottom = float(self.v_hw[0, 0]), float(self.v_hw[-1, 0])
        return left - reach < x < right + reach and top - reach < y < bottom + reach

    def share(self, z: float, thickness: float) -> float:
        """Share of a layer around height `z` that lies between the heights that are seen."""
        low, high = z - thickness / 2.0, z + thickness / 2.0
        return max(0.0, min(high, self.between[1]) - max(low, self.between[0])) / (high - low)

    @property
    def stretch(self) -> float:
        """Length of ray per mm of height."""
        return math.hypot(1.0, *self.slope)


@dataclass(frozen=True)
class Solid:
    """An ellipsoid with a vertical axis, cut flat at heights `low` and `high`."""

    x: float
    y: float
    z: float
    radius: float
    semi_height: float
    low: float = -math.inf
    high: float = math.inf

    def span(self, view: View) -> tuple[Field, Field]:
        """Heights at which each ray enters and leaves; it misses where it would leave before it enters."""
        (sx, sy), r2 = view.slope, self.radius**2
        du_hw, dv_hw = view.at(self.x, self.y, self.z)
        a = (sx * sx + sy * sy) / r2 + 1.0 / self.semi_height**2
        b_hw = (du_hw * sx + dv_hw * sy) / r2
        c_hw = (du_hw * du_hw + dv_hw * dv_hw) / r2 - 1.0
        root_hw = np.sqrt(np.maximum(b_hw * b_hw - a * c_hw, 0.0)) / a
        middle_hw = self.z - b_hw / a
        return np.maximum(middle_hw - root_hw, self.low), np.minimum(middle_hw + root_hw, self.high)

    def path(self, view: View) -> Field:
        """Length of each ray inside, in mm."""
        return path_length(self.span(view), view)


def path_length(span: tuple[Field, Field], view: View) -> Field:
    """Length of each ray between the heights of `span`, in mm; 0 where it misses."""
    low, high = view.between
    inside_hw: Field = np.minimum(span[1], high) - np.maximum(span[0], low)
    return np.maximum(inside_hw, 0.0) * view.stretch


def shared(one: tuple[Field, Field], other: tuple[Field, Field]) -> tuple[Field, Field]:
    """Heights between which each ray is inside both."""
    return np.maximum(one[0], other[0]), np.minimum(one[1], other[1])


def cover(inside_mm_hw: Field, view: View) -> Field:
    """Share of each pixel that a thin layer covers, from the distance to its edge (positive inside)."""
    share_hw: Field = np.clip(inside_mm_hw / view.pixel + 0.5, 0.0, 1.0)
    return share_hw


def along(view: View, start: tuple[float, float, float], angle: float) -> tuple[Field, Field]:
    """Coordinates along and across the direction `angle`, from the point `start` (x, y, z)."""
    du_hw, dv_hw = view.at(*start)
    cos, sin = math.cos(angle), math.sin(angle)
    return du_hw * cos + dv_hw * sin, dv_hw * cos - du_hw * sin
