"""A replay that ended early goes on with what is missing, and at the end each image is there exactly once."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("ray", reason="Ray is not installed")

import pyarrow as pa
from replay_line import Replayed

from inspection.errors import ConfigError, ModelError, SolderwatchError
from replay import run
from replay.job import Job
from replay.judging import Judge


@pytest.fixture(autouse=True)
def _small_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three images in a table, and a part for each table."""
    monkeypatch.setattr(run, "TABLE", 3)
    monkeypatch.setattr(run, "_PART_ROWS", 1)


class Ends:
    """Judges that end after so many tables, as Ctrl-C or a lost cluster ends them.

    Args:
        replayed: Whose judges.
        after: Tables.
        how: What is raised.
    """

    def __init__(self, replayed: Replayed, after: int, how: type[BaseException]) -> None:
        self._replayed, self._after, self._how = replayed, after, how

    def __call__(self, job: Job, tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
        """Judge."""
        for number, table in enumerate(self._replayed.here(job, tables)):
            if number == self._after:
                raise self._how
            yield table


def all_once(replayed: Replayed) -> None:
    """All 14 images of the archive are there once: judged, or listed."""
    rows = replayed.rows()
    paths = [row["path"] for row in rows] + list(replayed.unread())
    assert len(paths) == len(set(paths)) == 14
    assert sorted(row["number"] for row in rows) == sorted({row["number"] for row in rows})
    assert len(rows) == 13


@pytest.mark.parametrize("how", [KeyboardInterrupt, SolderwatchError, OSError])
def test_what_was_judged_before_the_end_is_not_judged_again(
    replayed: Replayed, archive: Path, how: type[BaseException]
) -> None:
    """After Ctrl-C and failures `--resume` judges what is missing only; what could not be judged is tried again."""
    with pytest.raises(how):
        replayed.run(archive, judges=Ends(replayed, 3, how))
    first = set(replayed.judged[:9])
    replayed.judged.clear()
    done = replayed.run(archive, resume=True)
    assert set(replayed.judged) - first == set(range(14)) - first
    assert len(set(replayed.judged) & first) == 1, "the damaged file, which had no verdict"
    assert done.kept == 8
    all_once(replayed)


def test_a_finished_replay_can_be_gone_on_with(replayed: Replayed, archive: Path) -> None:
    """Nothing is missing then, and nothing changes; what has become readable since is judged."""
    replayed.run(archive)
    before = replayed.rows()
    shutil.copy(archive / "nio" / "lot7" / "nio000.png", archive / "io" / "damaged.png")
    replayed.judged.clear()
    replayed.run(archive, resume=True)
    rows = {row["path"]: row for row in replayed.rows()}
    mended = rows.pop(str(archive / "io" / "damaged.png"))
    assert mended["verdict"] == "nio"
    assert list(rows.values()) == before
    assert len(replayed.judged) == 1


def test_a_changed_file_is_judged_again(replayed: Replayed, archive: Path) -> None:
    """A verdict is of bytes: with other ones in the same place it does not stand."""
    replayed.run(archive)
    path = archive / "io" / "lot7" / "io003.png"
    shutil.copy(archive / "nio" / "lot7" / "nio000.png", path)
    replayed.run(archive, resume=True)
    (row,) = [row for row in replayed.rows() if row["path"] == str(path)]
    assert row["verdict"] == "nio"
    all_once(replayed)


def test_a_vanished_file_keeps_its_verdict(replayed: Replayed, archive: Path) -> None:
    """It was judged when it was there."""
    replayed.run(archive)
    before = replayed.rows()
    (archive / "io" / "lot7" / "io003.png").unlink()
    replayed.run(archive, resume=True)
    assert replayed.rows() == before


def test_another_model_judges_all_again(replayed: Replayed, archive: Path, untrained_model: Path) -> None:
    """Verdicts are a model's: those of another one do not stand."""
    replayed.run(archive)
    replayed.judged.clear()
    replayed.run(archive, resume=True, models={None: untrained_model})
    assert sorted(replayed.judged) == list(range(14))
    assert len({row["model"] for row in replayed.rows()}) == 1
    all_once(replayed)


@pytest.mark.parametrize("finished", [True, False])
def test_what_was_in_a_damaged_part_is_judged_again(replayed: Replayed, archive: Path, *, finished: bool) -> None:
    """A part that cannot be read is told, and costs no more than its own images."""
    if finished:
        replayed.run(archive)
    else:
        with pytest.raises(KeyboardInterrupt):
            replayed.run(archive, judges=Ends(replayed, 3, KeyboardInterrupt))
    part = replayed.out.files()[0]
    part.write_bytes(part.read_bytes()[:-20])
    replayed.told.clear()
    replayed.run(archive, resume=True)
    assert str(part) in replayed.told[0]
    all_once(replayed)


def test_a_result_that_comes_twice_counts_once(replayed: Replayed, archive: Path) -> None:
    """As when a judge dies after its results went out, and its table is judged again elsewhere."""

    def twice(job: Job, tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
        for table in replayed.here(job, tables):
            yield table
            yield table

    done = replayed.run(archive, judges=twice)
    assert done.judged == 13
    all_once(replayed)


def test_a_result_that_never_comes_is_told(replayed: Replayed, archive: Path) -> None:
    """A replay that lost an image does not end as if it were whole."""

    def lossy(job: Job, tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
        return (table.slice(1) for table in replayed.here(job, tables))

    with pytest.raises(SolderwatchError, match=r"5 images have no result: --resume"):
        replayed.run(archive, judges=lossy)
    replayed.run(archive, resume=True)
    all_once(replayed)


def test_a_replay_goes_on_with_its_own_images_only(replayed: Replayed, archive: Path) -> None:
    """Neither a folder with something else in it, nor a replay that nobody wants to go on with, nor one of others."""
    replayed.out.folder.mkdir()
    (replayed.out.folder / "mine.txt").touch()
    with pytest.raises(ConfigError, match="not empty"):
        replayed.run(archive)
    (replayed.out.folder / "mine.txt").unlink()
    replayed.run(archive)
    with pytest.raises(ConfigError, match="--resume"):
        replayed.run(archive)
    with pytest.raises(ConfigError, match=r"other images \(archives\)"):
        replayed.run(archive / "io", resume=True)


def test_a_damaged_model_ends_it(replayed: Replayed, archive: Path) -> None:
    """No verdict is made up where the model does not load."""
    current = replayed.line / "models" / "current"
    job = replayed.job(archive)
    weights = next(current.resolve().glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    judge = Judge(job)
    table = pa.table({"number": [0], "archive": [0], "path": [b"nio/lot7/nio000.png"], "sha256": [None]})
    with pytest.raises(ModelError, match="damaged"):
        judge(table)
