"""Keeps the ledger in step with the records, in a thread of its own: the daemon tells it of images and never waits.

Whatever happens to the ledger, it ends up equal to the records: at the start, every hour, and after trouble the folders
are compared with it, in the background and at a share of one processor; an unusable ledger is thrown away first.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import islice

from filing.folders import AwayError
from filing.ledger.records import Place
from filing.ledger.store import ReplacedError, Store, UnusableError, throw_away
from filing.ledger.sweep import Sweep, record_folders, update
from filing.logs import Log
from inspection.files import readable
from settings import Settings

_AT_ONCE = 256
_AT_MOST = 10_000
"""Images told and not put down yet; beyond that they are found by a sweep instead."""


@dataclass(frozen=True)
class Pace:
    """How hard the keeper works.

    Attributes:
        patience_s: How long it waits for another process that writes to the ledger.
        pause_s: Between two tries when there is trouble; twice as long after each, up to `pause_at_most_s`.
        pause_at_most_s: See `pause_s`; and so long at least between two rebuilds.
        look_s: How often it sees that the ledger is still there.
        sweep_s: How often folders are compared with the ledger.
        check_s: How often the whole ledger is read for damage.
        share: Of one processor's time, for sweeps.
    """

    patience_s: float = 5.0
    pause_s: float = 0.5
    pause_at_most_s: float = 60.0
    look_s: float = 2.0
    sweep_s: float = 3600.0
    check_s: float = 86400.0
    share: float = 0.2


class Keeper:
    """Puts down what the daemon files.

    Args:
        settings: The configuration.
        log: Told of trouble, once, and of what was caught up.
        pace: How hard it works.
    """

    def __init__(self, settings: Settings, log: Log, pace: Pace | None = None) -> None:
        self._path = settings.paths.ledger
        self._folders = record_folders(settings)
        self._log, self._pace = log, pace or Pace()
        self._news = threading.Condition()
        self._told: dict[Place, None] = {}
        self._putting = False
        self._closing = False
        self._store: Store | None = None
        self._unusable: str | None = None
        self._unwell = False
        self._pause_s = self._pace.pause_s
        self._sweep: Iterator[None] | None = None
        self._sweep_at = self._check_at = self._rest_until = self._rebuild_at = 0.0
        self._thread = threading.Thread(target=self._keep, name="ledger", daemon=True)
        self._thread.start()

    def tell(self, places: Iterable[Place]) -> None:
        """Images were filed, moved, relabelled or removed there; returns at once, whatever state the ledger is in."""
        with self._news:
            self._told.update(dict.fromkeys(places))
            if len(self._told) > _AT_MOST:
                self._told.clear()
                self._sweep_at = 0.0
            self._news.notify_all()

    def settled(self, patience_s: float) -> bool:
        """Wait until all that was told is put down and no sweep is due; returns whether that came true in time."""
        with self._news:
            return self._news.wait_for(self._is_settled, patience_s)

    def close(self, patience_s: float = 5.0) -> None:
        """Put down what was told, and end; what takes longer is caught up by the next keeper."""
        with self._news:
            self._closing = True
            self._news.notify_all()
        self._thread.join(patience_s)

    @property
    def in_step(self) -> bool:
        """Whether the ledger is in order and can be written to: then it lags behind by moments at most."""
        return not (self._unwell or self._unusable)

    def _is_settled(self) -> bool:
        busy = self._told or self._putting or self._sweep or self._unusable or self._unwell
        return not busy and self._sweep_at > time.monotonic()

    def _keep(self) -> None:
        while not self._closing:
            try:
                store = self._opened()
                store.see()
                if self._step(store):
                    self._recover()
            except ReplacedError:
                self._drop()
            except (sqlite3.Error, OSError) as error:
                self._stumble(error)
            except Exception as error:  # noqa: BLE001 - a damaged file may lead to anything; the records are there
                self._drop()
                self._unusable = str(error) if isinstance(error, UnusableError) else repr(error)
            with self._news:
                self._putting = False
                self._news.notify_all()
        self._end()

    def _opened(self) -> Store:
        if self._store is None:
            if self._unusable is not None:
                self._wait(self._rebuild_at - time.monotonic())
                throw_away(self._path)
                self._log.warning("ledger_rebuilding", file=readable(str(self._path)), why=self._unusable)
                self._rebuild_at = time.monotonic() + self._pace.pause_at_most_s
                self._unusable = None
            self._store = Store(self._path, self._pace.patience_s)
        return self._store

    def _step(self, store: Store) -> bool:
        """Put down what was told, or do a step of a sweep that is due; returns whether either came to an end."""
        if places := self._next():
            self._put(store, places)
            return True
        if self._sweep is None:
            if time.monotonic() < self._sweep_at:
                return False
            self._sweep = self._sweeping(store)
        started = time.monotonic()
        done = next(self._sweep, True)
        if done:
            self._sweep = None
        self._rest_until = time.monotonic() + (time.monotonic() - started) * (1 / self._pace.share - 1)
        return bool(done)

    def _next(self) -> list[Place]:
        """What was told; empty once it is time for something else."""
        now = time.monotonic()
        rest_s = self._rest_until - now if self._sweep else min(self._pace.look_s, self._sweep_at - now)
        with self._news:
            self._news.wait_for(lambda: self._told or self._closing, max(rest_s, 0.0))
            places = list(islice(self._told, _AT_ONCE))
            for place in places:
                del self._told[place]
            self._putting = bool(places)
        return places

    def _put(self, store: Store, places: list[Place]) -> None:
        try:
            try:
                update(store, self._folders, places)
            except AwayError:
                self._folders.look(*{outcome for outcome, _ in places})
                update(store, self._folders, places)
        except BaseException:
            with self._news:
                self._told = dict.fromkeys(places) | self._told
            raise

    def _sweeping(self, store: Store) -> Iterator[None]:
        started = time.monotonic()
        self._sweep_at = started + self._pace.sweep_s
        if started >= self._check_at:
            store.check()
            self._check_at = started + self._pace.check_s
            yield
        sweep = Sweep(store, self._folders, trusting=True)
        yield from sweep.steps()
        found = sweep.found
        if found.away:
            self._sweep_at = min(self._sweep_at, time.monotonic() + self._pace.pause_at_most_s)
        if found.changed or found.removed or found.unread or found.away:
            self._log.info("ledger_caught_up", **asdict(found), seconds=round(time.monotonic() - started, 1))

    def _stumble(self, error: Exception) -> None:
        """Try again later; what was being swept is swept anew."""
        if self._sweep:
            self._sweep = None
            self._sweep_at = 0.0
        if not self._unwell:
            self._unwell = True
            self._log.warning("ledger_failed", file=readable(str(self._path)), error=readable(str(error)))
        self._wait(self._pause_s)
        self._pause_s = min(2 * self._pause_s, self._pace.pause_at_most_s)

    def _recover(self) -> None:
        self._pause_s = self._pace.pause_s
        if self._unwell:
            self._unwell = False
            self._log.info("ledger_recovered", file=readable(str(self._path)))

    def _wait(self, seconds: float) -> None:
        with self._news:
            self._news.wait_for(lambda: self._closing, max(seconds, 0.0))

    def _drop(self) -> None:
        """Close the ledger; the next one is checked and swept first."""
        self._sweep = None
        self._sweep_at = self._check_at = 0.0
        if self._store:
            self._store.close()
            self._store = None

    def _end(self) -> None:
        """Put down what is left, if that goes well at once."""
        with suppress(ReplacedError, UnusableError, sqlite3.Error, OSError):
            while self._store and self._told:
                self._store.see()
                self._put(self._store, self._next())
        self._drop()


def tell(settings: Settings, places: Iterable[Place]) -> bool:
    """What `Keeper.tell` does, for who ends at once; returns whether the ledger could be told.

    If not, a sweep finds it: the daemon's next, or that of `solderwatch reindex`.
    """
    path = settings.paths.ledger
    places = list(places)
    folders = record_folders(settings)
    try:
        if not path.is_file():
            return False
        folders.look(*{outcome for outcome, _ in places})
        with Store(path, patience_s=1.0) as store:
            update(store, folders, places)
    except (UnusableError, sqlite3.Error, OSError):
        return False
    return True
