from __future__ import annotations

import re
import sqlite3
from collections.abc import Sequence
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from ledger_line import START, Records

from filing.ledger import Ledger, reindex
from filing.ledger.store import Store, UnusableError
from settings import load

REPO = Path(__file__).resolve().parents[2]
_SQL = re.compile(r"sqlite3|\b(SELECT\b.+\bFROM|INSERT INTO|DELETE FROM|UPDATE \w+ SET|CREATE TABLE)\b")


def test_only_the_ledger_has_sql() -> None:
    """Whoever wants to know something of the ledger asks its functions."""
    packages = [path.parent for path in REPO.glob("*/__init__.py")]
    programs = [path for package in packages for path in package.rglob("*.py")]
    found = {path.relative_to(REPO).parent for path in programs if _SQL.search(path.read_text(encoding="utf-8"))}
    assert found == {Path("filing/ledger")}


def test_each_question_goes_by_an_index(records: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    """No question walks through all images, however many there are, nor sorts more than it must."""
    reindex(records.settings)
    with Store(records.ledger) as store, store.transaction():
        store._run("INSERT INTO tally VALUES ('A', 1, 1, '', 1), ('B', 1, 1, '', 1)")
    plans: list[str] = []
    run = Ledger._run

    def planned(ledger: Ledger, query: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        plans.extend(row[3] for row in ledger._database.execute(f"EXPLAIN QUERY PLAN {query}", values))
        return run(ledger, query, values)

    monkeypatch.setattr(Ledger, "_run", planned)
    with Ledger(records.ledger) as ledger:
        ledger.summary()
        ledger.days(date(2026, 7, 1), date(2026, 8, 1))
        ledger.find("io", Path("a.png"))
        ledger.board("S1", "A", START)
        ledger.boards("S")
        list(ledger.images(None, START))
        ledger.to_review()
        ledger.to_review("A", "S1")
        ledger.boards_to_review("A")
        ledger.words("r1", "A", "S1")
    assert {plan for plan in plans if "SCAN" in plan} == {"SCAN tally", "SCAN state"}
    assert any("COVERING INDEX image_to_review" in plan for plan in plans)


def test_a_transaction_is_done_wholly_or_not_at_all(records: Records) -> None:
    """What fails in the middle leaves nothing behind, and the next one goes well."""
    with Store(records.ledger) as store:
        with suppress(UnusableError), store.transaction():
            store.folder("io", b"lot")
            store._run("SELECT nothing")
        assert store.next_folder("io", None) is None
        with store.transaction():
            store.folder("io", b"lot")
        folder = store.next_folder("io", None)
        assert folder
        assert folder.path == b"lot"


def test_a_ledger_whose_tables_were_tampered_with_is_unusable(records: Records) -> None:
    """What somebody has changed by hand is built anew, not guessed at."""
    reindex(records.settings)
    with sqlite3.connect(records.ledger) as database:
        database.execute("DROP TABLE word")
    with Store(records.ledger) as store, pytest.raises(UnusableError):
        store._run("SELECT * FROM word")
    records.file("nio", "a.png")
    records.relabel("a.png", "nio")
    reindex(records.settings)
    records.check()


@pytest.mark.parametrize("path", ["data/io/ledger.db", "dataset/x/ledger.db", "logs/decisions.jsonl", "data/io", ".."])
def test_the_ledger_lies_in_no_folder_of_the_line(tmp_path: Path, path: str) -> None:
    """Among images it would be taken for one, or deleted with them."""
    (tmp_path / "config.yaml").write_text(f"paths: {{ledger: {path}}}\n")
    with pytest.raises(Exception, match=r"paths\.ledger"):
        load(tmp_path / "config.yaml")
