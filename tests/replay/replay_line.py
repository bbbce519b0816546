"""A replay in this process, without Ray, and what it put down."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import dataset, parquet

from replay.archives import Archive, Content, Folder, open_archive
from replay.job import Job, models_in
from replay.judging import Judge
from replay.out import Out
from replay.plan import listed
from replay.run import Done, Judges, replay
from settings import load

DEADLY = "deadly.png"


class DeadlyFolder(Folder):
    """A folder with an image in it that kills whoever reads it, as a fault in a decoder would."""

    def read(self, path: str, limit: int) -> Content:
        """Read, or die."""
        if path.endswith(DEADLY):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().read(path, limit)


class Replayed:
    """A replay in this process, and what it put down.

    Args:
        line: A folder with a configuration and a model.
        out: Where the replay goes.
    """

    def __init__(self, line: Path, out: Path) -> None:
        self.line = line
        self.out = Out(out)
        self.told: list[str] = []
        self.judged: list[int] = []
        """The numbers of places that were handed to judges."""

    def job(self, *archives: str | Path | Folder, **asked: Any) -> Job:
        """What is asked for, of the model in use."""
        settings = load(self.line / "config.yaml")
        opened: tuple[Archive, ...] = tuple(
            archive if isinstance(archive, Folder) else open_archive(str(archive)) for archive in archives
        )
        models = asked.pop("models", None) or models_in(settings.paths.models, settings, asked.get("only"), "--model")
        return Job(settings, opened, models, **({"against": {}, "only": None, "maps": "none", "device": "cpu"} | asked))

    def run(
        self, *archives: str | Path | Folder, resume: bool = False, judges: Judges | None = None, **asked: Any
    ) -> Done:
        """Replay archives."""
        job = self.job(*archives, **asked)
        self.out.begin({"archives": [str(archive) for archive in archives]}, resume=resume)
        images = partial(listed, job.archives, job.settings)
        return replay(self.out, job, images, judges or self.here, self.told.append)

    def here(self, job: Job, tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
        """Judges in this process."""
        judge = Judge(job)
        for table in tables:
            self.judged += [row["number"] for row in table.to_pylist() if row["sha256"] is None]
            yield judge(table)

    def rows(self) -> list[dict[str, Any]]:
        """The results, by path."""
        table = dataset.dataset(self.out.results, partitioning="hive").to_table()
        return sorted(table.to_pylist(), key=lambda row: str(row["path"]))

    def unread(self) -> dict[str, str]:
        """Path and reason of each image that could not be judged."""
        return {row["path"]: row["reason"] for row in parquet.read_table(self.out.unread).to_pylist()}
