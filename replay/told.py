"""What is known of an image before it is judged again: by its record, its name and the folders that it lies in."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import PurePosixPath

from filing.ledger.records import Facts, moment, parse_record
from inspection.files import readable
from inspection.verdict import LABELS
from settings import Settings

_NOTHING = Facts(0, "", "", None, None, None, "", "", "", "", "", None, None, "")


@dataclass(frozen=True)
class Told:
    """None where nothing is said.

    Attributes:
        was: The record's verdict; without a record the folder, io or nio, that the image lies in.
        word: An operator's last one.
        product: By the record; else whose path it has.
        day: When it was judged, in UTC; without a record when the file was last written.
    """

    was: str | None
    word: str | None
    product: str | None
    board: str | None
    joint: str | None
    view: str | None
    day: date | None


def tell(archive: str, path: str, written: datetime | None, record: bytes | None, settings: Settings) -> Told:
    """Put together what is known of an image.

    Args:
        archive: The archive's name.
        path: The image's in it.
        written: When it last was.
        record: The bytes beside it, if there are any.
        settings: What names say, and whose path is whose.
    """
    said = parse_record(record) if record else None
    facts = said[0] if said else _NOTHING
    sorted_into, name = _below_label(PurePosixPath(path))
    if sorted_into is None and PurePosixPath(archive).name in LABELS:
        sorted_into = PurePosixPath(archive).name
    units = settings.names.units(name)
    by_path = settings.product_of(name) if settings.products else units.product
    time = moment(facts.time) if facts.time else written
    return Told(
        was=facts.verdict or sorted_into,
        word=facts.word or None,
        product=facts.product or _text(by_path),
        board=facts.board or _text(units.board),
        joint=facts.joint or _text(units.joint),
        view=facts.view or _text(units.view),
        day=time.astimezone(UTC).date() if time else None,
    )


def _below_label(path: PurePosixPath) -> tuple[str | None, PurePosixPath]:
    """The last folder in a path that is called io or nio, and what lies below it: the path as it was in the inbox."""
    folders = path.parts[:-1]
    for index in range(len(folders) - 1, -1, -1):
        if folders[index] in LABELS:
            return folders[index], PurePosixPath(*path.parts[index + 1 :])
    return None, path


def _text(unit: str | None) -> str | None:
    return None if unit is None else readable(unit)
