"""Ray hands places to judges, and each comes back exactly once, whatever dies; one Ray serves all of these tests."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("ray", reason="Ray is not installed")

import pyarrow as pa
from replay_line import DEADLY, DeadlyFolder, Replayed

from inspection.errors import ConfigError, DeviceError, ModelError
from replay import engine, run
from replay.engine import Cluster, Wish, started
from replay.job import Job

# Other people's work on this machine would starve judges that stand back, as Ray lets them by itself.
ENVIRONMENT = {"RAY_worker_niceness": "0", "PYTHONPATH": os.pathsep.join(sys.path)}

pytestmark = [pytest.mark.timeout(900), pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Two judges at a time."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        with started(Wish(actors=2), "auto") as (found, device):
            assert device == "cpu"
            yield found


@pytest.fixture
def only_long(*, long: bool) -> None:
    """Skips what takes minutes."""
    if not long:
        pytest.skip("takes minutes: with --long only")


@pytest.fixture(autouse=True)
def _small_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "TABLE", 2)
    monkeypatch.setattr(engine, "_TRIES", 1)


@pytest.fixture
def larger(archive: Path) -> Path:
    """The archive with 48 more images."""
    for number in range(8):
        shutil.copytree(archive / "nio", archive / f"more{number}" / "nio")
    return archive


def judging() -> list[int]:
    """The processes that judge."""
    found = []
    for process in Path("/proc").iterdir():
        try:
            if process.name.isdigit() and "JudgeActor" in (process / "cmdline").read_text("utf-8", "replace"):
                found.append(int(process.name))
        except OSError:
            continue
    return found


def test_each_image_is_judged_once_though_a_judge_is_killed(cluster: Cluster, replayed: Replayed, larger: Path) -> None:
    """All verdicts are those of a judge in this process, and a judge that dies in the middle costs none."""

    def killed(job: Job, tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
        for number, table in enumerate(cluster.judge(job, tables)):
            if number == 2:
                os.kill(judging()[0], signal.SIGKILL)
            yield table

    done = replayed.run(larger, judges=killed)
    assert (done.judged, done.unread) == (13 + 48, 1)
    here = Replayed(replayed.line, replayed.out.folder.with_name("here"))
    here.run(larger)
    for one, other in zip(replayed.rows(), here.rows(), strict=True):
        assert one | {"ms": 0} == other | {"ms": 0}


@pytest.mark.usefixtures("only_long")
def test_ctrl_c_keeps_what_was_judged(cluster: Cluster, replayed: Replayed, larger: Path) -> None:
    """Ray lets go of the work at once, the same Ray goes on with what is missing, and no image is there twice."""

    def interrupted(job: Job, tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
        for number, table in enumerate(cluster.judge(job, tables)):
            if number == 3:
                signal.raise_signal(signal.SIGINT)
            yield table

    with pytest.raises(KeyboardInterrupt):
        replayed.run(larger, judges=interrupted)
    done = replayed.run(larger, resume=True, judges=cluster.judge)
    assert (done.judged, done.unread) == (13 + 48, 1)
    assert done.kept >= 5


@pytest.mark.usefixtures("only_long")
def test_an_image_that_kills_judges_is_put_aside(cluster: Cluster, replayed: Replayed, archive: Path) -> None:
    """It is listed, and all others are judged."""
    shutil.copy(archive / "nio" / "lot7" / "nio001.png", archive / "nio" / DEADLY)
    done = replayed.run(DeadlyFolder(archive), judges=cluster.judge)
    assert (done.judged, done.unread) == (13, 2)
    (why,) = [why for path, why in replayed.unread().items() if path.endswith(DEADLY)]
    assert why.startswith("judges die of it")


def test_what_fails_in_a_judge_is_told_plainly(cluster: Cluster, replayed: Replayed, archive: Path) -> None:
    """An error of ours is that error here too, with its one line."""
    weights = next((replayed.line / "models" / "current").resolve().glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    with pytest.raises(ModelError, match=r"^/.*: damaged: its hash") as told:
        replayed.run(archive, judges=cluster.judge)
    assert "\n" not in str(told.value)


def test_wishes_that_cannot_be_fulfilled() -> None:
    """A share of a GPU where none is; the rest is as the configuration and the machine say."""
    assert engine._share(None, "auto", 0.0, 4) == 0.0
    assert engine._share(None, "auto", 2.0, 4) == 0.5
    assert engine._share(0.25, "cuda", 1.0, 4) == 0.25
    with pytest.raises(DeviceError):
        engine._share(None, "cuda", 0.0, 4)
    with pytest.raises(ConfigError, match="device: cpu"):
        engine._share(0.5, "cpu", 1.0, 4)
