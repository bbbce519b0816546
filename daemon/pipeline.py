"""What becomes of claimed images: judged by the workers, then filed and logged, those that are done together.

While the workers are at some images the ones before are filed, by the line's own thread: it alone touches claims and
folders, so nothing here needs a lock.
"""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass

from daemon.boards import Boards
from daemon.intake.claims import Claims, GoneError, UnfinishedError
from daemon.intake.in_hand import InHand
from daemon.intake.inbox import Candidate, Inbox
from daemon.intake.trouble import Trouble
from daemon.judging import outcomes
from daemon.judging.current_model import CurrentModel
from daemon.judging.steps import Judged, JudgingError, is_memory
from daemon.judging.workers import Workers
from daemon.reporting.drift import DriftWatch
from daemon.reporting.tally import Tally
from filing.claim import Claim
from filing.decisions import Decision, Filing
from filing.folders import Folders
from filing.logs import Log, together
from inspection.errors import ImageError
from inspection.files import readable
from inspection.inspector import Inspector
from settings import Settings

GROUP = 32
"""Images that are claimed together at most; so many more are with the workers meanwhile."""


@dataclass(frozen=True, eq=False)
class _Work:
    """An image that the workers have been given, and who judges it."""

    claim: Claim
    inspector: Inspector
    result: Future[Judged]


class Pipeline:
    """Takes images out of the inbox, has them judged, and files them away.

    Args:
        settings: The configuration.
        folders: Of the line.
        inbox: Told of what was given back.
        model: Who judges.
        log: Where decisions are told.
        trouble: Told of what goes wrong with single images.
        tally: Counts what was filed.
        drift: Watches what was found.
        boards: Told of what was filed.
        stop: Once it is set, nothing more is given to the workers.
        alive: Called after each image.

    Attributes:
        news: Set when an image was judged, or a page of one; to be set when there is something else to look after.
    """

    def __init__(
        self,
        settings: Settings,
        folders: Folders,
        inbox: Inbox,
        model: CurrentModel,
        log: Log,
        *,
        trouble: Trouble,
        tally: Tally,
        drift: DriftWatch,
        boards: Boards,
        stop: threading.Event,
        alive: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._folders = folders
        self._model = model
        self._log = log
        self._trouble, self._tally, self._drift = trouble, tally, drift
        self._boards = boards
        self._stop, self._alive = stop, alive
        self._claims = Claims(folders)
        self._filing = Filing(folders)
        self._workers = Workers(self._claims, settings, self._goes_on)
        self._in_flight: list[_Work] = []
        self.news = threading.Event()
        self._in_hand = InHand(self._claims, inbox, log, trouble)

    def recover(self, *, interrupted: bool) -> None:
        """Take in hand what an earlier run has left, and file what it had decided.

        Args:
            interrupted: The earlier run died, maybe of one of these images.
        """
        self._in_hand.recover(interrupted=interrupted)

    def waiting(self) -> list[Claim]:
        """All that is in hand."""
        return self._in_hand.all()

    def close(self) -> None:
        """End the workers, and leave nothing behind."""
        self._workers.close()
        self._claims.tidy()

    def needs_model(self, claim: Claim) -> bool:
        """Whether an image in hand cannot be brought to its end without one."""
        return not claim.decided and not self._is_poison(claim)

    def _is_poison(self, claim: Claim) -> bool:
        return claim.interrupted and claim.attempts >= self._settings.judge.max_attempts

    def process(self, claim: Claim) -> None:
        """Bring one image that is in hand already to its folder; what trouble interrupts stays in hand."""
        if claim.decided:
            with self._guard(claim):
                self._publish([self._filing.decided(claim)])
            return
        if self._is_poison(claim):
            error = f"judging it was begun {claim.attempts} times and never finished"
            self._publish(self._filing.commit([outcomes.quarantined(claim, error, self._settings)], self._guard))
            return
        if claim.interrupted:
            with self._guard(claim):
                claim = self._in_hand.begin_again(claim)
            if claim.interrupted:
                return
        with self.flowing():
            self._submit([claim])

    @contextmanager
    def flowing(self) -> Iterator[None]:
        """Images that are put in as a context are all filed at its end; on an error they stay in hand."""
        try:
            yield
            while self._in_flight:
                self._finish(self._in_flight[:GROUP])
        finally:
            self._give_up(self._in_flight)
            self._in_flight.clear()

    def put(self, candidates: Sequence[Candidate]) -> int:
        """Claim images and give them to the workers; in a backlog, file as many of those before them.

        Returns:
            How many were left in the inbox.
        """
        fresh = [candidate for candidate in candidates if not self._trouble.rests(candidate.identity)]
        taken, left = self._in_hand.take(fresh)
        self._submit(taken)
        self._claims.settle(taken)
        while late := self._in_flight[:-GROUP]:
            self._finish(late + [work for work in self._in_flight[-GROUP:] if work.result.done()])
        return len(candidates) - len(fresh) + left

    @property
    def busy(self) -> bool:
        """Whether images that were put in are not filed yet."""
        return bool(self._in_flight)

    def file_judged(self) -> None:
        """File what is judged by now; `news` is set when there is more."""
        self.news.clear()
        if done := [work for work in self._in_flight if work.result.done()]:
            self._finish(done)

    def _submit(self, claims: list[Claim]) -> None:
        inspector = self._model.inspector
        if inspector is None:
            raise AssertionError("nothing is claimed before there is a model")
        if not claims:
            return
        for claim, result in zip(claims, self._workers.submit(inspector, claims), strict=True):
            self._in_flight.append(_Work(claim, inspector, result))
            result.add_done_callback(lambda _: self.news.set())

    def _finish(self, group: list[_Work]) -> None:
        """Wait for the workers, and file what they found; what trouble interrupts stays in hand."""
        self._in_flight = [work for work in self._in_flight if work not in group]
        decisions, found = [], {}
        try:
            for work in group:
                if self._stop.is_set():
                    _cancel(group + self._in_flight)
                self._await(work)
                with self._guard(work.claim), suppress(CancelledError):
                    decision = self._decide(work)
                    if decision:
                        decisions.append(decision)
                    if decision and decision.outcome != "quarantine":
                        found[work.claim.folder] = work.inspector.model.card, work.result.result()
                for size in self._workers.shrunk():
                    self._log.warning("out_of_memory", batch_size=size)
                self._alive()
        finally:
            self._give_up(group)
        started = time.perf_counter()
        committed = self._filing.commit(decisions, self._guard)
        for decision in committed:
            if decision.claim.folder in found:
                card, judged = found[decision.claim.folder]
                self._drift.add(card, judged.inspection.verdict, judged.signals, decision.record["time"])
        self._publish(committed)
        for _ in committed:
            self._tally.metrics.took("file", (time.perf_counter() - started) / len(committed))

    def _goes_on(self) -> bool:
        """Whether a worker is to go on with the pages of a file; each is news of it."""
        self.news.set()
        return not self._stop.is_set()

    def _await(self, work: _Work) -> None:
        """Wait for the workers; a page is a sign of life, and where one hangs there is none."""
        while not work.result.done():
            self.news.wait()
            self.news.clear()
            self._alive()

    def _give_up(self, works: Sequence[_Work]) -> None:
        """What workers are at comes to its end, and counts for nothing."""
        _cancel(works)
        for work in works:
            self._await(work)

    def _decide(self, work: _Work) -> Decision | None:
        """What is to become of an image, once the workers are done with it; None when it was dealt with otherwise."""
        claim = work.claim
        try:
            judged = work.result.result()
        except UnfinishedError as error:
            self._in_hand.give_back(claim, str(error))
        except GoneError:
            self._folders.look("inbox", "work")
            self._log.warning("gone", file=readable(str(claim.source)), claimed=claim.claimed)
            self._in_hand.forget(claim)
        except ImageError as error:
            if claim.settled:
                return outcomes.quarantined(claim, str(error), self._settings)
            self._in_hand.give_back(claim, str(error))
        except JudgingError as error:
            return self._not_judged(claim, error.why, work.inspector)
        except MemoryError:
            raise OSError(errno.ENOMEM, "no memory to draw its map") from None
        else:
            return outcomes.judged(claim, judged, work.inspector, self._settings)
        return None

    def _not_judged(self, claim: Claim, why: Exception, inspector: Inspector) -> Decision:
        """Put the image away if it is to blame; if the processor is, nothing may be put away any more."""
        if is_memory(why):
            raise OSError(errno.ENOMEM, f"no memory to judge on {inspector.model.device}") from why
        self._log.error("judging_failed", file=readable(str(claim.source)), exc_info=why)
        self._model.verify()
        return outcomes.quarantined(claim, f"could not be judged: {type(why).__name__}: {why}", self._settings)

    def _publish(self, decisions: Sequence[Decision]) -> None:
        """Publish, log, forget; in that order, so that log and boards hear of it at least once."""
        published = self._filing.publish(decisions, self._guard)
        self._boards.filed(published)
        with together(self._log):
            for decision in published:
                if decision.outcome == "quarantine":
                    self._log.warning("quarantine", **decision.told)
                else:
                    self._log.info("decision", **decision.told)
                self._tally.add(decision.told)
                self._trouble.filed()
        for decision in published:
            with self._guard(decision.claim):
                self._in_hand.forget(decision.claim)

    def _guard(self, claim: Claim) -> AbstractContextManager[None]:
        return self._trouble.of_one(claim.folder, claim.source, ours=True)


def _cancel(works: Sequence[_Work]) -> None:
    """What no worker has begun stays in hand as it is."""
    for work in works:
        work.result.cancel()
