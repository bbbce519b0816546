"""`training.image_size: auto`: the smallest size that sees the defects, within the images' own and the time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from inspection.errors import ConfigError
from settings import Settings, load
from training.fitting import sizes
from training.fitting.sizes import sized, with_any_size

pytestmark = pytest.mark.usefixtures("one_thread")


def line(folder: Path, defect: int, training: str = "") -> Settings:
    """A data set of noise of 160 x 160 pixels, in whose nio images a dark square of so many pixels lies."""
    rng = np.random.default_rng(0)
    for label in ("io", "nio"):
        (folder / "dataset" / label).mkdir(parents=True)
        for number in range(24):
            picture = rng.normal(128, 6, (160, 160))
            if label == "nio":
                y, x = rng.integers(20, 120, 2)
                picture[y : y + defect, x : x + defect] -= 90
            Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(folder / "dataset" / label / f"{number}.png")
    (folder / "config.yaml").write_text(
        f"training: {{image_size: auto, unseen: {{io: 0, nio: 0}}, batch_size: 8, epochs: 12, draws: 240{training}}}\n",
        encoding="utf-8",
    )
    return load(folder / "config.yaml")


def test_a_number_stays(tmp_path: Path) -> None:
    """Where the configuration has a number nothing is tried, and nothing is read."""
    (tmp_path / "config.yaml").write_text("training: {image_size: 64}\n", encoding="utf-8")
    settings = load(tmp_path / "config.yaml")
    assert sized(settings) is settings
    assert with_any_size(settings) is settings


def test_no_larger_than_the_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of images of 160 pixels 96 to 192 are tried; where the smallest sees it all, it is taken."""
    settings = sized(line(tmp_path, defect=40, training=", max_minutes: 1000000"))
    told = capsys.readouterr().out
    assert [size for size in sizes.SIZES if f"a short fit at {size} pixels" in told] == [96, 128, 192]
    assert settings.training.pixels in (96, 128, 192)
    assert f"image size: {settings.training.pixels} pixels; the images' own is 160" in told


def test_no_longer_than_allowed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A larger size is not tried where a whole training at it would take longer than allowed."""
    settings = sized(line(tmp_path, defect=40, training=", max_minutes: 0.001"))
    assert settings.training.pixels == 96
    assert "at 128 pixels it would take longer than training.max_minutes" in capsys.readouterr().out


def test_several_processes_do_not_choose(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of several processes each would choose for itself."""
    monkeypatch.setattr("training.fitting.processes.count", lambda: 2)
    with pytest.raises(ConfigError, match="image_size: auto is for one process"):
        sized(line(tmp_path, defect=40))
