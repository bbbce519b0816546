"""What simulated stacks promise: slices of one joint, sharp at one height each, a defect in some of them only."""

from __future__ import annotations

import csv
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageSequence

from simulator.defects import DEFECTS
from simulator.errors import SimulationError
from simulator.phantom import draw_scene, draw_surroundings
from simulator.simulate import STACK_COLUMNS, main, simulate
from simulator.slices import SimulatedStack, simulate_stack

SIDE = 64


def twin(seed: int, defect: str | None, slices: int = 5) -> SimulatedStack:
    """The same seed gives the same joint whatever the defect."""
    return simulate_stack(np.random.default_rng(seed), defect, slices, bits=16, size=SIDE, severity=0.8)


def pages(path: Path) -> list[np.ndarray]:
    """Of a TIFF file."""
    with Image.open(path) as file:
        return [np.asarray(page) for page in ImageSequence.Iterator(file)]


def test_layers_add_up() -> None:
    """What is seen between heights adds up to what is seen of the whole, for the joint and for what lies around."""
    scene = draw_scene(np.random.default_rng(0), SIDE)
    edges = [-math.inf, -0.7 * scene.half, 0.1, math.inf]
    views = [replace(scene.view, between=(edges[index], edges[index + 1])) for index in range(3)]
    layers = [replace(scene, view=view) for view in views]
    solder = sum(layer.solder(layer.ball, []) for layer in layers)
    assert np.allclose(solder, scene.solder(scene.ball, []), atol=1e-6)
    around, *others = (draw_surroundings(np.random.default_rng(1), one) for one in (scene, *layers))
    assert np.allclose(sum(others), around, atol=1e-5)


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_defect_shows_in_some_slices(defect: str) -> None:
    """Of five slices one to three show it; there the picture differs from its twin's far more than elsewhere."""
    for seed in range(4):
        bad, good = twin(seed, defect), twin(seed, None)
        assert 1 <= len(bad.showing) <= 3
        change = (bad.pixels.astype(float) - good.pixels) / 65535
        assert np.square(change[bad.masks]).mean() > 5 * np.square(change[~bad.masks]).mean()


def test_voids_lie_at_their_height() -> None:
    """Where in the stack voids show depends on the joint."""
    assert len({tuple(twin(seed, "void").showing) for seed in range(12)}) >= 3


def test_a_good_one_says_so() -> None:
    """An io stack has no defect and shows none."""
    good = twin(1, None)
    assert (good.label, good.defect, good.severity, good.showing) == ("io", None, 0.0, [])


def test_slices_are_focused_at_heights() -> None:
    """The joint is darkest in a slice near its middle, and hardly there in one beyond it."""
    for seed in range(6):
        stack = twin(seed, None).pixels.astype(float)
        middle = slice(SIDE // 2 - 4, SIDE // 2 + 4)
        dark = [float(np.median(page) - page[middle, middle].mean()) for page in stack]
        assert int(np.argmax(dark)) in {1, 2, 3}
        assert min(dark[0], dark[4]) < 0.5 * max(dark)


def test_files(tmp_path: Path) -> None:
    """Each file has so many pages, its mask too; the table says which of them show the defect."""
    for name in ("one", "other"):
        simulate(tmp_path / name, io=2, nio=6, seed=1, bits=16, size=48, slices=5)
    out = tmp_path / "one"
    with (out / "labels.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert tuple(rows[0]) == STACK_COLUMNS
    assert len(rows) == 8
    for row in rows:
        stack = pages(out / row["file"])
        assert (len(stack), row["slices"]) == (5, "5")
        assert {page.shape for page in stack} == {(48, 48)}
        assert {page.dtype for page in stack} == {np.dtype(np.uint16)}
        shown = (
            [] if not row["mask"] else [index + 1 for index, page in enumerate(pages(out / row["mask"])) if page.any()]
        )
        assert row["showing"] == " ".join(map(str, shown))
        assert bool(shown) == (row["label"] == "nio")
        assert (out / row["file"]).read_bytes() == (tmp_path / "other" / row["file"]).read_bytes()


def test_one_slice_is_a_single_image(tmp_path: Path) -> None:
    """`--slices 1` writes what is written without it, byte for byte."""
    common = ["--io", "2", "--nio", "4", "--seed", "3", "--size", "48"]
    assert main([str(tmp_path / "plain"), *common]) == 0
    assert main([str(tmp_path / "one"), *common, "--slices", "1"]) == 0
    plain, one = (
        {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        for folder in (tmp_path / "plain", tmp_path / "one")
    )
    assert plain == one


@pytest.mark.parametrize("slices", [0, 65])
def test_absurd_numbers_are_refused(tmp_path: Path, slices: int) -> None:
    """No slice, or more than a file may have pages as shipped, is told before anything is made."""
    with pytest.raises(SimulationError, match="--slices"):
        simulate(tmp_path / "out", io=1, nio=1, seed=0, slices=slices)
    assert not (tmp_path / "out").exists()
