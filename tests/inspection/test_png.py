"""What the PNG encoder promises."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from inspection.png import encode


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 7, 3), (512, 460, 3), (8, 3000, 3)])
def test_every_pixel_is_kept(shape: tuple[int, int, int]) -> None:
    """Whoever opens the file sees the very pixels, of any size, noisy or even."""
    for pixels in (
        np.random.default_rng(0).integers(0, 256, shape, np.uint8),
        np.full(shape, 200, np.uint8),
    ):
        image = Image.open(io.BytesIO(encode(pixels)), formats=["PNG"])
        image.verify()
        image = Image.open(io.BytesIO(encode(pixels)), formats=["PNG"])
        assert image.mode == "RGB"
        assert np.array_equal(np.asarray(image), pixels)


def test_it_is_compressed() -> None:
    """A smooth picture takes no more room than Pillow's fastest, give or take a tenth."""
    y, x = np.mgrid[:300, :400]
    pixels = (np.stack([x, y, x + y], axis=2) // 3).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=1)
    assert len(encode(pixels)) < 1.1 * len(file.getvalue())
