"""Images worth a label: copies of those that a replay found disputed, near the threshold or changed, for a person."""

from __future__ import annotations

import hashlib
import heapq
import json
import math
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from filing.durable import append_line, digest, put
from filing.names import free_names
from inspection.files import sync
from replay.archives import Archive
from replay.job import Job
from replay.out import Out
from replay.plan import place_of

Kind = Literal["disputed", "changed", "near"]
KINDS: tuple[Kind, ...] = ("disputed", "changed", "near")
"""Against an operator's word; against the verdict before; close to the threshold on either side. First come first."""

PER_JOINT = 5
NEAR = 1.0
"""Log-odds from the threshold: a probability that a factor of e in its odds would bring to the other side."""

FOLDER, BOOK = "unlabelled", "picked.jsonl"
"""In the data set: where copies lie until somebody moves them to io or nio, and a line for each."""

_COLUMNS = (
    "number", "path", "sha256", "verdict", "nio_probability", "was", "word", "product", "joint", "view", "against",
    "model",
)  # fmt: skip
Row = dict[str, Any]


@dataclass(frozen=True)
class Wanted:
    """Which images are copied.

    Attributes:
        kinds: In the order in which they count.
        per_joint: Of one joint at most so many; images without one are not limited.
        thresholds: By model id.
    """

    kinds: Sequence[Kind]
    per_joint: int
    thresholds: dict[str, float]


def choose(batches: Iterable[pa.RecordBatch], wanted: Wanted) -> list[tuple[Kind, Row]]:
    """The images to copy; of the same bytes one, of one joint those that count most.

    Args:
        batches: Results.
        wanted: Which.
    """
    order = count()
    joints: dict[tuple[Any, ...], list[tuple[Any, ...]]] = {}
    seen: set[str] = set()
    for batch in batches:
        for row in batch.select(_COLUMNS).to_pylist():
            distance = _distance(row, wanted.thresholds)
            kind = next((kind for kind in wanted.kinds if _is(kind, row, distance)), None)
            if kind is None or row["sha256"] in seen:
                continue
            seen.add(row["sha256"])
            entry = (-wanted.kinds.index(kind), -distance, -next(order), kind, row)
            joint = (row["product"], row["joint"]) if row["joint"] else (row["number"],)
            kept = joints.setdefault(joint, [])
            if len(kept) < wanted.per_joint:
                heapq.heappush(kept, entry)
            else:
                heapq.heappushpop(kept, entry)
    found = sorted((entry for kept in joints.values() for entry in kept), reverse=True)
    return [(kind, row) for *_, kind, row in found]


def copy_to(dataset: Path, chosen: Sequence[tuple[Kind, Row]], out: Out, job: Job) -> Iterator[tuple[Row, str]]:
    """Copy images into a data set, of a line with products each into its product's; what is there already is not.

    Args:
        dataset: The data set's folder.
        chosen: What to copy.
        out: The replay.
        job: Where the images lie.

    Yields:
        Those that could not be copied, and why; the others are.
    """
    limit = job.settings.inbox.max_file_mb * 2**20
    there: dict[Path, set[str]] = {}
    for kind, row in chosen:
        home = dataset / row["product"] if job.settings.products and row["product"] else dataset
        if home not in there:
            there[home] = _digests(home)
        if row["sha256"] in there[home]:
            continue
        archive, path = place_of(out.plan, row["number"])
        try:
            name = _copy(job.archives[archive], path, home, row["sha256"], limit)
        except OSError as error:
            yield row, error.strerror or str(error)
            continue
        there[home].add(row["sha256"])
        _note(home, {"file": name, "why": kind} | {key: row[key] for key in _COLUMNS if key != "number"})


def _is(kind: Kind, row: Row, distance: float) -> bool:
    if kind == "disputed":
        return row["word"] is not None and row["word"] != row["verdict"]
    if kind == "changed":
        before = row["against"] or row["was"]
        return before is not None and before != row["verdict"]
    return distance <= NEAR


def _distance(row: Row, thresholds: dict[str, float]) -> float:
    """From the threshold, in log-odds; infinite where there is no number."""
    probability = row["nio_probability"]
    if probability is None:
        return math.inf
    return abs(_log_odds(probability) - _log_odds(thresholds[row["model"]]))


def _log_odds(probability: float) -> float:
    clipped = min(max(probability, 1e-9), 1 - 1e-9)
    return math.log(clipped / (1 - clipped))


def _digests(home: Path) -> set[str]:
    """The SHA-256 of every file in a data set, labelled or not."""
    return {
        digest(Path(folder, name))
        for label in ("io", "nio", FOLDER)
        for folder, _, names in os.walk(home / label)
        for name in names
        if not name.startswith(".") and Path(folder, name).is_file()
    }


def _copy(archive: Archive, path: str, home: Path, sha256: str, limit: int) -> str:
    """Copy one image; returns its name there.

    Raises:
        OSError: It cannot be read or written.
    """
    data = archive.read(path, limit).data
    if hashlib.sha256(data).hexdigest() != sha256:
        raise OSError("the file has changed since it was judged")
    folder = home / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    for name in free_names(re.sub(r"[/\0]", "_", path.rpartition("/")[2])):
        if not os.path.lexists(folder / name):
            put(folder / name, data)
            return name
    raise AssertionError("names never end")


def _note(home: Path, line: dict[str, Any]) -> None:
    descriptor = os.open(home / BOOK, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        append_line(descriptor, json.dumps(line, allow_nan=False))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    sync(home)
