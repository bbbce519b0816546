"""The physics of one pseudo X-ray image: a solder joint of a ball grid array between tube and detector.

Every solid is an ellipsoid cut flat below and above, so that a ray's path through it is exact at any tilt.
Heights `z` run along the beam (board pad at `-half`, component pad at `+half`), lengths are millimetres, and
names that end in `_hw` are `[H, W]` images. A picture with a defect and its twin without it differ in
nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from inspection.errors import ConfigError

Field = NDArray[np.floating[Any]]

# Linear attenuation in 1/mm at 60 keV (NIST XCOM mass attenuation times density).
SOLDER_PER_MM, COPPER_PER_MM, GOLD_PER_MM = 4.8, 1.43, 8.7
LAMINATE_PER_MM, SILICON_PER_MM = 0.045, 0.075
METAL_ENERGY_EXPONENT = -2.65  # photoelectric absorption falls with energy; Compton in laminate hardly does

TUBE_KEV = (62.0, 92.0)  # effective energy of a filtered 100..160 kV tube
BALL_DIAMETER_MM = (0.35, 0.60)
STANDOFF_PER_DIAMETER = (0.62, 0.80)
PAD_PER_BALL = (0.72, 0.86)
WETTED_PER_HALF = 0.2  # thickness of solder on a pad that the ball does not cover, per half standoff
PITCH_PER_DIAMETER = (1.45, 1.85)
FIELD_PER_PITCH = (1.05, 1.5)  # short side of the image
SIDE_PX = (96, 160)
COPPER_MM = (0.018, 0.050)  # foil
TRACE_HALF_WIDTH_MM = (0.040, 0.075)
VIA_RADIUS_MM = (0.08, 0.16)
VIA_WALL_MM = 0.025
WIRE_RADIUS_MM = (0.009, 0.0155)
WIRE_SPACING_MM = (0.09, 0.22)
LAMINATE_MM = (0.8, 1.6)
SCATTER_SHARE = (0.04, 0.14)
PHOTONS_PER_PIXEL = (2500.0, 20000.0)
READOUT_NOISE = (0.001, 0.004)  # of the open beam

HARMLESS_VOID_AREA = 0.018  # of the ball's area, all voids together; an io joint has at most this
REJECTED_VOID_AREA = (0.05, 0.32)  # at severity 0 and 1
SEVERITY_BETA = (2.2, 1.1)  # mean 0.67; one in twenty below 0.25, the hard ones
NOTICEABLE_CONTRAST = 0.03  # of the local grey value, without noise: what counts as changed in a mask


@dataclass(frozen=True, eq=False)
class SimulatedImage:
    """One picture and what is true about it.

    Attributes:
        pixels: uint8 or uint16 `[H, W]`; solder is dark.
        mask: bool `[H, W]`, true where the defect changes the picture noticeably; all false for io.
        label: `io` or `nio`.
        defect: one of `DEFECTS`, or None for io.
        severity: 0 (at the limit of visibility) to 1 (obvious); 0 for io.
    """

    pixels: NDArray[np.uint8] | NDArray[np.uint16]
    mask: NDArray[np.bool_]
    label: str
    defect: str | None
    severity: float


@dataclass(frozen=True, eq=False)
class _View:
    """Where each pixel's ray crosses height 0 (mm), and how far it moves sideways per mm of height."""

    u_hw: Field
    v_hw: Field
    pixel: float
    slope: tuple[float, float]

    def at(self, x: float, y: float, z: float) -> tuple[Field, Field]:
        """Where each ray crosses height `z`, seen from the point (x, y)."""
        return self.u_hw + (z * self.slope[0] - x), self.v_hw + (z * self.slope[1] - y)

    def sees(self, x: float, y: float, reach: float) -> bool:
        """Whether something within `reach` of (x, y) can fall into the picture."""
        left, right = float(self.u_hw[0, 0]), float(self.u_hw[0, -1])
        top, bottom = float(self.v_hw[0, 0]), float(self.v_hw[-1, 0])
        return left - reach < x < right + reach and top - reach < y < bottom + reach

    @property
    def stretch(self) -> float:
        """Length of ray per mm of height."""
        return math.hypot(1.0, *self.slope)


@dataclass(frozen=True)
class _Solid:
    """An ellipsoid with a vertical axis, cut flat at heights `low` and `high`."""

    x: float
    y: float
    z: float
    radius: float
    semi_height: float
    low: float = -math.inf
    high: float = math.inf

    def span(self, view: _View) -> tuple[Field, Field]:
        """Heights at which each ray enters and leaves; it misses where it would leave before it enters."""
        (sx, sy), r2 = view.slope, self.radius**2
        du_hw, dv_hw = view.at(self.x, self.y, self.z)
        a = (sx * sx + sy * sy) / r2 + 1.0 / self.semi_height**2
        b_hw = (du_hw * sx + dv_hw * sy) / r2
        c_hw = (du_hw * du_hw + dv_hw * dv_hw) / r2 - 1.0
        root_hw = np.sqrt(np.maximum(b_hw * b_hw - a * c_hw, 0.0)) / a
        middle_hw = self.z - b_hw / a
        return np.maximum(middle_hw - root_hw, self.low), np.minimum(middle_hw + root_hw, self.high)

    def path(self, view: _View) -> Field:
        """Length of each ray inside, in mm."""
        return _length(self.span(view), view)


def _length(span: tuple[Field, Field], view: _View) -> Field:
    return np.maximum(span[1] - span[0], 0.0) * view.stretch


def _shared(one: tuple[Field, Field], other: tuple[Field, Field]) -> tuple[Field, Field]:
    return np.maximum(one[0], other[0]), np.minimum(one[1], other[1])


def _cover(inside_mm_hw: Field, view: _View) -> Field:
    """Share of each pixel that a thin layer covers, from the distance to its edge (positive inside)."""
    share_hw: Field = np.clip(inside_mm_hw / view.pixel + 0.5, 0.0, 1.0)
    return share_hw


def _along(view: _View, start: tuple[float, float, float], angle: float) -> tuple[Field, Field]:
    """Coordinates along and across the direction `angle`, from the point `start` (x, y, z)."""
    du_hw, dv_hw = view.at(*start)
    cos, sin = math.cos(angle), math.sin(angle)
    return du_hw * cos + dv_hw * sin, dv_hw * cos - du_hw * sin


@dataclass(frozen=True, eq=False)
class _Scene:
    """One joint and its surroundings, without a defect."""

    view: _View
    ball: _Solid
    pad_radius: float
    half: float  # half the standoff: height of the pads above and below the ball's centre
    pitch: float
    grid_angle: float
    mu: dict[str, float]  # 1/mm at this tube's energy
    near: list[_Solid] = field(default_factory=list)  # up to four balls, a pitch away
    diagonal: list[_Solid] = field(default_factory=list)
    voids: list[_Solid] = field(default_factory=list)  # harmless ones

    def solder(self, ball: _Solid, voids: list[_Solid]) -> Field:
        """Path through a ball with voids in it, in mm."""
        span = ball.span(self.view)
        path_hw = _length(span, self.view)
        for void in voids:
            path_hw = path_hw - _length(_shared(span, void.span(self.view)), self.view)
        return np.maximum(path_hw, 0.0)

    def around(self) -> Field:
        """Path through the neighbours, in mm."""
        path_hw = np.zeros_like(self.view.u_hw)
        for ball in self.near + self.diagonal:
            if self.view.sees(ball.x, ball.y, 2.0 * ball.radius):
                path_hw += ball.path(self.view)
        return path_hw

    def paste(self, height: float) -> Field:
        """Path through solder that only wetted the board pad, in mm."""
        return _Solid(0.0, 0.0, -self.half, self.pad_radius, height, low=-self.half).path(self.view)


# --- the scene: what io and nio have in common


def _draw_view(rng: np.random.Generator, size: int | tuple[int, int] | None, pitch: float) -> _View:
    low, high = SIDE_PX
    side, aspect = int(rng.integers(low, high + 1)), rng.uniform(0.8, 1.25)
    other = min(max(round(side * aspect), low), high) if rng.random() < 0.6 else side
    height, width = (side, other) if size is None else (size, size) if isinstance(size, int) else size
    pixel = rng.uniform(*FIELD_PER_PITCH) * pitch / min(height, width)
    tilt = math.radians(rng.uniform(0.0, 4.0) if rng.random() < 0.5 else rng.uniform(8.0, 35.0))
    azimuth = rng.uniform(0.0, 2.0 * math.pi)
    off_u, off_v = rng.normal(0.0, 0.03 * pitch, size=2)
    v_hw, u_hw = np.mgrid[0:height, 0:width].astype(np.float32)
    return _View(
        u_hw=(u_hw - np.float32((width - 1) / 2)) * np.float32(pixel) + np.float32(off_u),
        v_hw=(v_hw - np.float32((height - 1) / 2)) * np.float32(pixel) + np.float32(off_v),
        pixel=pixel,
        slope=(math.tan(tilt) * math.cos(azimuth), math.tan(tilt) * math.sin(azimuth)),
    )


def _draw_scene(rng: np.random.Generator, size: int | tuple[int, int] | None) -> _Scene:
    diameter = rng.uniform(*BALL_DIAMETER_MM)
    pitch = diameter * rng.uniform(*PITCH_PER_DIAMETER)
    half = diameter * rng.uniform(*STANDOFF_PER_DIAMETER) / 2.0
    pad_share = rng.uniform(*PAD_PER_BALL)
    radius = diameter / 2.0
    ball = _Solid(
        x=rng.normal(0.0, 0.012 * diameter),
        y=rng.normal(0.0, 0.012 * diameter),
        z=0.0,
        radius=radius,
        semi_height=half / math.sqrt(1.0 - pad_share**2),  # meets both pads at their rims
        low=-half,
        high=half,
    )
    energy = (rng.uniform(*TUBE_KEV) / 60.0) ** METAL_ENERGY_EXPONENT
    grid_angle = rng.normal(0.0, 0.03) + (math.pi / 4.0 if rng.random() < 0.2 else 0.0)
    scene = _Scene(
        view=_draw_view(rng, size, pitch),
        ball=ball,
        pad_radius=radius * pad_share,
        half=half,
        pitch=pitch,
        grid_angle=grid_angle,
        mu={
            "solder": SOLDER_PER_MM * energy,
            "copper": COPPER_PER_MM * energy,
            "gold": GOLD_PER_MM * energy,
        },
    )
    scene = _draw_neighbours(rng, scene)
    total = HARMLESS_VOID_AREA * rng.uniform(0.1, 1.0)
    voids = _draw_voids(rng, scene, int(rng.integers(0, 5)), total, flatness=rng.uniform(0.4, 1.0))
    return replace(scene, voids=voids)


def _draw_voids(rng: np.random.Generator, scene: _Scene, count: int, area: float, *, flatness: float) -> list[_Solid]:
    """Bubbles apart from one another whose shadows take `area` (a share) of the ball's, in all."""
    voids: list[_Solid] = []
    ball = scene.ball
    for share in sorted(rng.dirichlet(np.full(count, 3.0)), reverse=True) if count else []:
        radius = ball.radius * math.sqrt(area * share)
        semi_height = min(radius * flatness, 0.9 * scene.half)
        for _ in range(12):
            turn, reach = rng.uniform(0.0, 2.0 * math.pi), math.sqrt(rng.random())
            away = reach * max(0.93 * ball.radius - radius, 0.0)
            x, y = ball.x + away * math.cos(turn), ball.y + away * math.sin(turn)
            if all(math.hypot(x - v.x, y - v.y) > 0.95 * (radius + v.radius) for v in voids):
                break
        room = 0.95 * scene.half - semi_height
        voids.append(_Solid(x, y, rng.uniform(-1.0, 1.0) * max(room, 0.0), radius, semi_height))
    return voids


def _draw_neighbours(rng: np.random.Generator, scene: _Scene) -> _Scene:
    """The scene with the balls around: at the edge of the array, one side is empty."""
    present = sorted(int(side) for side in rng.permutation(4)[: 3 if rng.random() < 0.25 else 4])
    turns = [scene.grid_angle + side * math.pi / 2.0 for side in present]
    sides = [(scene.pitch * math.cos(turn), scene.pitch * math.sin(turn)) for turn in turns]
    corners = [(a[0] + b[0], a[1] + b[1]) for i, a in enumerate(sides) for b in sides[i + 1 :]]
    corners = [corner for corner in corners if math.hypot(*corner) > scene.pitch]  # opposite sides cancel

    def ball(x: float, y: float) -> _Solid:
        dx, dy = rng.normal(0.0, 0.012 * scene.pitch), rng.normal(0.0, 0.012 * scene.pitch)
        return replace(scene.ball, x=x + dx, y=y + dy, radius=scene.ball.radius * rng.normal(1.0, 0.015))

    return replace(scene, near=[ball(*side) for side in sides], diagonal=[ball(*place) for place in corners])


def _copper(rng: np.random.Generator, scene: _Scene) -> Field:
    """Path through pads, traces, vias and planes, in mm."""
    view, half, pad = scene.view, scene.half, scene.pad_radius
    foil, below = rng.uniform(*COPPER_MM), -half - rng.uniform(0.0, 0.1)
    board_pad, trace = pad * rng.uniform(0.9, 1.1), rng.uniform(*TRACE_HALF_WIDTH_MM)
    via_radius = min(rng.uniform(*VIA_RADIUS_MM), 0.28 * scene.pitch)
    escape = scene.grid_angle + math.pi / 4.0 + math.pi / 2.0 * int(rng.integers(4))
    has_escape, has_lane, has_plane = rng.random(3) < (0.6, 0.45, 0.35)
    to_via = scene.pitch / math.sqrt(2.0)
    path_hw = np.zeros_like(view.u_hw)
    for x, y in [(0.0, 0.0), *((ball.x, ball.y) for ball in scene.near + scene.diagonal)]:
        for z, radius in ((half, pad), (-half, board_pad)):
            du_hw, dv_hw = view.at(x, y, z)
            path_hw += foil * _cover(radius - np.hypot(du_hw, dv_hw), view)
        if has_escape:
            along_hw, across_hw = _along(view, (x, y, -half), escape)
            on_hw = _cover(trace - np.abs(across_hw), view)
            path_hw += foil * on_hw * _cover(np.minimum(along_hw - board_pad, to_via - along_hw), view)
            at = (x + to_via * math.cos(escape), y + to_via * math.sin(escape))
            path_hw += _via(view, at, via_radius, top=-half, length=0.15 + 4.0 * foil)
    if has_lane:
        turn = scene.grid_angle + math.pi / 2.0 * int(rng.integers(4))
        lane = scene.pitch * (0.5 + rng.uniform(-0.08, 0.08))
        _, across_hw = _along(view, (0.0, 0.0, below), turn)
        path_hw += foil * _cover(trace - np.abs(across_hw - lane), view)
    if has_plane:
        _, across_hw = _along(view, (0.0, 0.0, below), rng.uniform(0.0, 2.0 * math.pi))
        path_hw += foil * _cover(across_hw - rng.uniform(-0.7, 0.7) * scene.pitch, view)
    return path_hw * view.stretch


def _via(view: _View, at: tuple[float, float], radius: float, *, top: float, length: float) -> Field:
    """Path through a plated barrel (a ring from above, a short tube when tilted), in mm of height."""
    if not view.sees(*at, radius + length + 0.5):
        return np.zeros_like(view.u_hw)
    outer = _Solid(*at, top - length / 2.0, radius, 2.0 * length, low=top - length, high=top)
    inner = replace(outer, radius=radius - VIA_WALL_MM)
    return (outer.path(view) - inner.path(view)) / view.stretch


def _gold(rng: np.random.Generator, scene: _Scene) -> Field:
    """Path through bond wires above the joint, in mm: none, a few, or a row of them."""
    view = scene.view
    path_hw = np.zeros_like(view.u_hw)
    count = int(rng.choice([0, 0, 0, 1, 2, 4, 7]))
    angle, radius = rng.uniform(0.0, math.pi), rng.uniform(*WIRE_RADIUS_MM)
    spacing, bow = rng.uniform(*WIRE_SPACING_MM), rng.normal(0.0, 0.04)
    # At height 0 for simplicity: their true height would only shift them, and they lie at random anyway.
    first = rng.uniform(-0.5, 0.5) * scene.pitch - spacing * (count - 1) / 2.0 * rng.uniform(0.3, 1.0)
    for wire in range(count):
        start = (-first * math.sin(angle), first * math.cos(angle), 0.0)
        along_hw, across_hw = _along(view, start, angle + rng.normal(0.0, 0.03))
        off_hw = across_hw - wire * spacing - bow * along_hw * along_hw
        chord_hw = 2.0 * np.sqrt(np.maximum(radius**2 - off_hw * off_hw, 0.0))
        if rng.random() < 0.2:
            chord_hw = chord_hw * _cover(along_hw - rng.uniform(-0.4, 0.4) * scene.pitch, view)
        path_hw += chord_hw
    return path_hw


def _laminate(rng: np.random.Generator, scene: _Scene) -> Field:
    """Optical depth of board (glass weave, residues of flux and filler) and die."""
    view = scene.view
    board = LAMINATE_PER_MM * rng.uniform(*LAMINATE_MM)
    weave, period = rng.uniform(0.0, 0.12), rng.uniform(0.35, 0.55)
    along_hw, across_hw = _along(view, (rng.random(), rng.random(), 0.0), rng.normal(0.0, 0.05))
    turn = 2.0 * math.pi / period
    depth_hw: Field = board * (1.0 + weave * (np.sin(turn * along_hw) + np.sin(turn * across_hw)) / 2.0)
    grain_hw = gaussian_filter(rng.standard_normal(depth_hw.shape, dtype=np.float32), grain_px := 2.0)
    depth_hw += rng.uniform(0.0, 0.015) * 2.0 * math.sqrt(math.pi) * grain_px * grain_hw
    _, off_die_hw = _along(view, (0.0, 0.0, 0.0), math.pi / 2.0 * int(rng.integers(4)))
    die = SILICON_PER_MM * rng.uniform(0.0, 0.6)
    depth_hw += die * _cover(off_die_hw - rng.uniform(-2.0, 2.0) * scene.pitch, view)
    return depth_hw


# --- defects: each gives the path through the solder of the centre joint, in mm


def _void(scene: _Scene, rng: np.random.Generator, severity: float) -> Field:
    """Bubbles in the solder: larger and rounder the worse."""
    low, high = REJECTED_VOID_AREA
    area = low * (high / low) ** severity
    bubbles = _draw_voids(rng, scene, int(rng.integers(1, 5)), area, flatness=0.6 + 0.4 * severity)
    return scene.solder(scene.ball, scene.voids + bubbles)


def _bridge(scene: _Scene, rng: np.random.Generator, severity: float) -> Field:
    """Solder runs to a neighbour, as a neck that is thinnest halfway."""
    other = scene.near[int(rng.integers(len(scene.near)))]
    width = scene.ball.radius * (0.14 + 0.46 * severity) * rng.uniform(0.85, 1.15)
    height = 2.0 * scene.half * (0.12 + 0.65 * severity)
    along_hw, across_hw = _along(scene.view, (0.0, 0.0, -0.5 * scene.half), math.atan2(other.y, other.x))
    share_hw = along_hw / scene.pitch
    flare_hw = (2.0 * share_hw - 1.0) ** 2
    bow_hw = rng.normal(0.0, 0.06) * scene.pitch * (1.0 - flare_hw)
    half_width_hw = np.minimum(width * (1.0 + 1.2 * flare_hw), 0.75 * scene.ball.radius)
    round_hw = np.sqrt(np.maximum(1.0 - ((across_hw - bow_hw) / half_width_hw) ** 2, 0.0))
    between_hw = (share_hw > 0.0) & (share_hw < 1.0)
    neck_hw = height * scene.view.stretch * (1.0 + 0.3 * flare_hw) * round_hw * between_hw
    other_hw = other.path(scene.view)
    joint_hw = scene.solder(scene.ball, scene.voids)
    joint_hw += np.maximum(neck_hw - joint_hw - other_hw, 0.0)
    return joint_hw


def _missing(scene: _Scene, rng: np.random.Generator, severity: float) -> Field:
    """No ball: bare pads, or a cap of molten paste on the board pad."""
    return scene.paste(2.0 * scene.half * (0.02 + 0.45 * (1.0 - severity) * rng.uniform(0.8, 1.0)))


def _insufficient(scene: _Scene, rng: np.random.Generator, severity: float) -> Field:
    """Too little solder: a slimmer joint that no longer fills the gap between the pads."""
    slim = 1.0 - (0.08 + 0.36 * severity) * rng.uniform(0.9, 1.1)
    top = scene.half * (1.0 - 0.9 * severity)
    ball = replace(scene.ball, radius=scene.ball.radius * slim, high=top)
    return np.maximum(scene.solder(ball, scene.voids), scene.paste(WETTED_PER_HALF * scene.half))


def _head_in_pillow(scene: _Scene, rng: np.random.Generator, severity: float) -> Field:
    """Ball and paste melted apart from each other: two outlines, with a film of flux between them."""
    half, radius = scene.half, scene.ball.radius
    gap = radius * (0.03 + 0.13 * severity)
    turn, shift = rng.uniform(0.0, 2.0 * math.pi), radius * (0.04 + 0.24 * severity) * rng.uniform(0.8, 1.2)
    ball = replace(
        scene.ball,
        x=scene.ball.x + shift * math.cos(turn),
        y=scene.ball.y + shift * math.sin(turn),
        z=0.25 * half,
        radius=radius * (0.95 - 0.13 * severity),
        semi_height=1.2 * half,
        low=-half,
    )
    pillow = _Solid(
        0.0, 0.0, -half, radius * rng.uniform(0.96, 1.06), half * rng.uniform(0.8, 1.0), low=-half, high=half
    )
    crater = replace(ball, radius=ball.radius + gap, semi_height=ball.semi_height + gap, high=half)
    pillow_span = pillow.span(scene.view)
    dented_hw = _length(pillow_span, scene.view) - _length(_shared(pillow_span, crater.span(scene.view)), scene.view)
    return scene.solder(ball, scene.voids) + np.maximum(dented_hw, 0.0)


def _misalignment(scene: _Scene, rng: np.random.Generator, severity: float) -> Field:
    """The ball sits beside its pads; the paste stays where it was printed."""
    turn = rng.uniform(0.0, 2.0 * math.pi)
    shift = scene.ball.radius * (0.16 + 0.70 * severity) * rng.uniform(0.9, 1.1)
    dx, dy = shift * math.cos(turn), shift * math.sin(turn)
    moved = replace(scene.ball, x=scene.ball.x + dx, y=scene.ball.y + dy)
    voids = [replace(void, x=void.x + dx, y=void.y + dy) for void in scene.voids]
    return np.maximum(scene.solder(moved, voids), scene.paste(WETTED_PER_HALF * scene.half))


_DEFECTS: dict[str, Callable[[_Scene, np.random.Generator, float], Field]] = {
    "void": _void,
    "bridge": _bridge,
    "missing": _missing,
    "insufficient": _insufficient,
    "head-in-pillow": _head_in_pillow,
    "misalignment": _misalignment,
}
DEFECTS = tuple(_DEFECTS)


# --- the machine: from optical depth to grey values


@dataclass(frozen=True)
class _Machine:
    """Tube, detector and picture settings of one exposure."""

    heel: tuple[float, float]  # rise of the intensity across the picture, per side
    vignetting: float  # fall from centre to corner
    scatter: float  # share of the open beam
    focus_px: float  # blur by the focal spot, before the photons are counted
    glow_px: float  # blur in the scintillator, after
    photons: float  # per pixel in the open beam
    readout: float
    floor: float  # the intensity shown as `black`; the open beam is shown as `white`
    black: float
    white: float
    edge_gain: float  # the machine's own edge enhancement
    edge_px: float

    @classmethod
    def draw(cls, rng: np.random.Generator, ball_depth: float) -> _Machine:
        """Settings at random; the window is set for the optical depth of a good ball."""
        scatter = rng.uniform(*SCATTER_SHARE)
        slope, turn = rng.uniform(0.0, 0.14), rng.uniform(0.0, 2.0 * math.pi)
        return cls(
            heel=(slope * math.cos(turn), slope * math.sin(turn)),
            vignetting=rng.uniform(0.0, 0.10),
            scatter=scatter,
            focus_px=rng.uniform(0.5, 1.1),
            glow_px=rng.uniform(0.35, 0.8),
            photons=math.exp(rng.uniform(*np.log(PHOTONS_PER_PIXEL))),
            readout=rng.uniform(*READOUT_NOISE),
            floor=rng.uniform(0.4, 0.85) * (scatter + (1.0 - scatter) * math.exp(-ball_depth)),
            black=rng.uniform(0.02, 0.12),
            white=rng.uniform(0.66, 0.86),
            edge_gain=rng.uniform(0.1, 0.6) if rng.random() < 0.6 else 0.0,
            edge_px=rng.uniform(2.0, 7.0),
        )

    def beam(self, height: int, width: int) -> Field:
        """Intensity with nothing in the way, `[H, W]`, about 1."""
        down = np.linspace(-0.5, 0.5, height, dtype=np.float32)[:, None]
        across = np.linspace(-0.5, 0.5, width, dtype=np.float32)[None, :]
        beam_hw: Field = 1.0 + self.heel[0] * across + self.heel[1] * down
        beam_hw -= 2.0 * self.vignetting * (across**2 + down**2)
        return beam_hw

    def expect(self, depth_hw: Field) -> Field:
        """What reaches the scintillator on average, as a share of the open beam (Beer-Lambert)."""
        beam_hw = self.beam(*depth_hw.shape) * ((1.0 - self.scatter) * np.exp(-depth_hw) + self.scatter)
        return np.asarray(gaussian_filter(beam_hw, self.focus_px), dtype=np.float32)

    def expose(self, expected_hw: Field, rng: np.random.Generator) -> Field:
        """One noisy picture, 0..1 for black to full scale."""
        readout_hw = rng.standard_normal(expected_hw.shape, dtype=np.float32) * self.readout
        counted_hw = rng.poisson(expected_hw * self.photons).astype(np.float32) / self.photons
        seen_hw = gaussian_filter(counted_hw, self.glow_px) + readout_hw
        if self.edge_gain:
            seen_hw += self.edge_gain * (seen_hw - gaussian_filter(seen_hw, self.edge_px))
        shown_hw = (seen_hw - self.floor) / (1.0 - self.floor)
        return np.asarray(self.black + (self.white - self.black) * shown_hw, dtype=np.float32)


def _changed(good_hw: Field, bad_hw: Field) -> NDArray[np.bool_]:
    """Where two noise-free pictures differ noticeably; for a faint defect, where they differ most."""
    contrast_hw = np.abs(bad_hw - good_hw) / good_hw
    return np.asarray(contrast_hw > min(NOTICEABLE_CONTRAST, 0.5 * float(contrast_hw.max())))


def simulate_image(
    rng: np.random.Generator,
    defect: str | None,
    *,
    bits: int = 8,
    size: int | tuple[int, int] | None = None,
    severity: float | None = None,
) -> SimulatedImage:
    """Make one picture of one joint.

    Generators in the same state give the same joint, surroundings, exposure and noise seed whatever the
    defect and the bits, so that a picture can be compared with its twin.

    Args:
        rng: source of everything that is random; three numbers are drawn from it.
        defect: one of `DEFECTS`, or None for a good joint.
        bits: 8 or 16 per pixel.
        size: side in pixels, or (height, width); None draws both from `SIDE_PX`.
        severity: 0 to 1; None draws one that is mostly well visible, with a tail to hard ones.

    Returns:
        Pixels, mask and what is true about them.

    Raises:
        ConfigError: an unknown defect, other bits than 8 and 16, or a severity outside 0..1.
    """
    if defect is not None and defect not in DEFECTS:
        raise ConfigError(f"unknown defect '{defect}'; there are: {', '.join(DEFECTS)}")
    if bits not in {8, 16}:
        raise ConfigError(f"bits must be 8 or 16, not {bits}")
    if severity is not None and not 0.0 <= severity <= 1.0:
        raise ConfigError(f"severity must lie in 0..1, not {severity}")
    scene_rng, defect_rng, noise_rng = (np.random.default_rng(key) for key in rng.integers(2**63, size=3))
    scene = _draw_scene(scene_rng, size)
    around_hw = _laminate(scene_rng, scene) + scene.mu["copper"] * _copper(scene_rng, scene)
    around_hw += scene.mu["gold"] * _gold(scene_rng, scene)
    around_hw += scene.mu["solder"] * scene.around()
    machine = _Machine.draw(scene_rng, 2.0 * scene.half * scene.mu["solder"])
    drawn = float(defect_rng.beta(*SEVERITY_BETA))
    good_hw = machine.expect(around_hw + scene.mu["solder"] * scene.solder(scene.ball, scene.voids))
    expected_hw, mask_hw, graded = good_hw, np.zeros(good_hw.shape, dtype=np.bool_), 0.0
    if defect is not None:
        graded = drawn if severity is None else severity
        solder_hw = _DEFECTS[defect](scene, defect_rng, graded)
        expected_hw = machine.expect(around_hw + scene.mu["solder"] * solder_hw)
        mask_hw = _changed(good_hw, expected_hw)
    top = 2**bits - 1
    grey_hw = np.clip(np.rint(machine.expose(expected_hw, noise_rng) * top), 0, top)
    pixels = grey_hw.astype(np.uint8) if bits == 8 else grey_hw.astype(np.uint16)
    return SimulatedImage(pixels, mask_hw, "io" if defect is None else "nio", defect, graded)
