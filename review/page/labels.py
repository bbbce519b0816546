"""Labels to check, as a queue: images that people dispute, and those of the data set that its training doubts.

What is disputed has a record, and takes a word like any other image. What a training doubts lies in the data set: it is
shown with its label and the price of that, and is answered in `labels.csv`, where the next training reads it.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from filing.doubts import Doubts, Price, images_by_part, read_doubts, units_of
from filing.labels import Answer, Said, open_answers
from filing.ledger import Image, Ledger
from filing.logs import Log
from filing.names import utc
from filing.opinions import Opinions
from inspection.errors import SolderwatchError
from inspection.files import readable
from inspection.image import Limits, open_stack
from inspection.verdict import LABELS, Label
from review.page.archive import Archive
from review.page.seals import Handle, Seals
from review.page.words import Speaker, TakenError
from settings import Settings

_LISTED_S = 60.0
_VIEWS, _PAGES = 12, 24


@dataclass(frozen=True)
class Doubted:
    """An image of the data set whose label is to be checked.

    Attributes:
        handle: Without a hash yet.
        price: Of its part.
        part: All images of the part that have this label.
    """

    handle: Handle
    price: Price
    part: list[str]


class Labels:
    """The labels of a line's data sets.

    Args:
        settings: Its configuration.
        archive: Where the images are.
        seals: Of their names.
        log: Told of each answer.
    """

    def __init__(self, settings: Settings, archive: Archive, seals: Seals, log: Log) -> None:
        self._archive, self._seals, self._log = archive, seals, log
        self._own = {name: settings.of_product(name) for name in settings.products} or {"": settings}
        self._limits = Limits.of(settings.inbox)
        self._listed: dict[str, tuple[float, dict[tuple[Label, str], list[str]]]] = {}

    def doubts(self, product: str | None = None) -> Iterator[tuple[str, Doubts]]:
        """What the newest training of each product doubts.

        Raises:
            SolderwatchError: A report is damaged, or a line of the answers is wrong.
        """
        for name in self._own if product is None else self._own.keys() & {product}:
            if found := read_doubts(self._own[name], self._images(name)):
                yield name, found

    def open(self, product: str | None = None) -> Iterator[Doubted]:
        """The images that nobody has answered, the dearest first; see `doubts` for what it raises."""
        for name, found in self.doubts(product):
            images = self._images(name)
            for price in found.open:
                part = images.get((price.label, price.part), [])
                for place in part:
                    if place not in found.answers:
                        yield Doubted(_handle(place, name), price, part)

    def _images(self, product: str) -> dict[tuple[Label, str], list[str]]:
        """The images of a data set by part: listed now and then, for a large one takes a while."""
        at, images = self._listed.get(product, (-_LISTED_S, {}))
        if time.monotonic() - at > _LISTED_S:
            images = images_by_part(self._own[product], LABELS)
            self._listed[product] = time.monotonic(), images
        return images

    def item(self, doubted: Doubted) -> dict[str, Any] | None:
        """What the browser is told of an image; None where it is gone or cannot be read."""
        handle, product = doubted.handle, doubted.handle.product
        try:
            data = self._archive.image(handle)
            pages = len(open_stack(data, self._limits))
        except SolderwatchError:
            return None
        own = self._own[product]
        units = units_of(own.paths.dataset / _place(handle), own)
        others = [_handle(place, product) for place in doubted.part if place != _place(handle)][:_VIEWS]
        return {
            "seal": self._seals.seal(_handle(_place(handle), product, hashlib.sha256(data).hexdigest())),
            "file": readable(_place(handle)),
            "product": product,
            "board": readable(units.board or ""),
            "joint": readable(units.joint or ""),
            "view": readable(units.view or ""),
            "pages": min(pages, _PAGES),
            "page": 0,
            "label": handle.outcome,
            "says": f"Labelled {handle.outcome}. The training: {doubted.price.cost}",
            "scores": None,
            "map": False,
            "notes": [],
            "reasons": [],
            "views": [{"seal": self._seals.seal(one), "name": self._view(one)} for one in others],
            "neighbours": [],
            "words": [],
        }

    def _view(self, handle: Handle) -> str:
        """Which view of its part an image is; the file's name where that does not say."""
        own = self._own[handle.product]
        return readable(units_of(own.paths.dataset / _place(handle), own).view or handle.path.name)

    def answer(self, handle: Handle, label: Label | Literal["disputed"], speaker: Speaker, comment: str = "") -> Answer:
        """Answer what the label of an image is; durable when it returns.

        Raises:
            TakenError: Somebody else has answered it since it was shown.
            SolderwatchError: It is gone, or `labels.csv` cannot be read.
        """
        self._archive.image(handle)  # the one that was looked at
        answer: Answer = "disputed" if label == "disputed" else "confirmed" if label == handle.outcome else "changed"
        said = Said(_place(handle), answer, readable(speaker.name), utc(datetime.now(UTC)), comment)
        with self._archive.data_set(handle.product) as folder, open_answers(folder) as answers:
            before = answers.last(said.file)
            if before and (before.by, before.answer) == (said.by, said.answer):
                return answer  # that it was taken was lost on the way
            if before:
                raise TakenError(f"{before.by or 'somebody'} was faster: {before.answer}")
            answers.add(said)
        self._tell(said, handle, speaker)
        return answer

    def take_back(self, handle: Handle, speaker: Speaker) -> None:
        """Take one's own answer back.

        Raises:
            TakenError: It is somebody else's.
            SolderwatchError: `labels.csv` cannot be read.
        """
        with self._archive.data_set(handle.product) as folder, open_answers(folder) as answers:
            before = answers.last(_place(handle))
            if before is None:
                return
            if before.by != readable(speaker.name):
                raise TakenError("the last answer on it is not yours")
            answers.remove_last(before.file)
        self._tell(Said(before.file, before.answer, before.by), handle, speaker, taken_back=True)

    def _tell(self, said: Said, handle: Handle, speaker: Speaker, *, taken_back: bool = False) -> None:
        self._log.info(
            "label_answered",
            file=readable(said.file),
            product=handle.product or None,
            answer=said.answer,
            taken_back=taken_back,
            by=said.by,
            comment=said.comment,
            address=speaker.address,
        )


def _handle(place: str, product: str, sha256: str = "") -> Handle:
    """An image of a data set, by its path there."""
    label, *below = PurePosixPath(place).parts
    return Handle("io" if label == "io" else "nio", Path(*below), sha256, "label", product)


def _place(handle: Handle) -> str:
    """The path of an image below its data set's folder."""
    return f"{handle.outcome}/{handle.path.as_posix()}"


def disputed(who: str, product: str | None, ledger: Ledger, opinions: Opinions) -> Iterator[Image]:
    """Judged images that need a third look, by somebody who has not said anything of them."""
    for subject in opinions.subjects(product):
        if subject.disputed and who not in {word.by for word in subject.words}:
            path = Path(subject.words[-1].file)
            for place in (path, *(path.with_stem(f"{path.stem}~{number}") for number in (2, 3))):
                if image := ledger.find("nio", place):
                    yield image
                    break
