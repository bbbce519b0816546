"""The stages of one image alone, by the product's own functions, one after the other in this process."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from benchmarks.bench import Line
from daemon.filing import Claim, Filing
from daemon.folders import Folders
from daemon.inbox import Candidate
from daemon.logs import open_log
from inspection import picture
from inspection.image import decode
from inspection.inspector import Inspection, Inspector
from inspection.model import load as load_model
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
        self._filing = Filing(folders)
        with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
            self._log = open_log(settings.logs, nowhere)
        model = load_model(settings.paths.models / CURRENT, torch.device("cpu"))
        self._inspector = Inspector(model, settings.cam.method, only_last_conv=settings.cam.only_last_conv)
        self._clock: Clock = time.perf_counter
        self._spent: dict[str, float] = {}

    def work(self, images: Sequence[Path], clock: Clock) -> dict[str, float]:
        """Take images through all stages, together as one batch; returns what each stage took of the clock."""
        self._clock, self._spent = clock, dict.fromkeys(NAMES, 0.0)
        candidates = [self._drop(number, image) for number, image in enumerate(images)]
        with self._in("file"):
            claims = [taken for one in candidates if (taken := self._filing.take(self._filing.begin(one)))]
            files = [self._filing.read(claim, 2**30) for claim in claims]
        with self._in("decode"):
            decoded = [decode(data, max_pixels=10**8) for data in files]
        with self._in("judge"):
            found = self._inspector.inspect([image.pixels for image in decoded])
        with self._in("draw"):
            drawn = [picture.draw(image.pixels, one) for image, one in zip(decoded, found, strict=True)]
        with self._in("file"):
            for claim, data, one, picture_ in zip(claims, files, found, drawn, strict=True):
                self._file(claim, data, one, picture_)
        return self._spent

    @contextmanager
    def _in(self, stage: str) -> Iterator[None]:
        begun = self._clock()
        yield
        self._spent[stage] += self._clock() - begun

    def _drop(self, number: int, image: Path) -> Candidate:
        path = Path(shutil.copyfile(image, self._inbox / f"{time.monotonic_ns()}-{number}.png"))
        return Candidate(path, path.relative_to(self._inbox), settled=True, inode=path.stat().st_ino)

    def _file(self, claim: Claim, data: bytes, found: Inspection, drawn: bytes) -> None:
        record: dict[str, Any] = {
            "file": str(claim.source),
            "verdict": found.verdict.label,
            "sha256": hashlib.sha256(data).hexdigest(),
            "model": self._inspector.model.card.model_id,
        }
        self._filing.commit(claim, found.verdict.label, record, drawn)
        self._log.info("decision", **self._filing.publish(claim))
        self._filing.forget(claim)


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
