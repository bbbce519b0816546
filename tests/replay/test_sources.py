"""What a replay reads: folders, stores, and what the ledger finds; and how wrong ones are answered."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

pytest.importorskip("ray", reason="Ray is not installed")

from ledger_line import START, Records

from filing.ledger import reindex
from inspection.errors import ConfigError, LedgerError, SolderwatchError
from replay.archives import Folder, Store, open_archive
from replay.job import models_in
from replay.plan import Query, asked, count_of, folders_of, listed, read_plan, write_plan
from settings import load


def test_images_of_a_tree_by_their_names(tmp_path: Path) -> None:
    """All that has an image's name, in any folder and of any bytes; no sidecar, no other file, none that is hidden."""
    names = ["a.png", "b.PNG", "deep/er/c.tif", os.fsdecode(b"\xff.png")]
    others = ["a.png.json", "a.png.cam.png", "notes.txt", ".hidden.png", ".git/d.png", "e.png.part"]
    for name in (*names, *others):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "config.yaml").touch()
    archives = open_archive(str(tmp_path)), Folder(tmp_path / "deep")
    found = list(listed(archives, load(tmp_path / "config.yaml")))
    assert sorted(path for number, path in found if number == 0) == sorted(names)
    assert [path for number, path in found if number == 1] == ["er/c.tif"]


def test_a_plan_gives_back_every_path(tmp_path: Path) -> None:
    """Numbered from 0 in the order of the list, whatever bytes the names have; a plan of nothing is none."""
    names = ["a.png", os.fsdecode(b"\xff.png"), "\n.png"]
    plan = tmp_path / "plan.parquet"
    assert write_plan(plan, iter([(1, name) for name in names])) == count_of(plan) == 3
    rows = [row for table in read_plan(plan) for row in table.to_pylist()]
    assert [os.fsdecode(row["path"]) for row in rows] == names
    assert [row["number"] for row in rows] == [0, 1, 2]
    with pytest.raises(SolderwatchError, match="no image there"):
        write_plan(tmp_path / "empty.parquet", iter([]))
    assert list(tmp_path.iterdir()) == [plan]


def test_the_ledger_finds_images(records: Records) -> None:
    """By product, time and board; those in quarantine are not among them."""
    for number in range(3):
        records.file("io", f"a{number}.png", product="A", board="B1")
        records.file("nio", f"lot/b{number}.png", product="B", board="B1" if number else "B2")
    records.file("quarantine", "q.png", product="A")
    reindex(records.settings, lambda _: None)

    def found(**query: object) -> list[str]:
        folders = folders_of(records.settings)
        return sorted(
            f"{Path(folders[number].name).name}/{path}"
            for number, path in asked(Query(**query), records.settings)  # type: ignore[arg-type]
        )

    everything = [f"io/a{number}.png" for number in range(3)] + [f"nio/lot/b{number}.png" for number in range(3)]
    assert found() == everything
    assert found(product="B") == everything[3:]
    assert found(board="B2") == everything[3:4]
    assert found(board="B1", product="B") == everything[4:]
    middle = START + timedelta(minutes=3)
    assert len(found(since=middle)) + len(found(until=middle)) == 6
    assert found(since=datetime(2030, 1, 1, tzinfo=UTC)) == []


def test_wrong_sources_are_answered(tmp_path: Path) -> None:
    """No folder, no store, no ledger, no model: each is told with its mend."""
    (tmp_path / "config.yaml").touch()
    settings = load(tmp_path / "config.yaml")
    with pytest.raises(ConfigError, match="no such folder"):
        list(Folder(tmp_path / "nowhere").walk())
    with pytest.raises(ConfigError, match="cannot be opened"):
        list(Store("nonsense://bucket").walk())
    with pytest.raises(LedgerError):
        list(asked(Query(), settings))
    with pytest.raises(ConfigError, match=r"--model: .*no model there"):
        models_in(tmp_path, settings, None, "--model")


def test_no_secret_of_a_uri_is_told() -> None:
    """Keys that somebody wrote into an address stand in no result and in no message."""
    assert open_archive("s3://key:secret@bucket/2026?endpoint_override=localhost").name == "s3://bucket/2026"
