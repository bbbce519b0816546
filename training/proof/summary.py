"""What a training comes to, in a few lines: whether the model is of use, what it means for the line, what to ask."""

from __future__ import annotations

from inspection.files import readable
from inspection.model import ModelCard
from inspection.workload import workload
from settings.schema import Settings
from training.proof.labels import LabelCheck
from training.proof.threshold import Choice

_SHOWN = 5


def summary(card: ModelCard, choice: Choice, labels: LabelCheck, settings: Settings, disputed: int = 0) -> list[str]:
    """The lines, the most important one first.

    Args:
        card: Of the new model, with its test.
        choice: Its threshold.
        labels: What its networks doubt.
        settings: With which it was made.
        disputed: Images that were left out because nobody can tell what they are, yet.
    """
    lines = []
    useless = of_no_use(card, settings.training.gate.most_false_calls)
    if useless:
        lines.append(f"{useless}; the report says what may help")
    if choice.aside:
        named = [price.part for price in labels.prices if price.aside]
        lines.append(
            f"set aside for the threshold, for their labels look wrong: {', '.join(map(readable, named))}; if they are "
            "right, defects like these are missed"
        )
    meant = workload(card)
    if meant:
        lines.append(f"{meant} (training.nio_share: {settings.training.nio_share:g})")
    if disputed:
        lines.append(told_disputed(disputed))
    if labels.prices:
        lines.append("labels to check, the dearest first (answer in dataset/labels.csv; solderwatch-train labels):")
        lines += [f"  {price}" for price in labels.prices[:_SHOWN]]
        if len(labels.prices) > _SHOWN:
            lines.append(f"  and {len(labels.prices) - _SHOWN} more")
    return lines


def told_disputed(count: int) -> str:
    """That images were left out, in words."""
    images = "1 disputed image was" if count == 1 else f"{count} disputed images were"
    return f"{images} left out: they teach nothing until somebody settles them (operator's page, Labels)"


def of_no_use(card: ModelCard, most_false_calls: float) -> str | None:
    """That a model sorts nothing, in words; None where it does, or where no test tells."""
    test = card.metrics.get("test")
    if not test or test["false_call_rate"] <= most_false_calls:
        return None
    return f"calls {test['false_call_rate']:.0%} of good images nio: of no use"
