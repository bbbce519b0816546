"""What a replay tells: counts, words with their intervals, boards, changes as pictures, all in one page."""

from __future__ import annotations

import json
import re
from datetime import date
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("ray", reason="Ray is not installed")

import pyarrow as pa
from replay_line import Replayed

from inspection.shares import Share
from replay.command import report
from replay.job import RESULTS
from replay.pick import BOOK, FOLDER, Kind, Wanted, choose, copy_to
from replay.summary import Run
from replay.tally import Tally

RUN = Run(judged=14, seconds=2.0, judges=2, device="cpu")
PLAIN: dict[str, Any] = {
    "number": 0, "path": "a/x.png", "sha256": "00", "verdict": "io", "reason": "clear", "nio_probability": 0.01,
    "novelty": 0.5, "was": "io", "model": "m", "day": date(2026, 1, 2), "ms": 10.0,
}  # fmt: skip


def results(*rows: dict[str, Any]) -> list[pa.RecordBatch]:
    """Results that differ from a plain one; each with a hash of its own."""
    whole = [PLAIN | {"number": number, "sha256": f"{number:02x}"} | row for number, row in enumerate(rows)]
    batches: list[pa.RecordBatch] = pa.Table.from_pylist(whole, schema=RESULTS).to_batches()
    return batches


def test_words_count_before_and_now() -> None:
    """False calls are of the images that operators called io, escapes of those they called nio."""
    tally = Tally.of(
        results(
            {"word": "io", "was": "nio"},
            {"word": "io", "was": "nio", "verdict": "nio"},
            {"word": "nio", "was": "nio"},
            {"word": "nio", "was": "nio", "verdict": "nio"},
            {"was": "nio"},
        )
    )
    assert (tally.mistakes("io", now=False), tally.mistakes("io", now=True)) == (Share(2, 2), Share(1, 2))
    assert (tally.mistakes("nio", now=False), tally.mistakes("nio", now=True)) == (Share(0, 2), Share(1, 2))
    assert (tally.changed("io"), tally.changed("nio")) == (3, 0)


def test_a_board_is_io_only_if_all_its_images_are() -> None:
    """Its verdict changes with the first or the last nio image; of one not known whole before, nothing is said."""
    tally = Tally.of(
        results(
            {"board": "better", "was": "nio"},
            {"board": "better"},
            {"board": "worse"},
            {"board": "worse", "verdict": "nio"},
            {"board": "same", "was": "nio", "verdict": "nio"},
            {"board": "same", "was": "nio"},
            {"board": "unknown", "was": None},
            {"board": "unknown", "verdict": "nio"},
        )
    )
    assert [(name, board.change) for _, name, board in tally.changed_boards()] == [
        ("better", ("nio", "io")),
        ("worse", ("io", "nio")),
    ]


def test_the_changes_to_look_at_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that an operator would not agree with go first, however many changes there are."""
    monkeypatch.setattr("replay.tally.SHOWN", 2)
    rows: list[dict[str, Any]] = [{"was": "nio", "nio_probability": 0.001 * number} for number in range(9)]
    rows[4] |= {"word": "nio"}
    shown = Tally.of(results(*rows)).shown("io")
    assert [row["number"] for row in shown] == [4, 8]


def test_the_page_needs_no_other_file(replayed: Replayed, archive: Path) -> None:
    """Page and summary are there, with pictures of what changes, nothing from elsewhere, and no name that is markup."""
    evil = archive / "nio" / "<script>alert(1)</script>.png"
    evil.parent.mkdir()
    evil.write_bytes((archive / "io" / "lot7" / "io002.png").read_bytes())
    done = replayed.run(archive, maps="changed")
    report(replayed.out, replayed.job(archive), done, RUN)
    page = (replayed.out.folder / "index.html").read_text("utf-8")
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert not re.findall(r"""(?:src|href)=["'](?!data:)""", page)
    assert page.count("data:image/jpeg;base64,") == 3
    summary = json.loads((replayed.out.folder / "summary.json").read_text("utf-8"))
    assert summary["images"] == 15
    assert summary["unread"] == 1
    assert summary["changed"] == {"to_io": 2, "to_nio": 1}
    assert summary["by_words"]["false_calls"]["before"]["count"] == 1
    assert summary["by_words"]["false_calls"]["now"]["count"] == 0
    assert [board["board"] for board in summary["boards"]["changed"]] == ["B1"]
    assert summary["run"]["images_per_second"] == 7.0


def test_what_is_worth_a_label() -> None:
    """What operators dispute, what changed, what is near the threshold: each image once, so many of a joint."""
    rows: list[dict[str, Any]] = [
        {"joint": "R1", "was": "nio"},
        {"joint": "R1", "word": "nio"},
        {"joint": "R1", "was": "nio", "nio_probability": 0.4},
        {"joint": "R2", "nio_probability": 0.45},
        {"joint": "R2", "nio_probability": 0.45, "sha256": "03"},
        {"joint": "R3"},
        {"was": None, "nio_probability": None},
    ]
    kinds: tuple[Kind, ...] = ("disputed", "changed", "near")
    wanted = Wanted(kinds, 2, {"m": 0.5})
    chosen = choose(results(*rows), wanted)
    assert [(kind, row["number"]) for kind, row in chosen] == [("disputed", 1), ("changed", 2), ("near", 3)]
    assert choose(results(*rows), Wanted(("near",), 2, {"m": 0.5}))[0][1]["number"] == 3


def test_picked_images_go_to_the_data_set_once(replayed: Replayed, archive: Path, tmp_path: Path) -> None:
    """Copies lie there unlabelled with a line each; what the data set has, under whatever name, is not copied again."""
    dataset = tmp_path / "labelled"
    (dataset / "io").mkdir(parents=True)
    known = archive / "io" / "lot7" / "io000.png"
    (dataset / "io" / "other name.png").write_bytes(known.read_bytes())
    replayed.run(archive)
    job = replayed.job(archive)
    chosen = choose(replayed.out.everything(), wanted_of(replayed))
    assert {Path(row["path"]).name for _, row in chosen} == {"io000.png", "stack.tif"}
    for _ in range(2):
        assert list(copy_to(dataset, chosen, replayed.out, job)) == []
    assert [path.name for path in (dataset / FOLDER).iterdir()] == ["stack.tif"]
    assert (dataset / FOLDER / "stack.tif").read_bytes() == (archive / "io" / "stack.tif").read_bytes()
    (line,) = (dataset / BOOK).read_text("utf-8").splitlines()
    assert json.loads(line)["why"] == "changed"


def wanted_of(replayed: Replayed) -> Wanted:
    """What changed, by the model in use."""
    models = {row["model"] for row in replayed.rows()}
    return Wanted(("changed",), 5, dict.fromkeys(models, 0.5))
