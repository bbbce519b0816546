"""Goes through the inbox: which files are images, and which are passed over, and why.

What is in the course of delivery is neither: temporary names, the producer's done-markers, images that another daemon
has in hand as a copy.
"""

from __future__ import annotations

import os
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Literal

from filing.logs import Log
from inspection.files import readable
from settings.schema import InboxSettings

Reason = Literal["suffix", "sidecar", "link", "special"]

MENDS: dict[Reason, str] = {
    "suffix": "no image by inbox.suffixes: list its suffix there, or keep it out of the inbox",
    "sidecar": "named like the map or record of a judged image: remove it, or rename it if it is an image",
    "link": "links are not followed: deliver the file or folder itself",
    "special": "no file but a socket, a pipe or a device: remove it",
}
"""What a file is passed over for, and what to do."""


@dataclass(frozen=True)
class Passed:
    """Files that are passed over for one reason: how many, and the path of one of them inside the inbox."""

    count: int
    example: str

    def told(self, reason: Reason) -> str:
        """In a line, with what to do."""
        return f"{self.count} {reason}, such as {self.example}: {MENDS[reason]}"


class PassedOver:
    """Counts what is passed over, and keeps one example of each reason.

    Args:
        root: The inbox.
        before: The count before this one; what was its example stays one while it is there.

    Attributes:
        examples: The path of one file of each reason.
    """

    def __init__(self, root: Path, before: PassedOver | None = None) -> None:
        self._root = root
        self._before: dict[Reason, str] = before.examples if before else {}
        self._counts: Counter[Reason] = Counter()
        self.examples: dict[Reason, str] = {}

    def add(self, reason: Reason, path: str) -> None:
        """Count one file."""
        if reason not in self.examples or self._before.get(reason) == path:
            self.examples[reason] = path
        self._counts[reason] += 1

    def report(self) -> dict[Reason, Passed]:
        """What was passed over, by reason."""
        return {
            reason: Passed(count, readable(os.path.relpath(self.examples[reason], self._root)))
            for reason, count in self._counts.items()
        }


def walk(
    root: Path,
    settings: InboxSettings,
    passed_over: PassedOver,
    unreadable: Callable[[str, OSError], None] = lambda *_: None,
    visit: Callable[[str], None] = lambda _: None,
) -> Iterator[os.DirEntry[str]]:
    """All images in a folder tree by name and kind; what is in there may vanish meanwhile.

    Args:
        root: The inbox.
        settings: What images are called.
        passed_over: Counts what is none.
        unreadable: Told of each path that cannot be looked at.
        visit: Told of every folder before it is looked at.
    """
    folders = [str(root)]
    while folders:
        folder = folders.pop()
        visit(folder)
        try:
            entries = deque(os.scandir(folder))
        except OSError as error:
            unreadable(folder, error)
            continue
        # Each remembers its stat: of a large backlog that is too much to keep.
        while entries:
            entry = entries.popleft()
            try:
                kind = _kind_of(entry, settings)
            except OSError as error:
                unreadable(entry.path, error)
                continue
            if kind == "image":
                yield entry
            elif kind == "folder":
                folders.append(entry.path)
            elif kind != "temporary":
                passed_over.add(kind, entry.path)


def _kind_of(entry: os.DirEntry[str], settings: InboxSettings) -> Reason | Literal["image", "folder", "temporary"]:
    if entry.name.startswith("."):
        return "temporary"
    if entry.is_dir(follow_symlinks=False):
        return "folder"
    kind = settings.kind_of(entry.name)
    if kind == "temporary" or entry.is_file(follow_symlinks=False):
        return kind
    if entry.is_symlink():
        return "link"
    entry.stat(follow_symlinks=False)  # or it is none of all these because it has vanished
    return "special"


@dataclass(frozen=True)
class Survey:
    """What is in the inbox.

    Attributes:
        waiting: Images, done or still being written.
        passed_over: What is none, by reason.
        products: The images of each product; of none of them by None.
    """

    waiting: int
    passed_over: dict[Reason, Passed]
    products: Mapping[str | None, int] = field(default_factory=dict)


def survey(root: Path, settings: InboxSettings, product_of: Callable[[PurePath], str | None] | None = None) -> Survey:
    """Count what is in the inbox; what cannot be looked at is left out.

    Args:
        root: The inbox.
        settings: What images are called.
        product_of: The product of a path inside the inbox; None: products are not asked for.
    """
    passed_over = PassedOver(root)
    if product_of is None:
        return Survey(sum(1 for _ in walk(root, settings, passed_over)), passed_over.report())
    images = walk(root, settings, passed_over)
    products = Counter(product_of(PurePath(os.path.relpath(image.path, root))) for image in images)
    return Survey(products.total(), passed_over.report(), products)


class PassedOverLog:
    """Says once of each reason that files are passed over, and again when that had ended.

    Args:
        log: Told.
        quiet_s: For so long one and the same file is there before it is told of: a writer with temporary names of its
            own has renamed it by then.
        clock: Monotonic seconds.
    """

    def __init__(self, log: Log, quiet_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._log = log
        self._quiet_s = quiet_s
        self._clock = clock
        self._since: dict[Reason, tuple[str, float]] = {}
        self._told: set[Reason] = set()

    def tell(self, found: Mapping[Reason, Passed], *, at_once: bool = False) -> None:
        """Say what is new.

        Args:
            found: In the last whole scan.
            at_once: Do not wait for the quiet time: there will be no other scan.
        """
        now = self._clock()
        self._told &= found.keys()
        self._since = {reason: since for reason, since in self._since.items() if reason in found}
        for reason, passed in found.items():
            example, since = self._since.get(reason, ("", now))
            if example != passed.example:
                since = now
            self._since[reason] = passed.example, since
            if reason not in self._told and (at_once or now - since >= self._quiet_s):
                self._told.add(reason)
                self._log.warning(
                    "passed_over", reason=reason, count=passed.count, example=passed.example, mend=MENDS[reason]
                )
