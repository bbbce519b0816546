"""A board's record, as MES and people read it, and the notes that it is made of.

docs/board.schema.json is `json_schema()`, for those who read records.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from filing.decisions import NO_PRODUCT
from filing.words import HISTORY, standing
from inspection.files import ERROR_SUFFIX, RECORD_SUFFIX, readable
from inspection.verdict import Label

Outcome = Literal["io", "nio", "quarantine", "requeued"]
Answer = Literal["io", "nio", "open"]
Time = Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$", description="UTC, to the millisecond")]


class _Part(BaseModel):
    """Texts are as records have them: bytes of file names that are no UTF-8 are written as escapes."""

    model_config = ConfigDict(frozen=True, strict=True)


class Image(_Part):
    """One image of a joint."""

    view: str | None = Field(description="which of the joint's views")
    outcome: Outcome = Field(description="the folder it lies in; requeued: it was put back, and is not judged yet")
    verdict: Label | None = Field(description="the model's; null in quarantine")
    reason: str | None = Field(description="the verdict's; in quarantine what was wrong")
    word: Label | None = Field(description="an operator's last word")
    file: str = Field(description="its path in the inbox")
    record: str | None = Field(description="its record: the folder's name in paths, and the path in there")
    time: Time = Field(description="when it was judged")
    at: Time = Field(description="when that was last changed: judged, relabelled or put back")
    model: str | None = Field(description="who judged")
    decision_id: str = Field(description="the same in the image's record and in the log")


class Joint(_Part):
    """A joint: nio if a view is; open if a view is missing or has no verdict."""

    joint: str | None = Field(description="null: the name does not say")
    verdict: Answer
    images: list[Image] = Field(description="by view, then by time")


class Complete(_Part):
    """Why no more images are waited for."""

    by: Literal["marker", "joints", "quiet"]
    at: Time


class Reviewed(_Part):
    """Who has said that all nio joints have words."""

    by: str = Field(description="an operator")
    at: Time


class Counts(_Part):
    """Of joints and images."""

    joints: int
    nio_joints: int
    images: int
    io: int
    nio: int
    quarantine: int
    requeued: int
    missing: int = Field(description="images that boards.complete.joints and views lead to expect, and that never came")


class Key(NamedTuple):
    """What boards are told apart by."""

    product: str | None
    board: str


class Board(_Part):
    """What became of a board in one run; the file with the highest `~N` is its last run."""

    model_config = ConfigDict(title="Solderwatch board record")

    version: Literal[1] = Field(description="another one when readers of records would have to be changed")
    product: str | None
    board: str = Field(description="serial number")
    run: int = Field(ge=1, description="counts up when the serial number comes again after boards.again_after_h")
    revision: int = Field(ge=1, description="counts up with each change of this record")
    time: Time = Field(description="when this revision was written")
    verdict: Answer = Field(description="io: complete and all images io; nio: a joint is nio; else open")
    reason: str = Field(description="the verdict's, for people")
    complete: Complete | None = Field(description="null: more images are waited for")
    reviewed: Reviewed | None = Field(
        default=None, description="an operator is done with it; null: nobody yet, or an image has changed since"
    )
    begun: Time = Field(description="when its first image was judged")
    ended: Time = Field(description="when its last image was judged")
    counts: Counts
    models: list[str] = Field(description="ids of all models that judged")
    joints: list[Joint]

    @property
    def key(self) -> Key:
        """What it is called."""
        return Key(self.product, self.board)


class Note(_Part):
    """One thing that was heard of a board; with neither an image nor an end it only says that the board is open.

    Attributes:
        image: Was filed, moved or put back.
        complete: No more images are waited for.
        reviewed: An operator is done with it.
    """

    product: str | None
    board: str
    joint: str | None = None
    image: Image | None = None
    complete: Complete | None = None
    reviewed: Reviewed | None = None

    @property
    def key(self) -> Key:
        """Of which board."""
        return Key(self.product, self.board)


def note_of(record: Mapping[str, Any]) -> Note | None:
    """What an image's record, as its sidecar has it, says of its board; None where it names none or is none of ours.

    Nor does an image of no product: nobody knows whose board it is of before `requeue` brings it back.
    """
    if record.get("board") is None or record.get("reason") == NO_PRODUCT:
        return None
    try:
        record = {name: readable(value) if isinstance(value, str) else value for name, value in record.items()}
        outcome = record["outcome"]
        words = standing(record)
        last = (record.get(HISTORY) or [{"to": None, "at": record["time"]}])[-1]
        suffix = ERROR_SUFFIX if outcome == "quarantine" else RECORD_SUFFIX
        return Note(
            product=record.get("product"),
            board=record["board"],
            joint=record.get("joint"),
            image=Image(
                view=record.get("view"),
                outcome=outcome,
                verdict=record.get("verdict"),
                reason=record.get("reason", record.get("error")),
                word=last["to"] or (words[-1]["to"] if words else None),
                file=record["file"],
                record=str(Path(outcome, f"{record['filed_as']}{suffix}")),
                time=record["time"],
                at=last["at"],
                model=record.get("model"),
                decision_id=record["decision_id"],
            ),
        )
    except (ValueError, LookupError, TypeError):
        return None


def put_back(note: Note, at: str) -> Note:
    """The image of a note went back into the inbox: until it is judged again its board is not io."""
    if note.image is None:
        raise AssertionError("only an image can be put back")
    return note.model_copy(
        update={"image": note.image.model_copy(update={"outcome": "requeued", "record": None, "at": at})}
    )


def json_schema() -> dict[str, Any]:
    """What a board's record looks like, as JSON schema."""
    found = Board.model_json_schema(mode="serialization")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | found


def moment(time: str) -> datetime:
    """A time of a record."""
    return datetime.fromisoformat(time)
