"""What novelty promises: how unlike good images an image is, as a share of what they keep to; no number stays none."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from inspection.novelty import Novelty, describe

RNG = torch.Generator().manual_seed(0)
STAGES = [torch.rand(3, 4, 8, 8, generator=RNG), torch.rand(3, 6, 4, 4, generator=RNG)]


def fitted(farthest: float, oddest: float) -> Novelty:
    """Of two numbers whose good images lie around (1, 2), spread twice as far in the second."""
    novelty = Novelty(2)
    novelty.centre.copy_(torch.tensor([1.0, 2.0]))
    novelty.whitening.copy_(torch.diag(torch.tensor([1.0, 0.5])))
    novelty.farthest.fill_(farthest)
    novelty.oddest.fill_(oddest)
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
    ("distance", "oddness", "novelty"),
    [
        (0.0, -50.0, 0.0),
        (1.0, -50.0, 0.5),
        (2.0, -50.0, 1.0),
        (6.0, -50.0, 3.0),
        (0.0, 3.0, 1.0),
        (1.0, 2.0, 0.5),
        (1.0, 2.9, 0.904837),
        (0.0, 4.0, 2.0),
        (6.0, 4.0, 3.0),
        (0.0, 1e5, 99998.0),
    ],
)
def test_the_greater_share_counts(distance: float, oddness: float, novelty: float) -> None:
    """Novelty is 1 where either limit is reached, and the greater of the two; however odd, it stays a number."""
    found = fitted(2.0, 3.0)(torch.tensor([distance]), torch.tensor([oddness]))
    assert found.item() == pytest.approx(novelty, abs=1e-5)


def test_more_is_never_less() -> None:
    """Farther or odder is never less novel, across the limits too."""
    novelty = fitted(2.0, 3.0)
    rising = torch.linspace(-20, 20, 401)
    assert (novelty(torch.zeros(401), rising).diff() >= 0).all()
    assert (novelty((rising + 20) / 4, torch.zeros(401)).diff() >= 0).all()


def test_nothing_is_novel_before_there_are_limits() -> None:
    """Not yet fitted, every image that has numbers has a novelty of 0."""
    assert Novelty(2)(torch.tensor([0.0, 1e30]), torch.tensor([-3.0, 1e30])).tolist() == [0, 0]


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_no_number_stays_none(value: float) -> None:
    """What the network has no number for is not taken for a good image, whichever of the two is missing."""
    one, broken = torch.tensor([1.0]), torch.tensor([value])
    found: list[Tensor] = [fitted(2, 3)(broken, one), fitted(2, 3)(one, broken), fitted(2, 3)(broken, broken)]
    assert not any(novelty.isfinite().any() for novelty in found)
