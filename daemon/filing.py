"""Claims images out of the inbox and files them away, so that each is whole in exactly one place at every instant.

One claim is one folder in work/:

    <image>         the image under its own name, moved here from the inbox
    claim.json      where it came from, when, and how often judging it was begun
    cam.part        the map, complete before the decision
    sidecar.part    name.ext.json or name.ext.error.json to be
    decision.json   the commit point: from here on the image is filed as it says, whatever dies

Then the sidecars appear in io/, nio/ or quarantine/, and last the image.
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
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from daemon import durable
from daemon.inbox import Candidate
from inspection.errors import ImageError
from inspection.files import readable, sync

Outcome = Literal["io", "nio", "quarantine"]

_CLAIM, _DECISION, _MAP, _SIDECAR = "claim.json", "decision.json", "cam.part", "sidecar.part"
_OURS = {name + end for name in (_CLAIM, _DECISION, _MAP, _SIDECAR) for end in ("", ".new")}
MAP_SUFFIX, RECORD_SUFFIX, ERROR_SUFFIX = ".cam.png", ".json", ".error.json"
_LONGEST_ADDITION = len("~99999") + len(ERROR_SUFFIX)


class StillWrittenError(Exception):
    """A writer's descriptor followed the file into work/."""


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
    """

    folder: Path
    source: Path
    attempts: int
    claimed: str
    settled: bool
    marker: str | None = None
    interrupted: bool = False

    @property
    def image(self) -> Path:
        """Where the image lies while it is in hand."""
        return self.folder / self.source.name

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
        }
        durable.write_json(self.folder / _CLAIM, content)


class Filing:
    """Moves images between the folders of the line.

    Args:
        folders: `inbox`, `work`, `io`, `nio` and `quarantine`.
        leases: Whether the kernel's word on writers counts in work.
    """

    def __init__(self, folders: dict[str, Path], *, leases: bool = True) -> None:
        self._folders = folders
        self._leases = leases
        self._work = folders["work"]

    def claim(self, candidate: Candidate) -> Claim | None:
        """Take an image in hand, before anything of it is read; None when somebody else was faster."""
        stamp = datetime.now(UTC)
        folder = self._work / f"{stamp:%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:12]}"
        try:
            folder.mkdir()
        except FileNotFoundError as error:
            raise OSError(errno.ESTALE, "the work folder is gone", str(self._work)) from error
        marker = candidate.marker.name if candidate.marker else None
        claim = Claim(folder, candidate.relative, 1, utc(stamp), candidate.settled, marker)
        try:
            claim.write()
            sync(self._work)
            durable.move(candidate.path, claim.image)
        except FileNotFoundError:
            shutil.rmtree(folder)
            return None
        except OSError:
            # Across file systems the copy may be whole and the source not to be removed: the source stays.
            shutil.rmtree(folder)
            raise
        with contextlib.suppress(OSError):  # either name is durable, and both are found
            sync(folder)
        return claim

    def read(self, claim: Claim, max_bytes: int) -> bytes:
        """The bytes of a claimed image, durable and held by no writer.

        Raises:
            ImageError: It is no regular file, may not be read, or is larger than `max_bytes`.
            StillWrittenError: It changed while it was read, or somebody holds it for writing.
        """
        try:
            descriptor = os.open(claim.image, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except PermissionError:
            raise ImageError("the daemon's user may not read the file: mend the producer's umask") from None
        except OSError as error:
            if claim.image.is_symlink():
                raise ImageError("a link, not a file") from error
            raise
        with os.fdopen(descriptor, "rb") as file:
            before = os.fstat(descriptor)
            if not stat.S_ISREG(before.st_mode):
                raise ImageError("not a regular file")
            if before.st_size > max_bytes:
                raise ImageError(f"{before.st_size} bytes are more than inbox.max_file_mb ({max_bytes // 2**20})")
            data = file.read(max_bytes + 1)
            after = os.fstat(descriptor)
            changed = (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns)
            if changed or len(data) != after.st_size or (self._leases and durable.has_writer(descriptor)):
                raise StillWrittenError
            os.fsync(descriptor)
        return data

    def give_back(self, claim: Claim) -> Path:
        """Put an image back into the inbox, where its writer may finish it; returns where it lies now.

        If another file took its name meanwhile, it goes back beside that one.
        """
        folder = self._folders["inbox"] / claim.source.parent
        folder.mkdir(parents=True, exist_ok=True)
        for name in _names(claim.source.name):
            try:
                durable.move(claim.image, folder / name)
            except FileExistsError:
                continue
            self._clear(claim)
            return folder / name
        raise AssertionError("names never end")

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
        folder = self._folders[outcome] / claim.source.parent
        suffixes = _suffixes(outcome)
        free = next(
            name
            for name in _names(claim.source.name)
            if not any(os.path.lexists(folder / (name + suffix)) for suffix in ("", *suffixes))
        )
        record = record | {"outcome": outcome, "filed_as": str(claim.source.parent / free)}
        durable.write(claim.folder / _SIDECAR, durable.to_json(_readable(record)))
        durable.write_json(claim.folder / _DECISION, record)

    def publish(self, claim: Claim) -> dict[str, Any]:
        """Let a decided image appear in its folder, sidecars first; can be repeated after a crash at any point.

        Returns:
            The record, as it stands in the sidecar.
        """
        while True:
            record = json.loads((claim.folder / _DECISION).read_bytes())
            outcome: Outcome = record["outcome"]
            target = self._folders[outcome] / record["filed_as"]
            target.parent.mkdir(parents=True, exist_ok=True)
            parts = [(claim.folder / part, Path(f"{target}{end}")) for part, end in _sidecars(outcome)]
            try:
                # What is not in work/ any more was moved before a crash.
                for part, place in parts:
                    if part.exists():
                        durable.move(part, place)
                sync(target.parent)
                if os.path.lexists(claim.image):
                    durable.move(claim.image, target)
                sync(target.parent)
            except FileExistsError:
                # Somebody else's file took the name since it was chosen: take ours back and choose another.
                for part, place in parts:
                    if not part.exists():
                        with contextlib.suppress(FileNotFoundError):
                            durable.move(place, part)
                self._decide(claim, outcome, record)
                continue
            return _readable(record)

    def finish(self, claim: Claim) -> None:
        """Forget a claim whose image was filed and logged."""
        if claim.marker:
            with contextlib.suppress(OSError):
                (self._folders["inbox"] / claim.source.parent / claim.marker).unlink()
        self._clear(claim)

    def _clear(self, claim: Claim) -> None:
        shutil.rmtree(claim.folder)

    def recover(self, *, interrupted: bool) -> Iterator[Claim]:
        """What an earlier run left in hand; decided ones are to be filed, the others to be judged again.

        Args:
            interrupted: The earlier run died, maybe of one of these images.
        """
        for folder in sorted(path for path in self._work.iterdir() if path.is_dir()):
            claim = _read_claim(folder)
            if claim and (claim.decided or not self._is_spare_copy(claim)):
                yield replace(claim, interrupted=interrupted)
            else:
                # The crash came between making the folder and moving the image, or just before the end.
                shutil.rmtree(folder)

    def _is_spare_copy(self, claim: Claim) -> bool:
        """Whether a claim across file systems died before its last step: the whole image is still in the inbox."""
        source = self._folders["inbox"] / claim.source
        return (
            source.is_file()
            and not source.is_symlink()
            and source.stat().st_dev != claim.image.lstat().st_dev
            and durable.digest(source) == durable.digest(claim.image)
        )

    def begin_again(self, claim: Claim) -> Claim:
        """Count one more attempt, durably, before judging begins."""
        claim = replace(claim, attempts=claim.attempts + 1, interrupted=False)
        claim.write()
        return claim


def _read_claim(folder: Path) -> Claim | None:
    """The claim in a folder of work/; None where there is neither an image nor a decision."""
    try:
        content = json.loads((folder / _CLAIM).read_bytes())
        claim = Claim(
            folder,
            Path(content["source"]),
            content["attempts"],
            content["claimed"],
            content.get("settled", True),
            content.get("marker"),
        )
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        # Not our doing: claim.json is durable before an image comes in. Whatever is there is judged by its own name.
        others = [path for path in folder.iterdir() if path.name not in _OURS and path.suffix != ".part"]
        if not others:
            return None
        claim = Claim(folder, Path(others[0].name), 1, utc(datetime.now(UTC)), settled=True)
    return claim if os.path.lexists(claim.image) or claim.decided else None


def _sidecars(outcome: Outcome) -> list[tuple[str, str]]:
    """Which file of a claim becomes which sidecar."""
    if outcome == "quarantine":
        return [(_SIDECAR, ERROR_SUFFIX)]
    return [(_MAP, MAP_SUFFIX), (_SIDECAR, RECORD_SUFFIX)]


def _suffixes(outcome: Outcome) -> list[str]:
    return [suffix for _, suffix in _sidecars(outcome)]


def _names(name: str) -> Iterator[str]:
    """name.png, name~2.png, name~3.png ...; shortened where the sidecars' names would be too long."""
    stem, suffix = os.path.splitext(name)  # noqa: PTH122 - Path.suffix differs on names that end in a dot
    room = durable.NAME_MAX - _LONGEST_ADDITION - len(os.fsencode(suffix))
    if len(os.fsencode(stem)) > room:
        digest = hashlib.sha256(os.fsencode(name)).hexdigest()[:8]
        stem = os.fsencode(stem)[: room - 9].decode("utf-8", "ignore") + "-" + digest
    yield stem + suffix
    number = 2
    while True:
        yield f"{stem}~{number}{suffix}"
        number += 1


def _readable(record: dict[str, Any]) -> dict[str, Any]:
    """A record whose file names are text: bytes that are no UTF-8 are written as escapes."""
    return {key: readable(value) if isinstance(value, str) else value for key, value in record.items()}


def utc(moment: datetime) -> str:
    """A moment as logs and sidecars write it: UTC, to the millisecond."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
