"""How often operators overruled the model in use, from what `solderwatch relabel` wrote into the data set's book."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from filing.estimates import Checks, checks
from filing.opinions import Opinions, Subject
from inspection.errors import ModelError
from inspection.model import read_card
from inspection.verdict import LABELS
from settings.schema import RELABELLED, Settings
from training.release.promote import in_use


@dataclass(frozen=True)
class Operators:
    """What operators said of verdicts; of each verdict their last word counts.

    Attributes:
        model: The id of the model in use; None without one.
        checked: Verdicts of that model that were confirmed or overruled.
        false_calls: Of these, io images that it had judged nio.
        escapes: Of these, nio images that it had judged io.
        other_models: Checked verdicts of all models before it.
        damaged_lines: What could not be read.
        checks: What blind checks came to, of all models.
    """

    model: str | None
    checked: int
    false_calls: int
    escapes: int
    other_models: int
    damaged_lines: int
    checks: Checks

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self) | {"checks": self.checks.as_dict()}

    def lines(self) -> list[str]:
        """For a person to read, with what blind checks came to where there were any."""
        checks = self.checks
        told = [
            ("escapes among io images", checks.escapes, checks.escapes.of),
            ("one person twice", checks.within, checks.within.pairs),
        ]
        told += [("two people", checks.between, checks.between.pairs)]
        return [self.text(), *(f"blind checks, {name}: {found}" for name, found, known in told if known)]

    def text(self) -> str:
        """For a person to read."""
        of = f"verdicts of model {self.model} checked" if self.model else "verdicts checked"
        said = f"operators: {self.checked} {of}; {self.false_calls} false calls and {self.escapes} escapes overruled"
        if self.other_models:
            said += f"; {self.other_models} verdicts of earlier models"
        if self.damaged_lines:
            said += f"; {self.damaged_lines} damaged lines of {RELABELLED} skipped"
        return said


def read_operators(settings: Settings) -> Operators:
    """Read the book of the data set; without one nobody checked anything."""
    champion = in_use(settings.paths.models)
    try:
        model = read_card(champion).model_id if champion else None
    except ModelError:
        model = None
    try:
        lines = (settings.paths.dataset / RELABELLED).read_bytes().splitlines()
    except FileNotFoundError:
        lines = []
    return count_acts(lines, model, Opinions(settings).subjects())


class _Act(NamedTuple):
    """One line of the book, as far as it counts; without a label all that was said of that verdict is taken back."""

    decision: str
    model: str
    verdict: str
    label: str | None


def count_acts(lines: Iterable[bytes], model: str | None, subjects: Iterable[Subject] = ()) -> Operators:
    """Count what the lines of the book say of a model's verdicts, and what stands of each image."""
    acts = [_act(line) for line in lines if line.strip()]
    last = {act.decision: act for act in acts if act}
    last = {decision: act for decision, act in last.items() if act.label is not None}
    ours = [(act.verdict, act.label) for act in last.values() if act.model == model]
    return Operators(
        model=model,
        checked=len(ours),
        false_calls=ours.count(("nio", "io")),
        escapes=ours.count(("io", "nio")),
        other_models=len(last) - len(ours),
        damaged_lines=acts.count(None),
        checks=checks(subjects),
    )


def _act(line: bytes) -> _Act | None:
    """A line of the book; None if it is damaged."""
    try:
        content = json.loads(line)
        act = _Act(*(content[key] for key in ("decision_id", "model", "verdict", "label")))
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    sound = isinstance(act.decision, str) and isinstance(act.model, str) and act.verdict in LABELS
    sound = sound and act.label in (*LABELS, None)
    return act if sound else None
