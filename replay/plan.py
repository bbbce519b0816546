"""Which images are judged: a numbered list on the disk, made once, so that a replay can go on where it was."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path

import pyarrow as pa
from pyarrow import parquet

from filing.ledger import Ledger
from inspection.errors import SolderwatchError
from inspection.files import sync
from replay.archives import Archive, Folder
from replay.job import PLACES
from settings import Settings

_ROWS = 16_384
_JUDGED = ("io", "nio")
_LISTED = PLACES.remove(PLACES.get_field_index("sha256"))

Found = Iterator[tuple[int, str]]
"""Which of the archives an image lies in, and its path there."""


@dataclass(frozen=True)
class Query:
    """What is asked of the ledger.

    Attributes:
        product: Only of this one; None: of all.
        since: Judged from then on.
        until: Judged before then.
        board: Only on this one.
    """

    product: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    board: str | None = None


def listed(archives: Sequence[Archive], settings: Settings) -> Found:
    """All images in archives: what has an image's name, by `inbox.suffixes`.

    Raises:
        ConfigError: An archive is not there.
        SolderwatchError: Something in it cannot be read.
    """
    for number, archive in enumerate(archives):
        for path in archive.walk():
            if settings.inbox.admits(path.rpartition("/")[2]):
                yield number, path


def folders_of(settings: Settings) -> tuple[Archive, ...]:
    """Where the images lie that the ledger tells of."""
    return tuple(Folder(settings.paths.line[name]) for name in _JUDGED)


def asked(query: Query, settings: Settings) -> Found:
    """The images that the ledger knows of, in `folders_of`.

    Raises:
        LedgerError: There is none, or it cannot answer.
    """
    with Ledger(settings.paths.ledger) as ledger:
        if query.board is None:
            found = ledger.images(query.product, query.since, query.until)
        else:
            of_board = ledger.board(query.board, query.product, query.since)
            found = (image for image in of_board if query.until is None or image.time < query.until)
        for image in found:
            if image.outcome in _JUDGED:
                yield _JUDGED.index(image.outcome), str(image.path)


def write_plan(path: Path, places: Found) -> int:
    """Put the images down, numbered in their order; returns how many there are. Memory does not grow with them.

    Raises:
        SolderwatchError: There is none.
    """
    new = path.with_name(f"{path.name}.new")
    count = 0
    with parquet.ParquetWriter(new, _LISTED) as writer:
        while rows := list(islice(places, _ROWS)):
            numbers, paths = zip(*rows, strict=True)
            columns = [range(count, count + len(rows)), numbers, map(os.fsencode, paths)]
            arrays = [pa.array(column, field.type) for column, field in zip(columns, _LISTED, strict=True)]
            writer.write_table(pa.table(arrays, _LISTED))
            count += len(rows)
    if not count:
        new.unlink()
        raise SolderwatchError("no image there: look at the folders, at inbox.suffixes, or ask for more")
    sync(new)
    new.replace(path)
    sync(path.parent)
    return count


def count_of(path: Path) -> int:
    """How many images a plan has."""
    rows: int = parquet.read_metadata(path).num_rows
    return rows


def place_of(path: Path, number: int) -> tuple[int, str]:
    """Where one image of a plan is."""
    with parquet.ParquetFile(path) as file:
        group = file.read_row_group(number // _ROWS)
    return group["archive"][number % _ROWS].as_py(), os.fsdecode(group["path"][number % _ROWS].as_py())


def read_plan(path: Path) -> Iterator[pa.Table]:
    """The plan, in pieces; as `PLACES`, with nothing judged yet."""
    with parquet.ParquetFile(path) as file:
        for batch in file.iter_batches(_ROWS):
            table = pa.Table.from_batches([batch])
            yield table.append_column(PLACES.field("sha256"), pa.nulls(len(table), pa.binary(32)))
