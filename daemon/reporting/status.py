"""Is the daemon alive, what did it do, with which model. Reads only what lies in the folders; needs no torch."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from daemon.intake.survey import Passed, Reason, survey
from filing.claim import claim_folders, read_claim
from filing.ledger import OUTCOMES, SUFFIXES, Ledger
from filing.lock import is_held
from inspection.errors import LedgerError
from inspection.files import readable
from settings import Settings
from settings.schema import CURRENT

STATUS = ".status.json"
"""In work/: what the daemon last said about itself."""

_SHOWN = 10


@dataclass(frozen=True)
class Status:
    """The state of a line.

    Attributes:
        alive: Whether a daemon holds the work folder.
        counts: Images in io, nio and quarantine; `waiting` in the inbox, `in_hand` in work.
        passed_over: What in the inbox is never taken, by reason.
        in_hand: The oldest of those in work: `file`, `claimed` since when, `attempts`, and whether it is `decided`.
        model: What `models/current` names; None without a model.
        daemon: What the daemon last said: `pid`, `started`, `state`, `model`, `certificate`, `last`, `drift`, ...
    """

    alive: bool
    counts: dict[str, int]
    passed_over: dict[Reason, Passed]
    in_hand: list[dict[str, Any]]
    model: str | None
    daemon: dict[str, Any]


def read_status(settings: Settings) -> Status:
    """Look at the folders and at what the daemon wrote down."""
    paths = settings.paths
    inbox = survey(paths.inbox, settings.inbox)
    alive = is_held(paths.work)
    try:
        said = json.loads((paths.work / STATUS).read_bytes())
    except (OSError, ValueError):
        said = {}
    # Without a daemon nobody keeps the ledger in step.
    known = _known(paths.ledger) if alive and said.get("ledger_in_step") else None
    counts = (known or _counted(paths.line)) | {
        "waiting": inbox.waiting,
        "in_hand": len(claims := claim_folders(paths.work) if paths.work.is_dir() else []),
    }
    current = paths.models / CURRENT
    model = current.readlink().name if current.is_symlink() else None
    in_hand = [claim for folder in claims[:_SHOWN] if (claim := _claim(folder))]
    return Status(alive, counts, inbox.passed_over, in_hand, model, said)


def as_json(status: Status) -> str:
    """For programs."""
    return json.dumps(asdict(status), indent=2)


def as_text(status: Status) -> str:
    """For people."""
    said, counts = status.daemon, status.counts
    if status.alive:
        alive = f"yes, pid {said.get('pid', '?')}, since {said.get('started', '?')}: {said.get('state', 'starting')}"
    else:
        alive = f"no; last heard of {said['updated']}" if said else "no; never ran here"
    in_use = status.alive and said.get("model")
    judging = f"{said['model']} on {said['device']}" if in_use else "-"
    last = said.get("last")
    rows = [
        ("alive", alive),
        ("model", f"{status.model or 'none yet: solderwatch-train'}"),
        ("judging with", judging),
        ("certificate", (said.get("certificate") if in_use else None) or "-"),
        ("io", str(counts["io"])),
        ("nio", str(counts["nio"])),
        ("quarantine", str(counts["quarantine"])),
        ("waiting", f"{counts['waiting']} in the inbox, {counts['in_hand']} in hand"),
        ("last verdict", f"{last['time']}  {last['outcome']}  {last['file']}" if last else "-"),
        ("rate", f"{said.get('per_minute', 0.0)} images a minute" if status.alive else "-"),
    ]
    rows += [("passed over", passed.told(reason)) for reason, passed in status.passed_over.items()]
    rows += [("drift", text) for text in _drift(said.get("drift") or {})]
    for claim in status.in_hand:
        waits_for = "to be filed as decided" if claim["decided"] else f"to be judged, attempt {claim['attempts']}"
        rows.append(("in hand", f"{claim['file']}  since {claim['claimed']}, {waits_for}"))
    return "\n".join(f"{name:<13} {value}" for name, value in rows)


def _drift(report: dict[str, Any]) -> Iterator[str]:
    """One line for each signal that has moved, or that none has; and what is not watched."""
    if report.get("unwatched"):
        yield f"not watched: {report['unwatched']}"
    charts = report.get("charts") or []
    for chart in charts:
        if chart.get("moved"):
            by = f" by {abs(chart['by_std'])} std" if "by_std" in chart else ""
            now = f"now {chart['now']}, in the reference {chart['reference']}"
            yield f"{chart['signal']} {chart['moved']}{by} since {chart['since']}: {now}"
    if charts and not any(chart.get("moved") for chart in charts):
        yield f"none, after {report['images']} images"


def _claim(folder: Path) -> dict[str, Any] | None:
    """What a claim says of itself; None if it is gone meanwhile."""
    claim = read_claim(folder)
    if claim is None:
        return None
    name = readable(str(claim.source))
    return {"file": name, "claimed": claim.claimed, "attempts": claim.attempts, "decided": claim.decided}


def _known(ledger: Path) -> dict[str, int] | None:
    """How many images the ledger has of each outcome; None if it does not know of all."""
    try:
        with Ledger(ledger) as opened:
            summary = opened.summary()
    except LedgerError:
        return None
    counts: dict[str, int] = dict.fromkeys(OUTCOMES, 0)
    for count in summary.counts:
        counts[count.outcome] += count.images
    return counts if summary.complete else None


def _counted(folders: dict[str, Path]) -> dict[str, int]:
    """The same, by a walk through the folders."""
    return {outcome: _count(folders[outcome], SUFFIXES[outcome]) for outcome in OUTCOMES}


def _count(folder: Path, suffix: str) -> int:
    return sum(name.endswith(suffix) for _, _, names in os.walk(folder) for name in names)
