"""One joint focused at several heights: the stack that a laminograph makes, with a defect in some of its slices only.

The tube circles above the joint, and what it saw is laid over one another as one height wants it. What lies there is
sharp; what lies above or below is smeared along a circle, of which a reconstruction takes away the most. Names that end
in `_khw` are `[K, H, W]`, one picture for each of K heights; heights are millimetres.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import j0

from simulator.defects import draw_severity, flawed_solder
from simulator.exposure import Machine, check_wanted, noticeable, stored
from simulator.package import ANY, Package
from simulator.phantom import Scene, draw_scene, draw_surroundings
from simulator.rays import Field, View

OUTERMOST = 2.0  # heights in focus reach so far up and down, in half standoffs; the pads lie at 1
OUT_OF_PLACE = 1.0  # boards warp, and so a joint may lie so far up or down from where it should, in half standoffs
CIRCLE_TILT_DEG = (30.0, 45.0)
RESIDUE = (0.10, 0.30)  # share of what is out of focus that a reconstruction leaves
WIRES_ABOVE_MM = (0.15, 0.40)  # the package's pads


@dataclass(frozen=True, eq=False)
class SimulatedStack:
    """The slices of one joint, from the board up, and what is true about them.

    Attributes:
        pixels: uint8 or uint16 `[K, H, W]`; solder is dark.
        masks: bool `[K, H, W]`, true where the defect is in focus and changes the picture noticeably; all false in
            slices that do not show it, and for io.
        label: `io` or `nio`.
        defect: one of `DEFECTS`, or None for io.
        severity: 0 (at the limit of visibility) to 1 (obvious); 0 for io.
    """

    pixels: NDArray[np.uint8] | NDArray[np.uint16]
    masks: NDArray[np.bool_]
    label: str
    defect: str | None
    severity: float

    @property
    def showing(self) -> list[int]:
        """Which slices show the defect, counted from 0."""
        return np.flatnonzero(self.masks.any(axis=(1, 2))).tolist()


def simulate_stack(
    rng: np.random.Generator,
    defect: str | None,
    slices: int,
    *,
    bits: int = 8,
    size: int | tuple[int, int] | None = None,
    severity: float | None = None,
    least_severity: float = 0.0,
    package: Package = ANY,
) -> SimulatedStack:
    """Make the slices of one joint.

    Generators in the same state give the same joint, surroundings, heights, exposure and noise whatever the defect.

    Args:
        rng: source of everything that is random; three numbers are drawn from it.
        defect: one of `DEFECTS`, or None for a good joint.
        slices: K, at least two.
        bits: 8 or 16 per pixel.
        size: side in pixels, or (height, width); None draws both.
        severity: 0 to 1; None draws one.
        least_severity: 0 to 1; a drawn severity is not below it.
        package: what is not drawn of pitch and ball; its tilt counts for nothing, since the tube circles.

    Raises:
        SimulationError: an unknown defect, other bits than 8 and 16, or a severity outside 0..1, least or given.
    """
    check_wanted(defect, bits, severity, least_severity)
    scene_rng, defect_rng, noise_rng = (np.random.default_rng(key) for key in rng.integers(2**63, size=3))
    scene, focus = _draw(scene_rng, size, slices, package)
    drawn = draw_severity(defect_rng, least=least_severity)
    # Each layer is drawn from a generator in the same state: they are layers of the same things.
    around_key, flaw_key = scene_rng.integers(2**63), defect_rng.integers(2**63)
    around_khw = focus.layers(scene, lambda layer: draw_surroundings(np.random.default_rng(around_key), layer))
    good_khw = focus.layers(scene, lambda layer: layer.solder(layer.ball, layer.voids))
    seen_khw = focus.slices(around_khw + scene.mu["solder"] * good_khw)
    machine = Machine.draw(scene_rng, float(seen_khw.max()))
    expected_khw = np.stack([machine.expect(depth_hw) for depth_hw in seen_khw])
    masks_khw, graded = np.zeros(expected_khw.shape, dtype=np.bool_), 0.0
    if defect is not None:
        graded = drawn if severity is None else severity
        bad_khw = focus.layers(
            scene, lambda layer: flawed_solder(layer, defect, np.random.default_rng(flaw_key), graded)
        )
        seen_khw = focus.slices(around_khw + scene.mu["solder"] * bad_khw)
        twin_khw, expected_khw = expected_khw, np.stack([machine.expect(depth_hw) for depth_hw in seen_khw])
        # Else what is smeared over the slices above and below would count as shown there.
        in_focus_khw = noticeable(scene.mu["solder"] * (bad_khw - good_khw))
        masks_khw = in_focus_khw & noticeable((expected_khw - twin_khw) / twin_khw)
    pixels_khw = stored(np.stack([machine.expose(seen_hw, noise_rng) for seen_hw in expected_khw]), bits)
    return SimulatedStack(pixels_khw, masks_khw, "io" if defect is None else "nio", defect, graded)


def _draw(
    rng: np.random.Generator, size: int | tuple[int, int] | None, slices: int, package: Package
) -> tuple[Scene, _Focus]:
    """A joint seen straight from above, and the heights to focus on."""
    scene = draw_scene(rng, size, package)
    middle = scene.half * rng.uniform(-OUT_OF_PLACE, OUT_OF_PLACE)
    heights = np.linspace(middle - OUTERMOST * scene.half, middle + OUTERMOST * scene.half, slices)
    focus = _Focus(
        heights=heights,
        reach=math.tan(math.radians(rng.uniform(*CIRCLE_TILT_DEG))) / scene.view.pixel,
        residue=rng.uniform(*RESIDUE),
    )
    wires = scene.half + rng.uniform(*WIRES_ABOVE_MM)
    return replace(scene, view=replace(scene.view, slope=(0.0, 0.0)), wires=wires), focus


@dataclass(frozen=True, eq=False)
class _Focus:
    """How the stack is focused."""

    heights: NDArray[np.float64]  # of its slices
    reach: float  # radius of the circle that a point is smeared along, in pixels per mm out of focus
    residue: float

    def layers(self, scene: Scene, draw: Callable[[Scene], Field]) -> Field:
        """What there is around each height, `[K, H, W]`; the outermost layers have no end."""
        edges = [-math.inf, *((self.heights[1:] + self.heights[:-1]) / 2.0), math.inf]
        views: list[View] = [replace(scene.view, between=ends) for ends in itertools.pairwise(edges)]
        return np.stack([draw(replace(scene, view=view)) for view in views])

    def slices(self, layers_khw: Field) -> Field:
        """Layers -> slices: each layer sharp in its own, and a residue of it smeared over the others."""
        off_kk = np.abs(self.heights[:, None] - self.heights) * self.reach
        margin = math.ceil(off_kk.max())
        around = ((0, 0), (margin, margin), (margin, margin))
        spectrum_kfg = np.fft.rfft2(np.pad(layers_khw, around, mode="symmetric"))
        height, width = (side + 2 * margin for side in layers_khw.shape[1:])
        turns_fg = 2.0 * math.pi * np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width))
        slices = []
        for own, off_k in enumerate(off_kk):
            # The transfer function of a circle is a Bessel function.
            sharp = [(1.0 if other == own else self.residue) * j0(off * turns_fg) for other, off in enumerate(off_k)]
            slices.append(np.fft.irfft2((spectrum_kfg * np.stack(sharp)).sum(0), (height, width)))
        inner = slice(margin, -margin)
        return np.stack(slices).astype(np.float32)[:, inner, inner]
