"""Takes an operator's word for an image that was judged: io or nio, against the verdict or confirming it; or no more.

In this order, so that a crash at any point leaves the image whole in exactly one of io and nio, and the same command
brings it to its end: the book and the copy in the data set; the sidecars under the other folder; the image; the log;
its board's record; then the sidecars that it left behind.
"""

from __future__ import annotations

import contextlib
import getpass
import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

from filing import durable
from filing.boards import BoardFiles, note_of
from filing.folders import Folders
from filing.ledger import Place, tell
from filing.logs import Log
from filing.names import free_names, utc
from filing.words import HISTORY, acts, standing
from inspection.errors import SolderwatchError
from inspection.files import MAP_SUFFIX, RECORD_SUFFIX, readable, sync
from inspection.verdict import LABELS, Label
from review.book import Books
from review.judged import TEXTS, read, read_map, read_record, triple
from settings import Settings

LOGGED = ("file", "verdict", "nio_probability", "model", "sha256", "decision_id", "outcome", "filed_as")
"""What of a record stands in the log line of a word."""


@dataclass(frozen=True)
class Refused:
    """An image that was not relabelled, and why."""

    image: str
    why: str


def relabel(
    settings: Settings,
    images: Sequence[str],
    label: Label | None,
    by: str,
    log: Log,
    remarks: Mapping[str, str | bool] = MappingProxyType({}),
) -> Iterator[Refused]:
    """Label judged images, move those that are in the other folder, and copy all to the data set.

    Args:
        settings: The configuration.
        images: Paths of images, or of their sidecars, in `paths.io` and `paths.nio`.
        label: What they are; None takes the last word back: the one before stands again, or without one the verdict.
        by: Who says so.
        log: Told of each image.
        remarks: What else is kept of the word: `reason`, `comment`, `shown`; with `disputed` two people disagree, and
            the image is in nio and out of the data set until a third look.

    Yields:
        Those that could not be; the others are done all the same.
    """
    paths = settings.paths
    folders = Folders({"io": paths.io, "nio": paths.nio, "dataset": paths.dataset})
    folders.make()
    folders.look()
    boards = BoardFiles(settings, log) if settings.boards.complete else None
    with Books(settings) as books:
        operator = _Operator(folders, books, label, readable(by), log, boards, remarks)
        try:
            for image in dict.fromkeys(_image_of(os.path.abspath(image)) for image in images):  # noqa: PTH100
                try:
                    operator.relabel(Path(image))
                except SolderwatchError as error:
                    yield Refused(readable(image), str(error))
                except OSError as error:
                    where = f"{error.filename}: " if error.filename else ""
                    yield Refused(readable(image), f"{where}{error.strerror or error}")
        finally:
            tell(settings, operator.touched)


def login_name() -> str:
    """Who sits there, also behind sudo."""
    try:
        return os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):
        return f"user {os.getuid()}"


def _image_of(path: str) -> str:
    """The image that a path means: the one it names, or the one whose sidecar it names."""
    for suffix in (MAP_SUFFIX, RECORD_SUFFIX):
        if path.endswith(suffix) and not os.path.lexists(path + RECORD_SUFFIX):
            return path.removesuffix(suffix)
    return path


@dataclass(frozen=True)
class _Operator:
    """Somebody who gives images a label."""

    folders: Folders
    books: Books
    label: Label | None
    name: str
    log: Log
    boards: BoardFiles | None
    remarks: Mapping[str, str | bool]
    touched: list[Place] = field(default_factory=list)
    """Where images lay that were relabelled, and where they lie now."""

    def relabel(self, image: Path) -> None:
        here, relative = self._locate(image)
        try:
            with self.folders.beneath(here, relative.parent) as folder:
                self._relabel(here, folder / relative.name, relative)
        except NotADirectoryError:
            raise SolderwatchError("the way there leads through a link or a file") from None

    def _locate(self, image: Path) -> tuple[Label, Path]:
        for here in LABELS:
            for root in (self.folders[here], Path(os.path.realpath(self.folders[here]))):
                if image.is_relative_to(root) and image != root:
                    return here, image.relative_to(root)
        io, nio = self.folders["io"], self.folders["nio"]
        raise SolderwatchError(f"not in {io} or {nio}: only images that were judged can be relabelled")

    def _relabel(self, here: Label, image: Path, relative: Path) -> None:
        record = read_record(image)
        if record is None and not image.exists():
            raise SolderwatchError("no such image; name it as it lies in io or nio")
        if record is None:
            raise SolderwatchError(f"no judged image: {readable(relative.name)}{RECORD_SUFFIX} beside it is no record")
        self.touched.append((here, relative))
        label, disputed = self._lasting(record), self._leaves_disputed(record)
        target: Label = "nio" if disputed else label or record["verdict"]
        if here != target and not os.path.lexists(image):
            self._end(here, image, relative, record)
            return
        data = read(image)
        if hashlib.sha256(data).hexdigest() != record["sha256"]:
            raise SolderwatchError("its bytes are not those that were judged; put it into the inbox to have it judged")
        at = utc(datetime.now(UTC))
        known = {key: record[key] for key in TEXTS}
        act = {**known, "judged": record.get("time"), "label": label, "by": self.name, "at": at, **self.remarks}
        if self.label is None:
            act |= {"taken_back": True} | ({"disputed": True} if disputed else {})
        place = None
        if label is None or disputed:
            self.books.withdraw(record, act, len(data))
        else:
            place = self.books.enter(record, act, relative.name, data)
        history = [*acts(record), {"to": self.label, "by": self.name, "at": at, **self.remarks}]
        record = {**record, "outcome": target, HISTORY: history}
        if here == target:
            _rewrite(image, record)
            self._tell(record, place)
        else:
            self._tell(self._move(target, image, relative, record), place)
            _remove_sidecars(image)

    def _lasting(self, record: dict[str, Any]) -> Label | None:
        """The word that stands after this one."""
        if self.label is not None:
            return self.label
        words: list[Label] = [word["to"] for word in standing(record)]
        if not words:
            raise SolderwatchError("nobody has said anything of it that could be taken back")
        return words[-2] if words[1:] else None

    def _leaves_disputed(self, record: dict[str, Any]) -> bool:
        """Whether people disagree after this word: it says so, or it takes the third look back."""
        if self.label is not None:
            return bool(self.remarks.get("disputed"))
        return any(word.get("disputed") is True for word in standing(record)[-2:-1])

    def _tell(self, record: dict[str, Any], place: str | None) -> None:
        act = record[HISTORY][-1]
        fields = {key: record.get(key) for key in LOGGED}
        told = {"label": act["to"], **{key: value for key, value in act.items() if key != "to"}}
        told["dataset"] = place and readable(place)
        self.log.info("relabelled", **fields, **told)
        if self.boards and (note := note_of(record)):
            # Told also where an earlier try was killed just before that.
            self.boards.revise({note.key: [note]}, again=[note.key])

    def _move(self, target_folder: Label, image: Path, relative: Path, record: dict[str, Any]) -> dict[str, Any]:
        """Move an image to another folder, its sidecars first; nothing there is overwritten."""
        picture = read_map(image)
        with self.folders.beneath(target_folder, relative.parent, make=True) as folder:
            for name in free_names(relative.name):
                target, place = folder / name, relative.parent / name
                there = [path for path in triple(target) if os.path.lexists(path)]
                found = read_record(target)
                if there and not (found and found["decision_id"] == record["decision_id"]):
                    continue
                self.touched.append((target_folder, place))
                try:
                    # Left by an earlier try. The image itself only where it had to be copied.
                    if found and target in there:
                        durable.move(image, target)
                        return {**record, **found}
                    for path in there:
                        path.unlink()
                    record["filed_as"] = readable(str(place))
                    _appear(target, image, record, picture)
                except FileExistsError:
                    continue  # the daemon was faster
                return record
        raise AssertionError("names never end")

    def _end(self, here: Label, image: Path, relative: Path, record: dict[str, Any]) -> None:
        """An earlier try was killed after it had moved the image: only what it left behind is to be removed."""
        there = LABELS[1 - LABELS.index(here)]
        with contextlib.suppress(FileNotFoundError), self.folders.beneath(there, relative.parent) as folder:
            for name in free_names(relative.name):
                if not os.path.lexists(folder / name):
                    break
                found = read_record(folder / name)
                if found and found["decision_id"] == record["decision_id"] and acts(found):
                    self.touched.append((there, relative.parent / name))
                    self._tell(found, None)
                    _remove_sidecars(image)
                    return
        raise SolderwatchError("no such image")


def _rewrite(image: Path, record: dict[str, Any]) -> None:
    """Replace a record in one step; its time, which tells how long ago the image was filed, stays."""
    path = Path(f"{image}{RECORD_SUFFIX}")
    new = path.with_name(f"{path.name}.new")
    filed = path.stat()
    durable.write(new, durable.to_json(record))
    os.utime(new, ns=(filed.st_atime_ns, filed.st_mtime_ns))
    new.replace(path)
    sync(path.parent)


def _appear(target: Path, image: Path, record: dict[str, Any], picture: bytes | None) -> None:
    """Let sidecars and then the image appear under a new name; the sidecars go again if it cannot."""
    _, map_path, record_path = triple(target)
    begun: list[Path] = []
    try:
        # The record first: it tells whose leftovers these are.
        for path, data in ((record_path, durable.to_json(record)), (map_path, picture)):
            if data is not None:
                begun.append(path)
                durable.put(path, data)
        durable.move(image, target)
        sync(target.parent)
    except OSError as error:
        # If the image is there already, it is there with its sidecars, and the same command ends what was begun.
        if not os.path.lexists(target):
            if isinstance(error, FileExistsError):
                begun.pop()  # it is somebody else's
            for path in reversed(begun):
                path.unlink(missing_ok=True)
        raise


def _remove_sidecars(image: Path) -> None:
    """The record last: with it an interrupted removal is taken up again."""
    for path in triple(image)[1:]:
        path.unlink(missing_ok=True)
    sync(image.parent)
