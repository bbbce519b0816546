"""A replay's verdicts are the daemon's, bit for bit, and say what was known before."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("ray", reason="Ray is not installed")

from replay_line import Replayed

from inspection.image import Limits, open_stack
from inspection.inspector import Inspector
from inspection.model import load
from inspection.stack import inspect_by, inspect_stack
from replay.job import models_in
from replay.together import inspect_together
from settings import load as load_settings

SAME = ("sha256", "verdict", "reason", "nio_probability", "novelty", "pages", "page", "model")


def files_under(folder: Path) -> dict[str, tuple[bytes, int, int]]:
    """Content, inode and time of every file."""
    return {
        str(path): (path.read_bytes(), path.stat().st_ino, path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_verdicts_are_the_daemons(replayed: Replayed, archive: Path) -> None:
    """Every score of every image is to the last bit what the daemon's record says, and no file there is touched."""
    line = replayed.line
    shutil.copytree(archive, line / "data" / "inbox", ignore=shutil.ignore_patterns("*.json", "*.txt"))
    subprocess.run([sys.executable, "-m", "daemon", "run", "--once"], cwd=line, check=True, capture_output=True)
    before = files_under(line / "data")
    replayed.run(line / "data" / "io", line / "data" / "nio")
    records = {
        str(path)[: -len(".json")]: json.loads(path.read_bytes()) for path in (line / "data").glob("*io/**/*.json")
    }
    rows = replayed.rows()
    assert len(rows) == len(records) == 13
    for row in rows:
        record = records[row["path"]]
        assert {name: row[name] for name in SAME} == {name: record[name] for name in SAME}
        assert row["was"] == record["verdict"]
    assert {row["verdict"] for row in rows} == {"io", "nio"}
    assert files_under(line / "data") == before


def test_what_was_known_stands_beside_the_verdict(replayed: Replayed, archive: Path) -> None:
    """The record's verdict, product, board and day and an operator's word; without a record what the folders say."""
    replayed.run(archive)
    rows = {Path(row["path"]).name: row for row in replayed.rows()}
    told = rows["io000.png"]
    assert (told["was"], told["word"], told["product"], told["board"]) == ("nio", "io", "QFN", "B1")
    assert told["day"] == date(2026, 2, 3).isoformat()
    assert (rows["io001.png"]["was"], rows["io001.png"]["word"]) == ("io", None)
    assert rows["nio000.png"]["was"] == "nio"
    assert (rows["stack.tif"]["pages"], rows["stack.tif"]["verdict"]) == (2, "nio")


def test_what_cannot_be_judged_is_listed(replayed: Replayed, archive: Path) -> None:
    """Damaged files, vanished ones, pipes and what is too large are listed with the reason; the rest is judged."""
    (replayed.line / "config.yaml").write_text("device: cpu\nruntime: torch\ninbox: {max_file_mb: 1}\n", "utf-8")
    os.mkfifo(archive / "io" / "pipe.png")
    (archive / "io" / "large.png").write_bytes(bytes(2**20 + 1))
    (archive / "io" / "link.png").symlink_to("nowhere.png")
    done = replayed.run(archive)
    assert (done.judged, done.unread) == (13, 4)
    reasons = {Path(path).name: reason for path, reason in replayed.unread().items()}
    assert set(reasons) == {"damaged.png", "pipe.png", "large.png", "link.png"}
    assert reasons["link.png"] == "the file is gone"
    assert "max_file_mb" in reasons["large.png"]


def test_each_product_is_judged_by_its_own_model(replayed: Replayed, archive: Path) -> None:
    """An image of a product without a model, or of none, is judged by nobody's, and listed."""
    line = replayed.line
    (line / "models" / "QFN").mkdir()
    kept = (line / "models" / "current").readlink()
    (line / "models" / "current").unlink()
    (line / "models" / kept).rename(line / "models" / "QFN" / kept)
    (line / "models" / "QFN" / "current").symlink_to(kept)
    config = "device: cpu\nruntime: torch\nproducts: {QFN: {match: ^lot7/nio}, BGA: {match: ^stack}}\n"
    (line / "config.yaml").write_text(config, "utf-8")
    done = replayed.run(archive)
    assert (done.judged, done.unread) == (7, 7)
    assert {row["product"] for row in replayed.rows()} == {"QFN"}
    reasons = {Path(path).name: reason for path, reason in replayed.unread().items()}
    assert reasons["stack.tif"] == "no model of product BGA"
    assert reasons["io001.png"].startswith("no product")


def test_two_models_judge_the_same_pixels(replayed: Replayed, archive: Path) -> None:
    """A model against itself changes nothing, and the map is drawn of what differs from it only."""
    settings = load_settings(replayed.line / "config.yaml")
    models = models_in(settings.paths.models, settings, None, "--model")
    replayed.run(archive, against=models, maps="changed")
    for row in replayed.rows():
        assert (row["against"], row["against_reason"]) == (row["verdict"], row["reason"])
        assert row["against_probability"] == row["nio_probability"]
    assert not replayed.out.maps.exists()


@pytest.mark.parametrize(("maps", "drawn"), [("none", 0), ("nio", 7), ("changed", 2), ("all", 13)])
def test_maps_are_drawn_where_they_are_asked_for(replayed: Replayed, archive: Path, maps: str, drawn: int) -> None:
    """`changed`: a stack in io that is nio, and an image whose record said nio."""
    replayed.run(archive, maps=maps)
    pictures = sorted(replayed.out.maps.rglob("*.png"))
    assert len(pictures) == drawn
    assert all(picture.read_bytes().startswith(b"\x89PNG") for picture in pictures)


def test_pages_judged_together_belong_to_their_files(
    trained: Path, draw_stack: Callable[..., bytes], draw_disc: Callable[..., Any]
) -> None:
    """In batches, as on a GPU: each file gets its own pages' verdicts, and a damaged one is alone with its damage."""
    inspector = Inspector(load(trained / "models" / "current", torch.device("cpu")), "ExcessCAM", only_last_conv=True)
    rng = np.random.default_rng(1)
    discs = [draw_disc(rng, void=void) for void in (False, True, False, True, True)]
    files = [draw_stack(discs[:3]), draw_stack(discs, damaged=4), draw_stack(discs[3:])]
    stacks = [open_stack(data, Limits(10**6)) for data in files]
    found = inspect_together([inspector, inspector.twin()], stacks, 2)
    assert isinstance(found[1], Exception)
    for index in (0, 2):
        one = found[index]
        assert not isinstance(one, Exception)
        alone = inspect_stack(inspector, stacks[index])
        for opinion in one[0]:
            assert [v.label for v in opinion.verdicts] == [v.label for v in alone.verdicts]
            assert opinion.page == alone.page
    both = inspect_by([inspector, inspector.twin()], stacks[0])
    assert both[0].verdicts == both[1].verdicts == inspect_stack(inspector, stacks[0]).verdicts
