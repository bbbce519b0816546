"""What is judged already, and at the end the results by product and day: memory does not grow with their number.

Of an image that has several results, as after its file was changed, the last one counts.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import compute, dataset, parquet

from inspection.errors import SolderwatchError
from inspection.files import sync
from replay.job import PLACES, RESULTS
from replay.out import PARTITIONING, DamagedError, Out

_PARTITIONS = 1_000_000
_ROW_GROUP = 512
_DIGEST = 32


class Known:
    """The SHA-256 of each image whose verdict stands, by its number; in a file that nobody sees.

    Args:
        out: The replay.
        count: Images in its plan.
        models: The ids of the models that judge, and of those that are compared: other models' verdicts do not count.
    """

    def __init__(self, out: Out, count: int, models: tuple[frozenset[str], frozenset[str]]) -> None:
        self.damaged: list[str] = []
        """Files that could not be read; what was in them is judged again."""
        with tempfile.TemporaryFile(dir=out.folder) as file:
            self._digests = np.memmap(file, np.uint8, "w+", shape=(count, _DIGEST))
        self._is_known = np.zeros(count, bool)
        for path in out.files():
            try:
                for batch in out.read(path, ["number", "sha256", "verdict", "model", "against_model"]):
                    self._note(batch, *models)
            except DamagedError as error:
                self.damaged.append(str(error))
                out.set_aside(path)

    def _note(self, batch: pa.RecordBatch, models: frozenset[str], against: frozenset[str]) -> None:
        ours = compute.is_in(batch["model"], pa.array(models, pa.string()))
        if against:
            ours = compute.and_(ours, compute.is_in(batch["against_model"], pa.array(against, pa.string())))
        stands = compute.and_(compute.is_valid(batch["verdict"]), ours)
        numbers = batch["number"].to_numpy()
        self._is_known[numbers] = stands.to_numpy(zero_copy_only=False)
        known = batch.filter(stands)
        if len(known):
            digests = np.frombuffer(bytes.fromhex("".join(known["sha256"].to_pylist())), np.uint8)
            self._digests[known["number"].to_numpy()] = digests.reshape(-1, _DIGEST)

    def __len__(self) -> int:
        return int(self._is_known.sum())

    def fill(self, places: pa.Table) -> pa.Table:
        """Places, with the SHA-256 of those whose verdict stands."""
        numbers = places["number"].to_numpy()
        digests = [
            digest.tobytes() if known else None
            for digest, known in zip(self._digests[numbers], self._is_known[numbers], strict=True)
        ]
        column = PLACES.get_field_index("sha256")
        return places.set_column(column, PLACES.field(column), pa.array(digests, pa.binary(_DIGEST)))


def lay_out(out: Out, count: int) -> tuple[int, int]:
    """Lay the results out by product and day, and list what could not be judged.

    Args:
        out: The replay.
        count: Images in the plan.

    Returns:
        How many images were judged, and how many could not be.

    Raises:
        SolderwatchError: A file with results is damaged, or images have none.
    """
    files = out.files()
    last = _last_file_of_each(out, files, count)
    if missing := int((last < 0).sum()):
        raise SolderwatchError(f"{out.folder}: {missing:,} images have no result: --resume judges them")
    new, new_unread = out.folder / "results.new", out.folder / "unread.new"
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir()
    with parquet.ParquetWriter(new_unread, RESULTS) as unread:
        split = _Split(unread)
        dataset.write_dataset(
            dataset.Scanner.from_batches(split.judged(_counting(out, files, last)), schema=RESULTS, use_threads=False),
            new,
            format="parquet",
            partitioning=PARTITIONING,
            max_partitions=_PARTITIONS,
            min_rows_per_group=_ROW_GROUP,
            use_threads=False,
        )
    for path in (*new.rglob("*"), new, new_unread):
        sync(path)
    new_unread.replace(out.unread)
    if out.results.exists():
        out.results.rename(out.old)
    new.rename(out.results)
    sync(out.folder)
    shutil.rmtree(out.parts)
    shutil.rmtree(out.old, ignore_errors=True)
    return split.good, split.bad


class _Split:
    """Puts images that could not be judged aside, and counts both kinds."""

    def __init__(self, unread: parquet.ParquetWriter) -> None:
        self._unread = unread
        self.good = self.bad = 0

    def judged(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Those that were judged."""
        for batch in batches:
            is_judged = compute.is_valid(batch["verdict"])
            good, bad = batch.filter(is_judged), batch.filter(compute.invert(is_judged))
            self.good, self.bad = self.good + len(good), self.bad + len(bad)
            if len(bad):
                self._unread.write_batch(bad)
            yield good


def _last_file_of_each(out: Out, files: Sequence[Path], count: int) -> NDArray[np.int32]:
    """Which of the files has the result of each image that counts; -1: none."""
    last = np.full(count, -1, np.int32)
    for index, path in enumerate(files):
        for batch in out.read(path, ["number"]):
            last[batch["number"].to_numpy()] = index
    return last


def _counting(out: Out, files: Sequence[Path], last: NDArray[np.int32]) -> Iterator[pa.RecordBatch]:
    """Results that count."""
    for index, path in enumerate(files):
        for batch in out.read(path):
            yield batch.filter(pa.array(last[batch["number"].to_numpy()] == index))
