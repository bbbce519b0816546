"""From optical depth to grey values: one exposure by tube and detector, and the picture that comes of it.

A picture with a defect and its twin without it differ in nothing else. Names that end in `_hw` are `[H, W]` images.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from simulator.defects import DEFECTS, draw_severity, flawed_solder
from simulator.errors import SimulationError
from simulator.package import ANY, Package
from simulator.phantom import draw_scene, draw_surroundings
from simulator.rays import Field

SCATTER_SHARE = (0.04, 0.14)
PHOTONS_PER_PIXEL = (2500.0, 20000.0)
READOUT_NOISE = (0.001, 0.004)  # of the open beam
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


@dataclass(frozen=True)
class Machine:
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
    def draw(cls, rng: np.random.Generator, ball_depth: float) -> Machine:
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


def check_wanted(defect: str | None, bits: int, severity: float | None, least_severity: float) -> None:
    """Raise SimulationError for an unknown defect, other bits than 8 and 16, or a severity outside 0..1."""
    if defect is not None and defect not in DEFECTS:
        raise SimulationError(f"unknown defect '{defect}'; there are: {', '.join(DEFECTS)}")
    if bits not in {8, 16}:
        raise SimulationError(f"bits must be 8 or 16, not {bits}")
    if severity is not None and not 0.0 <= severity <= 1.0:
        raise SimulationError(f"severity must lie in 0..1, not {severity}")
    if not 0.0 <= least_severity <= 1.0:
        raise SimulationError(f"least_severity must lie in 0..1, not {least_severity}")


def stored(shown: Field, bits: int) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """Pictures in 0..1 as whole grey levels of 8 or 16 bits; what lies beyond is cut off."""
    top = 2**bits - 1
    grey: Field = np.clip(np.rint(shown * top), 0, top)
    return grey.astype(np.uint8) if bits == 8 else grey.astype(np.uint16)


def noticeable(contrast: Field) -> NDArray[np.bool_]:
    """Where two noise-free pictures differ noticeably; for a faint defect, where they differ most.

    Args:
        contrast: their difference as a share of the grey value, or in optical depth, which is nearly the same.
    """
    size = np.abs(contrast)
    return np.asarray(size > min(NOTICEABLE_CONTRAST, 0.5 * float(size.max())))


def simulate_image(
    rng: np.random.Generator,
    defect: str | None,
    *,
    bits: int = 8,
    size: int | tuple[int, int] | None = None,
    severity: float | None = None,
    least_severity: float = 0.0,
    package: Package = ANY,
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
        least_severity: 0 to 1; a drawn severity is not below it. One that is given stays as it is.
        package: what is not drawn of pitch, ball and view.

    Returns:
        Pixels, mask and what is true about them.

    Raises:
        SimulationError: an unknown defect, other bits than 8 and 16, or a severity outside 0..1, least or given.
    """
    check_wanted(defect, bits, severity, least_severity)
    scene_rng, defect_rng, noise_rng = (np.random.default_rng(key) for key in rng.integers(2**63, size=3))
    scene = draw_scene(scene_rng, size, package)
    around_hw = draw_surroundings(scene_rng, scene)
    machine = Machine.draw(scene_rng, 2.0 * scene.half * scene.mu["solder"])
    drawn = draw_severity(defect_rng, least=least_severity)
    good_hw = machine.expect(around_hw + scene.mu["solder"] * scene.solder(scene.ball, scene.voids))
    expected_hw, mask_hw, graded = good_hw, np.zeros(good_hw.shape, dtype=np.bool_), 0.0
    if defect is not None:
        graded = drawn if severity is None else severity
        solder_hw = flawed_solder(scene, defect, defect_rng, graded)
        expected_hw = machine.expect(around_hw + scene.mu["solder"] * solder_hw)
        mask_hw = noticeable((expected_hw - good_hw) / good_hw)
    pixels = stored(machine.expose(expected_hw, noise_rng), bits)
    return SimulatedImage(pixels, mask_hw, "io" if defect is None else "nio", defect, graded)
