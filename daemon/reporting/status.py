"""Is the daemon alive, what did it do, with which model. Reads only what lies in the folders; needs no torch."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePath
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
        products: Of each product `model` and the counts `io`, `nio`, `quarantine` and `waiting`, by its files' names;
            empty on a line without products.
    """

    alive: bool
    counts: dict[str, int]
    passed_over: dict[Reason, Passed]
    in_hand: list[dict[str, Any]]
    model: str | None
    daemon: dict[str, Any]
    products: dict[str, dict[str, Any]] = field(default_factory=dict)


def read_status(settings: Settings) -> Status:
    """Look at the folders and at what the daemon wrote down."""
    paths = settings.paths
    # Without products, no path has to be looked at.
    product_of = settings.product_of if settings.products else None
    inbox = survey(paths.inbox, settings.inbox, product_of)
    alive = is_held(paths.work)
    try:
        said = json.loads((paths.work / STATUS).read_bytes())
    except (OSError, ValueError):
        said = {}
    # Without a daemon nobody keeps the ledger in step.
    known = _known(paths.ledger) if alive and said.get("ledger_in_step") else None
    filed = known or {outcome: _count(paths.line[outcome], SUFFIXES[outcome], product_of) for outcome in OUTCOMES}
    counts = {
        **{outcome: found.total() for outcome, found in filed.items()},
        "waiting": inbox.waiting,
        "in_hand": len(claims := claim_folders(paths.work) if paths.work.is_dir() else []),
    }
    by_product = filed | {"waiting": inbox.products}
    products = {
        name: {"model": _current(settings.of_product(name)), **{key: n.get(name, 0) for key, n in by_product.items()}}
        for name in settings.products
    }
    in_hand = [claim for folder in claims[:_SHOWN] if (claim := _claim(folder))]
    return Status(alive, counts, inbox.passed_over, in_hand, _current(settings), said, products)


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
    model = [
        ("model", f"{status.model or 'none yet: solderwatch-train'}"),
        ("judging with", judging),
        ("certificate", (said.get("certificate") if in_use else None) or "-"),
        ("that means", (said.get("workload") if in_use else None) or "-"),
    ]
    rows = [
        ("alive", alive),
        *([] if status.products else model),
        ("io", str(counts["io"])),
        ("nio", str(counts["nio"])),
        ("quarantine", str(counts["quarantine"])),
        ("waiting", f"{counts['waiting']} in the inbox, {counts['in_hand']} in hand"),
        ("last verdict", f"{last['time']}  {last['outcome']}  {last['file']}" if last else "-"),
        ("rate", f"{said.get('per_minute', 0.0)} images a minute" if status.alive else "-"),
    ]
    rows += [("product", _product(name, of, said)) for name, of in status.products.items()]
    rows += [("passed over", passed.told(reason)) for reason, passed in status.passed_over.items()]
    rows += [("drift", text) for text in _drift(said.get("drift") or {})]
    for name in status.products:
        drift = said.get("products", {}).get(name, {}).get("drift") or {}
        rows += [("drift", f"{name}: {text}") for text in _drift(drift)]
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


def _known(ledger: Path) -> dict[str, Counter[str | None]] | None:
    """How many images the ledger has of each outcome and product; None if it does not know of all."""
    try:
        with Ledger(ledger) as opened:
            summary = opened.summary()
    except LedgerError:
        return None
    found: dict[str, Counter[str | None]] = {outcome: Counter() for outcome in OUTCOMES}
    for count in summary.counts:
        found[count.outcome][count.product] += count.images
    return found if summary.complete else None


def _current(settings: Settings) -> str | None:
    """The id of the model that `current` names; None without one."""
    current = settings.paths.models / CURRENT
    return current.readlink().name if current.is_symlink() else None


def _count(folder: Path, end: str, product_of: Callable[[PurePath], str | None] | None) -> Counter[str | None]:
    """How many files with such an end there are, by the product of what they lie beside."""
    found: Counter[str | None] = Counter()
    for parent, _, names in os.walk(folder):
        images = [name.removesuffix(end) for name in names if name.endswith(end)]
        if product_of is None:
            found[None] += len(images)
        else:
            found.update(product_of(PurePath(os.path.relpath(f"{parent}/{name}", folder))) for name in images)
    return found


def _product(name: str, of: dict[str, Any], said: dict[str, Any]) -> str:
    """One line for a product: what was filed of it, and who judges it."""
    counts = ", ".join(f"{of[key]} {key}" for key in ("io", "nio", "quarantine", "waiting"))
    if of["model"] is None:
        return f"{name}: {counts}; no model yet: solderwatch-train --product {name}"
    in_use = said.get("products", {}).get(name, {})
    standing = f", {in_use['certificate']}" if in_use.get("certificate") else ""
    meant = f"; {in_use['workload']}" if in_use.get("workload") else ""
    return f"{name}: {counts}; {in_use.get('model') or of['model']}{standing}{meant}"
