"""`solderwatch reindex`, and what `check` says of the ledger."""

from __future__ import annotations

import shutil
from collections.abc import Callable

import pytest
from ledger_line import Kept, Records

from daemon import __main__ as program
from daemon.checking.check import check


@pytest.fixture
def filled(records: Records, monkeypatch: pytest.MonkeyPatch) -> Records:
    """A line with some images and no ledger; its folder is the working one."""
    for number in range(20):
        records.file(("io", "nio", "quarantine")[number % 3], f"lot{number % 2}/{number}.png")
    monkeypatch.chdir(records.home)
    return records


def _reindex() -> int:
    return program.main(["reindex"])


def test_it_builds_and_catches_up(filled: Records, capsys: pytest.CaptureFixture[str]) -> None:
    """What is new, changed or gone is put down, and told in one line."""
    assert _reindex() == 0
    filled.check()
    assert capsys.readouterr().out == "20 records: 20 were new or had changed, 0 are gone\n"
    filled.file("nio", "later.png")
    filled.remove("io", "lot0/0.png")
    assert _reindex() == 0
    filled.check()
    assert capsys.readouterr().out == "20 records: 1 were new or had changed, 1 are gone\n"


def test_it_tells_how_far_it_is(
    filled: Records, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Millions of records take a while: meanwhile there are lines on standard error, for people only."""
    monkeypatch.setattr(program, "_PROGRESS_S", 0.0)
    assert _reindex() == 0
    said = capsys.readouterr()
    assert "records so far" in said.err
    assert said.out.count("\n") == 1
    filled.check()


def test_it_works_beside_a_daemon(filled: Records, keep: Callable[..., Kept]) -> None:
    """The daemon's keeper goes on as if nothing were."""
    kept = keep(filled)
    kept.settle()
    filled.file("nio", "untold.png")
    assert _reindex() == 0
    filled.check()
    kept.keeper.tell([filled.file("io", "told.png")])
    kept.settle()
    filled.check()
    assert not kept.events("ledger_failed") + kept.events("ledger_rebuilding")


def test_a_folder_that_is_away_is_told(filled: Records, capsys: pytest.CaptureFixture[str]) -> None:
    """What was known of it stays; the exit code is 1, for the ledger may not be complete."""
    assert _reindex() == 0
    shutil.rmtree(filled.folder("nio"))
    before = filled.known()
    assert _reindex() == 1
    assert "paths.nio" in capsys.readouterr().err
    assert filled.known() == before


def test_a_ledger_that_cannot_be_made_is_told(filled: Records, capsys: pytest.CaptureFixture[str]) -> None:
    """In one line that says where it would be."""
    filled.ledger.mkdir()
    assert _reindex() == 1
    said = capsys.readouterr().err
    assert str(filled.ledger) in said
    assert said.count("\n") == 1


def test_check_says_where_it_is_and_whether_it_can_be_used(filled: Records) -> None:
    """Not there yet and in order are fine; anything else is a warning, for no verdict depends on it."""

    def said() -> tuple[str, str]:
        (found,) = (found for found in check(filled.settings) if found.text.startswith("ledger: "))
        return found.level, found.text

    assert said() == ("ok", f"ledger: {filled.ledger}: the daemon makes it")
    _reindex()
    assert said() == ("ok", f"ledger: {filled.ledger}: 20 images")
    filled.ledger.write_text("no ledger\n" * 1000)
    level, text = said()
    assert level == "warning"
    assert str(filled.ledger) in text
    assert "reindex" in text
