"""What people said of doubted labels: `labels.csv` in the data set, with a line for each image or part.

    file,answer,by,at,comment
    nio/PCBA2_r04c04_view0.png,confirmed,Ann,2026-03-02T07:14:05.120Z,
    PCBA2_r02c08,disputed

`file` is a path below the data set's folder, or a part as the training lists it, which means all its images. The first
two columns count; who said it, when and why is for people. The simulator writes a table of the same name, with another
heading: its rows say nothing here.
"""

from __future__ import annotations

import csv
import fcntl
import io
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Literal, get_args

from filing import durable
from inspection.errors import DatasetError
from inspection.files import readable, sync

NAME = "labels.csv"

Answer = Literal["confirmed", "changed", "disputed"]
"""The label is right; it is the other one; nobody can tell, so the image is in no part."""

ANSWERS: tuple[Answer, ...] = get_args(Answer)

_COLUMNS = ["file", "answer", "by", "at", "comment"]
_HEADINGS = [_COLUMNS[:2], ["file", "label"]]
_LOCK = ".labels.lock"


@dataclass(frozen=True)
class Said:
    """A line of the file."""

    file: str
    answer: Answer
    by: str = ""
    at: str = ""
    comment: str = ""


def line(*cells: str) -> str:
    """A line of the file, quoted where it must be, without its end."""
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(cells)
    return text.getvalue()


def read_answers(dataset: Path) -> dict[str, Answer]:
    """The answers by image or part; of several on the same the last one counts.

    Raises:
        DatasetError: A line is wrong.
    """
    return {said.file: said.answer for said in read_said(dataset)}


def read_said(dataset: Path) -> list[Said]:
    """All lines, the oldest first.

    Raises:
        DatasetError: A line is wrong.
    """
    path = dataset / NAME
    rows = list(_rows(path))
    return [_said(path, number, row) for number, row in _counting(rows)]


@contextmanager
def open_answers(dataset: Path) -> Iterator[Answers]:
    """Open the answers of a data set for writing, and keep other programs from it meanwhile, as a context.

    Raises:
        DatasetError: A line is wrong, or a link is where the file ought to be.
        OSError: Nothing can be written there.
    """
    descriptor = os.open(dataset / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield Answers(dataset)
    finally:
        os.close(descriptor)


class Answers:
    """The lines of a data set; each change is durable, whole or not at all; see `open_answers`.

    Args:
        dataset: The folder with io/ and nio/.
    """

    def __init__(self, dataset: Path) -> None:
        self._path = dataset / NAME
        if self._path.is_symlink():
            raise DatasetError(f"{self._path}: a link, which might lead anywhere: put the file itself there")
        rows = list(_rows(self._path))
        self._lines = [row for _, row in rows]
        self._said = [_said(self._path, number, row) for number, row in _counting(rows)]

    def last(self, file: str) -> Said | None:
        """What was said last of an image."""
        return next((said for said in reversed(self._said) if said.file == file), None)

    def add(self, said: Said) -> None:
        """One more line."""
        self._write([*(self._lines or [_COLUMNS]), list(astuple(said))])

    def remove_last(self, file: str) -> None:
        """Take the last line on an image out again."""
        lines = _counting(list(enumerate(self._lines)))
        last = max(number for number, row in lines if row[0].strip() == file)
        self._write([row for number, row in enumerate(self._lines) if number != last])

    def _write(self, lines: list[list[str]]) -> None:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(lines)
        new = self._path.with_name(f".{NAME}.new")
        durable.write(new, text.getvalue().encode("utf-8", "surrogateescape"))
        if self._path.exists():
            new.chmod(stat.S_IMODE(self._path.stat().st_mode))
        new.replace(self._path)
        sync(self._path.parent)


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The rows with the numbers of their lines; a name may hold what ends a line elsewhere.

    Raises:
        DatasetError: It is no table.
    """
    try:
        text = path.read_text(encoding="utf-8-sig", errors="surrogateescape")
    except FileNotFoundError:
        return
    rows = csv.reader(io.StringIO(text, newline=""), skipinitialspace=True)
    try:
        for row in rows:
            yield rows.line_num, row
    except csv.Error as error:
        raise DatasetError(f"{path}, line {rows.line_num}: {error}: is a quotation mark left open?") from None


def _counting(rows: Sequence[tuple[int, list[str]]]) -> Iterator[tuple[int, list[str]]]:
    """Those that are neither empty nor a heading, nor rows of a table of labels."""
    of_labels = bool(rows) and _starts(rows[0][1]) == _HEADINGS[1]
    for number, row in rows:
        empty = not any(cell.strip() for cell in row)
        if not empty and _starts(row) not in _HEADINGS and not (of_labels and _starts(row)[1:] in (["io"], ["nio"])):
            yield number, row


def _starts(row: Sequence[str]) -> list[str]:
    return [cell.strip().lower() for cell in row[:2]]


def _said(path: Path, number: int, row: list[str]) -> Said:
    answer = next((one for one in ANSWERS if len(row) > 1 and one == row[1].strip().lower()), None)
    if answer is None:
        said, known = readable(",".join(row)), ", ".join(ANSWERS)
        raise DatasetError(f"{path}, line {number}: {said!r} should be FILE,ANSWER, the answer one of {known}")
    return Said(row[0].strip(), answer, *row[2:5])
