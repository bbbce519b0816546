"""What the PNG encoder promises."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from inspection.png import encode


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (512, 460), (8, 3000)])
def test_every_pixel_is_kept(shape: tuple[int, int]) -> None:
    """Whoever opens the file sees the very colours, of any size, noisy or even."""
    rng = np.random.default_rng(0)
    colours = rng.integers(0, 256, (256, 3), np.uint8)
    for numbers in (rng.integers(0, 256, shape, np.uint8), np.full(shape, 200, np.uint8)):
        image = Image.open(io.BytesIO(encode(numbers, colours)), formats=["PNG"])
        image.verify()
        image = Image.open(io.BytesIO(encode(numbers, colours)), formats=["PNG"])
        assert np.array_equal(np.asarray(image.convert("RGB")), colours[numbers])


def test_it_is_compressed() -> None:
    """A picture with noise takes no more room than Pillow's fastest, give or take a tenth."""
    y, x = np.mgrid[:300, :400]
    numbers = ((x + y) // 3 + np.random.default_rng(0).integers(0, 4, x.shape)).astype(np.uint8)
    colours = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
    file = io.BytesIO()
    Image.fromarray(numbers).save(file, "PNG", compress_level=1)
    assert len(encode(numbers, colours)) < 1.1 * len(file.getvalue())
