"""What a simulated product promises: all its joints have one package, and are seen as it is said."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from simulator.defects import DEFECTS
from simulator.errors import SimulationError
from simulator.package import Package
from simulator.phantom import PITCH_PER_DIAMETER, Scene, draw_scene
from simulator.simulate import main, simulate_image

SIDE = 96


def scene(seed: int, package: Package) -> Scene:
    """A joint of a product."""
    return draw_scene(np.random.default_rng(seed), SIDE, package)


def tilt(scene: Scene) -> float:
    """Degrees by which the beam leans."""
    return math.degrees(math.atan(math.hypot(*scene.view.slope)))


def test_without_a_package_all_is_as_ever() -> None:
    """Joints of any package are those that every version drew of a seed, up to the last thing that is drawn."""
    drawn = draw_scene(np.random.default_rng(0), None)
    assert (drawn.ball.radius, drawn.pitch) == pytest.approx((0.2546202109151818, 0.7933531316225635))
    assert drawn.view.slope == pytest.approx((0.022958773516521615, 0.04552174063798937))
    assert drawn.view.u_hw.shape == (132, 154)
    assert [void.x for void in drawn.voids] == pytest.approx([0.09086265907496015])


def test_all_joints_have_the_package() -> None:
    """Each has the pitch, ball and tilt that were given, and differs in what was not."""
    joints = [scene(seed, Package(pitch=0.5, ball=0.3, tilt=20)) for seed in range(10)]
    assert {(joint.pitch, joint.ball.radius) for joint in joints} == {(0.5, 0.15)}
    assert [tilt(joint) for joint in joints] == pytest.approx([20] * 10)
    assert len({joint.half for joint in joints}) == len({joint.view.slope for joint in joints}) == 10


@pytest.mark.parametrize("package", [Package(pitch=1.27), Package(ball=0.25)])
def test_what_is_not_said_fits(package: Package) -> None:
    """The ball goes with the pitch, and the pitch with the ball, as in any package."""
    for seed in range(10):
        joint = scene(seed, package)
        low, high = PITCH_PER_DIAMETER
        assert low <= joint.pitch / (2 * joint.ball.radius) <= high
        assert package.pitch in {None, joint.pitch}
        assert package.ball in {None, 2 * joint.ball.radius}


@pytest.mark.parametrize("defect", [None, *DEFECTS])
def test_another_tilt_is_another_view_of_the_joint(defect: str | None) -> None:
    """The same seed gives the same joint, flaw and exposure, from another side: one label, two pictures."""
    for seed in range(3):
        straight, leaning = scene(seed, Package(tilt=0)), scene(seed, Package(tilt=30))
        assert (tilt(straight), tilt(leaning)) == pytest.approx((0, 30))
        assert vars(straight) | {"view": None} == vars(leaning) | {"view": None}
        one, other = (
            simulate_image(np.random.default_rng(seed), defect, size=SIDE, package=Package(tilt=degrees))
            for degrees in (0, 30)
        )
        assert (one.label, one.defect, one.severity) == (other.label, other.defect, other.severity)
        assert np.abs(one.pixels.astype(float) - other.pixels).mean() > 1
        assert one.mask.any() == other.mask.any() == (defect is not None)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--pitch", "9"], "--pitch must lie in 0.12..4.5 mm, not 9"),
        (["--ball-size", "0.5", "--pitch", "0.5"], "--pitch must lie in 0.6..1.5 mm, not 0.5"),
        (["--ball-size", "0.01"], "--ball-size must lie in 0.1..1.5 mm, not 0.01"),
        (["--tilt", "nan"], "--tilt must lie in 0..45 degrees, not nan"),
        (["--tilt", "10", "--slices", "3"], "--tilt is of single images"),
    ],
)
def test_no_such_package(tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], told: str) -> None:
    """What no package is like is told in one line, exit code 2, and nothing is written."""
    assert main([str(tmp_path / "out"), "--io", "1", "--nio", "1", "--seed", "1", *options]) == 2
    assert told in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_command_makes_a_product(tmp_path: Path) -> None:
    """`--pitch`, `--ball-size` and `--tilt` give the images that the package gives."""
    common = ["--io", "2", "--nio", "0", "--seed", "1", "--size", "48"]
    assert main([str(tmp_path / "out"), *common, "--pitch", "0.5", "--ball-size", "0.3", "--tilt", "20"]) == 0
    package = Package(pitch=0.5, ball=0.3, tilt=20)
    for path in sorted((tmp_path / "out" / "io").iterdir()):
        rng = np.random.default_rng([1, int(path.stem.removeprefix("sim_"))])
        pixels = simulate_image(rng, None, size=48, package=package).pixels
        assert np.array_equal(np.asarray(Image.open(path)), pixels)


def test_a_package_that_cannot_be() -> None:
    """Balls that touch each other are no grid."""
    with pytest.raises(SimulationError, match="--pitch must lie"):
        Package(pitch=0.5, ball=0.5)
