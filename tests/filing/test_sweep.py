from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ledger_line import Kept, Records

from filing.ledger import Ledger, reindex, tell

NAMES = ["a.png", "lot 7/b.png", "x'y\"z;--.png", "line\nbreak.png", os.fsdecode(b"no-utf8-\xff\xfe.png"), "é/ü/ß.png",
         "-wal.png", "%00?mode=ro.png", "a.json", "a.error"]  # fmt: skip


@pytest.mark.parametrize("outcome", ["io", "nio", "quarantine"])
@pytest.mark.parametrize("name", NAMES)
def test_any_name_is_found_again(records: Records, outcome: Any, name: str) -> None:
    """Whatever bytes a file name has, the ledger knows the image by exactly that name."""
    place = records.file(outcome, name)
    assert reindex(records.settings).changed == 1
    records.check()
    with Ledger(records.ledger) as ledger:
        found = ledger.find(*place)
    assert found
    assert (found.outcome, found.path) == place


def test_reindex_twice_changes_nothing(records: Records) -> None:
    """What is in the ledger already is neither read nor written again."""
    for number in range(500):
        records.file("nio", f"lot{number % 7}/{number}.png")
    assert (reindex(records.settings).changed, reindex(records.settings).changed) == (500, 0)
    records.check()


def test_what_became_of_images_is_found(records: Records) -> None:
    """Relabelled, moved, deleted, requeued, judged again, put back from a backup: the ledger says what records say."""
    for number in range(12):
        records.file("nio", f"lot/{number}.png", board="B1", joint=f"r{number}")
    records.file("quarantine", "bad.png")
    reindex(records.settings)
    records.relabel("lot/0.png", "io")
    records.relabel("lot/1.png", "nio")
    records.relabel("lot/2.png", "nio")
    records.relabel("lot/2.png", "io")
    records.remove("nio", "lot/3.png")
    records.remove("quarantine", "bad.png")
    records.file("nio", "lot/4.png", nio_probability=0.9)
    records.record("nio", "lot/5.png").rename(records.record("io", "5.png"))
    (records.folder("nio") / "lot").rename(records.folder("nio") / "renamed")
    found = reindex(records.settings)
    records.check()
    assert found.removed
    with Ledger(records.ledger) as ledger:
        assert [word.label for word in ledger.words("r2")] == ["io", "nio"]


def test_a_record_changed_in_place_of_the_same_size_is_read_again(records: Records) -> None:
    """A record that keeps its name, size and time of change is still known to be another one."""
    records.file("nio", "a.png", joint="r1")
    record = records.record("nio", "a.png")
    reindex(records.settings)
    before = record.stat()
    record.write_text(record.read_text().replace('"r1"', '"r2"'))
    os.utime(record, ns=(before.st_atime_ns, before.st_mtime_ns))
    reindex(records.settings)
    records.check()


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "null", '"text"', "{}", '{"decision_id": 3}', "[" * 100_000, "{" + " " * 2**20 + "}", "\xff"],
    ids=lambda content: content[:10],
)
def test_what_is_no_record_is_left_out(records: Records, content: str) -> None:
    """A file of another program beside an image is no record, and keeps no other record out."""
    records.write("io", "other.png", content)
    records.file("io", "a.png")
    reindex(records.settings)
    assert set(records.known()) == {("io", Path("a.png"))}


@pytest.mark.parametrize(
    "facts",
    [
        {"nio_probability": 10**400, "threshold": float("inf"), "novelty": "much", "pages": 2**70, "page": -1},
        {"time": None}, {"time": "yesterday"}, {"time": "0001-01-01T00:00:00+14:00"}, {"time": 3},
        {"board": ["B1"], "joint": {}, "product": 7, "view": True, "model": None, "verdict": "OK", "reason": []},
        {"board": "\ud800", "joint": "a\0b", "product": "\udcff"},
        {"relabelled": "io"}, {"relabelled": [3, {}, {"to": "OK"}, {"to": "io", "by": 3, "at": None}]},
    ],
    ids=str,
)  # fmt: skip
def test_a_strange_record_is_taken_as_far_as_it_makes_sense(records: Records, facts: dict[str, Any]) -> None:
    """Values that no daemon writes neither stop the sweep nor keep the image out of the ledger."""
    records.file("nio", "a.png", **facts)
    records.file("nio", "b.png")
    assert reindex(records.settings).changed == 2
    assert set(records.known()) == {("nio", Path("a.png")), ("nio", Path("b.png"))}
    with Ledger(records.ledger) as ledger:
        ledger.summary()
        assert len(ledger.to_review()) + sum(bool(image.word) for image in ledger.images()) == 2


def test_links_are_not_followed(records: Records, tmp_path: Path) -> None:
    """A link to a record or to a folder leads to nothing that the ledger would take."""
    records.file("io", "a.png")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.copy(records.record("io", "a.png"), elsewhere / "b.png.json")
    (records.folder("io") / "folder").symlink_to(elsewhere)
    (records.folder("io") / "b.png.json").symlink_to(elsewhere / "b.png.json")
    os.mkfifo(records.folder("io") / "c.png.json")
    (records.folder("io") / "d.png.json").mkdir()
    reindex(records.settings)
    assert set(records.known()) == {("io", Path("a.png"))}


def test_a_folder_that_is_away_is_not_empty(records: Records, keep: Callable[..., Kept], tmp_path: Path) -> None:
    """What is known of images stays while their folder is not there; once it is back, all is as it was."""
    records.file("io", "a.png")
    records.file("nio", "b.png")
    reindex(records.settings)
    records.folder("nio").rename(tmp_path / "away")
    assert reindex(records.settings).away == ("nio",)
    assert len(records.known()) == 2
    (tmp_path / "away").rename(records.folder("nio"))
    kept = keep(records)
    kept.settle()
    records.check()


def test_a_fresh_ledger_is_complete_only_once_all_folders_were_seen(records: Records, tmp_path: Path) -> None:
    """Who asks for the status learns that a ledger does not know all images yet."""
    records.file("nio", "b.png")
    records.folder("nio").rename(tmp_path / "away")
    reindex(records.settings)
    with Ledger(records.ledger) as ledger:
        assert not ledger.summary().complete
    (tmp_path / "away").rename(records.folder("nio"))
    reindex(records.settings)
    records.check()


def test_unchanged_folders_are_passed_over(records: Records, keep: Callable[..., Kept]) -> None:
    """At a start only folders are looked into whose entries changed; in those every change is found."""
    for number in range(40):
        records.file("nio", f"board{number % 4}/{number}.png")
    for folder in [records.folder("nio"), *records.folder("nio").iterdir()]:
        os.utime(folder, (1_700_000_000, 1_700_000_000))
    kept = keep(records)
    kept.settle()
    kept.keeper.close()
    records.file("nio", "board1/new.png")
    records.remove("nio", "board1/1.png")
    kept = keep(records)
    kept.settle()
    records.check()
    (caught_up,) = kept.events("ledger_caught_up")
    assert (caught_up["records"], caught_up["changed"], caught_up["removed"]) == (10, 1, 1)


def test_a_folder_that_changed_just_now_is_looked_into_again(records: Records, keep: Callable[..., Kept]) -> None:
    """Two changes within one tick of the clock leave a folder's time the same, and are both found."""
    records.file("nio", "lot/a.png")
    folder = records.folder("nio") / "lot"
    before = folder.stat().st_mtime_ns
    kept = keep(records)
    kept.settle()
    kept.keeper.close()
    records.file("nio", "lot/b.png")
    os.utime(folder, ns=(before, before))
    keep(records).settle()
    records.check()


def test_who_ends_at_once_tells_the_ledger_too(records: Records) -> None:
    """`tell` puts down what an operator's command did, without a daemon and beside one."""
    for number in range(3):
        records.file("nio", f"{number}.png")
    reindex(records.settings)
    assert tell(records.settings, records.relabel("0.png", "io"))
    assert tell(records.settings, [records.remove("nio", "1.png")])
    records.check()


@pytest.mark.parametrize("content", [None, b"", b"text", b"\0" * 10_000], ids=["none", "empty", "text", "zeros"])
def test_who_ends_at_once_makes_no_ledger(records: Records, content: bytes | None) -> None:
    """Where there is no usable ledger an operator's command does not begin one that would know one image."""
    if content is not None:
        records.ledger.write_bytes(content)
    tell(records.settings, [records.file("nio", "a.png")])
    reindex(records.settings)
    records.check()


_PEAK = """
import resource, sys
from pathlib import Path
from filing.ledger import reindex
from settings import load
reindex(load(Path(sys.argv[1])))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_memory_is_flat(records: Records, long: bool) -> None:
    """A reindex of twenty times as many records, all in one folder, takes no more memory."""
    peaks = []
    for count in (1_000, 100_000 if long else 20_000):
        for number in range(count):
            path = records.folder("nio") / f"{number}.png.json"
            path.write_text(f'{{"decision_id": "{number}", "time": "2026-07-01T00:00:00Z", "joint": "r{number}"}}')
        records.ledger.unlink(missing_ok=True)
        config = str(records.home / "config.yaml")
        done = subprocess.run([sys.executable, "-c", _PEAK, config], capture_output=True, text=True, check=True)
        peaks.append(int(done.stdout))
        with Ledger(records.ledger) as ledger:
            assert sum(found.images for found in ledger.summary().counts) == count
    assert peaks[1] - peaks[0] < 12_000  # KB
