"""A replay from top to bottom: list the images, judge what is missing, lay the results out, tell what was found."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from pyarrow import compute

from replay.job import Job, ids_of
from replay.layout import Known, lay_out
from replay.out import Out
from replay.plan import Found, count_of, read_plan, write_plan
from replay.progress import Progress

Judges = Callable[[Job, Iterator[pa.Table]], Iterator[pa.Table]]
"""Tables of places -> tables of results, one for each, in any order; by whatever engine."""

TABLE = 64
"""Images in a table if few judge: a second of work, of which the engine takes two percent; little can be lost."""

_PART_ROWS = 16_384
_LARGEST_TABLE, _TABLES_EACH = 512, 200  # so many for each who judges, so that all end at about the same time
_PART_S = 10.0


@dataclass(frozen=True)
class Done:
    """How a replay ended.

    Attributes:
        judged: Images with a verdict.
        unread: Images that could not be judged.
        kept: Of those judged, the ones that an earlier run had judged.
        seconds: What judging took, this time.
    """

    judged: int
    unread: int
    kept: int
    seconds: float


def replay(
    out: Out,
    job: Job,
    images: Callable[[], Found],
    judges: Judges,
    tell: Callable[[str], None],
    side_by_side: int = 1,
) -> Done:
    """Judge all images, or of a replay that was begun what is missing.

    Args:
        out: Begun.
        job: What is asked for.
        images: Lists them; asked only where there is no plan yet.
        judges: Who judges.
        tell: Told what a person should know meanwhile.
        side_by_side: How many judge. Where many do, or where there are many images, tables are larger: who hands them
            out takes 8 ms and 0.1 MB for each.

    Raises:
        SolderwatchError: There are no images, or the judges fail; what was judged so far is kept.
    """
    count = count_of(out.plan) if out.plan.exists() else write_plan(out.plan, images())
    models = frozenset(ids_of(job.models).values()), frozenset(ids_of(job.against).values())
    known = Known(out, count, models)
    for damaged in known.damaged:
        tell(damaged)
    tell(f"{count:,} images" + (f", {len(known):,} of them judged already" if len(known) else ""))
    started = time.monotonic()
    size = max(TABLE, side_by_side, min(_LARGEST_TABLE, count // (_TABLES_EACH * side_by_side)))
    kept = _judge(out, judges(job, _tables(out, known, size)), count)
    seconds = time.monotonic() - started
    judged, unread = lay_out(out, count)
    return Done(judged, unread, kept, seconds)


def _judge(out: Out, results: Iterator[pa.Table], count: int) -> int:
    """Put results down as they come; returns of how many images an earlier verdict stands."""
    seen = np.zeros(count, bool)
    progress = Progress(count)
    waiting: list[pa.Table] = []
    put_down = time.monotonic()
    kept = 0
    try:
        for table in results:
            new = table.filter(pa.array(~seen[table["number"].to_numpy()]))
            seen[new["number"].to_numpy()] = True
            progress.add(len(new))
            stands = new["kept"]
            kept += compute.sum(stands).as_py() or 0
            found = new.filter(compute.invert(stands))
            out.draw(found)
            waiting.append(found.drop_columns(["kept", "map", "against_map"]))
            if sum(map(len, waiting)) >= _PART_ROWS or time.monotonic() - put_down >= _PART_S:
                out.add(waiting)
                waiting, put_down = [], time.monotonic()
    finally:
        # Also after Ctrl-C: nothing that was judged is judged again.
        out.add(waiting)
        progress.end()
    return kept


def _tables(out: Out, known: Known, size: int) -> Iterator[pa.Table]:
    for places in read_plan(out.plan):
        filled = known.fill(places)
        for start in range(0, len(filled), size):
            yield filled.slice(start, size).combine_chunks()
