"""Whether a challenger may replace the champion: the rule, and the record `gate.json` in the challenger's folder.

The rule, on test images that neither model was trained on: it misses no more nio images, and calls no more io images
nio, than the champion does, within the tolerances of `training.gate`; and an image costs it no more than so many times
the milliseconds and the memory. What cannot be compared is not promoted.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError
from scipy.stats import binomtest

from inspection.errors import ModelError
from inspection.files import sync
from inspection.model import ModelCard, now
from inspection.verdict import LABELS, Label
from settings.schema import GateSettings
from training.proof.summary import of_no_use

GATE = "gate.json"
FEWEST = 5
"""Images of each label below which two models are not compared."""

_CHANCE = 0.05


@dataclass(frozen=True)
class Contest:
    """How two models judged the same images.

    Attributes:
        labels: What the images are.
        champion: What the champion called them.
        challenger: What the challenger called them.
        champion_ms: What each image took, from grey levels to verdict and map.
        challenger_ms: The same.
        champion_mb: Weights and the largest layer's output.
        challenger_mb: The same.
        golden: Golden samples of the champion.
        flipped: Those that the challenger judges otherwise, in words.
    """

    labels: Sequence[Label]
    champion: Sequence[Label]
    challenger: Sequence[Label]
    champion_ms: Sequence[float]
    challenger_ms: Sequence[float]
    champion_mb: float
    challenger_mb: float
    golden: int
    flipped: Sequence[str]

    def wrong(self, judged: Sequence[Label], label: Label) -> int:
        """How many images of a label were called the other one."""
        return sum(truth == label != found for truth, found in zip(self.labels, judged, strict=True))

    def chance(self, label: Label) -> float:
        """How likely the two would differ so much on images of this label if they were equally good, two-sided.

        After McNemar, "Note on the sampling error of the difference between correlated proportions", Psychometrika
        1947; exact.
        """
        pairs = zip(self.labels, self.champion, self.challenger, strict=True)
        better = [found == label for truth, before, found in pairs if truth == label and before != found]
        return float(binomtest(sum(better), len(better)).pvalue) if better else 1.0


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, allow_inf_nan=False)


class Check(_Record):
    """One line of the comparison, in words; `passed` is None for what is only told."""

    name: str
    champion: str
    challenger: str
    allowed: str
    passed: bool | None


class GateRecord(_Record):
    """What the gate said.

    Attributes:
        time: UTC, to the second.
        challenger: Its model id.
        champion: That of the model that was in use; None for a first model.
        compared: Test images by label on which the two were compared.
        left_out: Test images that were not used, by reason.
        checks: The comparison.
        passed: Whether the rule lets the challenger replace the champion.
        forced: Whether it was promoted whatever the rule says.
        reasons: Why, in words.
    """

    time: str
    challenger: str
    champion: str | None
    compared: dict[str, int]
    left_out: dict[str, int]
    checks: list[Check]
    passed: bool
    forced: bool
    reasons: list[str]

    @property
    def promoted(self) -> bool:
        """Whether the challenger replaces the champion."""
        return self.passed or self.forced

    @property
    def summary(self) -> str:
        """What it comes to, in a line."""
        word = "promoted" if self.passed else "promoted by --force" if self.forced else "not promoted"
        return f"{word}: {'; '.join(self.reasons)}"


def apply_rule(contest: Contest, settings: GateSettings) -> tuple[list[Check], list[str]]:
    """Compare two models.

    Returns:
        All checks, and in words those that failed.
    """
    checks = [
        _mistakes(contest, "nio", "nio images missed", settings.recall_tolerance),
        _mistakes(contest, "io", "false calls", settings.false_call_tolerance),
        _latency(contest, settings.cost_limit),
        _ratio("MB of memory", contest.champion_mb, contest.challenger_mb, settings.cost_limit),
        Check(
            name="golden samples",
            champion=f"{contest.golden}",
            challenger=f"{contest.golden - len(contest.flipped)} judged alike",
            allowed="; ".join(contest.flipped),
            passed=None,
        ),
    ]
    return checks, [
        f"{check.name}: {check.challenger}, the champion {check.champion}, allowed {check.allowed}"
        for check in checks
        if check.passed is False
    ]


def _mistakes(contest: Contest, label: Label, name: str, tolerance: float) -> Check:
    count = sum(truth == label for truth in contest.labels)
    before, found = contest.wrong(contest.champion, label), contest.wrong(contest.challenger, label)
    # The epsilon: 0.005 of 200 images is 1, though 0.005 * 200 may come out a little below it.
    allowed = before + math.floor(tolerance * count + 1e-9)
    note = ""
    if before != found:
        chance = contest.chance(label)
        note = f" ({'may be chance' if chance >= _CHANCE else 'more than chance'}, p = {chance:.2g})"
    return Check(
        name=name,
        champion=f"{before} of {count}",
        challenger=f"{found} of {count}",
        allowed=f"at most {allowed}{note}",
        passed=found <= allowed,
    )


def _latency(contest: Contest, limit: float) -> Check:
    champion, challenger = np.array(contest.champion_ms), np.array(contest.challenger_ms)
    check = _ratio("ms per image", float(np.median(champion)), float(np.median(challenger)), limit)
    # A disturbance only ever adds time, so equal models cannot differ in the fastest of many images as well.
    passed = check.passed or float(challenger.min() / champion.min()) <= limit
    return check.model_copy(update={"passed": passed})


def _ratio(name: str, champion: float, challenger: float, limit: float) -> Check:
    times = challenger / champion
    return Check(
        name=name,
        champion=f"{champion:.1f}",
        challenger=f"{challenger:.1f}, {times:.2g} times",
        allowed=f"at most {limit:g} times",
        passed=times <= limit,
    )


def first_model(card: ModelCard, why: str, most_false_calls: float, *, force: bool = False) -> GateRecord:
    """A first model is promoted even if it does not prove the required recall: a line without one judges nothing.

    But one that calls nearly everything nio judges nothing either.

    Args:
        card: Of the new model.
        why: Why there is no champion, in words.
        most_false_calls: Share of the good test images, from which on it is of no use.
        force: Promote it all the same.
    """
    reasons = [why]
    useless = of_no_use(card, most_false_calls)
    if useless:
        reasons.append(f"{useless} (training.gate.most_false_calls: {most_false_calls:.0%})")
    certificate = card.certificate
    if certificate and not certificate.certified:
        proof, required = certificate.proof, certificate.required_recall
        low = proof.nio - proof.missed < required * proof.nio - 1e-9
        reasons += ["ITS RECALL IS LOWER THAN REQUIRED"] * low + [str(certificate)]
    return GateRecord(
        time=now(),
        challenger=card.model_id,
        champion=None,
        compared={},
        left_out={},
        checks=[],
        passed=not useless,
        forced=force and bool(useless),
        reasons=reasons,
    )


def too_few(compared: dict[str, int], left_out: dict[str, int]) -> list[str]:
    """What keeps two models from being compared, in words; empty if nothing does."""
    lacking = [label for label in LABELS if compared[label] < FEWEST]
    if not lacking:
        return []
    there = " and ".join(f"{compared[label]} {label}" for label in lacking)
    besides = "".join(f"; {count} {why}" for why, count in left_out.items() if count)
    return [f"cannot be compared: {there} test images left, {FEWEST} of each label are needed{besides}"]


def as_text(record: GateRecord) -> str:
    """The record as a table for a person to read."""
    lines = []
    if record.compared:
        lines.append("on " + " and ".join(f"{count} {label}" for label, count in record.compared.items()) + " images")
        lines += [f"left out: {count} {why}" for why, count in record.left_out.items() if count]
    if record.checks:
        lines.append(f"{'':<18} {'champion':<12} challenger")
    for check in record.checks:
        word = "" if check.passed is None else "ok  " if check.passed else "NO  "
        line = f"{check.name:<18} {check.champion:<12} {check.challenger:<20} {word}{check.allowed}"
        lines.append(line.rstrip())
    lines.append(record.summary)
    return "\n".join(f"  {line}" for line in lines)


def write_record(folder: Path, record: GateRecord) -> None:
    """Put the record into a model folder, durably."""
    new = folder / f"{GATE}.new"
    new.write_text(json.dumps(record.model_dump(mode="json"), indent=2, allow_nan=False) + "\n", encoding="utf-8")
    sync(new)
    new.replace(folder / GATE)
    sync(folder)


def read_record(folder: Path) -> GateRecord | None:
    """The record in a model folder; None where there is none.

    Raises:
        ModelError: It is damaged.
    """
    path = folder / GATE
    try:
        return GateRecord.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError):
        raise ModelError(f"{path}: damaged") from None
