"""What the test images prove about the recall."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from inspection.files import readable
from inspection.model import Certificate, Proof
from inspection.shares import CONFIDENCE, at_least


@dataclass(frozen=True)
class Tested:
    """A nio image that neither weights nor threshold were chosen on.

    Attributes:
        group: The part that it shows.
        caught: Whether it was judged nio.
        kind: Of joint, if its name says so.
    """

    group: str
    caught: bool
    kind: str | None = None


def certify(nio: Sequence[Tested], required_recall: float, fingerprint: str) -> Certificate:
    """What the nio test images prove about the recall.

    Several images of one part tell no more than one of them where the part is hard, so parts are counted, not images;
    a part of which any image was missed is missed. The proof is also given for each kind of joint that names tell.

    Args:
        nio: The test images.
        required_recall: In 0..1.
        fingerprint: Of the data set that they are from.
    """
    whole = _prove(nio)
    kinds: dict[str, list[Tested]] = {}
    for image in nio if any(image.kind for image in nio) else ():
        kinds.setdefault(readable(image.kind) if image.kind else "other", []).append(image)
    return Certificate(
        required_recall=required_recall,
        confidence=CONFIDENCE,
        certified=whole.recall_bound >= required_recall,
        further_nio=_further(whole.nio, whole.missed, required_recall),
        proof=whole,
        by_part={kind: _prove(images) for kind, images in sorted(kinds.items())},
        data_fingerprint=fingerprint,
    )


def _prove(nio: Sequence[Tested]) -> Proof:
    groups = {image.group for image in nio}
    missed = {image.group for image in nio if not image.caught}
    return Proof(
        nio=len(groups),
        missed=len(missed),
        images=len(nio),
        recall_bound=recall_lower_bound(len(groups), len(missed)),
    )


def _further(count: int, missed: int, required_recall: float) -> int | None:
    """How many more nio parts, none of them missed, would prove the required recall; None: no number would."""
    if required_recall >= 1:
        return None
    low, high = count, max(count, 1)
    while recall_lower_bound(high, missed) < required_recall:
        low, high = high, 2 * high
    while low < high:
        middle = (low + high) // 2
        if recall_lower_bound(middle, missed) >= required_recall:
            high = middle
        else:
            low = middle + 1
    return high - count


def recall_lower_bound(count: int, missed: int) -> float:
    """The recall that `count` nio images of which `missed` were missed prove, one-sided, at 95 %.

    After Clopper and Pearson; see `inspection.shares`.
    """
    return at_least(count - missed, count, 1 - CONFIDENCE)
