"""The journal in work: what was heard of boards and is not in their records yet, and which boards are open.

A note is durable here before its image is forgotten, so that whatever dies, it reaches its board.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from filing import durable
from filing.boards.record import Note
from filing.folders import Folders
from inspection.files import sync

NAME = ".boards.jsonl"
_SMALL = 2**18
_AT_ONCE = 5000


class Journal:
    """Notes, one a line.

    Args:
        folders: `work` among them.
    """

    def __init__(self, folders: Folders) -> None:
        self._folders = folders
        self._size = 0
        self._grown = _SMALL

    @property
    def is_long(self) -> bool:
        """Whether it is time to replace it: so that it costs nothing to speak of, it has to have doubled."""
        return self._size > self._grown

    def add(self, notes: Iterable[Note]) -> None:
        """Put notes down, durably."""
        lines = "\n".join(note.model_dump_json() for note in notes)
        with self._folders.beneath("work") as work:
            descriptor = os.open(work / NAME, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
            try:
                is_new = os.fstat(descriptor).st_size == 0
                durable.append_line(descriptor, lines)
                os.fdatasync(descriptor)
                self._size = os.fstat(descriptor).st_size
            finally:
                os.close(descriptor)
            if is_new:
                sync(work)

    def read(self) -> Iterator[list[Note]]:
        """All notes, some thousand at a time; a line that a crash has cut off was never heard."""
        with self._folders.beneath("work") as work:
            try:
                file = (work / NAME).open("rb")
            except FileNotFoundError:
                return
        with file:
            while lines := list(islice(file, _AT_ONCE)):
                yield [note for line in lines if (note := _parsed(line))]

    def replace(self, notes: Sequence[Note]) -> None:
        """Keep no more than these."""
        data = b"".join(note.model_dump_json().encode() + b"\n" for note in notes)
        with self._folders.beneath("work") as work:
            path = work / NAME
            new = path.with_name(f"{NAME}.new")
            durable.write(new, data)
            new.replace(path)
            sync(work)
        self._size = len(data)
        self._grown = max(_SMALL, 2 * len(data))


def _parsed(line: bytes) -> Note | None:
    try:
        return Note.model_validate_json(line)
    except ValueError:
        return None
