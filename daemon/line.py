"""The line: joins inbox, model and filing in one loop. Data flows one way: inbox, image, verdict, folder."""

from __future__ import annotations

import errno
import hashlib
import itertools
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from daemon.current_model import CurrentModel
from daemon.disk import Retention, check_room
from daemon.drift import DriftWatch
from daemon.filing import Claim, Filing, GoneError, UnfinishedError, utc
from daemon.folders import AwayError, Folders
from daemon.inbox import Candidate, Inbox, Watch
from daemon.logs import Log
from daemon.metrics import Metrics
from daemon.trouble import Trouble
from inspection import picture
from inspection.errors import ImageError, SolderwatchError
from inspection.files import readable
from inspection.image import GreyImage, decode
from inspection.inspector import Inspection, Inspector
from settings import Settings

_TICK_S = 1.0
_RETENTION_S, _RETENTION_IN_TROUBLE_S = 0.05, 1.0
_GOOD_BATCHES = 20


@dataclass
class Tally:
    """What this run of the daemon did."""

    metrics: Metrics = field(default_factory=Metrics)
    counts: dict[str, int] = field(default_factory=lambda: {"io": 0, "nio": 0, "quarantine": 0})
    last: dict[str, Any] | None = None
    times: deque[float] = field(default_factory=lambda: deque(maxlen=100_000))

    def add(self, record: dict[str, Any]) -> None:
        """Count one image that was filed."""
        self.counts[record["outcome"]] += 1
        self.last = {key: record[key] for key in ("time", "file", "outcome", "filed_as")}
        self.times.append(time.monotonic())
        self.metrics.filed(record)

    def per_minute(self, window_s: float = 300.0) -> float:
        """Images filed per minute, over the last few minutes."""
        now = time.monotonic()
        recent = [moment for moment in self.times if now - moment < window_s]
        return 60.0 * len(recent) / max(now - recent[0], 1.0) if recent else 0.0


@dataclass
class _InHand:
    """An image that was read, on its way to a verdict."""

    claim: Claim
    image: GreyImage
    sha256: str
    size: int
    decode_ms: float


class Line:
    """Judges what is in the inbox, until told to stop.

    Args:
        settings: The configuration.
        folders: The five that it names.
        model: Who judges.
        log: Where decisions and troubles are told.
        stop: Set to end the loop after what is in hand.
        wake: Set to look at the inbox at once.
        tally: Counts what was done.
        drift: Watches what was found.
        beat: Called while the loop is alive, with the state in a few words, and whether the inbox can be looked at.
        beat_s: At least so often.
    """

    def __init__(
        self,
        settings: Settings,
        folders: Folders,
        model: CurrentModel,
        log: Log,
        *,
        stop: threading.Event,
        wake: threading.Event,
        tally: Tally,
        drift: DriftWatch,
        beat: Callable[[str, bool], None],
        beat_s: float = 20.0,
    ) -> None:
        self._settings = settings
        self._folders = folders
        self._model = model
        self._log = log
        self._stop, self._wake, self._tally, self._beat, self._beat_s = stop, wake, tally, beat, beat_s
        self._drift = drift
        self._filing = Filing(self._folders)
        self.inbox = Inbox(self._folders, settings.inbox, go_on=self._goes_on)
        self._watch = Watch(settings.paths.inbox, wake)
        self._no_events: str | None = "not armed yet"
        self._away: str | None = None
        self._unreadable: frozenset[str] = frozenset()
        self._passed_over = 0
        """Files that the last look at the inbox left where they are."""
        self._to_recover: bool | None = None
        self._trouble = Trouble(log)
        self._retention = Retention(self._folders, settings.disk, log)
        self._in_hand: dict[Path, Claim] = {}
        """Everything claimed and not yet filed, by its folder in work/."""
        self._batch_size = settings.judge.batch_size
        self._good_batches = 0
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
        for claim in self._filing.recover(interrupted=self._to_recover):
            name = readable(str(claim.source))
            self._log.info("recovered", file=name, attempts=claim.attempts, decided=claim.decided)
            self._in_hand[claim.folder] = claim
        self._to_recover = None
        for claim in list(self._in_hand.values()):
            if claim.decided:
                self._process([claim])
        return True

    @property
    def recovered(self) -> bool:
        """Whether all that an earlier run left is in hand."""
        return self._to_recover is None

    @property
    def has_uncounted(self) -> bool:
        """Whether an image that a process may have died of is in hand, and that is not written down yet."""
        return bool(self._to_recover) or any(claim.interrupted for claim in self._in_hand.values())

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
                    if left := self._passed_over + len(self._unreadable):
                        raise SolderwatchError(f"{left} files could not be taken out of the inbox; the log says why")
                    return
                self._pause()
        finally:
            self._watch.stop()

    def _guarded(self, work: Callable[[], bool]) -> bool:
        """Do something that everyone's trouble may interrupt; False if it did."""
        try:
            return work()
        except AwayError as error:
            self._say_away(error)
        except OSError as error:
            self._trouble.of_all(error, len(self._in_hand))
        return False

    def _look_around(self) -> bool:
        """Look at the inbox once and judge all that is ready; True when nothing is left to wait for."""
        self._recover()
        inspector = self._model.refresh()
        for claim in list(self._in_hand.values()):
            if self._stop.is_set():
                return False
            if not self._trouble.rests(claim.folder) and (inspector or not self._needs_model(claim)):
                self._process([claim])
                self._tick()
        self.inbox.look()
        self._say_away(None)
        self._keep_watch()
        self._retention.work(_RETENTION_S)
        if inspector is None:
            return False
        self._passed_over = 0
        for batch in _batches(self.inbox.scan(), lambda: self._batch_size):
            check_room(self._folders, self._settings.disk)
            self._process(self._claim(batch))
            self._tick()
            self._model.refresh()
            self._retention.work(_RETENTION_S)
            if self._stop.is_set():
                return False
        self._say_unreadable()
        self._trouble.over()
        return not self._in_hand and self.inbox.waiting == 0

    def _needs_model(self, claim: Claim) -> bool:
        return not claim.decided and not self._is_poison(claim)

    def _is_poison(self, claim: Claim) -> bool:
        return claim.interrupted and claim.attempts >= self._settings.judge.max_attempts

    def _claim(self, candidates: Sequence[Candidate]) -> list[Claim]:
        claims = []
        for candidate in candidates:
            self._passed_over += 1
            if self._trouble.rests(candidate.identity):
                continue
            claim = self._filing.begin(candidate)
            with self._trouble.of_one(candidate.identity, candidate.relative, ours=False):
                taken = self._filing.take(claim)
                self._passed_over -= 1
                if taken:
                    self._in_hand[taken.folder] = taken
                    claims.append(taken)
        return claims

    def _process(self, claims: Sequence[Claim]) -> None:
        """Bring claimed images to their folders; what trouble interrupts stays in hand."""
        ready = []
        for claim in claims:
            if self._stop.is_set() and not claim.decided:
                break
            with self._trouble.of_one(claim.folder, claim.source, ours=True):
                found = self._open(claim)
                if found:
                    ready.append(found)
        for item, inspection, judge_ms in self._judge(ready):
            with self._trouble.of_one(item.claim.folder, item.claim.source, ours=True):
                self._decide(item, inspection, judge_ms)

    def _open(self, claim: Claim) -> _InHand | None:
        """Read and decode one image; None when it was dealt with otherwise."""
        if claim.decided:
            self._file(claim)
            return None
        if self._is_poison(claim):
            self._quarantine(claim, f"judging it was begun {claim.attempts} times and never finished")
            return None
        if claim.interrupted:
            claim = self._in_hand[claim.folder] = self._filing.begin_again(claim)
        limits = self._settings.inbox
        started = time.perf_counter()
        try:
            data = self._filing.read(claim, limits.max_file_mb * 2**20)
            image = decode(data, max_pixels=limits.max_pixels)
        except UnfinishedError as error:
            self._give_back(claim, str(error))
            return None
        except GoneError:
            self._log.warning("gone", file=readable(str(claim.source)), claimed=claim.claimed)
            self._filing.forget(claim)
            del self._in_hand[claim.folder]
            return None
        except MemoryError:
            raise OSError("no memory to decode it") from None
        except ImageError as error:
            if claim.settled:
                self._quarantine(claim, str(error))
            else:
                self._give_back(claim, str(error))
            return None
        sha256 = hashlib.sha256(data).hexdigest()
        return _InHand(claim, image, sha256, len(data), _ms_since(started))

    def _judge(self, items: Sequence[_InHand]) -> Iterator[tuple[_InHand, Inspection, float]]:
        """Judge images together; in halves if that fails, so that a bad one does not take its neighbours along."""
        if not items:
            return
        inspector = self._inspector()
        started = time.perf_counter()
        try:
            inspections = inspector.inspect([item.image.pixels for item in items])
        except Exception as error:  # noqa: BLE001 - whatever it is, it must not stop the line
            if _is_memory(error):
                self._shrink_batches(len(items))
            if len(items) > 1:
                middle = len(items) // 2
                yield from self._judge(items[:middle])
                yield from self._judge(items[middle:])
                return
            with self._trouble.of_one(items[0].claim.folder, items[0].claim.source, ours=True):
                self._judging_failed(items[0].claim, error)
            return
        self._grow_batches(len(items))
        each_ms = _ms_since(started) / len(items)
        for item, inspection in zip(items, inspections, strict=True):
            yield item, inspection, each_ms

    def _shrink_batches(self, failed: int) -> None:
        """There was no memory for so many images."""
        self._batch_size = max(1, min(self._batch_size, failed // 2))
        self._good_batches = 0
        self._log.warning("out_of_memory", batch_size=self._batch_size)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _grow_batches(self, done: int) -> None:
        """After a while without trouble, larger batches are tried again."""
        if done < self._batch_size or self._batch_size == self._settings.judge.batch_size:
            return
        self._good_batches += 1
        if self._good_batches >= _GOOD_BATCHES:
            self._good_batches = 0
            self._batch_size = min(2 * self._batch_size, self._settings.judge.batch_size)

    def _judging_failed(self, claim: Claim, error: Exception) -> None:
        """Put the image away if it is to blame; if the processor is, nothing may be put away any more."""
        if _is_memory(error):
            raise OSError(errno.ENOMEM, f"no memory to judge on {self._inspector().model.device}") from error
        self._log.error("judging_failed", file=readable(str(claim.source)), exc_info=error)
        self._model.verify()
        self._quarantine(claim, f"could not be judged: {type(error).__name__}: {error}")

    def _inspector(self) -> Inspector:
        inspector = self._model.inspector
        if inspector is None:
            raise AssertionError("nothing is claimed before there is a model")
        return inspector

    def _decide(self, item: _InHand, inspection: Inspection, judge_ms: float) -> None:
        inspector = self._inspector()
        verdict = inspection.verdict
        started = time.perf_counter()
        drawn = picture.draw(item.image.pixels, inspection)
        draw_ms = _ms_since(started)
        height, width = item.image.pixels.shape
        record = {
            "time": utc(datetime.now(UTC)),
            "file": str(item.claim.source),
            "verdict": verdict.label,
            "reason": verdict.reason,
            "nio_probability": verdict.probability,
            "threshold": verdict.threshold,
            "novelty": verdict.novelty,
            "model": inspector.model.card.model_id,
            "device": str(inspector.model.device),
            "runtime": inspector.runtime,
            "cam": {
                "method": inspection.method,
                "only_last_conv": self._settings.cam.only_last_conv,
                "peak": round(inspection.peak, 6),
            },
            "sha256": item.sha256,
            "bytes": item.size,
            "format": item.image.format,
            "width": width,
            "height": height,
            "bits": item.image.bits,
            "notes": list(item.image.notes),
            "claimed": item.claim.claimed,
            "attempts": item.claim.attempts,
            "milliseconds": {"decode": item.decode_ms, "judge": judge_ms, "draw": draw_ms},
        }
        started = time.perf_counter()
        self._filing.commit(item.claim, verdict.label, record, drawn)
        self._drift.add(inspector.model.card, inspection, record["time"])
        self._file(item.claim)
        self._tally.metrics.took("file", time.perf_counter() - started)

    def _quarantine(self, claim: Claim, error: str) -> None:
        record = {
            "time": utc(datetime.now(UTC)),
            "file": str(claim.source),
            "error": error,
            "claimed": claim.claimed,
            "attempts": claim.attempts,
        }
        self._filing.commit(claim, "quarantine", record, None)
        self._file(claim)

    def _file(self, claim: Claim) -> None:
        """Publish, log, forget; in that order, so that the log is at least once."""
        record = self._filing.publish(claim)
        if record["outcome"] == "quarantine":
            self._log.warning("quarantine", **record)
        else:
            self._log.info("decision", **record)
        self._tally.add(record)
        self._trouble.filed()
        self._filing.forget(claim)
        del self._in_hand[claim.folder]

    def _give_back(self, claim: Claim, reason: str) -> None:
        """Young files may be unfinished: their writer gets the quiet time once more."""
        place = self._filing.give_back(claim)
        del self._in_hand[claim.folder]
        with suppress(FileNotFoundError):
            self.inbox.defer(place)
        self._log.info("given_back", file=readable(str(claim.source)), reason=reason)

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
            self._log.error("away", error=away, retry_in_s=self._settings.inbox.scan_s, in_hand=len(self._in_hand))
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
        # In trouble, events must not turn the pause into a busy loop.
        backoff_s = self._trouble.backoff_s or (limits.scan_s if self._away else 0.0)
        signal, seconds = (self._stop, backoff_s) if backoff_s else (self._wake, seconds)
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0 and not signal.wait(min(left, self._beat_s)):
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
        return "watching" if self._model.inspector else "no model yet: run solderwatch-train"


def _batches(items: Iterator[Candidate], size: Callable[[], int]) -> Iterator[list[Candidate]]:
    while batch := list(itertools.islice(items, size())):
        yield batch


def _ms_since(started: float) -> float:
    return round(1000 * (time.perf_counter() - started), 2)


def _is_memory(error: Exception) -> bool:
    """Whether there was not enough memory, on whatever device; torch has no name of its own for the CPU's."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error)
