"""What becomes of claimed images: judged by the workers, then filed and logged, those that are done together.

While the workers are at some images the ones before are filed, by the line's own thread: it alone touches claims and
folders, so nothing here needs a lock.
"""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from daemon.intake.claims import Claims, GoneError, UnfinishedError
from daemon.intake.in_hand import InHand
from daemon.intake.inbox import Candidate, Inbox
from daemon.intake.trouble import Trouble
from daemon.judging import outcomes
from daemon.judging.models import Models, Product
from daemon.judging.steps import Judged, JudgingError, is_memory
from daemon.judging.workers import Workers
from daemon.reporting.boards import Boards
from daemon.reporting.drifts import Drifts
from daemon.reporting.tally import Tally
from filing.claim import Claim
from filing.decisions import Decision, Filing
from filing.folders import Folders
from filing.ledger import Place
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
    product: Product
    inspector: Inspector
    result: Future[Judged]


class Pipeline:
    """Takes images out of the inbox, has them judged, and files them away.

    Args:
        settings: The configuration.
        folders: Of the line.
        inbox: Told of what was given back.
        models: Who judges.
        log: Where decisions are told.
        trouble: Told of what goes wrong with single images.
        tally: Counts what was filed.
        drifts: Watch what was found.
        tell: Called with where images lie now.
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
        models: Models,
        log: Log,
        *,
        trouble: Trouble,
        tally: Tally,
        drifts: Drifts,
        tell: Callable[[Iterable[Place]], None],
        boards: Boards,
        stop: threading.Event,
        alive: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._folders = folders
        self._models = models
        self._log = log
        self._trouble, self._tally, self._drifts = trouble, tally, drifts
        self._tell, self._boards = tell, boards
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
        """All that is in hand, images of one product after the other."""
        return sorted(self._in_hand.all(), key=lambda claim: self._product(claim) or "")

    @property
    def without_model(self) -> int:
        """Images in hand that are of a product without a model, and wait for it."""
        if not self._settings.products:
            return 0
        there = {None, *self._models.there}
        return sum(self._product(claim) not in there and not claim.decided for claim in self._in_hand.all())

    def close(self) -> None:
        """End the workers, and leave nothing behind."""
        self._workers.close()
        self._claims.tidy()

    def _product(self, claim: Claim) -> Product:
        return self._settings.product_of(claim.source)

    def _is_foreign(self, claim: Claim) -> bool:
        """Whether an image is of none of the line's products, so that nobody can judge it."""
        return bool(self._settings.products) and self._product(claim) is None

    def _is_poison(self, claim: Claim) -> bool:
        return claim.interrupted and claim.attempts >= self._settings.judge.max_attempts

    def process(self, claim: Claim) -> None:
        """Bring one image that is in hand already to its folder; what trouble interrupts or lacks a model stays."""
        if claim.decided:
            with self._guard(claim):
                self._publish([self._filing.decided(claim)])
            return
        if self._is_poison(claim):
            error = f"judging it was begun {claim.attempts} times and never finished"
            self._publish(self._filing.commit([outcomes.quarantined(claim, error, self._settings)], self._guard))
            return
        if self._is_foreign(claim):
            self._put_away([claim])
            return
        product = self._product(claim)
        inspector = self._inspector(product)
        if inspector is None:
            return
        if claim.interrupted:
            with self._guard(claim):
                claim = self._in_hand.begin_again(claim)
            if claim.interrupted:
                return
        with self.flowing():
            self._submit(product, inspector, [claim])

    def _put_away(self, claims: Sequence[Claim]) -> None:
        """Images of no product; never judged by another's model."""
        decisions = [outcomes.of_no_product(claim, self._settings) for claim in claims]
        self._publish(self._filing.commit(decisions, self._guard))

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

    def put(self, product: Product, candidates: Sequence[Candidate]) -> int:
        """Claim images and give them to the workers; in a backlog, file as many of those before them.

        Args:
            product: All are of it; None with products: of none, to be put away.
            candidates: What is in the inbox.

        Returns:
            How many were left in the inbox.
        """
        fresh = [candidate for candidate in candidates if not self._trouble.rests(candidate.identity)]
        if product is None and self._settings.products:
            taken, left = self._in_hand.take(self._in_hand.settled(fresh))
            self._put_away(taken)
            return len(candidates) - len(fresh) + left
        inspector = self._inspector(product)
        if inspector is None:
            return len(candidates)
        taken, left = self._in_hand.take(fresh)
        self._submit(product, inspector, taken)
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

    def _inspector(self, product: Product) -> Inspector | None:
        """Who judges a product; where its model needs the room of others', what these are at is filed first."""
        if leaving := self._models.leaving_for(product):
            # No variable of this frame may hold on to what leaves.
            self._finish([work for work in self._in_flight if work.product in leaving])
            self._workers.keep([found for name, found in self._models.loaded.items() if name not in leaving])
        inspector = self._models.of(product)
        self._workers.keep(self._models.loaded.values())
        return inspector

    def _submit(self, product: Product, inspector: Inspector, claims: list[Claim]) -> None:
        if not claims:
            return
        for claim, result in zip(claims, self._workers.submit(inspector, claims), strict=True):
            self._in_flight.append(_Work(claim, product, inspector, result))
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
                        found[work.claim.folder] = work
                for size in self._workers.shrunk():
                    self._log.warning("out_of_memory", batch_size=size)
                self._alive()
        finally:
            self._give_up(group)
        started = time.perf_counter()
        committed = self._filing.commit(decisions, self._guard)
        for decision in committed:
            if decision.claim.folder in found:
                work = found[decision.claim.folder]
                judged, drift = work.result.result(), self._drifts.of(work.product)
                card = work.inspector.model.card
                drift.add(card, judged.inspection.verdict, judged.signals, decision.record["time"])
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
            return self._not_judged(work, error.why)
        except MemoryError:
            raise OSError(errno.ENOMEM, "no memory to draw its map") from None
        else:
            return outcomes.judged(claim, judged, work.inspector, self._settings, work.product)
        return None

    def _not_judged(self, work: _Work, why: Exception) -> Decision:
        """Put the image away if it is to blame; if the processor is, nothing may be put away any more."""
        if is_memory(why):
            raise OSError(errno.ENOMEM, f"no memory to judge on {work.inspector.model.device}") from why
        claim = work.claim
        self._log.error("judging_failed", file=readable(str(claim.source)), exc_info=why)
        self._models.verify(work.product)
        return outcomes.quarantined(claim, f"could not be judged: {type(why).__name__}: {why}", self._settings)

    def _publish(self, decisions: Sequence[Decision]) -> None:
        """Publish, log, tell, forget; in that order, so that log and boards hear of it at least once."""
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
        self._tell((decision.outcome, Path(decision.record["filed_as"])) for decision in published)
        for decision in published:
            with self._guard(decision.claim):
                self._in_hand.forget(decision.claim)

    def _guard(self, claim: Claim) -> AbstractContextManager[None]:
        return self._trouble.of_one(claim.folder, claim.source, ours=True)


def _cancel(works: Sequence[_Work]) -> None:
    """What no worker has begun stays in hand as it is."""
    for work in works:
        work.result.cancel()
