"""What a board's record says, by what was heard of its images."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from board_notes import at, note, record

from filing.boards import Board, Complete, Key, Note, Reviewed, note_of, put_back
from filing.boards.record import json_schema
from filing.boards.revision import revised
from settings.schema import CompleteSettings

SCHEMA = Path(__file__).parents[2] / "docs" / "board.schema.json"
KEY = Key(None, "B1")
RULES = CompleteSettings(joints=2)


def board_of(*notes: Note, before: Board | None = None, rules: CompleteSettings = RULES) -> Board:
    """The next revision."""
    board = revised(before, KEY, 1, notes, rules, at(500))
    assert board
    return board


def said(board: Board) -> dict[str, Any]:
    """All but which revision it is, and when."""
    return board.model_dump(exclude={"revision", "time"})


MARKED = Note(product=None, board="B1", complete=Complete(by="marker", at=at(1)))


@pytest.mark.parametrize(
    ("notes", "verdict", "reason"),
    [
        ([note("a"), note("b")], "io", "all 2 images io"),
        ([note("a")], "open", "not complete, 1 images missing"),
        ([note("a", outcome="nio")], "nio", "1 of 1 joints nio, not complete, 1 images missing"),
        ([note("a"), note("b", outcome="nio")], "nio", "1 of 2 joints nio"),
        ([note("a"), note("b", outcome="quarantine")], "open", "1 in quarantine"),
        ([note("a"), MARKED], "open", "1 images missing"),
        ([note("a", outcome="nio"), note("a", hours=1), note("b")], "nio", "1 of 2 joints nio"),
    ],
)
def test_verdict(notes: list[Note], verdict: str, reason: str) -> None:
    """Io only if complete and every image is; nio as soon as a joint is, also if it was shot again; else open."""
    board = board_of(*notes)
    assert (board.verdict, board.reason) == (verdict, reason)


def test_a_missing_view_is_missing() -> None:
    """All joints are there, one of them with one view of two: neither complete nor io, and complete with the second."""
    rules = CompleteSettings(joints=2, views=2)
    three = [note("a", "1"), note("a", "2"), note("b", "1")]
    board = board_of(*three, rules=rules)
    assert (board.verdict, board.complete, board.counts.missing) == ("open", None, 1)
    board = board_of(note("b", "2", hours=2), before=board, rules=rules)
    assert (board.verdict, board.complete, board.revision) == ("io", Complete(by="joints", at=at(2)), 2)


def test_a_joint_is_nio_if_a_view_is() -> None:
    """Its other view is io, and the other joint too."""
    board = board_of(note("a", "1"), note("a", "2", outcome="nio"), note("b"))
    assert [joint.verdict for joint in board.joints] == ["nio", "io"]
    assert (board.counts.nio_joints, board.counts.nio, board.counts.io) == (1, 1, 2)


def test_an_operators_word_counts() -> None:
    """A false call that was relabelled makes the board io, in the next revision; where the record lies is said."""
    board = board_of(note("a"), note("b", outcome="nio"))
    word = {"to": "io", "by": "ann", "at": at(3)}
    board = board_of(note("b", outcome="io", verdict="nio", relabelled=[word]), before=board)
    image = board.joints[1].images[0]
    assert (board.verdict, board.revision, board.counts.images) == ("io", 2, 2)
    assert (image.outcome, image.verdict, image.word, image.record) == ("io", "nio", "io", "io/B1_b_v1.png.json")


def test_what_was_put_back_keeps_the_board_open_until_it_is_judged() -> None:
    """It may not come back the same; the board is io only once it has."""
    rubbish = note("b", outcome="quarantine")
    board = board_of(note("a"), rubbish)
    board = board_of(put_back(rubbish, at(1)), before=board)
    assert (board.verdict, board.reason) == ("open", "1 to be judged again")
    board = board_of(note("b", hours=2), before=board)
    assert (board.verdict, board.revision, board.counts.images) == ("io", 3, 2)


def test_what_was_delivered_anew_replaces_what_nobody_could_judge() -> None:
    """Also where names say no view: then the file's name is the same."""
    first = note("b", outcome="quarantine", view=None, file="B1_b.png")
    again = note("b", hours=1, view=None, file="B1_b.png")
    assert board_of(note("a"), first, again).verdict == "io"
    other = note("b", hours=1, view=None, file="B1_b-2.png")
    assert board_of(note("a"), first, other).verdict == "open"


def test_complete_once_is_complete() -> None:
    """The first that holds counts; what comes late makes another revision, with the same end."""
    board = board_of(note("a"), MARKED)
    late = board_of(note("b", hours=9), before=board)
    assert late.complete == board.complete == MARKED.complete
    assert (late.verdict, late.ended) == ("io", at(9))


def test_nothing_new_is_no_revision() -> None:
    """The same notes once more, as after a crash."""
    notes = [note("a"), note("b", outcome="nio"), MARKED]
    board = board_of(*notes)
    assert board_of(*notes, before=board) is board
    assert board_of(*notes[:1], before=board) is board
    assert revised(None, KEY, 1, [MARKED], RULES, at(0)) is None


def test_any_order_any_number_of_times() -> None:
    """However notes are shuffled, doubled and cut into revisions, the record says the same."""
    rubbish = note("c", outcome="quarantine", hours=1)
    word = {"to": "io", "by": "ann", "at": at(9)}
    notes = [
        *(note(joint, view, hours=hours) for hours, joint in enumerate("abd") for view in "12"),
        note("a", "3", outcome="nio", hours=4),
        note("a", "3", outcome="io", verdict="nio", hours=4, relabelled=[word]),
        *(rubbish, put_back(rubbish, at(2)), note("c", hours=3)),
    ]
    rules = CompleteSettings(joints=9)
    expected = said(board_of(*notes, rules=rules))
    for seed in range(50):
        rng = random.Random(seed)  # noqa: S311 - it only shuffles
        heard = [*notes, *rng.sample(notes, 3)]
        rng.shuffle(heard)
        board = None
        while heard:
            count = rng.randint(1, 4)
            board = revised(board, KEY, 1, heard[:count], rules, at(100)) or board
            del heard[:count]
        assert board
        assert said(board) == expected


@pytest.mark.parametrize(
    "change",
    [
        {"board": None},
        {"board": 7},
        {"outcome": "io/../../etc"},
        {"time": "yesterday"},
        {"decision_id": None},
        {"filed_as": None, "file": None},
        {"relabelled": [{}]},
        {"board": "\ud800"},
    ],
)
def test_a_record_that_is_none_is_no_note(change: dict[str, Any]) -> None:
    """Whoever has changed a record beside an image cannot break a board with it."""
    assert note_of(record("a") | change) is None


def test_done_until_something_changes() -> None:
    """An operator is done with a board until one of its images changes, in whatever order that is heard."""
    done = Note(product=None, board="B1", reviewed=Reviewed(by="Ann", at=at(2)))
    notes = [note("a"), note("b", outcome="nio"), done]
    assert board_of(*notes).reviewed == board_of(*reversed(notes)).reviewed == done.reviewed
    before = board_of(*notes)
    assert board_of(*notes, before=before) is before
    later = note("a", hours=3)
    assert board_of(later, before=before).reviewed is None
    assert board_of(done, before=board_of(*notes[:2], later)).reviewed is None


def test_a_board_that_is_done_keeps_to_the_schema() -> None:
    """So do those that are not done, not complete, or from before boards could be done."""
    validator = pytest.importorskip("jsonschema", reason="jsonschema is not installed").Draft202012Validator
    done = Note(product=None, board="B1", reviewed=Reviewed(by="Ann", at=at(9)))
    for notes in ([note("a"), note("b"), done], [note("a", outcome="quarantine")]):
        written = json.loads(board_of(*notes).model_dump_json())
        assert list(validator(json_schema()).iter_errors(written)) == []
    assert list(validator(json_schema()).iter_errors(written | {"reviewed": {"by": "Ann"}})) != []
    del written["reviewed"]
    assert list(validator(json_schema()).iter_errors(written)) == []


def test_schema_is_published() -> None:
    """docs/board.schema.json is what the code writes: `python -m filing.boards > docs/board.schema.json`."""
    assert json.loads(SCHEMA.read_text(encoding="utf-8")) == json_schema()
    assert {"version", "board", "revision", "verdict", "joints"} <= set(json_schema()["required"])
