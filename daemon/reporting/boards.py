"""Keeps account of boards: brings what was filed into their records, and sees when no more images are to come.

What is heard of a board is durable in the journal before its image is forgotten. From there it comes into the board's
record up to a second later, with all else that was heard of it, and in a backlog at a small share of the time. Trouble
with the records keeps no verdict waiting.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

from filing.boards import Board, BoardFiles, Complete, Journal, Key, Note, note_of
from filing.boards.record import moment
from filing.claim import Claim
from filing.decisions import Decision
from filing.folders import Folders
from filing.logs import Log
from filing.names import utc
from inspection.errors import SolderwatchError
from inspection.files import readable
from settings import Settings

_TOGETHER_S = 1.0
_RETRY_S = 5.0
_SHARE = 0.02
_REST_AT_MOST_S = 5.0  # a slow disk keeps no board waiting for long
_AT_ONCE = 32
_IN_MEMORY = 20_000


@dataclass
class _Heard:
    """What is not in a board's record yet; it is to be by a time of the clock."""

    due: float
    notes: list[Note] = field(default_factory=list)


class Boards:
    """The line's boards. All of this costs nothing where `boards.complete` is null.

    Args:
        settings: The configuration.
        folders: Of the line.
        log: Told of each revision of a record, and once of trouble.
        clock: Monotonic seconds.
    """

    def __init__(
        self, settings: Settings, folders: Folders, log: Log, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._settings, self._folders, self._log, self._clock = settings, folders, log, clock
        self._files = BoardFiles(settings, log) if settings.boards.complete else None
        self._journal = Journal(folders)
        self._heard: dict[Key, _Heard] = {}
        self._open: dict[Key, datetime] = {}
        """When the last image of each board was judged of which more are waited for."""
        self._behind = True
        """There may be more in the journal than in memory: an earlier run's, or too much of it."""
        self._failing = False
        self._rest_until = self._look_at = 0.0

    def filed(self, decisions: Sequence[Decision]) -> None:
        """Note durably what becomes of images; before they are forgotten, as only then it is never missed."""
        if self._files is None:
            return
        if notes := [note for decision in decisions if (note := note_of(decision.told))]:
            self._hear(notes)

    @property
    def due_s(self) -> float:
        """In how many seconds there is something to do."""
        if not self._heard:
            return float("inf")
        due = max(min(heard.due for heard in self._heard.values()), self._rest_until)
        return max(due - self._clock(), 0.0)

    def work(self, in_hand: Iterable[Claim], *, all_of_it: bool = False) -> None:
        """Bring what is due into the records, and see which boards are complete.

        Args:
            in_hand: All images that were taken out of the inbox and are not filed yet.
            all_of_it: Now, and not when it is due.
        """
        if self._files is None or (self._clock() < self._rest_until and not all_of_it):
            return
        started = self._clock()
        try:
            self._catch_up(self._files)
            if all_of_it or started >= self._look_at:
                self._look(self._files, in_hand)
                self._look_at = started + _TOGETHER_S
            while ready := self._ready(all_of_it=all_of_it):
                self._revise(self._files, ready)
                if not all_of_it:
                    break
            if self._journal.is_long or (all_of_it and not self._heard):
                self._shorten()
        except (OSError, SolderwatchError) as error:
            self._say_failing(error)
            self._rest_until = self._clock() + _RETRY_S
            return
        self._say_failing(None)
        spent = self._clock() - started
        self._rest_until = self._clock() + min(spent * (1 / _SHARE - 1), _REST_AT_MOST_S)

    def _hear(self, notes: Sequence[Note], within_s: float = _TOGETHER_S) -> None:
        self._journal.add(notes)
        if self._behind:
            return
        due = self._clock() + within_s
        for note in notes:
            heard = self._heard.setdefault(note.key, _Heard(due))
            heard.due = min(due, heard.due)
            heard.notes.append(note)
            if note.image:
                judged = moment(note.image.time)
                self._open[note.key] = max(judged, self._open.get(note.key, judged))
        if sum(len(heard.notes) for heard in self._heard.values()) > _IN_MEMORY:
            self._heard.clear()
            self._behind = True

    def _catch_up(self, files: BoardFiles) -> None:
        """Bring the whole journal into the records; after a crash maybe once more, and told of once more."""
        if not self._behind:
            return
        for notes in self._journal.read():
            by_board: dict[Key, list[Note]] = {}
            for note in notes:
                by_board.setdefault(note.key, []).append(note)
            boards = iter(by_board.items())
            while some := dict(islice(boards, _AT_ONCE)):
                self._remember(files.revise(some, again=some))
        self._behind = False
        self._shorten()

    def _ready(self, *, all_of_it: bool) -> dict[Key, list[Note]]:
        now = self._clock()
        due = (key for key, heard in self._heard.items() if all_of_it or heard.due <= now)
        return {key: self._heard[key].notes for key in islice(due, _AT_ONCE)}

    def _revise(self, files: BoardFiles, notes: dict[Key, list[Note]]) -> None:
        boards = files.revise(notes)
        for key in notes:
            del self._heard[key]
        self._remember(boards)

    def _remember(self, boards: Iterable[Board]) -> None:
        for board in boards:
            if board.complete:
                self._open.pop(board.key, None)
            else:
                self._open[board.key] = moment(board.ended)

    def _shorten(self) -> None:
        """Keep in the journal what is not in the records, and the names of open boards."""
        oldest = datetime.now(UTC) - timedelta(hours=self._settings.boards.again_after_h)
        self._open = {key: ended for key, ended in self._open.items() if ended > oldest}
        names = [Note(product=key.product, board=key.board) for key in self._open]
        self._journal.replace([*names, *(note for heard in self._heard.values() for note in heard.notes)])

    def _look(self, files: BoardFiles, in_hand: Iterable[Claim]) -> None:
        """See for which boards no more is to come; none of which an image is in the inbox, or in hand."""
        rules = self._settings.boards.complete
        if rules is None:
            return
        now = datetime.now(UTC)
        silent: dict[Key, Complete] = {}
        if rules.quiet_s is not None:
            quiet = timedelta(seconds=rules.quiet_s)
            ends = {key: ended + quiet for key, ended in self._open.items() if ended + quiet <= now}
            silent = {key: Complete(by="quiet", at=utc(end)) for key, end in ends.items()}
        # In this order: what was there before the marker is found by a look that begins after it was.
        markers = list(self._markers(rules.marker)) if rules.marker else []
        if not silent and not markers:
            return
        coming = set(self._arriving()) | {self._board_of(claim.source) for claim in in_hand}
        self._end({key: end for key, end in silent.items() if key.board not in coming})
        for path in markers:
            names = {readable(str(name)[: -len(rules.marker or "")]) for name in (path, path.name)}
            keys = {key for name in names - coming for key in (*files.find(name), *self._open) if key.board == name}
            if keys and not names & coming:
                self._end(dict.fromkeys(keys, Complete(by="marker", at=utc(now))))
                with self._folders.beneath("inbox", path.parent) as inbox:
                    (inbox / path.name).unlink(missing_ok=True)

    def _end(self, ends: dict[Key, Complete]) -> None:
        notes = [Note(product=key.product, board=key.board, complete=end) for key, end in ends.items()]
        if notes:
            self._hear(notes, within_s=0.0)
        for key in ends:
            self._open.pop(key, None)

    def _markers(self, ending: str) -> Iterator[Path]:
        return (path for path in self._names() if path.name.lower().endswith(ending.lower()))

    def _arriving(self) -> Iterator[str | None]:
        return (self._board_of(path) for path in self._names() if self._settings.inbox.admits(path.name))

    def _board_of(self, path: Path) -> str | None:
        """What the record of an image will call its board."""
        board = self._settings.names.units(path).board
        return None if board is None else readable(board)

    def _names(self) -> Iterator[Path]:
        """All files in the inbox by name; what vanishes meanwhile was taken, but an inbox that is away is not empty."""
        self._folders.look("inbox")
        with self._folders.beneath("inbox") as inbox:
            for folder, folders, names in os.walk(inbox, onerror=_unless_gone):
                folders[:] = [name for name in folders if not name.startswith(".")]
                for name in names:
                    if not name.startswith("."):
                        yield Path(folder, name).relative_to(inbox)

    def _say_failing(self, error: Exception | None) -> None:
        """Say once that boards get no records, and once that they do again."""
        if error and not self._failing:
            self._log.warning("boards_failed", error=readable(str(error)), retry_in_s=_RETRY_S)
        elif self._failing and not error:
            self._log.info("boards_recovered")
        self._failing = bool(error)


def _unless_gone(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error
