"""The images in hand: everything that is claimed and not filed yet."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from daemon.intake.claims import Claims
from daemon.intake.inbox import Candidate, Inbox
from daemon.intake.trouble import Trouble
from filing.claim import Claim
from filing.logs import Log
from inspection.files import readable


class InHand:
    """Keeps account of the images in hand; what trouble interrupts stays in it.

    Args:
        claims: How images are taken, given back and forgotten.
        inbox: Told of what was given back.
        log: Told of what was recovered or given back.
        trouble: Told of what goes wrong with single images.
    """

    def __init__(self, claims: Claims, inbox: Inbox, log: Log, trouble: Trouble) -> None:
        self._claims = claims
        self._inbox = inbox
        self._log = log
        self._trouble = trouble
        self._by_folder: dict[Path, Claim] = {}

    def all(self) -> list[Claim]:
        """All that is in hand."""
        return list(self._by_folder.values())

    def recover(self, *, interrupted: bool) -> None:
        """Take in hand what an earlier run has left.

        Args:
            interrupted: The earlier run died, maybe of one of these images.
        """
        for claim in self._claims.recover(interrupted=interrupted):
            name = readable(str(claim.source))
            self._log.info("recovered", file=name, attempts=claim.attempts, decided=claim.decided)
            self._by_folder[claim.folder] = claim

    def take(self, candidates: Sequence[Candidate]) -> tuple[list[Claim], int]:
        """Claim images; returns those in hand now, and how many could not be taken."""
        claims = deque(self._claims.begin(candidates) if candidates else [])
        taken, left = [], len(candidates)
        try:
            for candidate in candidates:
                claim = claims.popleft()
                with self._trouble.of_one(candidate.identity, candidate.relative, ours=False):
                    found = self._claims.take(claim)
                    left -= 1
                    if found:
                        self._by_folder[found.folder] = found
                        taken.append(found)
        finally:
            for claim in claims:
                self._claims.discard(claim)
        return taken, left

    def settled(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        """Those that will not change any more, nor be renamed; the others get the quiet time."""
        for candidate in candidates:
            if not candidate.settled:
                with suppress(FileNotFoundError):
                    self._inbox.defer(candidate.path)
        return [candidate for candidate in candidates if candidate.settled]

    def begin_again(self, claim: Claim) -> Claim:
        """Count one more attempt, durably, before judging begins."""
        claim = self._by_folder[claim.folder] = self._claims.begin_again(claim)
        return claim

    def forget(self, claim: Claim) -> None:
        """An image was filed and logged, or is gone."""
        self._claims.forget(claim)
        del self._by_folder[claim.folder]

    def give_back(self, claim: Claim, reason: str) -> None:
        """Young files may be unfinished: their writer gets the quiet time once more."""
        place = self._claims.give_back(claim)
        del self._by_folder[claim.folder]
        with suppress(FileNotFoundError):
            self._inbox.defer(place)
        self._log.info("given_back", file=readable(str(claim.source)), reason=reason)
