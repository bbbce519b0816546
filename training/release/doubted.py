"""The labels that a training doubted, for a person to answer: what its report holds, less what was answered since."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from inspection.errors import ModelError
from inspection.files import readable
from settings.schema import Settings
from training.data.answers import ANSWERS, NAME, read_answers
from training.proof.labels import Price
from training.release.history import model_folders

_METRICS = Path("report", "metrics.json")


def doubted(settings: Settings) -> str:
    """The list of the newest model, promoted or not, in words.

    Args:
        settings: Of the line, or of one of its products.

    Raises:
        DatasetError: A line of the answers is wrong.
        ModelError: The report is damaged.
    """
    folders = [folder for folder in model_folders(settings.paths.models) if (folder / _METRICS).is_file()]
    if not folders:
        return f"no model with a report in {settings.paths.models}; train one with solderwatch-train"
    prices, answers = _prices(folders[-1] / _METRICS), read_answers(settings.paths.dataset)
    open_ones = [price for price in prices if price.part not in answers]
    lines = [f"{readable(folders[-1].name)}: {len(open_ones)} labels to check, {len(prices) - len(open_ones)} answered"]
    lines += [f"  {price}" for price in open_ones]
    if open_ones:
        lines += [
            f"look at them, and answer in {settings.paths.dataset / NAME}, a line each, such as",
            f"  {readable(open_ones[0].part)},{ANSWERS[0]}",
            f"with one of {', '.join(ANSWERS)}; then train anew",
        ]
    return "\n".join(lines)


def _prices(path: Path) -> list[Price]:
    try:
        numbers: dict[str, Any] = json.loads(path.read_bytes())
        return [Price(**price) for price in numbers.get("prices", [])]
    except (ValueError, TypeError, AttributeError, RecursionError):
        raise ModelError(f"{path}: damaged; train anew") from None
