"""What novelty promises: how unlike good images an image is, as a share of what they keep to; no number stays none."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from inspection.novelty import APPEARANCE, Novelty, appearance, describe

RNG = torch.Generator().manual_seed(0)
STAGES = [torch.rand(3, 4, 8, 8, generator=RNG), torch.rand(3, 6, 4, 4, generator=RNG)]


def fitted(farthest: float, oddest: float, strangest: float = 4.0) -> Novelty:
    """Of two numbers whose good images lie around (1, 2), spread twice as far in the second."""
    novelty = Novelty(2)
    novelty.centre.copy_(torch.tensor([1.0, 2.0]))
    novelty.whitening.copy_(torch.diag(torch.tensor([1.0, 0.5])))
    novelty.farthest.fill_(farthest)
    novelty.oddest.fill_(oddest)
    novelty.strangest.fill_(strangest)
    return novelty


def test_description_is_mean_and_deviation_of_every_channel() -> None:
    """Two numbers per channel of each stage, means first, wherever in the image something lies."""
    found = describe(STAGES)[:, :20]
    for stage, first in ((STAGES[0], 0), (STAGES[1], 4)):
        means = found[:, first : first + stage.shape[1]]
        deviations = found[:, 10 + first : 10 + first + stage.shape[1]]
        order = stage.mean(dim=(2, 3)).argsort(dim=1)
        assert torch.equal(means.argsort(dim=1), order)
        assert torch.equal(deviations.argsort(dim=1), stage.std(dim=(2, 3)).argsort(dim=1))
    moved = describe([stage.roll((2, 1), (2, 3)).flip(3) for stage in STAGES])[:, :20]
    assert torch.allclose(found, moved, atol=1e-5)


def test_description_says_where_shapes_lie() -> None:
    """What moves from the middle to the rim of the last stage but one changes the description; of the others, not."""
    middle, rim = torch.zeros(1, 4, 9, 9), torch.zeros(1, 4, 9, 9)
    middle[:, 0, 4, 4] = rim[:, 0, 0, 4] = 9.0
    last = torch.zeros(1, 6, 9, 9)
    assert (describe([middle, last]) - describe([rim, last])).abs().max() > 1
    assert torch.allclose(describe([middle, last, last]), describe([rim, last, last]))


def test_an_image_does_not_depend_on_its_neighbours() -> None:
    """Described in a batch or alone, an image is the same."""
    alone = torch.cat([describe([stage[index : index + 1] for stage in STAGES]) for index in range(3)])
    assert torch.allclose(describe(STAGES), alone, atol=1e-6)


def test_silence_can_be_described() -> None:
    """Silent channels, of one cell or many, have finite descriptions; hardly stirring, they are hardly other.

    A channel that no good training image stirs must not make the first good one strange that stirs it a little.
    """
    silent = describe([torch.zeros(1, 5, 4, 4)] * 2)
    assert silent.isfinite().all()
    assert describe([torch.zeros(1, 5, 1, 1)] * 2).isfinite().all()
    assert (describe([torch.full((1, 5, 4, 4), 1e-3)] * 2) - silent).abs().max() < 0.02
    assert (describe([torch.ones(1, 5, 4, 4)] * 2) - silent).abs().max() > 2


def test_half_precision_is_described_in_single() -> None:
    """On whatever device the stages were computed, the description is single precision."""
    assert describe([stage.bfloat16() for stage in STAGES]).dtype == torch.float32


@pytest.mark.parametrize(
    ("point", "distance"), [((1, 2), 0), ((4, 2), 3), ((1, 8), 3), ((-2, 2), 3), ((4, 10), 5)], ids=str
)
def test_distance_is_in_units_of_the_spread(point: tuple[float, float], distance: float) -> None:
    """Distance is from the centre, each direction by its own spread, alike on every side."""
    assert fitted(1, 0).distance(torch.tensor([point], dtype=torch.float32)).item() == pytest.approx(distance)


@pytest.mark.parametrize(
    ("distance", "oddness", "strangeness", "novelty"),
    [
        (0.0, -50.0, 0.0, 0.0),
        (1.0, -50.0, 0.0, 0.5),
        (2.0, -50.0, 1.0, 1.0),
        (6.0, -50.0, 0.0, 3.0),
        (0.0, 3.0, 0.0, 1.0),
        (1.0, 2.0, 0.0, 0.5),
        (1.0, 2.9, 0.0, 0.904837),
        (0.0, 4.0, 0.0, 2.0),
        (6.0, 4.0, 0.0, 3.0),
        (0.0, 1e5, 0.0, 99998.0),
        (1.0, 2.0, 4.0, 1.0),
        (1.0, 4.0, 12.0, 3.0),
    ],
)
def test_the_greatest_share_counts(distance: float, oddness: float, strangeness: float, novelty: float) -> None:
    """Novelty is 1 where any limit is reached, and the greatest of the three; however odd, it stays a number."""
    found = fitted(2.0, 3.0)(*(torch.tensor([value]) for value in (distance, oddness, strangeness)))
    assert found.item() == pytest.approx(novelty, abs=1e-5)


def test_more_is_never_less() -> None:
    """Farther, odder or stranger is never less novel, across the limits too."""
    novelty = fitted(2.0, 3.0)
    rising = torch.linspace(-20, 20, 401)
    nothing = torch.zeros(401)
    assert (novelty(nothing, rising, nothing).diff() >= 0).all()
    assert (novelty((rising + 20) / 4, nothing, nothing).diff() >= 0).all()
    assert (novelty(nothing, nothing, (rising + 20) / 4).diff() >= 0).all()


def test_nothing_is_novel_before_there_are_limits() -> None:
    """Not yet fitted, every image that has numbers has a novelty of 0."""
    huge = torch.tensor([0.0, 1e30])
    assert Novelty(2)(huge, torch.tensor([-3.0, 1e30]), huge).tolist() == [0, 0]


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_no_number_stays_none(value: float) -> None:
    """What there is no number for is not taken for a good image, whichever of the three is missing."""
    one, broken = torch.tensor([1.0]), torch.tensor([value])
    given = [(broken, one, one), (one, broken, one), (one, one, broken), (broken, broken, broken)]
    found: list[Tensor] = [fitted(2, 3)(*three) for three in given]
    assert not any(novelty.isfinite().any() for novelty in found)


class TestAppearance:
    """What the plain eye sees."""

    good = torch.nn.functional.avg_pool2d(torch.randn(6, 1, 130, 130, generator=RNG), 3, stride=1) * 3

    def apart(self, changed: Tensor) -> float:
        """How far the images are from what they were, at least, in numbers that good images hardly differ in."""
        return float((appearance(changed) - appearance(self.good)).abs().amax(dim=1).min())

    def test_numbers(self) -> None:
        """So many for each image, alone or in a batch, blank ones too."""
        found = appearance(self.good)
        assert found.shape == (6, APPEARANCE)
        assert torch.allclose(found[:1], appearance(self.good[:1]), atol=1e-6)
        assert appearance(torch.zeros(1, 1, 32, 32)).isfinite().all()

    def test_where_something_lies_does_not_matter(self) -> None:
        """Mirrored or turned, an image appears the same."""
        assert self.apart(self.good.flip(3)) < 1e-5
        assert torch.allclose(appearance(self.good.rot90(2, (2, 3))), appearance(self.good), atol=1e-5)

    def test_brightness_grain_and_size_show(self) -> None:
        """Saturated, dark, noisy, blurred, and shown at half or twice the size: each changes a number by far."""
        half = torch.cat([torch.cat([self.good, self.good.flip(3)], 3)] * 2, 2)[:, :, ::2, ::2]
        twice = torch.nn.functional.interpolate(self.good[:, :, 32:96, 32:96], scale_factor=2, mode="bilinear")
        smooth = torch.nn.functional.avg_pool2d(self.good, 5, stride=1, padding=2)
        changed = {
            "saturated": (self.good + 2).clamp(max=2),
            "dark": self.good - 2,
            "noise": self.good + torch.randn(self.good.shape, generator=RNG),
            "smooth": smooth,
            "half": half,
            "twice": twice,
        }
        found = {name: self.apart(images) for name, images in changed.items()}
        assert all(apart > 0.25 for apart in found.values()), found
