"""What is wrong with a solder joint: each defect gives the path of the rays through the joint's solder, in mm.

Severity runs from 0 (at the limit of visibility) to 1 (obvious).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from simulator.phantom import Scene, draw_voids
from simulator.rays import Field, Solid, along, path_length, shared

WETTED_PER_HALF = 0.2  # thickness of solder on a pad that the ball does not cover, per half standoff
REJECTED_VOID_AREA = (0.05, 0.32)  # of the ball's area, all voids together, at severity 0 and 1
SEVERITY_BETA = (2.2, 1.1)  # mean 0.67; one in twenty below 0.25, the hard ones


def _void(scene: Scene, rng: np.random.Generator, severity: float) -> Field:
    """Bubbles in the solder: larger and rounder the worse."""
    low, high = REJECTED_VOID_AREA
    area = low * (high / low) ** severity
    bubbles = draw_voids(rng, scene, int(rng.integers(1, 5)), area, flatness=0.6 + 0.4 * severity)
    return scene.solder(scene.ball, scene.voids + bubbles)


def _bridge(scene: Scene, rng: np.random.Generator, severity: float) -> Field:
    """Solder runs to a neighbour, as a neck that is thinnest halfway."""
    other = scene.near[int(rng.integers(len(scene.near)))]
    width = scene.ball.radius * (0.14 + 0.46 * severity) * rng.uniform(0.85, 1.15)
    height = 2.0 * scene.half * (0.12 + 0.65 * severity)
    along_hw, across_hw = along(scene.view, (0.0, 0.0, -0.5 * scene.half), math.atan2(other.y, other.x))
    share_hw = along_hw / scene.pitch
    flare_hw = (2.0 * share_hw - 1.0) ** 2
    bow_hw = rng.normal(0.0, 0.06) * scene.pitch * (1.0 - flare_hw)
    half_width_hw = np.minimum(width * (1.0 + 1.2 * flare_hw), 0.75 * scene.ball.radius)
    round_hw = np.sqrt(np.maximum(1.0 - ((across_hw - bow_hw) / half_width_hw) ** 2, 0.0))
    between_hw = (share_hw > 0.0) & (share_hw < 1.0)
    neck_hw = (
        height
        * scene.view.share(-0.5 * scene.half, height)
        * scene.view.stretch
        * (1.0 + 0.3 * flare_hw)
        * round_hw
        * between_hw
    )
    other_hw = other.path(scene.view)
    joint_hw = scene.solder(scene.ball, scene.voids)
    joint_hw += np.maximum(neck_hw - joint_hw - other_hw, 0.0)
    return joint_hw


def _missing(scene: Scene, rng: np.random.Generator, severity: float) -> Field:
    """No ball: bare pads, or a cap of molten paste on the board pad."""
    return scene.paste(2.0 * scene.half * (0.02 + 0.45 * (1.0 - severity) * rng.uniform(0.8, 1.0)))


def _insufficient(scene: Scene, rng: np.random.Generator, severity: float) -> Field:
    """Too little solder: a slimmer joint that no longer fills the gap between the pads."""
    slim = 1.0 - (0.08 + 0.36 * severity) * rng.uniform(0.9, 1.1)
    top = scene.half * (1.0 - 0.9 * severity)
    ball = replace(scene.ball, radius=scene.ball.radius * slim, high=top)
    return np.maximum(scene.solder(ball, scene.voids), scene.paste(WETTED_PER_HALF * scene.half))


def _head_in_pillow(scene: Scene, rng: np.random.Generator, severity: float) -> Field:
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
    pillow = Solid(
        0.0, 0.0, -half, radius * rng.uniform(0.96, 1.06), half * rng.uniform(0.8, 1.0), low=-half, high=half
    )
    crater = replace(ball, radius=ball.radius + gap, semi_height=ball.semi_height + gap, high=half)
    pillow_span = pillow.span(scene.view)
    crater_span = shared(pillow_span, crater.span(scene.view))
    dented_hw = path_length(pillow_span, scene.view) - path_length(crater_span, scene.view)
    return scene.solder(ball, scene.voids) + np.maximum(dented_hw, 0.0)


def _misalignment(scene: Scene, rng: np.random.Generator, severity: float) -> Field:
    """The ball sits beside its pads; the paste stays where it was printed."""
    turn = rng.uniform(0.0, 2.0 * math.pi)
    shift = scene.ball.radius * (0.16 + 0.70 * severity) * rng.uniform(0.9, 1.1)
    dx, dy = shift * math.cos(turn), shift * math.sin(turn)
    moved = replace(scene.ball, x=scene.ball.x + dx, y=scene.ball.y + dy)
    voids = [replace(void, x=void.x + dx, y=void.y + dy) for void in scene.voids]
    return np.maximum(scene.solder(moved, voids), scene.paste(WETTED_PER_HALF * scene.half))


_DEFECTS: dict[str, Callable[[Scene, np.random.Generator, float], Field]] = {
    "void": _void,
    "bridge": _bridge,
    "missing": _missing,
    "insufficient": _insufficient,
    "head-in-pillow": _head_in_pillow,
    "misalignment": _misalignment,
}
DEFECTS = tuple(_DEFECTS)


def draw_severity(rng: np.random.Generator, *, least: float = 0.0) -> float:
    """A severity in `least`..1: mostly well visible, with a tail to hard ones."""
    return least + (1.0 - least) * float(rng.beta(*SEVERITY_BETA))


def flawed_solder(scene: Scene, defect: str, rng: np.random.Generator, severity: float) -> Field:
    """Path `[H, W]` through the solder of the centre joint with one of `DEFECTS` in it, in mm."""
    return _DEFECTS[defect](scene, rng, severity)
