"""What `solderwatch-replay` does once its command line is understood."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from filing.durable import write_json
from inspection.files import readable
from inspection.model import read_card
from replay.archives import Archive, open_archive
from replay.engine import Wish, started
from replay.job import Job, ids_of, models_in
from replay.out import Out
from replay.page import write_page
from replay.pick import FOLDER, Kind, Wanted, choose, copy_to
from replay.plan import Found, Query, asked, folders_of, listed
from replay.run import Done, replay
from replay.summary import Run, summarise
from replay.tally import Tally
from settings import Settings


def run(arguments: argparse.Namespace, settings: Settings) -> None:
    """Replay, and print what was found.

    Raises:
        SolderwatchError: It says what failed.
    """
    archives, images = _sources(arguments, settings)
    models = models_in(arguments.model or settings.paths.models, settings, arguments.product, "--model")
    against = models_in(arguments.against, settings, arguments.product, "--against") if arguments.against else {}
    out = Out(arguments.out)
    out.begin(_note(arguments, archives), resume=arguments.resume)
    with started(Wish(arguments.address, arguments.actors, arguments.gpus), settings.device) as (cluster, device):
        job = Job(settings, archives, models, against, arguments.product, arguments.maps, device)
        done = replay(out, job, images, cluster.judge, _tell, cluster.judges)
    report(out, job, done, Run(done.judged + done.unread, done.seconds, cluster.judges, device))
    if arguments.to_dataset:
        pick(out, job, arguments.to_dataset, arguments.pick, arguments.per_joint)


def report(out: Out, job: Job, done: Done, run_: Run) -> None:
    """Write summary and page of a replay that is laid out, and print what a person wants to know first."""
    tally = Tally.of(out.everything())
    ours, theirs = (sorted(ids_of(models).values()) for models in (job.models, job.against))
    summary = summarise(tally, done.unread, ours, theirs, run_)
    write_json(out.folder / "summary.json", summary)
    page = write_page(out, job.archives, tally, summary)
    print(f"{done.judged:,} judged: {tally.changed('io'):,} nio -> io, {tally.changed('nio'):,} io -> nio")
    if done.unread:
        print(f"{done.unread:,} could not be judged: {out.unread}")
    print(page)


def pick(out: Out, job: Job, dataset: Path, kinds: Sequence[Kind], per_joint: int) -> None:
    """Copy images worth a label into a data set, and print how many."""
    thresholds = {card.model_id: card.threshold for card in map(read_card, job.models.values())}
    chosen = choose(out.everything(), Wanted(kinds, per_joint, thresholds))
    for row, why in (left := list(copy_to(dataset, chosen, out, job))):
        _tell(f"{row['path']}: not copied: {why}")
    found = Counter(kind for kind, _ in chosen)
    told = ", ".join(f"{found[kind]:,} {kind}" for kind in kinds)
    print(f"{len(chosen) - len(left):,} images worth a label are in {dataset}/{FOLDER}: {told}")


def _sources(arguments: argparse.Namespace, settings: Settings) -> tuple[tuple[Archive, ...], Callable[[], Found]]:
    """Where images lie, and what lists them."""
    if arguments.archives:
        archives = tuple(open_archive(name) for name in arguments.archives)
        return archives, partial(listed, archives, settings)
    query = Query(arguments.product, arguments.since, arguments.until, arguments.board)
    return folders_of(settings), partial(asked, query, settings)


def _note(arguments: argparse.Namespace, archives: tuple[Archive, ...]) -> dict[str, Any]:
    """Which images these are, so that nobody goes on with a replay of others."""
    return {
        "archives": [readable(archive.name) for archive in archives],
        "product": arguments.product,
        "since": str(arguments.since) if arguments.since else None,
        "until": str(arguments.until) if arguments.until else None,
        "board": arguments.board,
    }


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
