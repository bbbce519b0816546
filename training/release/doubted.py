"""The labels that a training doubted, for a person to answer: what its report holds, less what was answered since."""

from __future__ import annotations

from filing.doubts import read_doubts
from filing.labels import ANSWERS, NAME, line
from inspection.files import readable
from settings.schema import Settings


def doubted(settings: Settings) -> str:
    """The list of the newest model, promoted or not, in words.

    Args:
        settings: Of the line, or of one of its products.

    Raises:
        DatasetError: A line of the answers is wrong.
        ModelError: The report is damaged.
    """
    found = read_doubts(settings)
    if found is None:
        return f"no model with a report in {settings.paths.models}; train one with solderwatch-train"
    left = found.open
    lines = [f"{readable(found.model.name)}: {len(left)} labels to check, {len(found.prices) - len(left)} answered"]
    lines += [f"  {price}" for price in left]
    if left:
        lines += [
            f"look at them on the operator's page, or answer in {settings.paths.dataset / NAME}, a line each, such as",
            f"  {readable(line(left[0].part, ANSWERS[0]))}",
            f"with one of {', '.join(ANSWERS)}; then train anew",
        ]
    return "\n".join(lines)
