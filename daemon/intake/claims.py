"""Takes images out of the inbox into work and in hand, so that each is whole in exactly one place at every instant.

Where work is on another file system than the inbox, an image is claimed by a rename in the inbox, to
`<image>.<claim>.claimed`, so that there is one winner here as well. What lies in work is then a copy, and the original
goes once the decision is durable.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import stat
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from daemon.intake.inbox import Candidate
from filing import durable
from filing.claim import CLAIM, COPY, DECISION, Claim, claim_folders, inbox_of, place_of, read_claim, remove
from filing.folders import AwayError, Folders
from filing.names import free_names, utc
from inspection.errors import ImageError
from inspection.files import sync


class GoneError(Exception):
    """Somebody took the image out of work/, or its original out of the inbox."""


class UnfinishedError(Exception):
    """A writer's descriptor followed the file into work/, or something else took its place."""


class Claims:
    """The images in hand: takes them, reads them, gives them back, and forgets them.

    Args:
        folders: `inbox` and `work` among them.
    """

    def __init__(self, folders: Folders) -> None:
        self._folders = folders
        self._left_over: list[Claim] = []

    def begin(self, candidates: Sequence[Candidate]) -> list[Claim]:
        """Make claims durable in work, before any of their images is taken; all of them or none."""
        self.tidy()
        claims = [self._new(candidate) for candidate in candidates]
        try:
            with self._folders.beneath("work") as work:
                for claim in claims:
                    (work / claim.folder.name).mkdir()
            with durable.Unsynced() as files:
                for claim in claims:
                    files.write(claim.folder / CLAIM, durable.to_json(claim.content()))
                files.sync()
            for claim in claims:
                sync(claim.folder)
            sync(self._folders["work"])
        except OSError:
            for claim in claims:
                self.discard(claim)
            raise
        return claims

    def _new(self, candidate: Candidate) -> Claim:
        stamp = datetime.now(UTC)
        folder = self._folders["work"] / f"{stamp:%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:12]}"
        marker = candidate.marker.name if candidate.marker else None
        return Claim(folder, candidate.relative, 1, utc(stamp), candidate.settled, marker)

    def take(self, claim: Claim) -> Claim | None:
        """Take the image in hand, before anything of it is read; None when somebody else was faster.

        Returns:
            The claim, which may have turned out to be across file systems.
        """
        try:
            claim = self._take(claim)
        except OSError as error:
            # A network share may have done what it says it has not.
            found = replace(claim, across=not os.path.lexists(claim.image))
            if not isinstance(error, AwayError) and self._is_there(found):
                return found
            self.discard(claim)
            if isinstance(error, FileNotFoundError):
                return None
            raise
        self._remove_marker(claim)
        return claim

    @staticmethod
    def settle(claims: Sequence[Claim]) -> None:
        """Make durable that images were taken; if the machine itself dies before, they may be back in the inbox."""
        for claim in claims:
            with contextlib.suppress(OSError):  # either name is durable, and both are found
                sync(claim.folder)

    def _take(self, claim: Claim) -> Claim:
        """Rename the image, which has one winner on every file system."""
        with inbox_of(claim, self._folders) as inbox:
            source = inbox / claim.source.name
            try:
                source.rename(claim.image)
            except OSError as error:
                if error.errno != errno.EXDEV:
                    raise
            else:
                return claim
            # What cannot be read cannot be copied: it stays where it is.
            os.close(os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC))
            claim = replace(claim, across=True)
            claim.write()
            source.rename(inbox / claim.original)
            with contextlib.suppress(OSError):
                sync(inbox)
        return claim

    def _remove_marker(self, claim: Claim) -> None:
        """The producer's done-marker goes with its image; unless it is the next one's already."""
        if claim.marker:
            with contextlib.suppress(OSError), inbox_of(claim, self._folders) as inbox:
                if not os.path.lexists(inbox / claim.source.name):
                    (inbox / claim.marker).unlink()

    def discard(self, claim: Claim) -> None:
        """Remove a claim that holds no image; on a disk in trouble, later."""
        try:
            remove(claim.folder)
        except OSError:
            self._left_over.append(claim)

    def tidy(self) -> None:
        """Try once more to remove what could not be removed."""
        left_over, self._left_over = self._left_over, []
        for claim in left_over:
            self.discard(claim)

    def read(self, claim: Claim, max_bytes: int) -> bytes:
        """The bytes of a claimed image, in work and held by no writer; changes nothing but that claim.

        Raises:
            ImageError: It may not be read, or is larger than `max_bytes`.
            UnfinishedError: It changed while it was read, somebody holds it for writing, or it is no file any more.
            GoneError: It is there no more, if its folders are.
        """
        try:
            with place_of(claim, self._folders) as held:
                leases = self._folders.knows_writers("work" if held == claim.image else "inbox")
                data = _read(held, max_bytes, leases=leases)
                if held != claim.image:
                    self._copy(claim, held, data)
        except FileNotFoundError:
            raise GoneError from None
        return data

    @staticmethod
    def _copy(claim: Claim, original: Path, data: bytes) -> None:
        """Copy, sync, verify, rename; the original goes with the decision."""
        part = claim.folder / COPY
        # One that was cut off may be read-only by now.
        part.unlink(missing_ok=True)
        durable.write(part, data)
        shutil.copystat(original, part)
        if durable.digest(part) != hashlib.sha256(data).hexdigest():
            raise OSError(errno.EIO, "the copy differs from its original", str(part))
        part.rename(claim.image)
        sync(claim.folder)

    def give_back(self, claim: Claim) -> Path:
        """Put an image back into the inbox, where its writer may finish it; returns where it lies now.

        If another file took its name meanwhile, it goes back beside that one.
        """
        parent = claim.source.parent
        with self._folders.beneath("inbox", parent, make=True) as inbox:
            held = claim.image
            if claim.across and os.path.lexists(inbox / claim.original):
                # In this order: a crash never leaves both the original under its old name and a copy.
                held.unlink(missing_ok=True)
                held = inbox / claim.original
            for name in free_names(claim.source.name):
                try:
                    durable.move(held, inbox / name)
                except FileExistsError:
                    continue
                break
            if claim.marker:
                (inbox / f"{name}{claim.marker.removeprefix(claim.source.name)}").touch()
        self.forget(claim)
        return self._folders["inbox"] / parent / name

    def forget(self, claim: Claim) -> None:
        """Remove what is left in work/ of a claim whose image was filed and logged, given back, or is gone."""
        remove(claim.folder)

    def recover(self, *, interrupted: bool) -> Iterator[Claim]:
        """What an earlier run left in hand; decided ones are to be filed, the others to be judged again.

        Args:
            interrupted: The earlier run died, maybe of one of these images.
        """
        for folder in claim_folders(self._folders["work"]):
            claim = read_claim(folder)
            if claim and claim.decided and not is_decision(folder / DECISION):
                (folder / DECISION).unlink()  # a fault of the disk: judged again
            if claim and self._is_there(claim):
                self._remove_marker(claim)
                yield replace(claim, interrupted=interrupted)
            else:
                # The crash came between making the folder and moving the image, or just before the end.
                remove(folder)

    def _is_there(self, claim: Claim) -> bool:
        """Whether there is anything left to do for a claim; if that cannot be known now, there is."""
        if claim.decided:
            return True
        try:
            with place_of(claim, self._folders) as held:
                return os.path.lexists(held)
        except AwayError:
            return True
        except FileNotFoundError:
            return False

    def begin_again(self, claim: Claim) -> Claim:
        """Count one more attempt, durably, before judging begins."""
        claim = replace(claim, attempts=claim.attempts + 1, interrupted=False)
        claim.write()
        return claim


def is_decision(path: Path) -> bool:
    """Whether a decision can be rolled forward."""
    try:
        record = json.loads(path.read_bytes())
        return record["outcome"] in {"io", "nio", "quarantine"} and isinstance(record["filed_as"], str)
    except (ValueError, KeyError, TypeError):
        return False


def _read(path: Path, max_bytes: int, *, leases: bool) -> bytes:
    """The bytes of a file that nobody is writing."""
    if not stat.S_ISREG(path.lstat().st_mode):
        raise UnfinishedError("swapped for what is no file")
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except PermissionError:
        raise ImageError("the daemon's user may not read the file: mend the producer's umask") from None
    # For the whole of the reading: a writer that came and went within it would be seen neither before nor after.
    unwritten = durable.no_writer(descriptor) if leases else contextlib.nullcontext()
    with os.fdopen(descriptor, "rb") as file, unwritten as alone:
        if alone is False:
            raise UnfinishedError("still being written")
        before = os.fstat(descriptor)
        if before.st_size > max_bytes:
            raise ImageError(f"{before.st_size} bytes are more than inbox.max_file_mb ({max_bytes // 2**20})")
        data = file.read(before.st_size + 1)
        after = os.fstat(descriptor)
        changed = (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns)
        if changed or len(data) != after.st_size:
            raise UnfinishedError("still being written")
    return data
