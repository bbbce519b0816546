"""The way from a handle to an image on disk: one that the ledger knows, or of a data set; through no link."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filing.folders import AwayError, Folders
from filing.ledger import Ledger
from filing.names import free_names
from inspection.errors import SolderwatchError
from inspection.verdict import LABELS, Label
from review.judged import read, read_map, read_record
from review.page.seals import Handle
from settings import Settings


class GoneError(SolderwatchError):
    """The image is not there any more, or not the one that was judged."""


@dataclass(frozen=True)
class Found:
    """A judged image where it lies now.

    Attributes:
        outcome: The folder.
        path: In that folder.
        record: The one beside it.
    """

    outcome: Label
    path: Path
    record: dict[str, Any]


class Archive:
    """Reads judged images, and those of data sets.

    Args:
        settings: The line's.
    """

    def __init__(self, settings: Settings) -> None:
        self._ledger = settings.paths.ledger
        self._largest = settings.inbox.max_file_mb * 2**20
        self._admits = settings.inbox.admits
        data_sets = {_data_set(name): settings.of_product(name).paths.dataset for name in settings.products}
        self._data_sets = data_sets or {_data_set(""): settings.paths.dataset}
        self._folders = Folders({label: settings.paths.line[label] for label in LABELS} | self._data_sets)

    @contextmanager
    def _beneath(self, name: str, folder: Path = Path()) -> Iterator[Path]:
        try:
            with self._folders.beneath(name, folder) as place:
                yield place
        except AwayError:
            try:
                self._folders.look(name)
            except AwayError as error:
                raise SolderwatchError(f"paths.{name}: {error.strerror}: mount it") from None
            with self._folders.beneath(name, folder) as place:
                yield place

    @contextmanager
    def data_set(self, product: str) -> Iterator[Path]:
        """The folder of a product's data set, as a path that stays with it; of the line's, where it has no products.

        Raises:
            SolderwatchError: It is not there.
        """
        if _data_set(product) not in self._data_sets:
            raise SolderwatchError(f"no product {product!r} any more")
        with self._beneath(_data_set(product)) as place:
            yield place

    def record(self, outcome: Label, path: Path) -> dict[str, Any] | None:
        """The record of the image that lies there; None where there is none."""
        try:
            with self._folder(outcome, path.parent) as folder:
                return read_record(folder / path.name)
        except GoneError:
            return None

    def find(self, handle: Handle) -> Found:
        """Where the image of a handle lies now: there, or where a word has moved it.

        Raises:
            GoneError: Nowhere.
        """
        others = [label for label in LABELS if label != handle.outcome]
        for outcome in (handle.outcome, *others):
            for name in (handle.path.name, *_few(handle.path.name)):
                path = handle.path.with_name(name)
                record = self.record(outcome, path)
                if record and record["decision_id"] == handle.decision:
                    return Found(outcome, path, record)
                if record is None and name != handle.path.name:
                    break
        raise GoneError("the image is gone")

    def image(self, handle: Handle) -> bytes:
        """The bytes of an image.

        Raises:
            GoneError: It is not there, or neither the ledger nor a data set knows it.
        """
        if handle.kind == "label":
            return self._labelled(handle)
        found = self._known(handle)
        return self._read(found.outcome, found.path)

    def _labelled(self, handle: Handle) -> bytes:
        """An image of a data set; none but those that a training reads."""
        if not self._admits(handle.path.name) or _data_set(handle.product) not in self._data_sets:
            raise GoneError("no image of a data set")
        data = self._read(_data_set(handle.product), handle.outcome / handle.path)
        if handle.decision and hashlib.sha256(data).hexdigest() != handle.decision:
            raise GoneError("another image lies there now")
        return data

    def _read(self, name: str, path: Path) -> bytes:
        with self._folder(name, path.parent) as folder:
            place = folder / path.name
            try:
                if place.lstat().st_size > self._largest:
                    raise GoneError("larger than inbox.max_file_mb")
                return read(place)
            except OSError as error:
                raise GoneError(f"cannot be read: {error.strerror}") from None

    def map(self, handle: Handle) -> bytes | None:
        """The picture of the map beside an image; None where there is none."""
        found = self._known(handle)
        with self._folder(found.outcome, found.path.parent) as folder:
            return read_map(folder / found.path.name)

    def _known(self, handle: Handle) -> Found:
        """Where an image lies, if it is one that the ledger knows."""
        found = self.find(handle) if handle.decision else Found(handle.outcome, handle.path, {})
        with Ledger(self._ledger) as ledger:
            # After a word the ledger may be a moment late: then it still knows where the image lay.
            if not any(ledger.find(*place) for place in ((found.outcome, found.path), (handle.outcome, handle.path))):
                raise GoneError("no image that was judged")
        return found

    @contextmanager
    def _folder(self, name: str, folder: Path) -> Iterator[Path]:
        try:
            with self._beneath(name, folder) as place:
                yield place
        except (FileNotFoundError, NotADirectoryError):
            raise GoneError("the image is gone") from None
        except SolderwatchError as error:
            raise GoneError(str(error)) from None


def _data_set(product: str) -> str:
    """What the folder of a data set is called among the others."""
    return f"dataset/{product}" if product else "dataset"


def _few(name: str) -> Iterator[str]:
    """The names that an image gets where its own is taken; not for ever."""
    names = free_names(name)
    for _ in range(50):
        found = next(names)
        if found != name:
            yield found
