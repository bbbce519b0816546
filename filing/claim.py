"""A claim: one folder in work/ for one image in hand.

<image>         the image under its own name, moved here from the inbox
claim.json      where it came from, when, and how often judging it was begun
cam.part        the map, complete before the decision
sidecar.part    name.ext.json or name.ext.error.json to be
decision.json   the commit point: from here on the image is filed as it says, whatever dies
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filing import durable
from filing.folders import Folders
from filing.names import shortened, utc
from inspection.files import CLAIMED_SUFFIX

CLAIM, DECISION, MAP, SIDECAR, COPY = "claim.json", "decision.json", "cam.part", "sidecar.part", "copy.part"
_OURS = {name + end for name in (CLAIM, DECISION, MAP, SIDECAR, COPY) for end in ("", ".new")}
_CLAIM_FOLDER = re.compile(r"\d{8}T\d{6}-\w+")


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
        end = f".{self.folder.name}{CLAIMED_SUFFIX}"
        return shortened(self.source.name, durable.NAME_MAX - len(end)) + end

    @property
    def decided(self) -> bool:
        """Whether there is a decision, so that only filing is left to do."""
        return (self.folder / DECISION).exists()

    def content(self) -> dict[str, Any]:
        """What claim.json says."""
        return {
            "source": str(self.source),
            "claimed": self.claimed,
            "attempts": self.attempts,
            "settled": self.settled,
            "marker": self.marker,
            "across": self.across,
        }

    def write(self) -> None:
        """Make a claim durable that has changed."""
        durable.write_json(self.folder / CLAIM, self.content())


def claim_folders(work: Path) -> list[Path]:
    """The folders in work/ that are claims, the oldest first; a file system's own, such as lost+found, are not."""
    return sorted(path for path in work.iterdir() if _CLAIM_FOLDER.fullmatch(path.name))


def read_claim(folder: Path) -> Claim | None:
    """The claim in a folder of work/; None where nothing was claimed."""
    try:
        content = json.loads((folder / CLAIM).read_bytes())
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


@contextlib.contextmanager
def inbox_of(claim: Claim, folders: Folders) -> Iterator[Path]:
    """The sub-folder of the inbox that an image came from; gone where something else has its name."""
    with contextlib.ExitStack() as stack:
        try:
            inbox = stack.enter_context(folders.beneath("inbox", claim.source.parent))
        except NotADirectoryError as error:
            raise FileNotFoundError(errno.ENOENT, "no folder any more", error.filename) from None
        yield inbox


@contextlib.contextmanager
def place_of(claim: Claim, folders: Folders) -> Iterator[Path]:
    """Where the image lies: in work, or still in the inbox if it is to be copied."""
    if not claim.across or os.path.lexists(claim.image):
        yield claim.image
    else:
        with inbox_of(claim, folders) as inbox:
            yield inbox / claim.original


def remove_original(claim: Claim, folders: Folders) -> None:
    """The copy in work is whole, and its decision durable."""
    if claim.across and os.path.lexists(claim.image):
        with contextlib.suppress(FileNotFoundError), inbox_of(claim, folders) as inbox:
            (inbox / claim.original).unlink()


def remove(folder: Path) -> None:
    """Remove a claim, if it is still there; never anything that is not ours, such as an image."""
    with contextlib.suppress(FileNotFoundError):
        # The claim before the decision: what is interrupted in between was decided, and is not judged again.
        for name in (CLAIM, DECISION):
            (folder / name).unlink(missing_ok=True)
        try:
            folder.rmdir()
        except OSError:
            for path in folder.iterdir():
                if path.name in _OURS:
                    path.unlink()
            folder.rmdir()
