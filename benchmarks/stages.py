"""The stages of one image alone, by the product's own functions, one after the other in this process."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch

from benchmarks.bench import Line
from daemon.intake.claims import Claims
from daemon.intake.inbox import Candidate
from filing.claim import Claim
from filing.decisions import Decision, Filing
from filing.folders import Folders
from filing.logs import open_log, together
from inspection import picture
from inspection.image import decode
from inspection.inspector import Inspection, Inspector
from inspection.model import load as load_model
from inspection.runtime import choose_runtime
from settings import load
from settings.schema import CURRENT

Clock = Callable[[], float]
NAMES = ("decode", "judge", "draw", "file")
"""`judge` is inference and map; `file` is all of claim, read, sidecars, syncs, renames and log."""


class Stages:
    """A model and a line's folders, without a daemon.

    Args:
        line: Whose folders to work in; no daemon may run there.
    """

    def __init__(self, line: Line) -> None:
        settings = load(line.folder / "config.yaml")
        folders = Folders(settings.paths.line)
        folders.make()
        folders.look()
        self._inbox = settings.paths.inbox
        self._claims = Claims(folders)
        self._filing = Filing(folders)
        with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
            self._log = open_log(settings.logs, nowhere)
        folder = settings.paths.models / CURRENT
        model = load_model(folder, torch.device("cpu"))
        compiled = choose_runtime(settings.runtime, model, folder).compiled
        cam = settings.cam
        self._inspector = Inspector(model, cam.method, only_last_conv=cam.only_last_conv, compiled=compiled)
        self._clock: Clock = time.perf_counter
        self._spent: dict[str, float] = {}

    def work(self, images: Sequence[Path], clock: Clock) -> dict[str, float]:
        """Take images through all stages, together as one batch; returns what each stage took of the clock."""
        self._clock, self._spent = clock, dict.fromkeys(NAMES, 0.0)
        candidates = [self._drop(number, image) for number, image in enumerate(images)]
        with self._in("file"):
            begun = self._claims.begin(candidates)
            claims = [taken for claim in begun if (taken := self._claims.take(claim))]
            self._claims.settle(claims)
            files = [self._claims.read(claim, 2**30) for claim in claims]
        with self._in("decode"):
            decoded = [decode(data, max_pixels=10**8) for data in files]
        with self._in("judge"):
            found = [self._inspector.inspect([image.pixels])[0] for image in decoded]
        with self._in("draw"):
            drawn = [picture.draw(image.pixels, one) for image, one in zip(decoded, found, strict=True)]
        with self._in("file"):
            self._file(map(self._decision, claims, files, found, drawn))
        return self._spent

    @contextmanager
    def _in(self, stage: str) -> Iterator[None]:
        begun = self._clock()
        yield
        self._spent[stage] += self._clock() - begun

    def _drop(self, number: int, image: Path) -> Candidate:
        path = Path(shutil.copyfile(image, self._inbox / f"{time.monotonic_ns()}-{number}.png"))
        return Candidate(path, path.relative_to(self._inbox), settled=True, inode=path.stat().st_ino)

    def _decision(self, claim: Claim, data: bytes, found: Inspection, drawn: bytes) -> Decision:
        record: dict[str, Any] = {
            "file": str(claim.source),
            "verdict": found.verdict.label,
            "sha256": hashlib.sha256(data).hexdigest(),
            "model": self._inspector.model.card.model_id,
        }
        return Decision(claim, found.verdict.label, record, drawn)

    def _file(self, decisions: Iterable[Decision]) -> None:
        def alone(_: Claim) -> AbstractContextManager[None]:
            return nullcontext()

        published = self._filing.publish(self._filing.commit(list(decisions), alone), alone)
        with together(self._log):
            for decision in published:
                self._log.info("decision", **decision.told)
        for decision in published:
            self._claims.forget(decision.claim)


def cpu_seconds(line: Line, images: Sequence[Path], batch: int) -> dict[str, float]:
    """Processor time of each stage per file, with one thread, in batches."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        stages = Stages(line)
        batches = [images[at : at + batch] for at in range(0, len(images) - batch + 1, batch)]
        stages.work(batches[0], time.process_time)  # warms up
        spent = [stages.work(one, time.process_time) for one in batches]
    finally:
        torch.set_num_threads(threads)
    return {name: sum(one[name] for one in spent) / (batch * len(batches)) for name in NAMES}
