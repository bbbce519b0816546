"""Claims images out of the inbox and files them away, so that each is whole in exactly one place at every instant.

One claim is one folder in work/:

    <image>         the image under its own name, moved here from the inbox
    claim.json      where it came from, when, and how often judging it was begun
    cam.part        the map, complete before the decision
    sidecar.part    name.ext.json or name.ext.error.json to be
    decision.json   the commit point: from here on the image is filed as it says, whatever dies

Then the sidecars appear in io/, nio/ or quarantine/, and last the image.

Where work is on another file system than the inbox, the image is claimed by a rename in the inbox, to
`<image>.<claim>.claimed`, so that there is one winner here as well. What lies in work is then a copy, and the original
goes once the decision is durable.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
import stat
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from daemon import durable
from daemon.folders import AwayError, Folders
from daemon.inbox import Candidate
from inspection.errors import ImageError
from inspection.files import readable, sync

Outcome = Literal["io", "nio", "quarantine"]

_CLAIM, _DECISION, _MAP, _SIDECAR, _COPY = "claim.json", "decision.json", "cam.part", "sidecar.part", "copy.part"
_OURS = {name + end for name in (_CLAIM, _DECISION, _MAP, _SIDECAR, _COPY) for end in ("", ".new")}
MAP_SUFFIX, RECORD_SUFFIX, ERROR_SUFFIX = ".cam.png", ".json", ".error.json"
_LONGEST_ADDITION = len("~99999") + len(ERROR_SUFFIX)
_CLAIMED = ".claimed"
_CLAIM_FOLDER = re.compile(r"\d{8}T\d{6}-\w+")


class GoneError(Exception):
    """Somebody took the image out of work/, or its original out of the inbox."""


class UnfinishedError(Exception):
    """A writer's descriptor followed the file into work/, or something else took its place."""


@dataclass(frozen=True)
class Claim:
    """An image in hand.

    Attributes:
        folder: Its folder in work/.
        source: Its path inside the inbox.
        attempts: How often judging it was begun, this time included.
        claimed: When it was taken, ISO 8601 in UTC.
        settled: What does not decode now never will.
        marker: The name of the producer's done-marker, beside the image in the inbox.
        interrupted: A process died after it had begun; the next attempt is to be counted before it begins.
        across: Work is on another file system than the inbox: what is in work is a copy, if it is there yet.
    """

    folder: Path
    source: Path
    attempts: int
    claimed: str
    settled: bool
    marker: str | None = None
    interrupted: bool = False
    across: bool = False

    @property
    def image(self) -> Path:
        """Where the image lies while it is in hand."""
        return self.folder / self.source.name

    @property
    def original(self) -> str:
        """The name of the original in the inbox, while the one in hand is a copy; ends in what no scan admits."""
        end = f".{self.folder.name}{_CLAIMED}"
        return _shortened(self.source.name, durable.NAME_MAX - len(end)) + end

    @property
    def decided(self) -> bool:
        """Whether the decision is durable, so that only filing is left to do."""
        return (self.folder / _DECISION).exists()

    def write(self) -> None:
        """Make the claim durable."""
        content = {
            "source": str(self.source),
            "claimed": self.claimed,
            "attempts": self.attempts,
            "settled": self.settled,
            "marker": self.marker,
            "across": self.across,
        }
        durable.write_json(self.folder / _CLAIM, content)


class Filing:
    """Moves images between the folders of the line.

    Args:
        folders: `inbox`, `work`, `io`, `nio` and `quarantine`.
    """

    def __init__(self, folders: Folders) -> None:
        self._folders = folders
        self._left_over: list[Path] = []

    def begin(self, candidate: Candidate) -> Claim:
        """Make a claim durable in work, before the image is taken."""
        self._tidy()
        stamp = datetime.now(UTC)
        name = f"{stamp:%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:12]}"
        with self._folders.beneath("work") as work:
            (work / name).mkdir()
        marker = candidate.marker.name if candidate.marker else None
        folder = self._folders["work"] / name
        claim = Claim(folder, candidate.relative, 1, utc(stamp), candidate.settled, marker)
        try:
            claim.write()
            sync(folder.parent)
        except OSError:
            self._discard(folder)
            raise
        return claim

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
            self._discard(claim.folder)
            if isinstance(error, FileNotFoundError):
                return None
            raise
        self._remove_marker(claim)
        return claim

    def _take(self, claim: Claim) -> Claim:
        """Rename the image, which has one winner on every file system."""
        with self._inbox_of(claim) as inbox:
            source = inbox / claim.source.name
            try:
                source.rename(claim.image)
            except OSError as error:
                if error.errno != errno.EXDEV:
                    raise
            else:
                with contextlib.suppress(OSError):  # either name is durable, and both are found
                    sync(claim.folder)
                return claim
            # What cannot be read cannot be copied: it stays where it is.
            os.close(os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC))
            claim = replace(claim, across=True)
            claim.write()
            source.rename(inbox / claim.original)
            with contextlib.suppress(OSError):
                sync(inbox)
        return claim

    @contextlib.contextmanager
    def _inbox_of(self, claim: Claim) -> Iterator[Path]:
        """The sub-folder of the inbox that an image came from; gone where something else has its name."""
        with contextlib.ExitStack() as stack:
            try:
                inbox = stack.enter_context(self._folders.beneath("inbox", claim.source.parent))
            except NotADirectoryError as error:
                raise FileNotFoundError(errno.ENOENT, "no folder any more", error.filename) from None
            yield inbox

    def _remove_marker(self, claim: Claim) -> None:
        """The producer's done-marker goes with its image; unless it is the next one's already."""
        if claim.marker:
            with contextlib.suppress(OSError), self._inbox_of(claim) as inbox:
                if not os.path.lexists(inbox / claim.source.name):
                    (inbox / claim.marker).unlink()

    def _discard(self, folder: Path) -> None:
        """Remove a claim that holds no image; on a disk in trouble, later."""
        try:
            _remove(folder)
        except OSError:
            self._left_over.append(folder)

    def _tidy(self) -> None:
        left_over, self._left_over = self._left_over, []
        for folder in left_over:
            if folder.exists():
                self._discard(folder)

    @contextlib.contextmanager
    def _held(self, claim: Claim) -> Iterator[Path]:
        """Where the image lies: in work, or still in the inbox if it is to be copied."""
        if not claim.across or os.path.lexists(claim.image):
            yield claim.image
        else:
            with self._inbox_of(claim) as inbox:
                yield inbox / claim.original

    def read(self, claim: Claim, max_bytes: int) -> bytes:
        """The bytes of a claimed image, durable in work and held by no writer.

        Raises:
            ImageError: It may not be read, or is larger than `max_bytes`.
            UnfinishedError: It changed while it was read, somebody holds it for writing, or it is no file any more.
            GoneError: It is there no more.
        """
        try:
            with self._held(claim) as held:
                leases = self._folders.knows_writers("work" if held == claim.image else "inbox")
                data = _read(held, max_bytes, leases=leases)
                if held != claim.image:
                    self._copy(claim, held, data)
        except FileNotFoundError:
            self._folders.look("inbox", "work")
            raise GoneError from None
        return data

    @staticmethod
    def _copy(claim: Claim, original: Path, data: bytes) -> None:
        """Copy, sync, verify, rename; the original goes with the decision."""
        part = claim.folder / _COPY
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

    def commit(self, claim: Claim, outcome: Outcome, record: dict[str, Any], picture: bytes | None) -> None:
        """Decide: from here on the image will be filed as the record says, whatever dies.

        Args:
            claim: The image in hand.
            outcome: The folder that it goes to.
            record: The sidecar's content; completed here with `decision_id` and `filed_as`.
            picture: The map as PNG bytes; None in quarantine.
        """
        if picture is not None:
            durable.write(claim.folder / _MAP, picture)
        self._decide(claim, outcome, record | {"decision_id": uuid.uuid4().hex})

    def _decide(self, claim: Claim, outcome: Outcome, record: dict[str, Any]) -> None:
        """Write the sidecar and the decision under the first free name."""
        filed_as = self._free_place(claim.source, outcome)
        record = record | {"outcome": outcome, "filed_as": str(filed_as)}
        durable.write(claim.folder / _SIDECAR, durable.to_json(_readable(record)))
        durable.write_json(claim.folder / _DECISION, record)

    def _free_place(self, source: Path, outcome: Outcome) -> Path:
        """The first name in an output folder that neither an image nor a sidecar has."""
        try:
            with self._folders.beneath(outcome, source.parent, make=True) as folder:
                for name in free_names(source.name):
                    if not any(os.path.lexists(folder / (name + end)) for end in ("", *_suffixes(outcome))):
                        return source.parent / name
        except (NotADirectoryError, FileExistsError):
            # A file or a link has the name of a sub-folder: leave out the sub-folders.
            return self._free_place(Path("_".join(source.parts)), outcome)
        raise AssertionError("names never end")

    def publish(self, claim: Claim) -> dict[str, Any]:
        """Let a decided image appear in its folder, sidecars first; can be repeated after a crash at any point.

        Returns:
            The record, as it stands in the sidecar.
        """
        if claim.across and os.path.lexists(claim.image):
            self._remove_original(claim)
        while True:
            record = json.loads((claim.folder / _DECISION).read_bytes())
            outcome: Outcome = record["outcome"]
            place = Path(record["filed_as"])
            try:
                with self._folders.beneath(outcome, place.parent, make=True) as folder:
                    self._appear(claim, outcome, folder / place.name)
            except (FileExistsError, NotADirectoryError):
                # Somebody else's file took the name since it was chosen.
                self._decide(claim, outcome, record)
                continue
            return _readable(record)

    def _appear(self, claim: Claim, outcome: Outcome, target: Path) -> None:
        """Move sidecars and image; what is not in hand any more was moved before a crash."""
        parts = [(claim.folder / part, Path(f"{target}{end}")) for part, end in _sidecars(outcome)]
        try:
            for part, place in parts:
                if part.exists():
                    durable.move(part, place)
            sync(target.parent)
            with contextlib.suppress(FileNotFoundError), self._held(claim) as held:
                durable.move(held, target)
            sync(target.parent)
        except FileExistsError:
            for part, place in parts:
                if not part.exists():
                    with contextlib.suppress(FileNotFoundError):
                        durable.move(place, part)
            raise

    def _remove_original(self, claim: Claim) -> None:
        """The copy in work is whole, and its decision durable."""
        with contextlib.suppress(FileNotFoundError), self._inbox_of(claim) as inbox:
            (inbox / claim.original).unlink()

    def forget(self, claim: Claim) -> None:
        """Remove what is left in work/ of a claim whose image was filed and logged, given back, or is gone."""
        _remove(claim.folder)

    def recover(self, *, interrupted: bool) -> Iterator[Claim]:
        """What an earlier run left in hand; decided ones are to be filed, the others to be judged again.

        Args:
            interrupted: The earlier run died, maybe of one of these images.
        """
        for folder in claim_folders(self._folders["work"]):
            claim = read_claim(folder)
            if claim and claim.decided and not _is_decision(folder / _DECISION):
                (folder / _DECISION).unlink()  # a fault of the disk: judged again
            if claim and self._is_there(claim):
                self._remove_marker(claim)
                yield replace(claim, interrupted=interrupted)
            else:
                # The crash came between making the folder and moving the image, or just before the end.
                _remove(folder)

    def _is_there(self, claim: Claim) -> bool:
        """Whether there is anything left to do for a claim; if that cannot be known now, there is."""
        if claim.decided:
            return True
        try:
            with self._held(claim) as held:
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


def claim_folders(work: Path) -> list[Path]:
    """The folders in work/ that are claims, the oldest first; a file system's own, such as lost+found, are not."""
    return sorted(path for path in work.iterdir() if _CLAIM_FOLDER.fullmatch(path.name))


def read_claim(folder: Path) -> Claim | None:
    """The claim in a folder of work/; None where nothing was claimed."""
    try:
        content = json.loads((folder / _CLAIM).read_bytes())
        source = Path(content["source"])
        if source.name and not source.is_absolute() and os.pardir not in source.parts:
            return Claim(
                folder,
                source,
                content["attempts"],
                content["claimed"],
                content.get("settled", True),
                content.get("marker"),
                across=content.get("across", False),
            )
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        pass
    # Not our doing: claim.json is durable before an image comes in. Whatever is there is judged by its own name.
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.name not in _OURS:
            return Claim(folder, Path(path.name), 1, utc(datetime.now(UTC)), settled=True)
    return None


def _is_decision(path: Path) -> bool:
    """Whether a decision can be rolled forward."""
    try:
        record = json.loads(path.read_bytes())
        return record["outcome"] in {"io", "nio", "quarantine"} and isinstance(record["filed_as"], str)
    except (ValueError, KeyError, TypeError):
        return False


def _remove(folder: Path) -> None:
    """Remove a claim, if it is still there; never anything that is not ours, such as an image."""
    with contextlib.suppress(FileNotFoundError):
        for path in folder.iterdir():
            if path.name in _OURS:
                path.unlink()
        folder.rmdir()


def _read(path: Path, max_bytes: int, *, leases: bool) -> bytes:
    """The bytes of a file that nobody is writing; they are durable then."""
    if not stat.S_ISREG(path.lstat().st_mode):
        raise UnfinishedError("swapped for what is no file")
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except PermissionError:
        raise ImageError("the daemon's user may not read the file: mend the producer's umask") from None
    with os.fdopen(descriptor, "rb") as file:
        before = os.fstat(descriptor)
        if before.st_size > max_bytes:
            raise ImageError(f"{before.st_size} bytes are more than inbox.max_file_mb ({max_bytes // 2**20})")
        data = file.read(before.st_size + 1)
        after = os.fstat(descriptor)
        changed = (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns)
        if changed or len(data) != after.st_size or (leases and durable.has_writer(descriptor)):
            raise UnfinishedError("still being written")
        os.fsync(descriptor)
    return data


def _sidecars(outcome: Outcome) -> list[tuple[str, str]]:
    """Which file of a claim becomes which sidecar."""
    if outcome == "quarantine":
        return [(_SIDECAR, ERROR_SUFFIX)]
    return [(_MAP, MAP_SUFFIX), (_SIDECAR, RECORD_SUFFIX)]


def _suffixes(outcome: Outcome) -> list[str]:
    return [suffix for _, suffix in _sidecars(outcome)]


def free_names(name: str) -> Iterator[str]:
    """name.png, name~2.png, name~3.png ...; shortened where the sidecars' names would be too long."""
    stem, suffix = os.path.splitext(name)  # noqa: PTH122 - Path.suffix differs on names that end in a dot
    stem = _shortened(stem, durable.NAME_MAX - _LONGEST_ADDITION - len(os.fsencode(suffix)))
    yield stem + suffix
    number = 2
    while True:
        yield f"{stem}~{number}{suffix}"
        number += 1


def _shortened(name: str, room: int) -> str:
    """A name of so many bytes at most; what is cut off is replaced by a hash, so that it stays one of its kind."""
    if len(os.fsencode(name)) <= room:
        return name
    digest = hashlib.sha256(os.fsencode(name)).hexdigest()[:8]
    return os.fsencode(name)[: room - 9].decode("utf-8", "ignore") + "-" + digest


def _readable(record: dict[str, Any]) -> dict[str, Any]:
    """A record whose file names are text: bytes that are no UTF-8 are written as escapes."""
    return {key: readable(value) if isinstance(value, str) else value for key, value in record.items()}


def utc(moment: datetime) -> str:
    """A moment as logs and sidecars write it: UTC, to the millisecond."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
