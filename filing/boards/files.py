"""The records of boards on disk: one file per board and run, changed in groups, by whoever holds the folder's lock.

`<board>.json` is the first run, `<board>~2.json` the second; with products they lie in a folder for each.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from filing import durable
from filing.boards.record import Board, Key, Note, moment
from filing.boards.revision import revised, subject
from filing.folders import Folders
from filing.logs import Log, together
from filing.names import shortened, utc
from inspection.files import readable
from settings import Settings

_LOCK = ".lock"
_LONGEST_ADDITION = len(".~99999.json.set-aside")
_UNSAFE = re.compile(r"^\.|[^\w .,;=+@#()\[\]-]|[ .]$")


class BoardFiles:
    """Writes the records of boards; several programs may do so at a time.

    Args:
        settings: The configuration, in which `boards.complete` says something.
        log: Told of each revision.
    """

    def __init__(self, settings: Settings, log: Log) -> None:
        if settings.boards.complete is None:
            raise AssertionError("boards are off")
        self._rules = settings.boards.complete
        self._again_after = timedelta(hours=settings.boards.again_after_h)
        self._folders = Folders({"boards": settings.paths.boards})
        self._log = log

    def revise(self, notes: Mapping[Key, Iterable[Note]], again: Collection[Key] = ()) -> list[Board]:
        """Bring what was heard into the records, durably.

        Args:
            notes: By board.
            again: Boards that are told of also if nothing of them changed: maybe nobody heard it the last time.

        Returns:
            The last run of each board that has one.

        Raises:
            OSError: Nothing may have been written; the same notes can be brought again.
            SolderwatchError: There is no folder to write to.
        """
        self._folders.make()
        self._folders.look()
        lasts: list[Board] = []
        with self._locked() as root, ExitStack() as stack:
            folders: dict[str | None, Path] = {None: root}
            files = stack.enter_context(durable.Unsynced())
            changed: list[tuple[Path, Board]] = []
            told: list[Board] = []
            for key, heard in notes.items():
                if key.product not in folders:
                    way = self._folders.beneath("boards", Path(_folder_name(key.product or "")), make=True)
                    folders[key.product] = stack.enter_context(way)
                runs = _Runs(folders[key.product], key, self._log)
                runs.take(heard, self._again_after)
                now = utc(datetime.now(UTC))
                for run in runs.all():
                    board = revised(run.board, key, run.number, run.notes, self._rules, now)
                    if board and board is not run.board:
                        changed.append((run.path, board))
                        files.write(_new(run.path), board.model_dump_json(indent=2).encode() + b"\n")
                    if board and (board is not run.board or key in again):
                        told.append(board)
                    if board and run is runs.last:
                        lasts.append(board)
            files.sync()
            for path, _ in changed:
                _new(path).replace(path)
            for folder in {path.parent for path, _ in changed}:
                os.fsync(int(folder.name))
            self._tell(told)
        return lasts

    def find(self, board: str) -> list[Key]:
        """The boards of all products that have a record and this serial number."""
        root = self._folders["boards"]
        name = f"{_stem(board)}.json"
        try:
            with os.scandir(root) as entries:
                folders = [root, *(Path(entry) for entry in entries if entry.is_dir(follow_symlinks=False))]
        except FileNotFoundError:
            return []
        found = (_read(folder / name) for folder in folders)
        return [record.key for record in found if record]

    def _tell(self, boards: Iterable[Board]) -> None:
        with together(self._log):
            for board in boards:
                self._log.info(
                    "board",
                    board=board.board,
                    product=board.product,
                    run=board.run,
                    revision=board.revision,
                    verdict=board.verdict,
                    reason=board.reason,
                    complete=board.complete and board.complete.by,
                    **board.counts.model_dump(),
                    record=str(record_path(board.key, board.run)),
                )

    @contextmanager
    def _locked(self) -> Iterator[Path]:
        """The folder of the boards, as long as nobody else changes anything in it."""
        with self._folders.beneath("boards") as root:
            descriptor = os.open(root / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                yield root
            finally:
                os.close(descriptor)


class _Run:
    """One run of a board: its record, and what is new of it."""

    def __init__(self, folder: Path, key: Key, number: int, log: Log) -> None:
        self.path = folder / record_path(key, number).name
        self.number = number
        self.notes: list[Note] = []
        self.board = _read(self.path, log)
        self.begun = moment(self.board.begun) if self.board else None
        self.ended = moment(self.board.ended) if self.board else None

    def add(self, note: Note) -> None:
        """Something is new of this run."""
        self.notes.append(note)
        if note.image:
            time = moment(note.image.time)
            self.begun = min(time, self.begun or time)
            self.ended = max(time, self.ended or time)

    def waits_for(self, note: Note) -> bool:
        """Whether an image like this one was put back into the inbox."""
        known = [(joint.joint, image) for joint in self.board.joints for image in joint.images] if self.board else []
        known += [(old.joint, old.image) for old in self.notes if old.image]
        return note.image is not None and any(
            image.outcome == "requeued" and subject(joint, image) == subject(note.joint, note.image)
            for joint, image in known
        )


class _Runs:
    """The runs of one board, the last first; earlier ones are read only when something is new of them."""

    def __init__(self, folder: Path, key: Key, log: Log) -> None:
        self._folder, self._key, self._log = folder, key, log
        number = 1
        while os.path.lexists(folder / record_path(key, number + 1).name):
            number += 1
        self.last = self._open(number)
        self._runs = {number: self.last}

    def all(self) -> list[_Run]:
        """Those that something is new of, and the last."""
        return list(self._runs.values())

    def take(self, notes: Iterable[Note], again_after: timedelta) -> None:
        """Give each note to its run; an image that comes so long after the last one begins the next."""
        # By time, so that it makes no difference in what order they were heard.
        for note in sorted(notes, key=lambda note: (note.image is None, note.image.time if note.image else "")):
            if note.image is None:
                self.last.add(note)
                continue
            time = moment(note.image.time)
            last = self.last
            if last.ended and time - last.ended > again_after and not last.waits_for(note):
                self.last = self._runs[last.number + 1] = self._open(last.number + 1)
            self._at(time, again_after).add(note)

    def _at(self, time: datetime, again_after: timedelta) -> _Run:
        """The run that was going on at a time."""
        for number in range(self.last.number, 1, -1):
            run = self._runs.get(number) or self._open(number)
            if run.begun is None or time >= run.begun - again_after:
                return self._runs.setdefault(number, run)
        return self._runs.setdefault(1, self._runs.get(1) or self._open(1))

    def _open(self, number: int) -> _Run:
        return _Run(self._folder, self._key, number, self._log)


def record_path(key: Key, run: int = 1) -> Path:
    """Where a board's record lies in `paths.boards`; safe for every serial number."""
    folder = Path(_folder_name(key.product)) if key.product is not None else Path()
    return folder / f"{_stem(key.board)}{f'~{run}' if run > 1 else ''}.json"


def _stem(board: str) -> str:
    return shortened(_safe(board), durable.NAME_MAX - _LONGEST_ADDITION)


def _folder_name(product: str) -> str:
    """Of a product; never that of a board's record."""
    name = shortened(_safe(product), durable.NAME_MAX - _LONGEST_ADDITION)
    return f"{name[:-5]}%2Ejson" if name.endswith(".json") else name


def _safe(text: str) -> str:
    """A name that no file system and no shell reads as anything else; `~` is ours."""
    return _UNSAFE.sub(lambda found: "".join(f"%{byte:02X}" for byte in os.fsencode(found[0])), text) or "%"


def _new(path: Path) -> Path:
    """The next revision, before it is one."""
    return path.with_name(f".{path.name}.new")


def _read(path: Path, log: Log | None = None) -> Board | None:
    """A record; None where there is none. One that is damaged is put aside, and told, where there is a log."""
    try:
        return Board.model_validate_json(path.read_bytes())
    except (FileNotFoundError, IsADirectoryError):
        return None
    except ValueError as error:
        if log:
            aside = path.with_name(f"{path.name}.set-aside")
            path.replace(aside)
            log.warning(
                "board_damaged",
                file=readable(path.name),
                error=str(error).splitlines()[0],
                set_aside=readable(aside.name),
            )
        return None
