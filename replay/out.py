"""What a replay puts down, part by part: each part appears whole and durable, and none is ever changed.

While it runs, results lie in `parts/` as they came; at the end `replay.layout` brings them into `results/`.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import compute, dataset, parquet

from filing.durable import put, write_json
from inspection.errors import ConfigError, SolderwatchError, in_one_line
from replay.job import RESULTS

PARTITIONING = dataset.HivePartitioning(pa.schema([("product", pa.string()), ("day", pa.date32())]), None, "none")

_ROWS = 16_384
_PICTURES = {"map": "png", "against_map": "against.png"}


class DamagedError(SolderwatchError):
    """A file of results cannot be read."""


class Out:
    """The folder that a replay writes; it holds nothing else.

    Args:
        folder: Made if it is not there.

    Attributes:
        plan: The numbered list of images.
        results: Those that were judged, by product and day.
        old: The same of the run before, while they are being replaced.
        parts: Results as they came.
        unread: The images that could not be judged, with the reasons.
        maps: Pictures, by the SHA-256 of their images.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.plan = folder / "plan.parquet"
        self.results = folder / "results"
        self.old = folder / "results.old"
        self.parts = folder / "parts"
        self.unread = folder / "unread.parquet"
        self.maps = folder / "maps"

    def begin(self, asked: dict[str, Any], *, resume: bool) -> None:
        """Begin a replay here, or go on with the one that was begun.

        Args:
            asked: Which images; the models may be others.
            resume: Whether to go on.

        Raises:
            ConfigError: Something else lies there, or a replay that is not to be gone on with, or of other images.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        note = self.folder / "replay.json"
        if note.exists():
            if not resume:
                raise ConfigError(f"--out: {self.folder}: holds a replay: go on with --resume, or name another folder")
            before = json.loads(note.read_bytes())
            if differs := [key for key in asked if before.get(key) != asked[key]]:
                raise ConfigError(
                    f"--out: {self.folder}: holds a replay of other images ({', '.join(differs)}): name another folder"
                )
        elif any(self.folder.iterdir()):
            raise ConfigError(f"--out: {self.folder}: is not empty, and holds no replay: name another folder")
        else:
            write_json(note, asked)
        self.parts.mkdir(exist_ok=True)
        if self.old.exists() and not self.results.exists():
            self.old.rename(self.results)
        shutil.rmtree(self.old, ignore_errors=True)

    def files(self) -> list[Path]:
        """All files with results; those that count more come later."""
        return [*sorted(self.results.rglob("*.parquet")), *sorted(self.parts.glob("*.parquet"))]

    def read(self, path: Path, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """The results in one of the files, in pieces.

        Raises:
            DamagedError: It cannot be read.
        """
        try:
            one = dataset.dataset(
                str(path), RESULTS, "parquet", partitioning=PARTITIONING, partition_base_dir=str(self.results)
            )
            yield from one.to_batches(columns=columns, batch_size=_ROWS, use_threads=False)
        except (pa.ArrowException, OSError) as error:
            raise DamagedError(f"{path}: damaged: {in_one_line(error)}; --resume judges anew what was in it") from None

    def everything(self) -> Iterator[pa.RecordBatch]:
        """All results that were laid out, in pieces."""
        for path in self.files():
            yield from self.read(path)

    def set_aside(self, path: Path) -> None:
        """Let a damaged file be none of the results any more."""
        path.rename(path.with_name(f"{path.name}.damaged"))

    def add(self, tables: Sequence[pa.Table]) -> None:
        """Let a part appear."""
        if not sum(map(len, tables)):
            return
        taken = [int(path.name.partition(".")[0]) for path in self.parts.iterdir() if path.name[0].isdigit()]
        sink = pa.BufferOutputStream()
        parquet.write_table(pa.concat_tables(tables).select(RESULTS.names), sink)
        put(self.parts / f"{max(taken, default=-1) + 1:08d}.parquet", sink.getvalue())

    def draw(self, table: pa.Table) -> None:
        """Put down the pictures that came with results."""
        for column, suffix in _PICTURES.items():
            for row in table.filter(compute.is_valid(table[column])).select(["sha256", column]).to_pylist():
                path = self.picture(row["sha256"], suffix)
                path.parent.mkdir(parents=True, exist_ok=True)
                new = path.with_name(f"{path.name}.new")
                new.write_bytes(row[column])
                new.replace(path)

    def picture(self, sha256: str, suffix: str = "png") -> Path:
        """Where the map over an image lies."""
        return self.maps / sha256[:2] / f"{sha256}.{suffix}"
