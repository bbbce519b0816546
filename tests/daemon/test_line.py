"""The line in one process, where single calls can be made to fail."""

from __future__ import annotations

import errno
import json
import os
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from bench import Bench, failing

from filing import durable
from inspection.errors import DeviceError, SolderwatchError


@pytest.fixture
def bench(line: Path, trained: Path) -> Bench:
    """A line with three good images in its inbox."""
    made = Bench(line)
    made.fill(trained / "dataset", 3)
    return made


def _fail_to_write(monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    monkeypatch.setattr(durable.Unsynced, "write", failing(durable.Unsynced.write, errno.ENOSPC, times))


def test_a_full_disk_is_waited_for(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """While nothing can be written everything is kept; once there is room again, everything is judged, each once."""
    _fail_to_write(monkeypatch, 2)
    bench.line.run(once=True)
    assert len(bench.events("trouble")) == 2
    assert sorted(event["file"] for event in bench.events("decision")) == ["0.png", "1.png", "2.png"]
    assert list(bench.inbox.iterdir()) == []


def test_a_file_that_cannot_be_moved_does_not_stop_the_others(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """One file that is not ours to move stays where it is and is told; the others are judged."""
    monkeypatch.setattr(Path, "rename", failing(Path.rename, errno.EACCES, -1, "/1.png"))
    with pytest.raises(SolderwatchError, match="1 files"):
        bench.line.run(once=True)
    assert sorted(event["file"] for event in bench.events("decision")) == ["0.png", "2.png"]
    (trouble,) = bench.events("trouble")
    assert "1.png" in trouble["file"]
    assert [path.name for path in bench.inbox.iterdir()] == ["1.png"]


def _fail_to_inspect(bench: Bench, monkeypatch: pytest.MonkeyPatch, *, also_golden: bool) -> None:
    inspector = bench.judge_with_the_original(monkeypatch)
    inspect = inspector.inspect

    def fails(images: Any) -> Any:
        if len(images) > 1 or images[0].shape == (40, 40):
            raise RuntimeError("unspecified launch failure")
        return inspect(images)

    monkeypatch.setattr(inspector, "inspect", fails)
    if also_golden:
        monkeypatch.setattr("daemon.judging.current_model.check_agreement", fails)


def test_an_image_that_cannot_be_judged_is_put_away(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the model still scores its golden samples, an image that fails is to blame: quarantine, never io."""
    _fail_to_inspect(bench, monkeypatch, also_golden=False)
    bench.line.run(once=True)
    assert len(bench.events("quarantine")) == 3
    assert "unspecified launch failure" in bench.events("quarantine")[0]["error"]


def test_a_processor_that_fails_costs_no_image(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the golden samples fail too the daemon ends; the images stay in hand and are judged at the next start."""
    _fail_to_inspect(bench, monkeypatch, also_golden=True)
    with pytest.raises(DeviceError, match="golden"):
        bench.line.run(once=True)
    assert not bench.events("quarantine")
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("worker")]
    monkeypatch.undo()
    again = Bench(bench.inbox.parents[1])
    again.line.recover(interrupted=True)
    again.line.run(once=True)
    assert len(again.events("decision")) == 3


def test_a_gpu_without_any_room_is_waited_for(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """When not even one image fits the line backs off, keeps the images in hand, and goes on by itself."""
    inspector = bench.judge_with_the_original(monkeypatch)
    inspect, room = inspector.inspect, [0]

    def limited(images: Any) -> Any:
        if len(images) > room[0]:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return inspect(images)

    monkeypatch.setattr(inspector, "inspect", limited)

    def beat(state: str, _: bool) -> None:
        if state.startswith("trouble"):
            room[0] = 8

    bench.line._beat = beat
    bench.line.run(once=True)
    assert len(bench.events("decision")) == 3
    assert "no memory" in bench.events("trouble")[0]["error"]
    assert not bench.events("quarantine")


def test_a_new_model_that_finds_no_room_is_refused(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the GPU has no memory for what a new model's maps are set against, the old model stays and judges on."""
    old = bench.models.of(None)

    def no_room(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("daemon.judging.current_model.Inspector", no_room)
    os.utime(bench.inbox.parents[1] / "models" / "current" / "model.json")
    assert bench.models.of(None) is old
    assert "out of memory" in bench.events("model_refused")[0]["error"]
    bench.line.run(once=True)
    assert len(bench.events("decision")) == 3


def test_below_the_low_water_mark_nothing_is_claimed(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that is nearly full is told; images stay in the inbox until there is room again."""
    left = [errno.ENOSPC]

    def check(*_: object) -> None:
        if left:
            assert len(list(bench.inbox.iterdir())) == 3
            raise OSError(left.pop(), "100 MB are left")

    monkeypatch.setattr("daemon.line.check_room", check)
    bench.line.run(once=True)
    assert "100 MB are left" in bench.events("trouble")[0]["error"]
    assert len(bench.events("decision")) == 3


def test_an_image_that_was_deleted_from_work_is_forgotten(bench: Bench) -> None:
    """It is told once, and is no trouble for ever."""
    folder = bench.inbox.parent / "work" / "20260101T000000-abc"
    folder.mkdir()
    (folder / "claim.json").write_text(
        json.dumps({"source": "lot/a.png", "claimed": "", "attempts": 1, "across": True})
    )
    (bench.inbox / "lot").mkdir()
    (bench.inbox / "lot" / f"a.png.{folder.name}.claimed").touch()
    bench.line.recover(interrupted=False)
    shutil.rmtree(bench.inbox / "lot")
    bench.line.run(once=True)
    assert [event["file"] for event in bench.events("gone")] == ["lot/a.png"]
    assert not folder.exists()


def test_a_wait_is_no_silence(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the line waits for images or for room on the disk it says that it is alive."""
    bench.line._beat_s = 0.05
    _fail_to_write(monkeypatch, 1)
    bench.line.run(once=True)
    assert len([beat for beat in bench.beats if beat.startswith("trouble")]) > 5
