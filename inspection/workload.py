"""What a model means for a line in numbers of images, from its test: so many to look at, so many escapes."""

from __future__ import annotations

from dataclasses import dataclass

from inspection.model import ModelCard

IMAGES = 10_000


@dataclass(frozen=True)
class Workload:
    """What becomes of 10,000 images.

    Attributes:
        nio: How many of them show a defect.
        look_at: How many are called nio, for a person to look at.
        false_calls: How many of these are good.
        escapes: Defects expected to be called io.
        escapes_at_most: The same at the proven recall; None where nothing is proven.
    """

    nio: float
    look_at: float
    false_calls: float
    escapes: float
    escapes_at_most: float | None

    def __str__(self) -> str:
        """For a person to read."""
        most = "" if self.escapes_at_most is None else f" (at most {self.escapes_at_most:.1f} by the certificate)"
        return (
            f"of {IMAGES:,} images, {self.nio:.0f} of them nio: {self.look_at:.0f} to look at instead of all, "
            f"{self.false_calls:.0f} of these false calls; {self.escapes:.1f} escapes expected{most}"
        )


def workload(card: ModelCard) -> Workload | None:
    """What a model means for a line, of whose images `training.nio_share` are nio.

    Returns:
        None where the card tells of no test, or not of that share.
    """
    try:
        recall, false_call_rate = (float(card.metrics["test"][name]) for name in ("recall", "false_call_rate"))
        nio_share = float(card.training_data["settings"]["nio_share"])
    except (KeyError, TypeError, ValueError):
        return None
    nio, io = IMAGES * nio_share, IMAGES * (1 - nio_share)
    bound = card.certificate.proof.recall_bound if card.certificate else None
    return Workload(
        nio=nio,
        look_at=io * false_call_rate + nio * recall,
        false_calls=io * false_call_rate,
        escapes=nio * (1 - recall),
        escapes_at_most=None if bound is None else nio * (1 - bound),
    )
