"""What a model means for a line, in numbers of images."""

from __future__ import annotations

import pytest

from inspection.model import Certificate, ModelCard, PreprocessingCard, Proof
from inspection.workload import workload


def card(test: dict[str, float] | None, nio_share: float | None, *, certified: bool) -> ModelCard:
    """A card with that test and share."""
    certificate = Certificate(
        required_recall=0.99,
        confidence=0.95,
        certified=True,
        further_nio=0,
        proof=Proof(nio=300, missed=0, images=300, recall_bound=0.99),
        by_part={},
        data_fingerprint="",
    )
    return ModelCard(
        created="",
        architecture="residual",
        dropout=0,
        preprocessing=PreprocessingCard(image_size=32, mean=0.5, std=0.2),
        threshold=0.5,
        training_data={} if nio_share is None else {"settings": {"nio_share": nio_share}},
        metrics={} if test is None else {"test": test},
        versions={},
        certificate=certificate if certified else None,
    )


def test_what_ten_thousand_images_mean() -> None:
    """Of 10,000 images 200 nio: 2 % of 9,800 are false calls, 98.5 % of 200 are found; at most 1 % escape."""
    found = workload(card({"recall": 0.985, "false_call_rate": 0.02}, 0.02, certified=True))
    assert found
    assert (found.nio, found.false_calls, found.look_at) == pytest.approx((200, 196, 393))
    assert (found.escapes, found.escapes_at_most) == pytest.approx((3, 2))
    assert str(found) == (
        "of 10,000 images, 200 of them nio: 393 to look at instead of all, 196 of these false calls; "
        "3.0 escapes expected (at most 2.0 by the certificate)"
    )


def test_without_a_proof_there_is_no_bound() -> None:
    """Where nothing is proven nothing is said of at most."""
    found = workload(card({"recall": 1.0, "false_call_rate": 0.0}, 0.01, certified=False))
    assert found
    assert found.escapes_at_most is None
    assert "at most" not in str(found)


@pytest.mark.parametrize(("test", "share"), [(None, 0.01), ({"recall": 1.0, "false_call_rate": 0.0}, None), ({}, 0.1)])
def test_a_card_that_does_not_tell(test: dict[str, float] | None, share: float | None) -> None:
    """A model of before, or one without a test, means nothing that could be told."""
    assert workload(card(test, share, certified=False)) is None
