"""The scene of one pseudo X-ray image: a good solder joint of a ball grid array and what lies around it.

This is what io and nio have in common: geometry and materials, drawn at random. The board pad is at height
`-half`, the component pad at `+half`; lengths are millimetres, and names that end in `_hw` are `[H, W]` images.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np
from scipy.ndimage import gaussian_filter

from simulator.package import ANY, Package
from simulator.rays import Field, Solid, View, along, cover, path_length, shared

# Linear attenuation in 1/mm at 60 keV (NIST XCOM mass attenuation times density).
SOLDER_PER_MM, COPPER_PER_MM, GOLD_PER_MM = 4.8, 1.43, 8.7
LAMINATE_PER_MM, SILICON_PER_MM = 0.045, 0.075
METAL_ENERGY_EXPONENT = -2.65  # photoelectric absorption falls with energy; Compton in laminate hardly does

TUBE_KEV = (62.0, 92.0)  # effective energy of a filtered 100..160 kV tube
BALL_DIAMETER_MM = (0.35, 0.60)
STANDOFF_PER_DIAMETER = (0.62, 0.80)
PAD_PER_BALL = (0.72, 0.86)
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

HARMLESS_VOID_AREA = 0.018  # of the ball's area, all voids together; an io joint has at most this


@dataclass(frozen=True, eq=False)
class Scene:
    """One joint and its surroundings, without a defect."""

    view: View
    ball: Solid
    pad_radius: float
    half: float  # half the standoff: height of the pads above and below the ball's centre
    pitch: float
    grid_angle: float
    mu: dict[str, float]  # 1/mm at this tube's energy
    wires: float = 0.0  # height of the bond wires; in a single picture another one would only shift them
    near: list[Solid] = field(default_factory=list)  # up to four balls, a pitch away
    diagonal: list[Solid] = field(default_factory=list)
    voids: list[Solid] = field(default_factory=list)  # harmless ones

    def solder(self, ball: Solid, voids: list[Solid]) -> Field:
        """Path through a ball with voids in it, in mm."""
        span = ball.span(self.view)
        path_hw = path_length(span, self.view)
        for void in voids:
            path_hw = path_hw - path_length(shared(span, void.span(self.view)), self.view)
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
        return Solid(0.0, 0.0, -self.half, self.pad_radius, height, low=-self.half).path(self.view)


def _draw_view(rng: np.random.Generator, size: int | tuple[int, int] | None, pitch: float, package: Package) -> View:
    low, high = SIDE_PX
    side, aspect = int(rng.integers(low, high + 1)), rng.uniform(0.8, 1.25)
    other = min(max(round(side * aspect), low), high) if rng.random() < 0.6 else side
    height, width = (side, other) if size is None else (size, size) if isinstance(size, int) else size
    pixel = rng.uniform(*FIELD_PER_PITCH) * pitch / min(height, width)
    tilt = package.lean(rng.uniform(0.0, 4.0) if rng.random() < 0.5 else rng.uniform(8.0, 35.0))
    azimuth = rng.uniform(0.0, 2.0 * math.pi)
    off_u, off_v = rng.normal(0.0, 0.03 * pitch, size=2)
    v_hw, u_hw = np.mgrid[0:height, 0:width].astype(np.float32)
    return View(
        u_hw=(u_hw - np.float32((width - 1) / 2)) * np.float32(pixel) + np.float32(off_u),
        v_hw=(v_hw - np.float32((height - 1) / 2)) * np.float32(pixel) + np.float32(off_v),
        pixel=pixel,
        slope=(math.tan(tilt) * math.cos(azimuth), math.tan(tilt) * math.sin(azimuth)),
    )


def draw_scene(rng: np.random.Generator, size: int | tuple[int, int] | None, package: Package = ANY) -> Scene:
    """A good joint and its neighbours; `size` is the side in pixels, or (height, width), or None to draw both.

    However much of it the package says, as many numbers are drawn: the rest is the same.
    """
    diameter, pitch = package.sizes(rng.uniform(*BALL_DIAMETER_MM), rng.uniform(*PITCH_PER_DIAMETER))
    half = diameter * rng.uniform(*STANDOFF_PER_DIAMETER) / 2.0
    pad_share = rng.uniform(*PAD_PER_BALL)
    radius = diameter / 2.0
    ball = Solid(
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
    scene = Scene(
        view=_draw_view(rng, size, pitch, package),
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
    voids = draw_voids(rng, scene, int(rng.integers(0, 5)), total, flatness=rng.uniform(0.4, 1.0))
    return replace(scene, voids=voids)


def draw_voids(rng: np.random.Generator, scene: Scene, count: int, area: float, *, flatness: float) -> list[Solid]:
    """Bubbles apart from one another whose shadows take `area` (a share) of the ball's, in all."""
    voids: list[Solid] = []
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
        voids.append(Solid(x, y, rng.uniform(-1.0, 1.0) * max(room, 0.0), radius, semi_height))
    return voids


def _draw_neighbours(rng: np.random.Generator, scene: Scene) -> Scene:
    """The scene with the balls around: at the edge of the array, one side is empty."""
    present = sorted(int(side) for side in rng.permutation(4)[: 3 if rng.random() < 0.25 else 4])
    turns = [scene.grid_angle + side * math.pi / 2.0 for side in present]
    sides = [(scene.pitch * math.cos(turn), scene.pitch * math.sin(turn)) for turn in turns]
    corners = [(a[0] + b[0], a[1] + b[1]) for i, a in enumerate(sides) for b in sides[i + 1 :]]
    corners = [corner for corner in corners if math.hypot(*corner) > scene.pitch]  # opposite sides cancel

    def ball(x: float, y: float) -> Solid:
        dx, dy = rng.normal(0.0, 0.012 * scene.pitch), rng.normal(0.0, 0.012 * scene.pitch)
        return replace(scene.ball, x=x + dx, y=y + dy, radius=scene.ball.radius * rng.normal(1.0, 0.015))

    return replace(scene, near=[ball(*side) for side in sides], diagonal=[ball(*place) for place in corners])


def draw_surroundings(rng: np.random.Generator, scene: Scene) -> Field:
    """Optical depth `[H, W]` of all but the joint in the middle: board, die, copper, bond wires, other balls."""
    depth_hw = _laminate(rng, scene) + scene.mu["copper"] * _copper(rng, scene)
    depth_hw += scene.mu["gold"] * _gold(rng, scene)
    depth_hw += scene.mu["solder"] * scene.around()
    return depth_hw


def _copper(rng: np.random.Generator, scene: Scene) -> Field:
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
            path_hw += foil * view.share(z, foil) * cover(radius - np.hypot(du_hw, dv_hw), view)
        if has_escape:
            along_hw, across_hw = along(view, (x, y, -half), escape)
            on_hw = cover(trace - np.abs(across_hw), view)
            path_hw += (
                foil
                * view.share(-half, foil)
                * on_hw
                * cover(np.minimum(along_hw - board_pad, to_via - along_hw), view)
            )
            at = (x + to_via * math.cos(escape), y + to_via * math.sin(escape))
            path_hw += _via(view, at, via_radius, top=-half, length=0.15 + 4.0 * foil)
    if has_lane:
        turn = scene.grid_angle + math.pi / 2.0 * int(rng.integers(4))
        lane = scene.pitch * (0.5 + rng.uniform(-0.08, 0.08))
        _, across_hw = along(view, (0.0, 0.0, below), turn)
        path_hw += foil * view.share(below, foil) * cover(trace - np.abs(across_hw - lane), view)
    if has_plane:
        _, across_hw = along(view, (0.0, 0.0, below), rng.uniform(0.0, 2.0 * math.pi))
        path_hw += foil * view.share(below, foil) * cover(across_hw - rng.uniform(-0.7, 0.7) * scene.pitch, view)
    return path_hw * view.stretch


def _via(view: View, at: tuple[float, float], radius: float, *, top: float, length: float) -> Field:
    """Path through a plated barrel (a ring from above, a short tube when tilted), in mm of height."""
    if not view.sees(*at, radius + length + 0.5):
        return np.zeros_like(view.u_hw)
    outer = Solid(*at, top - length / 2.0, radius, 2.0 * length, low=top - length, high=top)
    inner = replace(outer, radius=radius - VIA_WALL_MM)
    return (outer.path(view) - inner.path(view)) / view.stretch


def _gold(rng: np.random.Generator, scene: Scene) -> Field:
    """Path through bond wires above the joint, in mm: none, a few, or a row of them."""
    view = scene.view
    path_hw = np.zeros_like(view.u_hw)
    count = int(rng.choice([0, 0, 0, 1, 2, 4, 7]))
    angle, radius = rng.uniform(0.0, math.pi), rng.uniform(*WIRE_RADIUS_MM)
    spacing, bow = rng.uniform(*WIRE_SPACING_MM), rng.normal(0.0, 0.04)
    first = rng.uniform(-0.5, 0.5) * scene.pitch - spacing * (count - 1) / 2.0 * rng.uniform(0.3, 1.0)
    for wire in range(count):
        start = (-first * math.sin(angle), first * math.cos(angle), scene.wires)
        along_hw, across_hw = along(view, start, angle + rng.normal(0.0, 0.03))
        off_hw = across_hw - wire * spacing - bow * along_hw * along_hw
        chord_hw = 2.0 * np.sqrt(np.maximum(radius**2 - off_hw * off_hw, 0.0))
        if rng.random() < 0.2:
            chord_hw = chord_hw * cover(along_hw - rng.uniform(-0.4, 0.4) * scene.pitch, view)
        path_hw += chord_hw * view.share(scene.wires, 2.0 * radius)
    return path_hw


def _laminate(rng: np.random.Generator, scene: Scene) -> Field:
    """Optical depth of board (glass weave, residues of flux and filler) and die."""
    view = scene.view
    thickness = rng.uniform(*LAMINATE_MM)
    share = view.share(-scene.half - thickness / 2.0, thickness)
    board = LAMINATE_PER_MM * thickness * share
    weave, period = rng.uniform(0.0, 0.12), rng.uniform(0.35, 0.55)
    along_hw, across_hw = along(view, (rng.random(), rng.random(), 0.0), rng.normal(0.0, 0.05))
    turn = 2.0 * math.pi / period
    depth_hw: Field = board * (1.0 + weave * (np.sin(turn * along_hw) + np.sin(turn * across_hw)) / 2.0)
    grain_hw = gaussian_filter(rng.standard_normal(depth_hw.shape, dtype=np.float32), grain_px := 2.0)
    depth_hw += rng.uniform(0.0, 0.015) * share * 2.0 * math.sqrt(math.pi) * grain_px * grain_hw
    _, off_die_hw = along(view, (0.0, 0.0, 0.0), math.pi / 2.0 * int(rng.integers(4)))
    die = SILICON_PER_MM * (thickness := rng.uniform(0.0, 0.6)) * view.share(scene.half + thickness / 2.0, thickness)
    depth_hw += die * cover(off_die_hw - rng.uniform(-2.0, 2.0) * scene.pitch, view)
    return depth_hw
