"""What the one preprocessing promises."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from inspection.preprocess import Preprocessing, resize

RNG = np.random.default_rng(0)
NOISE = RNG.random((90, 70), dtype=np.float32)


@pytest.mark.parametrize("shape", [(8, 8), (64, 64), (70, 33), (9, 800), (800, 9), (1200, 1000)])
@pytest.mark.parametrize("side", [32, 48, 256])
def test_shape_and_range(shape: tuple[int, int], side: int) -> None:
    """An image of any size becomes one channel of S x S float32 levels that stay in 0..1."""
    resized = resize(RNG.integers(0, 2, shape).astype(np.float32), side)
    assert resized.shape == (1, side, side)
    assert resized.dtype == torch.float32
    assert resized.min() >= 0
    assert resized.max() <= 1 + 1e-6


@pytest.mark.parametrize("axis", [0, 1])
def test_fine_stripes_become_grey(axis: int) -> None:
    """Reducing is antialiased: stripes of one pixel turn grey instead of black, white or a moire of both."""
    stripes = np.zeros((512, 512), np.float32)
    stripes[(slice(None),) * axis + (slice(None, None, 2),)] = 1
    inner = resize(stripes, 64)[0, 4:-4, 4:-4]
    assert torch.allclose(inner, torch.tensor(0.5), atol=0.02)


def test_a_lone_bright_pixel_is_not_lost() -> None:
    """Wherever a speck lies, a part of it reaches the network: nothing falls between the samples."""
    for offset in range(8):
        image = np.zeros((512, 512), np.float32)
        image[256 + offset, 256 + offset] = 1
        assert float(resize(image, 64).sum()) == pytest.approx(1 / 64, rel=0.05)


@pytest.mark.parametrize("level", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("shape", [(20, 20), (500, 30)])
def test_a_constant_stays_constant(level: float, shape: tuple[int, int]) -> None:
    """A grey image keeps its level, up to its borders, enlarged or reduced."""
    assert torch.allclose(resize(np.full(shape, level, np.float32), 64), torch.tensor(level), atol=1e-6)


def test_the_right_size_is_left_alone() -> None:
    """An image of S x S pixels passes unchanged."""
    image = NOISE[:64, :64].copy()
    assert np.allclose(resize(image, 64)[0].numpy(), image, atol=1e-6)


@pytest.mark.parametrize(
    "view", [NOISE.T, NOISE[::-1, ::-1], NOISE[::2, 5:], np.asfortranarray(NOISE), np.broadcast_to(NOISE[:1], (40, 70))]
)
def test_views_are_images_too(view: NDArray[np.float32]) -> None:
    """Turned, cut, mirrored and read-only arrays give what their copies give, and stay as they were."""
    before = view.copy()
    assert torch.equal(resize(view, 32), resize(before, 32))
    assert np.array_equal(view, before)


def test_normalise() -> None:
    """Mean and standard deviation of the training images become 0 and 1."""
    grey = torch.from_numpy(NOISE)
    normalised = Preprocessing(32, mean=float(grey.mean()), std=float(grey.std())).normalise(grey)
    assert float(normalised.mean()) == pytest.approx(0, abs=1e-5)
    assert float(normalised.std()) == pytest.approx(1, abs=1e-5)


def test_a_batch_of_mixed_sizes() -> None:
    """Images of any sizes become one batch, in their order, each as it would be alone."""
    preprocessing = Preprocessing(48, mean=0.4, std=0.2)
    images = [NOISE, NOISE[:20], NOISE[:, :9]]
    batch = preprocessing(images)
    assert batch.shape == (3, 1, 48, 48)
    for row, image in zip(batch, images, strict=True):
        assert torch.equal(row, (resize(image, 48) - 0.4) / 0.2)
