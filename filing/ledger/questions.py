"""What programs ask the ledger; each answer takes milliseconds, also over millions of images.

Who reads never makes the daemon wait: each answer is a short reading of its own, and longer lists come in pages that
go on after the last image of the page before.
"""

from __future__ import annotations

import heapq
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

from filing.decisions import Outcome
from filing.ledger.answers import Count, DayCount, Image, OpenBoard, Spoken, Summary
from filing.ledger.records import OUTCOMES, milliseconds, moment
from filing.ledger.schema import APPLICATION, COLUMNS, VERSION
from inspection.errors import LedgerError

_PAGE = 500
_FIRST, _LAST = (0, -1.0, 0, -1), 2**62
_RATE_MS = 300_000
_NEAR = 20_000
_EPOCH = date(1970, 1, 1)
# Left to itself the planner scans a year's images now and then.
_BY_TIME, _BY_BOARD, _TO_REVIEW = (f"image INDEXED BY image_{index}" for index in ("by_time", "by_board", "to_review"))
_FIELDS = ", ".join(["image.id", "image.outcome", "path", "name", *(f"image.{name}" for name in COLUMNS)])


class Ledger:
    """The ledger, open for reading; use it as a context, for as long as one request takes.

    Args:
        path: `paths.ledger`.

    Raises:
        LedgerError: There is none, or none that can be read; also by all methods.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        # Where nobody writes, no file is made for those who read beside a writer: it would be in the daemon's way, as
        # it would belong to this user.
        how = "mode=ro" if os.path.lexists(f"{path}-wal") else "mode=ro&immutable=1"
        try:
            self._database = sqlite3.connect(f"file:{quote(os.fsencode(path))}?{how}", uri=True, timeout=1.0)
        except sqlite3.Error as error:
            raise self._told(error) from None
        try:
            self._check_marks()
        except BaseException:
            self._database.close()
            raise

    def _check_marks(self) -> None:
        marks = [self._run(f"PRAGMA {name}")[0][0] for name in ("application_id", "user_version")]
        if marks != [APPLICATION, VERSION]:
            raise LedgerError(f"{self._path}: no ledger of this version: solderwatch reindex builds it")

    def _told(self, error: sqlite3.Error) -> LedgerError:
        return LedgerError(f"{self._path}: {error}: the daemon mends it, or solderwatch reindex")

    def _run(self, query: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        try:
            return self._database.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise self._told(error) from None

    def products(self) -> list[str]:
        """All that records name; an empty one for those that name none."""
        return [product for (product,) in self._run("SELECT DISTINCT product FROM tally ORDER BY product")]

    def summary(self, now: datetime | None = None) -> Summary:
        """How many images there are, what was last, how fast it goes.

        Args:
            now: If not by this computer's clock.
        """
        query = "SELECT product, outcome, word, sum(images) FROM tally GROUP BY product, outcome, word"
        counts = tuple(_count(*row) for row in self._run(query))
        products = list(dict.fromkeys(count.product for count in counts))
        latest = [
            self._images(_BY_TIME, "product = ? ORDER BY time DESC, image.id DESC LIMIT 1", (name,))
            for name in products
        ]
        end = milliseconds(now or datetime.now(UTC))
        query = "SELECT count(*) FROM image WHERE product = ? AND time > ? AND time <= ?"
        recent = sum(self._run(query, (name, end - _RATE_MS, end))[0][0] for name in products)
        return Summary(
            complete=bool(self._run("SELECT complete FROM state")[0][0]),
            counts=counts,
            last=max((image for images in latest for image in images), key=lambda image: image.time, default=None),
            per_minute=recent * 60_000 / _RATE_MS,
        )

    def days(self, since: date, until: date, product: str | None = None) -> list[DayCount]:
        """What was judged on the days from one until before another.

        Args:
            since: In UTC.
            until: In UTC.
            product: Only of this one.
        """
        found = self._run(
            "SELECT day, product, outcome, word, images FROM tally"
            " WHERE day >= ? AND day < ? AND product = ifnull(?, product) ORDER BY day, product, outcome, word",
            ((since - _EPOCH).days, (until - _EPOCH).days, product),
        )
        return [DayCount(_EPOCH + timedelta(days), _count(*row)) for days, *row in found]

    def find(self, outcome: Outcome, path: Path) -> Image | None:
        """The image that lies there."""
        folder = os.fsencode(path.parent) if path.parent.parts else b""
        where = "folder.outcome = ? AND folder.path = ? AND image.name = ?"
        return next(iter(self._images("image", where, (OUTCOMES.index(outcome), folder, os.fsencode(path.name)))), None)

    def board(self, board: str, product: str | None = None, since: datetime | None = None) -> list[Image]:
        """The images of a board, by joint and view.

        Args:
            board: Its serial number.
            product: Only of this one; serial numbers of two products may be the same.
            since: Only those that were judged since then; a serial number may come again.
        """
        where = "board = ? AND board <> '' AND time >= ?"
        values: list[object] = [board, milliseconds(since) if since else 0]
        if product is not None:
            where, values = f"{where} AND product = ?", [*values, product]
        return self._images(_BY_BOARD, f"{where} ORDER BY joint, view, time, image.id", values)

    def boards(self, beginning: str = "", count: int = 20) -> list[str]:
        """The first serial numbers that begin like this."""
        found: list[str] = []
        query = "SELECT board FROM image WHERE board <> '' AND board {} ? ORDER BY board LIMIT 1"
        row = self._run(query.format(">="), (beginning,))
        while row and row[0][0].startswith(beginning) and len(found) < count:
            found.append(row[0][0])
            row = self._run(query.format(">"), (found[-1],))
        return found

    def images(
        self, product: str | None = None, since: datetime | None = None, until: datetime | None = None
    ) -> Iterator[Image]:
        """All images that were judged from one time until before another, oldest first, product by product.

        The ledger may be written to, and this be closed and opened meanwhile: no reading takes longer than a page.
        """
        end = milliseconds(until) if until else _LAST
        for name in self.products() if product is None else [product]:
            last = (milliseconds(since) if since else 0, -1)
            where = "product = ? AND time < ? AND (time, image.id) > (?, ?) ORDER BY time, image.id LIMIT ?"
            while page := self._images(_BY_TIME, where, (name, end, *last, _PAGE)):
                yield from page
                last = (milliseconds(page[-1].time), page[-1].id)

    def to_review(
        self, product: str | None = None, board: str | None = None, after: Image | None = None, count: int = 50
    ) -> list[Image]:
        """The next nio images without a word: unidentified ones, then those nearest to the threshold; oldest first.

        Args:
            product: Only of this one.
            board: Only of this one.
            after: The last image of the page before.
            count: At most so many.
        """
        where = "image.outcome = 1 AND word = '' AND (identified, distance, time, image.id) > (?, ?, ?, ?)"
        order = "ORDER BY identified, distance, time, image.id LIMIT ?"
        last = _review_order(after) if after else _FIRST
        if board is not None:
            only = "" if product is None else "AND product = ?"
            values = (board, *last, *([] if product is None else [product]), count)
            return self._images(_BY_BOARD, f"board = ? AND board <> '' AND {where} {only} {order}", values)
        names = self.products() if product is None else [product]
        where = f"product = ? AND {where} {order}"
        found = [self._images(_TO_REVIEW, where, (name, *last, count)) for name in names]
        return list(islice(heapq.merge(*found, key=_review_order), count))

    def drawn(self, draws: Sequence[float], outcome: Outcome, product: str, word: str | None) -> list[Image]:
        """Images drawn by lot, with hardly a preference: of each draw the next one that fits, if there is one near.

        Args:
            draws: Random numbers in 0..1.
            outcome: Of these.
            product: Of this one.
            word: With this word, `""` without one; None: with any.
        """
        ((last,),) = self._run("SELECT ifnull(max(id), 0) FROM image")
        where = "image.id BETWEEN ? AND ? AND image.outcome = ? AND product = ? AND word {} ? ORDER BY image.id LIMIT 1"
        found: dict[int, Image] = {}
        for draw in draws:
            first = int(draw * last) + 1
            values = (first, first + _NEAR, OUTCOMES.index(outcome), product, word or "")
            # Left to itself the planner looks through all images of the product.
            images = self._images("image NOT INDEXED", where.format("<>" if word is None else "="), values)
            found |= {image.id: image for image in images}
        return list(found.values())

    def boards_to_review(self, product: str) -> list[OpenBoard]:
        """The boards of a product that have nio images without a word, oldest first."""
        found = self._run(
            f"SELECT board, count(*), min(time) FROM {_TO_REVIEW} WHERE product = ? AND outcome = 1 AND word = ''"  # noqa: S608
            " GROUP BY board ORDER BY min(time), board",
            (product,),
        )
        return [OpenBoard(board, images, moment(oldest)) for board, images, oldest in found if board]

    def words(self, joint: str, product: str = "", board: str | None = None, count: int = 20) -> list[Spoken]:
        """The last words on a joint, newest first.

        Args:
            joint: Its name.
            product: Whose joint it is.
            board: Only on this one; else on all boards of the product.
            count: At most so many.
        """
        if board is None:
            source = "word INDEXED BY word_by_joint CROSS JOIN image ON image.id = word.image"
            where, values = "word.product = ? AND word.joint = ? AND word.joint <> ''", [product, joint]
        else:
            source = f"{_BY_BOARD} CROSS JOIN word INDEXED BY word_by_image ON word.image = image.id"
            where, values = (
                "board = ? AND board <> '' AND image.joint = ? AND image.product = ?",
                [board, joint, product],
            )
        query = f"""
            SELECT word.at, word.label, word.by, {_FIELDS}
            FROM {source} JOIN folder ON folder.id = image.folder
            WHERE {where} ORDER BY word.at DESC LIMIT ?
        """  # noqa: S608 - no value is in it
        rows = self._run(query, (*values, count))
        return [Spoken(moment(at), label, by, _image(*row)) for at, label, by, *row in rows]

    def close(self) -> None:
        """Close it."""
        with suppress(sqlite3.Error):
            self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _images(self, source: str, rest: str, values: Sequence[object]) -> list[Image]:
        query = f"SELECT {_FIELDS} FROM {source} JOIN folder ON folder.id = image.folder WHERE {rest}"  # noqa: S608
        return [_image(*row) for row in self._run(query, values)]


def _image(number: int, outcome: int, folder: bytes, name: bytes, time: int, *rest: Any) -> Image:
    path = Path(os.fsdecode(folder), os.fsdecode(name))
    return Image(number, OUTCOMES[outcome], path, moment(time), *rest)


def _count(product: str, outcome: int, word: str, images: int) -> Count:
    return Count(product, OUTCOMES[outcome], word, images)


def _review_order(image: Image) -> tuple[int, float, int, int]:
    """As the index has it."""
    p, threshold = image.nio_probability, image.threshold
    distance = 0.0 if p is None or threshold is None else abs(p - threshold)
    return int(image.reason != "unidentified"), distance, milliseconds(image.time), image.id
