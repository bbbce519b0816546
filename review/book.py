"""What operators teach the data set: copies of relabelled images in it, and a line for each in `relabelled.jsonl`.

A line is durable before its copy appears, so that a copy can always be told from a file that somebody else put there.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePath
from typing import Any, Self

from filing import durable
from filing.folders import Folders
from filing.names import free_names
from inspection.errors import DatasetError, SolderwatchError
from inspection.files import readable, sync
from inspection.verdict import LABELS, Label
from settings.schema import RELABELLED, Settings


@contextlib.contextmanager
def open_book(dataset: Path) -> Iterator[Book]:
    """Open the book of a data set, and keep others from writing into it meanwhile, as a context."""
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(dataset / RELABELLED, flags, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        sync(dataset)
        yield Book(dataset, descriptor)
    finally:
        os.close(descriptor)


class Books:
    """The books of a line: that of its data set, or with products one for each; a context, which closes them.

    One is open at a time: of two operators none waits for a book that the other has, with another one in his hands.

    Args:
        settings: The line's.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._opened: dict[str | None, Book] = {}
        self._open = contextlib.ExitStack()

    def __enter__(self) -> Self:
        if not self._settings.products:
            self._of(None)
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def enter(self, record: dict[str, Any], act: dict[str, Any], name: str, data: bytes) -> str:
        """Enter an act into the book of the product that judged an image, or else whose path it has; see `Book.enter`.

        Args:
            record: The one beside the image.
            act: What was done.
            name: The image's file name.
            data: Its bytes.

        Returns:
            Where the image is in the line's data set.

        Raises:
            DatasetError: Somebody put the same image there under the other label.
            SolderwatchError: It is of no product that the line has.
        """
        product = self._product(record)
        place = self._of(product).enter(act, name, data)
        return place if product is None else f"{product}/{place}"

    def withdraw(self, record: dict[str, Any], act: dict[str, Any], size: int) -> None:
        """Enter an act after which the image is not to be learned; see `Book.withdraw`."""
        self._of(self._product(record)).withdraw(act, size)

    def _product(self, record: dict[str, Any]) -> str | None:
        if not self._settings.products:
            return None
        product = record.get("product") or self._settings.product_of(PurePath(record["file"]))
        if not isinstance(product, str) or product not in self._settings.products:
            raise SolderwatchError("of no product in the configuration: there is no data set to put it into")
        return product

    def _of(self, product: str | None) -> Book:
        if product not in self._opened:
            self._opened.clear()
            self._open.close()
            folders = Folders({"dataset": self._settings.of_product(product).paths.dataset})
            folders.make()
            self._opened[product] = self._open.enter_context(open_book(folders["dataset"]))
        return self._opened[product]


class Book:
    """The data set as operators fill it; see `open_book`.

    Args:
        dataset: The folder with io/ and nio/.
        descriptor: Of the open and locked `relabelled.jsonl`.
    """

    def __init__(self, dataset: Path, descriptor: int) -> None:
        self._dataset = dataset
        self._descriptor = descriptor
        self._copies = _copies(Path(f"/proc/self/fd/{descriptor}").read_bytes())
        self._by_size: dict[int, set[str]] = {}
        self._digests: dict[tuple[int, ...], str] = {}
        """By inode, size and times: uncompressed images are all of one size, and reading them takes long."""
        for label in LABELS:
            for folder, _, names in os.walk(dataset / label):
                for name in names:
                    path = Path(folder, name)
                    if not name.startswith(".") and path.is_file():
                        self._note(path.stat().st_size, str(path.relative_to(dataset)))

    def _note(self, size: int, place: str) -> None:
        self._by_size.setdefault(size, set()).add(place)

    def enter(self, act: dict[str, Any], name: str, data: bytes) -> str:
        """Write an act down, and see that the image is in the data set under its label and under no other.

        Args:
            act: What was done: with `sha256` and `label`.
            name: The image's file name.
            data: Its bytes.

        Returns:
            Where the image is in the data set.

        Raises:
            DatasetError: Somebody put the same image there under the other label.
        """
        label: Label = act["label"]
        same = self._find(act["sha256"], len(data))
        wrong = [place for place in same if Path(place).parts[0] != label]
        for place in wrong:
            if (act["sha256"], place) not in self._copies:
                raise DatasetError(
                    f"the data set has this very image under the other label: {readable(str(self._dataset / place))}; "
                    "remove it there first"
                )
        right = [place for place in same if Path(place).parts[0] == label]
        if right:
            self._write(act | {"dataset": right[0], "copied": False})
            self._remove(wrong, len(data))
            return right[0]
        folder = self._dataset / label
        folder.mkdir(exist_ok=True)
        sync(self._dataset)
        for free in free_names(name):
            place = f"{label}/{free}"
            if os.path.lexists(self._dataset / place):
                continue
            self._write(act | {"dataset": place, "copied": True})
            self._copies.add((act["sha256"], place))
            self._remove(wrong, len(data))
            try:
                durable.put(self._dataset / place, data)
            except FileExistsError:
                continue
            self._note(len(data), place)
            return place
        raise AssertionError("names never end")

    def withdraw(self, act: dict[str, Any], size: int) -> None:
        """Write an act down, and take the copies of the image that were made here out of the data set.

        Args:
            act: What was done: with `sha256`.
            size: Of the image, in bytes.
        """
        ours = [place for place in self._find(act["sha256"], size) if (act["sha256"], place) in self._copies]
        self._write(act | {"dataset": None, "copied": False})
        self._remove(ours, size)

    def _find(self, sha256: str, size: int) -> list[str]:
        """Where in the data set the very same bytes are."""
        candidates = sorted(self._by_size.get(size, ()))
        return [place for place in candidates if self._digest(self._dataset / place) == sha256]

    def _digest(self, path: Path) -> str | None:
        """The hash of a file as it is now; None where it cannot be read."""
        try:
            found = path.stat()
            key = found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
            if key not in self._digests:
                self._digests[key] = durable.digest(path)
            return self._digests[key]
        except OSError:
            return None

    def _remove(self, places: Sequence[str], size: int) -> None:
        for place in places:
            path = self._dataset / place
            path.unlink(missing_ok=True)
            sync(path.parent)
            self._by_size[size].discard(place)

    def _write(self, line: dict[str, Any]) -> None:
        durable.append_line(self._descriptor, json.dumps(line, allow_nan=False))
        os.fsync(self._descriptor)


def _copies(lines: bytes) -> set[tuple[str, str]]:
    """Hashes and places of all copies that were ever made here; damaged lines tell of none."""
    found = set()
    for line in lines.splitlines():
        with contextlib.suppress(ValueError, KeyError, TypeError, RecursionError):
            act = json.loads(line)
            if act["copied"] is True:
                found.add((str(act["sha256"]), str(act["dataset"])))
    return found
