"""Records of boards on disk: their names, their runs, and who writes them at the same time."""

from __future__ import annotations

import io
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from board_notes import at, note
from hypothesis import given
from hypothesis import strategies as some

from filing import durable
from filing.boards import BoardFiles, Complete, Journal, Key, Note, put_back
from filing.boards.files import record_path
from filing.folders import Folders
from filing.logs import open_log
from inspection.files import readable
from settings import load
from settings.schema import LogSettings

Make = Callable[..., tuple[BoardFiles, io.StringIO]]
HOSTILE = [
    *("", ".", "..", "../../etc/passwd", "/", "a/b", ".lock", "a\0b", "x.json", "a~2", "%2E", " ", "nul.", "ü€"),
    *("x" * 300, "/" * 300, readable(os.fsdecode(b"\xff\xfe")), "a\nb", "-rf", "*", "$(reboot)", 'a"b', "~", "a~2~2"),
]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Boards in a folder of their own, and the log that is told of them."""
    (tmp_path / "config.yaml").write_text(
        "names: {pattern: '(?P<board>B)(?P<joint>j)'}\nboards: {complete: {joints: 2}, again_after_h: 24}\n"
    )

    def made() -> tuple[BoardFiles, io.StringIO]:
        stream = io.StringIO()
        settings = load(tmp_path / "config.yaml")
        return BoardFiles(settings, open_log(LogSettings(file=None, format="json"), stream)), stream

    return made


@pytest.fixture
def boards(tmp_path: Path) -> Path:
    """Where the records are."""
    return tmp_path / "data" / "boards"


def read(path: Path) -> dict[str, Any]:
    """A record."""
    found: dict[str, Any] = json.loads(path.read_bytes())
    return found


def bring(files: BoardFiles, *notes: Note) -> None:
    """Notes of one board."""
    files.revise({notes[0].key: notes})


def test_a_record_and_its_line(make: Make, boards: Path) -> None:
    """The record is there when the log tells of it; the line has what the MES asks first. Nothing else is left."""
    files, log = make()
    bring(files, note("a"), note("b"))
    record, line = read(boards / "B1.json"), json.loads(log.getvalue())
    same = ("board", "product", "run", "revision", "verdict", "reason")
    assert {name: line[name] for name in same} == {name: record[name] for name in same}
    assert (line["event"], line["complete"], line["images"], line["record"]) == ("board", "joints", 2, "B1.json")
    assert sorted(path.name for path in boards.iterdir()) == [".lock", "B1.json"]


def test_products_have_folders(make: Make, boards: Path) -> None:
    """The same serial number of two products is two boards."""
    files, _ = make()
    for product in ("BGA", "QFN"):
        bring(files, note("a", product=product))
    assert read(boards / "BGA" / "B1.json")["product"] == "BGA"
    assert set(files.find("B1")) == {Key("BGA", "B1"), Key("QFN", "B1")}
    assert files.find("B2") == []


@pytest.mark.parametrize("name", HOSTILE)
def test_any_serial_number_has_a_record(make: Make, boards: Path, tmp_path: Path, name: str) -> None:
    """It lies in the folder of its product, whatever either is called, and nothing appears anywhere else."""
    files, log = make()
    bring(files, note("a", board=name))
    bring(files, note("a", board=name, product=name))
    # What control characters a name has is written as escapes in records.
    assert {board.board for board in map(files_record, boards.rglob("*.json"))} == {readable(name)}
    assert len(list(boards.rglob("*.json"))) == 2
    assert {path.name for path in tmp_path.iterdir()} == {"config.yaml", "data"}
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["boards"]
    told = [json.loads(line)["record"] for line in log.getvalue().splitlines()]
    assert all((boards / path).is_file() for path in told)


def files_record(path: Path) -> Note:
    """As much of a record as its name asks for."""
    found = read(path)
    return Note(product=found["product"], board=found["board"])


@given(some.lists(some.text(max_size=300), min_size=2, max_size=2, unique=True), some.integers(1, 99999))
def test_names_are_safe_and_their_own(names: list[str], run: int) -> None:
    """No two boards, runs or products share a name; each is one plain visible name that the file system takes."""
    paths = [
        record_path(Key(product, board), number)
        for product in (None, *names)
        for board in names
        for number in (1, run + 1)
    ]
    assert len(set(paths)) == len(paths)
    for path in paths:
        assert len(path.parts) <= 2
        for part in path.parts:
            assert part not in {"", ".", ".."}
            assert not part.startswith(".")
            assert "/" not in part
            assert len(os.fsencode(f".{part}.new")) <= durable.NAME_MAX


def test_the_same_serial_number_a_week_later(make: Make, boards: Path) -> None:
    """Another run with a file of its own; the first keeps its record, and words on it go to it."""
    files, log = make()
    bring(files, note("a", outcome="nio"), note("b", hours=20))
    bring(files, note("a", hours=168, decision_id="new"))
    bring(files, note("b", hours=169))
    first, second = read(boards / "B1.json"), read(boards / "B1~2.json")
    assert (first["run"], first["verdict"], first["counts"]["images"]) == (1, "nio", 2)
    assert (second["run"], second["verdict"], second["counts"]["images"]) == (2, "io", 2)
    word = {"to": "io", "by": "ann", "at": at(200)}
    bring(files, note("a", outcome="io", relabelled=[word]))
    assert read(boards / "B1.json")["verdict"] == "io"
    assert read(boards / "B1~2.json") == second
    assert [json.loads(line)["run"] for line in log.getvalue().splitlines()] == [1, 2, 2, 1]


def test_runs_do_not_depend_on_the_order(make: Make, boards: Path) -> None:
    """Images of two runs in one go, the later first; a third one that was judged just before the second run's first."""
    files, _ = make()
    bring(files, note("a", hours=100), note("a", hours=0), note("b", hours=1))
    bring(files, note("b", hours=99.9))
    assert read(boards / "B1.json")["ended"] == at(1)
    assert read(boards / "B1~2.json")["begun"] == at(99.9)


def test_what_was_put_back_returns_to_its_run(make: Make, boards: Path) -> None:
    """However long it took."""
    files, _ = make()
    rubbish = note("b", outcome="quarantine")
    bring(files, note("a"), rubbish)
    bring(files, put_back(rubbish, at(400)))
    bring(files, note("b", hours=401))
    assert read(boards / "B1.json")["verdict"] == "io"
    assert not (boards / "B1~2.json").exists()


def test_an_end_is_that_of_the_last_run(make: Make, boards: Path) -> None:
    """A marker tells of what is on the line now."""
    files, _ = make()
    bring(files, note("a"), note("a", hours=100))
    bring(files, Note(product=None, board="B1", complete=Complete(by="marker", at=at(101))))
    assert read(boards / "B1.json")["complete"] is None
    assert read(boards / "B1~2.json")["complete"]["by"] == "marker"


def test_a_damaged_record_is_set_aside(make: Make, boards: Path) -> None:
    """It is kept and told; what is heard from then on is written down."""
    files, log = make()
    bring(files, note("a"))
    (boards / "B1.json").write_bytes(b"\0" * 100)
    bring(files, note("b"))
    assert (boards / "B1.json.set-aside").read_bytes() == b"\0" * 100
    assert read(boards / "B1.json")["counts"]["images"] == 1
    assert [json.loads(line)["event"] for line in log.getvalue().splitlines()] == ["board", "board_damaged", "board"]


def test_two_programs_at_one_board(make: Make, boards: Path) -> None:
    """Two daemons with one inbox, and an operator: nothing that one of them wrote is lost to another."""
    writers = [threading.Thread(target=_write, args=(make()[0], number)) for number in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    record = read(boards / "B1.json")
    assert (record["counts"]["images"], record["revision"]) == (80, 80)


def _write(files: BoardFiles, number: int) -> None:
    for index in range(20):
        bring(files, note(f"{number}-{index}"))


def test_a_link_is_not_followed(make: Make, boards: Path, tmp_path: Path) -> None:
    """Nothing is written where a product's folder leads elsewhere."""
    files, _ = make()
    boards.mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    (boards / "BGA").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="BGA"):
        bring(files, note("a", product="BGA"))
    assert list((tmp_path / "elsewhere").iterdir()) == []


class TestJournal:
    """What was heard, before it is in a record."""

    @pytest.fixture
    def journal(self, tmp_path: Path) -> Journal:
        """In a work folder."""
        folders = Folders({"work": tmp_path / "work"})
        folders.make()
        folders.look()
        return Journal(folders)

    def test_keeps_notes(self, journal: Journal) -> None:
        """As they were, in their order, until it is replaced."""
        notes = [note("a"), Note(product="BGA", board="x\ny"), note("b", outcome="quarantine")]
        assert list(journal.read()) == []
        journal.add(notes[:2])
        journal.add(notes[2:])
        assert [note for some in journal.read() for note in some] == notes
        journal.replace(notes[1:])
        assert [note for some in journal.read() for note in some] == notes[1:]

    def test_a_line_that_was_cut_off(self, journal: Journal, tmp_path: Path) -> None:
        """The machine died amid it: it was never heard, and spoils no other."""
        journal.add([note("a")])
        path = tmp_path / "work" / ".boards.jsonl"
        path.write_bytes(path.read_bytes() + b'{"product": null, "boa')
        journal.add([note("b")])
        assert [note for some in journal.read() for note in some] == [note("a"), note("b")]

    def test_is_long_only_when_it_has_doubled(self, journal: Journal) -> None:
        """To replace it costs nothing to speak of, however many boards are open."""
        many = [note(f"{number}") for number in range(1000)]
        journal.replace(many)
        journal.add(many[:500])
        assert not journal.is_long
        journal.add(many[:600])
        assert journal.is_long
