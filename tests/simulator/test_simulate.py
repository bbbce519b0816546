"""What `solderwatch-simulate` promises: physics that holds, true labels, files that can be repeated."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from simulator.errors import SimulationError
from simulator.phantom import HARMLESS_VOID_AREA, draw_scene
from simulator.rays import Solid, View
from simulator.simulate import COLUMNS, DEFECTS, SimulatedImage, main, simulate, simulate_image

SIDE = 96
Grey = NDArray[np.float64]


def twin(seed: int, defect: str | None, severity: float | None = None, bits: int = 16) -> SimulatedImage:
    """One picture; the same seed gives the same joint whatever the defect."""
    return simulate_image(np.random.default_rng(seed), defect, bits=bits, size=SIDE, severity=severity)


def difference(seed: int, defect: str, severity: float) -> tuple[Grey, SimulatedImage]:
    """Grey values with the defect less those without, as a share of full scale; and the defective picture."""
    bad, good = twin(seed, defect, severity), twin(seed, None)
    return (bad.pixels.astype(np.float64) - good.pixels) / 65535.0, bad


def files(folder: Path) -> dict[str, bytes]:
    """Every file below `folder`, by its relative path."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def table(out: Path) -> list[dict[str, str]]:
    """The rows of labels.csv."""
    with (out / "labels.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


class TestPhysics:
    """Rays, voids and solder behave as in an X-ray machine."""

    @pytest.mark.parametrize("slope", [(0.0, 0.0), (0.5, -0.3)])
    def test_mass_is_kept_at_any_tilt(self, slope: tuple[float, float]) -> None:
        """The paths through a sphere add up to its volume, seen straight or at an angle."""
        axis = np.linspace(-0.5, 0.5, 401)
        u_hw, v_hw = np.meshgrid(axis, axis)
        view = View(u_hw, v_hw, pixel=1 / 400, slope=slope)
        path_hw = Solid(0.02, 0.01, 0.1, radius=0.25, semi_height=0.25).path(view)
        volume = path_hw.sum() / 400**2 / view.stretch
        assert volume == pytest.approx(4 / 3 * np.pi * 0.25**3, rel=1e-3)

    def test_harmless_voids_stay_under_the_limit(self) -> None:
        """In a good joint, all voids together take at most the accepted share of the ball's area."""
        for seed in range(100):
            scene = draw_scene(np.random.default_rng(seed), SIDE)
            area = sum(void.radius**2 for void in scene.voids) / scene.ball.radius**2
            assert area <= HARMLESS_VOID_AREA + 1e-9

    def test_solder_is_darker_than_the_board(self) -> None:
        """In every good picture the joint in the middle is darker than the picture is in the median."""
        for seed in range(20):
            pixels = twin(seed, None).pixels
            middle = pixels[SIDE // 2 - 4 : SIDE // 2 + 4, SIDE // 2 - 4 : SIDE // 2 + 4]
            assert middle.mean() < 0.8 * np.median(pixels)

    def test_a_void_is_brighter_than_the_solder_around(self) -> None:
        """Where the mask says void, the picture is brighter than that of the same joint without it."""
        for seed in range(20):
            change, bad = difference(seed, "void", 0.8)
            assert change[bad.mask].mean() > 0.01

    @pytest.mark.parametrize("defect", ["missing", "insufficient"])
    def test_less_solder_is_brighter(self, defect: str) -> None:
        """Solder that is not there lets more through."""
        for seed in range(10):
            change, bad = difference(seed, defect, 0.8)
            assert change[bad.mask].mean() > 0.02

    def test_a_bridge_is_darker(self) -> None:
        """Solder where there should be none takes light away."""
        for seed in range(10):
            change, bad = difference(seed, "bridge", 0.8)
            assert change[bad.mask].mean() < -0.02


class TestSimulateImage:
    """One picture, and what is said of it."""

    @pytest.mark.parametrize("defect", DEFECTS)
    def test_mask_lies_where_the_defect_is(self, defect: str) -> None:
        """Pictures with and without the defect differ inside the mask far more than outside it."""
        for seed in range(8):
            change, bad = difference(seed, defect, 0.8)
            assert np.square(change[bad.mask]).mean() > 5 * np.square(change[~bad.mask]).mean()

    @pytest.mark.parametrize("defect", DEFECTS)
    @pytest.mark.parametrize("severity", [0.0, 1.0])
    def test_nio_always_has_a_mask(self, defect: str, severity: float) -> None:
        """From the faintest to the worst, the mask marks something, and never the whole picture."""
        for seed in range(8):
            assert 0 < twin(seed, defect, severity).mask.mean() < 0.6

    @pytest.mark.parametrize("defect", DEFECTS)
    def test_more_severe_is_more_contrast(self, defect: str) -> None:
        """Over a few joints, the change grows with the severity."""
        total = [
            sum(np.abs(change).sum() for change, _ in (difference(seed, defect, grade) for seed in range(8)))
            for grade in (0.05, 0.5, 0.95)
        ]
        assert total[0] < total[1] < total[2]

    def test_good_ones_say_so(self) -> None:
        """An io picture has no defect, no severity and an empty mask."""
        good = twin(1, None)
        assert (good.label, good.defect, good.severity) == ("io", None, 0.0)
        assert not good.mask.any()

    def test_bad_ones_say_so(self) -> None:
        """A nio picture names its defect and the severity that was asked for."""
        bad = twin(1, "bridge", 0.25)
        assert (bad.label, bad.defect, bad.severity) == ("nio", "bridge", 0.25)

    def test_sixteen_bits_are_used_and_not_saturated(self) -> None:
        """A 16-bit picture has over 1000 grey values over a wide range, and next to none at its ends."""
        for seed in range(10):
            pixels = twin(seed, None).pixels
            assert pixels.dtype == np.uint16
            assert np.unique(pixels).size > 1000
            assert int(pixels.max()) - int(pixels.min()) > 0.3 * 65535
            assert np.mean((pixels == 0) | (pixels == 65535)) < 0.001

    def test_eight_bits_are_the_same_picture(self) -> None:
        """The bit depth changes the rounding and nothing else."""
        fine, coarse = twin(3, "void", 0.5).pixels, twin(3, "void", 0.5, bits=8).pixels
        assert coarse.dtype == np.uint8
        assert np.allclose(fine / 257.0, coarse, rtol=0.0, atol=0.51)

    def test_sizes_and_shapes_vary(self) -> None:
        """Without a size, pictures come in many sizes, square and not, all within the stated range."""
        shapes = {simulate_image(np.random.default_rng(seed), None).pixels.shape for seed in range(24)}
        sides = {side for shape in shapes for side in shape}
        assert len(shapes) > 12
        assert {height == width for height, width in shapes} == {True, False}
        assert min(sides) >= 96
        assert max(sides) <= 160

    def test_a_size_is_kept(self) -> None:
        """(height, width) is what comes back, for pixels and mask."""
        image = simulate_image(np.random.default_rng(0), "void", size=(64, 100))
        assert image.pixels.shape == image.mask.shape == (64, 100)

    def test_default_severities_are_mostly_visible(self) -> None:
        """Most defects are clear or moderate, and some are hard."""
        drawn = np.array([twin(seed, "missing").severity for seed in range(100)])
        assert np.mean(drawn > 0.35) > 0.75
        assert drawn.min() < 0.3

    def test_least_severity_lifts_the_drawn_ones(self) -> None:
        """The drawn severity u becomes S + (1 - S) u, so that the order stays; a severity that is given stays, too."""
        for seed in range(20):
            rng, lifted_rng = np.random.default_rng(seed), np.random.default_rng(seed)
            drawn = simulate_image(rng, "missing", size=48).severity
            lifted = simulate_image(lifted_rng, "missing", size=48, least_severity=0.6).severity
            assert lifted == pytest.approx(0.6 + 0.4 * drawn)
        given = simulate_image(np.random.default_rng(0), "missing", size=48, severity=0.1, least_severity=0.6)
        assert given.severity == 0.1

    @pytest.mark.parametrize(
        ("defect", "options"),
        [("viod", {}), (None, {"bits": 12}), ("void", {"severity": 1.5}), ("void", {"least_severity": -0.1})],
    )
    def test_nonsense_is_refused(self, defect: str | None, options: dict[str, float]) -> None:
        """An unknown defect or bit depth, or a severity out of range, is a SimulationError."""
        with pytest.raises(SimulationError):
            simulate_image(np.random.default_rng(0), defect, **options)  # type: ignore[arg-type]


class TestNothingElseTells:
    """Only the defect predicts the label."""

    def test_twins_differ_in_the_defect_alone(self) -> None:
        """Far from the defect, a picture and its twin without it agree up to the photon noise."""
        for seed in range(10):
            change, bad = difference(seed, "void", 0.9)
            far = np.abs(change[: SIDE // 8, :][~bad.mask[: SIDE // 8, :]])
            assert np.median(far) < 0.03

    def test_brightness_and_contrast_do_not_separate_io_from_void(self) -> None:
        """Mean, spread, corner and size of independent io and void pictures rank no better than chance."""
        io = [simulate_image(np.random.default_rng([1, i]), None) for i in range(100)]
        nio = [simulate_image(np.random.default_rng([2, i]), "void") for i in range(100)]
        for measure in (np.mean, np.std, lambda pixels: pixels[:8, :8].mean(), np.size):
            good, bad = (np.array([measure(image.pixels) for image in images]) for images in (io, nio))
            pairs = np.sign(bad[:, None] - good[None, :])
            assert 0.34 < 0.5 + pairs.mean() / 2 < 0.66  # four standard errors of such an AUC


class TestFolder:
    """What lies in OUT afterwards."""

    def test_same_seed_same_bytes(self, tmp_path: Path) -> None:
        """The same arguments write the same files, byte for byte; another seed writes other pictures."""
        for name, seed in (("a", 5), ("b", 5), ("c", 6)):
            simulate(tmp_path / name, io=4, nio=7, seed=seed, size=64)
        assert files(tmp_path / "a") == files(tmp_path / "b")
        assert set(files(tmp_path / "a").values()).isdisjoint(files(tmp_path / "c").values())

    def test_table_matches_folder(self, tmp_path: Path) -> None:
        """labels.csv has one true row for each image: folder, defect, bits, size; each nio has its mask."""
        simulate(tmp_path, io=5, nio=6, seed=1, bits=16)
        rows = table(tmp_path)
        assert tuple(rows[0]) == COLUMNS
        on_disk = {f"{path.parent.name}/{path.name}" for path in tmp_path.glob("*io/*.png")}
        assert {row["file"] for row in rows} == on_disk
        assert sorted(row["defect"] for row in rows if row["label"] == "nio") == sorted(DEFECTS)
        for row in rows:
            pixels = np.asarray(Image.open(tmp_path / row["file"]))
            assert row["file"].startswith(row["label"] + "/")
            assert (str(pixels.shape[1]), str(pixels.shape[0])) == (row["width"], row["height"])
            assert pixels.dtype == np.uint16
            assert row["bits"] == "16"
            assert bool(row["mask"]) == bool(row["defect"]) == (row["label"] == "nio")
            if row["mask"]:
                mask = np.asarray(Image.open(tmp_path / row["mask"]))
                assert mask.shape == pixels.shape
                assert set(np.unique(mask)) == {0, 255}
        assert len(list((tmp_path / "masks").iterdir())) == 6

    def test_names_do_not_tell(self, tmp_path: Path) -> None:
        """Names are numbers, counted through both classes in mixed order."""
        simulate(tmp_path, io=100, nio=100, seed=1, size=32)
        labels = [row["label"] for row in sorted(table(tmp_path), key=lambda row: Path(row["file"]).name)]
        assert sorted(Path(row["file"]).name for row in table(tmp_path)) == [f"sim_{i:06d}.png" for i in range(200)]
        assert 40 < labels[:100].count("io") < 60

    def test_only_the_wanted_defects(self, tmp_path: Path) -> None:
        """Chosen defects share the nio images evenly."""
        simulate(tmp_path, io=0, nio=6, seed=1, size=32, defects=["void", "bridge"])
        assert sorted(row["defect"] for row in table(tmp_path)) == ["bridge"] * 3 + ["void"] * 3

    def test_no_nio_is_below_the_least_severity(self, tmp_path: Path) -> None:
        """Every nio image is at least that severe; io images stay as they are, byte for byte."""
        simulate(tmp_path / "all", io=6, nio=24, seed=1, size=32)
        simulate(tmp_path / "clear", io=6, nio=24, seed=1, size=32, least_severity=0.75)
        severities = {
            name: [float(row["severity"]) for row in table(tmp_path / name) if row["label"] == "nio"]
            for name in ("all", "clear")
        }
        assert min(severities["all"]) < 0.75 <= min(severities["clear"])
        assert max(severities["clear"]) <= 1.0
        assert files(tmp_path / "all" / "io") == files(tmp_path / "clear" / "io")

    def test_least_severity_zero_changes_nothing(self, tmp_path: Path) -> None:
        """0 is the same as leaving it out, byte for byte."""
        common = ["--io", "2", "--nio", "6", "--seed", "3", "--size", "32"]
        assert main([str(tmp_path / "without"), *common]) == 0
        assert main([str(tmp_path / "zero"), *common, "--least-severity", "0"]) == 0
        assert files(tmp_path / "without") == files(tmp_path / "zero")

    @pytest.mark.parametrize("taken", ["io/a.png", "nio/a.png", "masks/a.png", "labels.csv"])
    def test_a_used_folder_is_left_alone(self, tmp_path: Path, taken: str) -> None:
        """What is there already is neither mixed with nor replaced."""
        (tmp_path / taken).parent.mkdir(exist_ok=True)
        (tmp_path / taken).write_bytes(b"mine")
        with pytest.raises(SimulationError, match="give a new folder"):
            simulate(tmp_path, io=1, nio=1, seed=1)
        assert files(tmp_path) == {taken: b"mine"}
        assert len(list(tmp_path.iterdir())) == 1


class TestCommand:
    """What the user meets."""

    def test_says_what_it_wrote(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """A run ends with one line and exit code 0."""
        out = tmp_path / "new" / "folder"
        assert main([str(out), "--io", "2", "--nio", "1", "--seed", "1", "--size", "48"]) == 0
        assert capsys.readouterr().out.startswith("wrote 2 io and 1 nio images")
        assert len(table(out)) == 3

    @pytest.mark.parametrize(
        ("options", "told"),
        [
            (["--io", "-1", "--nio", "1"], "--io must be 0 or more"),
            (["--io", "0", "--nio", "0"], "nothing to do"),
            (["--io", "1", "--nio", "1", "--defects", "void,brigde"], "did you mean 'bridge'?"),
            (["--io", "1", "--nio", "1", "--defects", "xyz"], "there are: void, bridge"),
            (["--io", "1", "--nio", "1", "--defects", ","], "--defects is empty"),
            (["--io", "1", "--nio", "1", "--size", "5"], "--size must lie in"),
            (["--io", "1", "--nio", "1", "--least-severity", "1.5"], "--least-severity must lie in 0..1, not 1.5"),
            (["--io", "1", "--nio", "1", "--least-severity=-0.1"], "--least-severity must lie in 0..1, not -0.1"),
            (["--io", "1", "--nio", "1", "--least-severity", "nan"], "--least-severity must lie in 0..1, not nan"),
        ],
    )
    def test_wrong_command_lines_get_one_clear_line(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], told: str
    ) -> None:
        """Exit code 2, one line that names the trouble, no traceback, and nothing written."""
        assert main([str(tmp_path / "out"), "--seed", "1", *options]) == 2
        error = capsys.readouterr().err
        assert error.startswith("solderwatch-simulate: ")
        assert told in error
        assert error.count("\n") == 1
        assert not (tmp_path / "out").exists()

    def test_a_file_in_the_way_is_told(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """OUT that is a file is a wrong command line, too."""
        (tmp_path / "out").write_bytes(b"")
        assert main([str(tmp_path / "out"), "--io", "1", "--nio", "1", "--seed", "1"]) == 2
        assert "a file is in the way" in capsys.readouterr().err

    def test_help_is_there(self, capsys: pytest.CaptureFixture[str]) -> None:
        """--help lists the defects and an example."""
        with pytest.raises(SystemExit) as stop:
            main(["--help"])
        assert stop.value.code == 0
        said = capsys.readouterr().out
        assert "misalignment" in said
        assert "example:" in said
