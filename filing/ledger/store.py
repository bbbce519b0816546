"""The ledger's file as who writes it sees it: opened, checked, changed in transactions, thrown away when it is none."""

from __future__ import annotations

import errno
import os
import sqlite3
import stat
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple, Self

from filing.decisions import Outcome
from filing.ledger.records import OUTCOMES, Record
from filing.ledger.schema import APPLICATION, COLUMNS, TABLES, VERSION

SET_ASIDE = ".set-aside"
"""Added to the name of a file that is no ledger but lay in its place."""

_COMPANIONS = ("", "-wal", "-shm")
_WAL_BYTES = 64 * 2**20
_CACHE_KB = 16_384
_HOPELESS = {
    sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR, sqlite3.SQLITE_SCHEMA,
    sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_FORMAT,
    sqlite3.SQLITE_IOERR_READ, sqlite3.SQLITE_IOERR_SHORT_READ, sqlite3.SQLITE_IOERR_CORRUPTFS,
    sqlite3.SQLITE_READONLY_DBMOVED,
}  # fmt: skip

_PUT = f"""
INSERT INTO image (folder, name, ctime_ns, inode, outcome, {", ".join(COLUMNS)})
VALUES (?, ?, ?, ?, ?, {", ".join("?" * len(COLUMNS))}) RETURNING id
"""  # noqa: S608 - no value is in it


class UnusableError(Exception):
    """The file is no ledger of this version, or is damaged: to be thrown away and built anew."""


class ReplacedError(Exception):
    """Another ledger has the name of the one that is open."""


class Folder(NamedTuple):
    """A folder that the ledger knows."""

    id: int
    path: bytes
    mtime_ns: int | None


class Store:
    """The ledger's file, open for writing; made where there is none. Close it, or use it as a context.

    Whoever writes reads the record while it holds a transaction: then who changed the record last also writes last.

    Args:
        path: Of the file.
        patience_s: How long to wait for others that are writing.

    Raises:
        UnusableError: Also by all methods.
        sqlite3.Error: It cannot be read or written now; also by all methods.
        OSError: The same.
    """

    def __init__(self, path: Path, patience_s: float = 5.0) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):
            # SQLite would keep the group from writing, whatever the umask.
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666))
        if not os.access(path, os.W_OK, effective_ids=True):
            # SQLite would open it all the same, and give its companions the same mode, for good.
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        self._path = path
        self._database = sqlite3.connect(path, timeout=patience_s, isolation_level=None)
        try:
            self._prepare()
        except BaseException:
            self._database.close()
            raise
        self._seen = self._look()

    def _prepare(self) -> None:
        self._run("PRAGMA cell_size_check = ON")
        if self._is_empty():
            self._run("PRAGMA journal_mode = WAL")
            with self.transaction():
                # Another process may have been faster.
                if self._is_empty():
                    for statement in _statements(TABLES):
                        self._run(statement)
                    self._run(f"PRAGMA application_id = {APPLICATION}")
                    self._run(f"PRAGMA user_version = {VERSION}")
        if self._marks() != (APPLICATION, VERSION):
            raise UnusableError("it is of another version, or no ledger at all")
        self._run("PRAGMA journal_mode = WAL")
        # After a power cut the last transactions may be missing; they are caught up.
        self._run("PRAGMA synchronous = NORMAL")
        self._run(f"PRAGMA journal_size_limit = {_WAL_BYTES}")
        self._run(f"PRAGMA cache_size = -{_CACHE_KB}")

    def _is_empty(self) -> bool:
        return self._marks() == (0, 0) and not self._run("SELECT 1 FROM sqlite_schema LIMIT 1")

    def _marks(self) -> tuple[int, int]:
        return self._run("PRAGMA application_id")[0][0], self._run("PRAGMA user_version")[0][0]

    def _run(self, statement: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        return _run(self._database, statement, values)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """As a context: all changes in it or none."""
        self._run("BEGIN IMMEDIATE")
        try:
            yield
            self._run("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                self._database.execute("ROLLBACK")
            raise

    def see(self) -> None:
        """See that what is open is still the ledger.

        Raises:
            ReplacedError: Another one, with files of its own, has its name now.
            UnusableError: Part of it was deleted, replaced or cut off.
        """
        now = self._look()
        kept = [now.get(name, (0, 0, 0))[:2] == before[:2] for name, before in self._seen.items()]
        if "" in now and not any(kept):
            raise ReplacedError
        if not all(kept) or "" not in self._seen:
            # A journal beside a database that it does not belong to would be written into it.
            raise UnusableError("part of it was deleted or replaced")
        if now[""][2] < self._seen[""][2]:
            raise UnusableError("it was cut off")
        self._seen = now

    def _look(self) -> dict[str, tuple[int, int, int]]:
        # Never opened but by SQLite: to close another descriptor would give up its locks.
        found = ((name, _stat(f"{self._path}{name}")) for name in _COMPANIONS)
        return {name: (status.st_dev, status.st_ino, status.st_size) for name, status in found if status}

    def check(self) -> None:
        """Read the whole file, to see that it is in order; no other thread waits for it."""
        # Not this connection: it would believe the pages that it remembers.
        with closing(sqlite3.connect(self._path)) as database:
            ((found,),) = _run(database, "PRAGMA quick_check(1)")
        if found != "ok":
            raise UnusableError(found)

    @property
    def complete(self) -> bool:
        """Whether it was equal to the records once since it was made."""
        return bool(self._run("SELECT complete FROM state")[0][0])

    def completed(self) -> None:
        """From now on it is."""
        self._run("UPDATE state SET complete = 1")

    def folder(self, outcome: Outcome, path: bytes) -> int:
        """A folder's number; it is put down if it is new."""
        key = (OUTCOMES.index(outcome), path)
        found = self._run("SELECT id FROM folder WHERE outcome = ? AND path = ?", key) or self._run(
            "INSERT INTO folder (outcome, path) VALUES (?, ?) RETURNING id", key
        )
        return int(found[0][0])

    def next_folder(self, outcome: Outcome, after: bytes | None) -> Folder | None:
        """The first folder, or the one after another by path: those in a folder come after it."""
        found = self._run(
            "SELECT id, path, mtime_ns FROM folder WHERE outcome = ? AND path > ? ORDER BY path LIMIT 1",
            # Any text is less than any bytes.
            (OUTCOMES.index(outcome), "" if after is None else after),
        )
        return Folder(*found[0]) if found else None

    def compared(self, folder: int, mtime_ns: int | None) -> None:
        """Put down that a folder is equal to the records in it as long as its time is this; None: it may not be."""
        self._run("UPDATE folder SET mtime_ns = ? WHERE id = ?", (mtime_ns, folder))

    def forget_folder(self, folder: int) -> None:
        """Forget a folder, unless another process has put an image into it."""
        self._run("DELETE FROM folder WHERE id = ? AND NOT EXISTS (SELECT 1 FROM image WHERE folder = id)", (folder,))

    def names(self, folder: int, after: bytes, count: int) -> list[bytes]:
        """The images known in a folder, so many after a name."""
        query = "SELECT name FROM image WHERE folder = ? AND name > ? ORDER BY name LIMIT ?"
        return [name for (name,) in self._run(query, (folder, after, count))]

    def stamps(self, folder: int, names: Sequence[bytes]) -> dict[bytes, tuple[int, int]]:
        """Of images in a folder, as many as are known."""
        marks = ", ".join("?" * len(names))
        query = f"SELECT name, ctime_ns, inode FROM image WHERE folder = ? AND name IN ({marks})"  # noqa: S608
        return {name: (ctime_ns, inode) for name, ctime_ns, inode in self._run(query, (folder, *names))}

    def put(self, outcome: Outcome, folder: int, name: bytes, record: Record) -> None:
        """Put down what a record says, instead of what was known of that image."""
        self.remove(folder, name)
        key = (folder, name, *record.stamp, OUTCOMES.index(outcome))
        ((image,),) = self._run(_PUT, (*key, *record.facts))
        for word in record.words:
            words = (image, *word, record.facts.product, record.facts.joint)
            self._run("INSERT INTO word VALUES (?, ?, ?, ?, ?, ?)", words)

    def remove(self, folder: int, name: bytes) -> None:
        """Forget an image."""
        self._run("DELETE FROM image WHERE folder = ? AND name = ?", (folder, name))

    def close(self) -> None:
        """Close the file."""
        with suppress(sqlite3.Error):
            self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _run(database: sqlite3.Connection, statement: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
    """Run one statement; what no waiting mends is told from the rest."""
    try:
        return database.execute(statement, values).fetchall()
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT)
        if code in _HOPELESS or code & 0xFF in _HOPELESS:
            raise UnusableError(str(error)) from error
        raise


def throw_away(path: Path) -> None:
    """Remove a ledger; a file that never was one is only set aside, under another name."""
    found = _stat(str(path))
    if found and not stat.S_ISREG(found.st_mode):
        raise IsADirectoryError(f"{path}: no file: remove it, or name another ledger")
    ours = not found or _is_ours(path)
    for name in _COMPANIONS:
        with suppress(FileNotFoundError):
            if ours:
                os.unlink(f"{path}{name}")  # noqa: PTH108
            else:
                os.replace(f"{path}{name}", f"{path}{SET_ASIDE}{name}")  # noqa: PTH105


def _is_ours(path: Path) -> bool:
    """Whether the head of a file says so; an empty one is nobody's."""
    with path.open("rb") as file:
        head = file.read(72)
    return not head.strip(b"\0") or head[68:] == APPLICATION.to_bytes(4)


def _statements(script: str) -> Iterator[str]:
    """`executescript` would end the transaction that they are to be in."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def _stat(path: str) -> os.stat_result | None:
    try:
        return Path(path).stat()
    except FileNotFoundError:
        return None
