"""The line: joins inbox, model and filing in one loop. Data flows one way: inbox, image, verdict, folder."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress

from daemon.intake.inbox import Candidate, Inbox
from daemon.intake.survey import PassedOverLog
from daemon.intake.trouble import Trouble
from daemon.intake.turns import Turns
from daemon.intake.watch import Watch
from daemon.judging.models import Models, Product
from daemon.pipeline import GROUP, Pipeline
from daemon.reporting.boards import Boards
from daemon.reporting.drifts import Drifts
from daemon.reporting.tally import Tally
from filing.disk import Retention, check_room
from filing.folders import AwayError, Folders
from filing.ledger import Place
from filing.logs import Log
from inspection.errors import SolderwatchError
from inspection.files import readable
from settings import Settings

_TICK_S = 1.0
_SCANS_IN_A_ROW = 20
_RETENTION_S, _RETENTION_IN_TROUBLE_S = 0.05, 1.0


class Line:
    """Judges what is in the inbox, until told to stop.

    Args:
        settings: The configuration.
        folders: The five that it names.
        models: Who judges.
        log: Where decisions and troubles are told.
        stop: Set to end the loop after what is in hand.
        wake: Set to look at the inbox at once.
        tally: Counts what was done.
        drifts: Watch what was found.
        tell: Called with places in io, nio and quarantine where images appeared or are gone.
        beat: Called while the loop is alive, with the state in a few words, and whether the inbox can be looked at.
        beat_s: At least so often.
    """

    def __init__(
        self,
        settings: Settings,
        folders: Folders,
        models: Models,
        log: Log,
        *,
        stop: threading.Event,
        wake: threading.Event,
        tally: Tally,
        drifts: Drifts,
        tell: Callable[[Iterable[Place]], None],
        beat: Callable[[str, bool], None],
        beat_s: float = 20.0,
    ) -> None:
        self._settings = settings
        self._folders = folders
        self._models = models
        self._log = log
        self._stop, self._wake, self._beat, self._beat_s = stop, wake, beat, beat_s
        self._watch = Watch(settings.paths.inbox, self._ring)
        self.inbox = Inbox(self._folders, settings.inbox, go_on=self._goes_on, visit=self._watch.cover)
        self._no_events: str | None = "not armed yet"
        self._away: str | None = None
        self._unreadable: frozenset[str] = frozenset()
        self._passed_over = PassedOverLog(log, settings.inbox.quiet_s)
        self._turns = Turns(settings.product_of, GROUP)
        self._left = 0
        """Images that the last look at the inbox left where they are."""
        self._to_recover: bool | None = None
        self._trouble = Trouble(log)
        self._retention = Retention(self._folders, settings.disk, log, tell)
        self._boards = Boards(settings, folders, log)
        self._pipeline = Pipeline(
            settings,
            folders,
            self.inbox,
            models,
            log,
            trouble=self._trouble,
            tally=tally,
            drifts=drifts,
            tell=tell,
            boards=self._boards,
            stop=stop,
            alive=self._tick,
        )
        self._last_beat = 0.0

    def recover(self, *, interrupted: bool) -> None:
        """Take what an earlier run left back in hand, and file what it had decided; if work is away, later.

        Args:
            interrupted: The earlier run died, maybe of one of these images.
        """
        self._to_recover = interrupted
        self._guarded(self._recover)

    def _recover(self) -> bool:
        self._folders.look("work", "io", "nio", "quarantine")
        # Without an inbox, what is in work can still be judged and filed.
        with suppress(AwayError):
            self.inbox.look()
        if self._to_recover is None:
            return True
        self._pipeline.recover(interrupted=self._to_recover)
        self._to_recover = None
        for claim in self._pipeline.waiting():
            if claim.decided:
                self._pipeline.process(claim)
        return True

    @property
    def recovered(self) -> bool:
        """Whether all that an earlier run left is in hand."""
        return self._to_recover is None

    @property
    def has_uncounted(self) -> bool:
        """Whether an image that a process may have died of is in hand, and that is not written down yet."""
        return bool(self._to_recover) or any(claim.interrupted for claim in self._pipeline.waiting())

    def run(self, *, once: bool = False) -> None:
        """Judge until `stop` is set; with `once`, until the inbox is empty.

        Raises:
            SolderwatchError: With `once`, images are left that could not be taken.
        """
        self._tell()
        try:
            while not self._stop.is_set():
                self._wake.clear()
                idle = self._guarded(self._look_around)
                self._tell()
                if once and idle:
                    self._passed_over.tell(self.inbox.passed_over.report(), at_once=True)
                    if left := self._left + len(self._unreadable) + self._pipeline.without_model:
                        raise SolderwatchError(
                            f"{left} files could not be taken out of the inbox, or judged; the log says why"
                        )
                    return
                self._pause()
        finally:
            self._watch.stop()
            self._pipeline.close()
            if self.recovered:
                self._boards.work(self._pipeline.waiting(), all_of_it=True)

    def _guarded(self, work: Callable[[], bool]) -> bool:
        """Do something that everyone's trouble may interrupt; False if it did."""
        try:
            return work()
        except AwayError as error:
            self._say_away(error)
        except OSError as error:
            self._trouble.of_all(error, len(self._pipeline.waiting()))
        return False

    def _look_around(self) -> bool:
        """Look at the inbox once and judge all that is ready; True when nothing is left to wait for."""
        self._recover()
        self._boards.work(self._pipeline.waiting())
        self._models.refresh()
        for claim in self._pipeline.waiting():
            if self._stop.is_set():
                return False
            if not self._trouble.rests(claim.folder):
                self._pipeline.process(claim)
                self._tick()
        self.inbox.look()
        self._say_away(None)
        self._keep_watch()
        self._retention.work(_RETENTION_S)
        if not (self._settings.products or self._models.loaded):
            return False
        with self._pipeline.flowing():
            for product, group in self._arriving():
                check_room(self._folders, self._settings.disk)
                self._left += self._pipeline.put(product, group)
                self._boards.work(self._pipeline.waiting())
                self._tick()
                self._retention.work(_RETENTION_S)
                if self._stop.is_set():
                    return False
        self._say_unreadable()
        self._passed_over.tell(self.inbox.passed_over.report())
        self._trouble.over()
        in_hand = len(self._pipeline.waiting()) - self._pipeline.without_model
        return not in_hand and self.inbox.waiting == 0 and not self._turns.left

    def _arriving(self) -> Iterator[tuple[Product, list[Candidate]]]:
        """What is in the inbox, a group at a time, and what comes while they are judged; a lone image is a group."""
        for _ in range(_SCANS_IN_A_ROW):
            if self._settings.products:
                yield from self._in_turns()
            else:
                self._wake.clear()
                self._left = 0
                candidates = self.inbox.scan()
                while group := list(itertools.islice(candidates, GROUP)):
                    yield None, group
            self._pipeline.file_judged()
            while self._pipeline.busy and not self._wake.is_set():
                self._pipeline.news.wait()
                self._tick()
                self._pipeline.file_judged()
            if self._stop.is_set() or not self._wake.is_set():
                return

    def _in_turns(self) -> Iterator[tuple[Product, list[Candidate]]]:
        """What is in the inbox, in groups of one product each; what comes meanwhile has its turn as well."""
        self._sort()
        for product, group in self._turns.groups():
            yield product, [candidate for candidate in group if self.inbox.is_unchanged(candidate)]
            if self._turns.is_old:
                self._sort()

    def _sort(self) -> None:
        """Look at the whole inbox, and say once of which products there is no model."""
        self._wake.clear()
        self._turns.look(self.inbox.scan(), self._models.there)
        self._left = self._turns.without.total()
        for product in self._turns.without:
            self._models.of(product)

    def _ring(self) -> None:
        self._wake.set()
        self._pipeline.news.set()

    def _keep_watch(self) -> None:
        """Arm the watch, and say once when events stop or return."""
        trouble = self._watch.ensure()
        if trouble == self._no_events:
            return
        if trouble:
            self._log.warning("no_events", error=trouble, scan_s=self._settings.inbox.scan_s)
        else:
            leases = self._folders.leases("inbox")
            self._log.info("watching", inbox=readable(str(self._settings.paths.inbox)), leases=leases)
        self._no_events = trouble

    def _say_away(self, error: AwayError | None) -> None:
        """Say once that a folder is away, and that all are back."""
        away = readable(f"{error.filename}: {error.strerror}") if error else None
        if away and away != self._away:
            self._log.error(
                "away", error=away, retry_in_s=self._settings.inbox.scan_s, in_hand=len(self._pipeline.waiting())
            )
        elif self._away and not away:
            self._log.info("back")
        if away:
            self._trouble.filed()
        self._away = away

    def _say_unreadable(self) -> None:
        """Say once what in the inbox cannot be looked at."""
        for error in sorted(self.inbox.unreadable - self._unreadable):
            self._log.warning("unreadable", error=error)
        self._unreadable = frozenset(self.inbox.unreadable)

    def _pause(self) -> None:
        """Wait for an event, the next scan, or the end of the trouble; with a beat now and then."""
        limits = self._settings.inbox
        seconds = min(limits.scan_s, limits.quiet_s / 2) if self.inbox.waiting else limits.scan_s
        seconds = min(seconds, self._boards.due_s)
        # In trouble, events must not turn the pause into a busy loop.
        backoff_s = self._trouble.backoff_s or (limits.scan_s if self._away else 0.0)
        signal, seconds = (self._stop, backoff_s) if backoff_s else (self._wake, seconds)
        end = time.monotonic() + seconds
        # A signal to stop may have woken the line just before it cleared `wake`.
        while not self._stop.is_set() and (left := end - time.monotonic()) > 0:
            if signal.wait(min(left, self._beat_s)):
                return
            self._tell()
            if self._trouble.backoff_s:
                self._retention.work(_RETENTION_IN_TROUBLE_S)
            if not (backoff_s or self._no_events or self._watch.is_armed()):
                return

    def _tick(self) -> None:
        """A sign of life amid long work."""
        if time.monotonic() - self._last_beat >= _TICK_S:
            self._tell()

    def _goes_on(self) -> bool:
        """Whether a long scan is to go on; it is alive meanwhile."""
        self._tick()
        return not self._stop.is_set()

    def _tell(self) -> None:
        self._last_beat = time.monotonic()
        self._beat(self._state(), self.inbox.sees)

    def _state(self) -> str:
        if self._away:
            return f"away: {self._away}"
        if self._trouble.backoff_s:
            return "trouble, retrying"
        return "watching" if self._models.there else "no model yet: run solderwatch-train"
