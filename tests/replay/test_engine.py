"""Ray hands places to judges, and each comes back exactly once, whatever dies; one Ray serves all of these tests."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("ray", reason="Ray is not installed")

import pyarrow as pa
from ray.util.state import list_actors
from replay_line import Replayed

from replay import run
from replay.engine import Cluster, Wish, started
from replay.job import Job

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Two judges at a time."""
    # Other people's work on this machine would starve judges that stand back.
    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112 - Ray writes it so
    with started(Wish(actors=2), "cpu") as (found, device):
        assert device == "cpu"
        yield found


@pytest.fixture(autouse=True)
def _small_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "TABLE", 2)


def test_each_image_is_judged_once_though_a_judge_is_killed(
    cluster: Cluster, replayed: Replayed, archive: Path
) -> None:
    """All verdicts are those of a judge in this process, and a judge that dies in the middle costs none."""
    for number in range(8):
        shutil.copytree(archive / "nio", archive / f"more{number}" / "nio")

    def killed(job: Job, tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
        for number, table in enumerate(cluster.judge(job, tables)):
            if number == 2:
                judges = [
                    actor["pid"] for actor in list_actors() if "JudgeActor" in actor["class_name"] and actor["pid"]
                ]
                os.kill(judges[0], signal.SIGKILL)
            yield table

    done = replayed.run(archive, judges=killed)
    assert (done.judged, done.unread) == (13 + 48, 1)
    rows = replayed.rows()
    assert [row["number"] for row in sorted(rows, key=lambda row: row["number"])] == sorted(
        {row["number"] for row in rows}
    )
    here = Replayed(replayed.line, replayed.out.folder.with_name("here"))
    here.run(archive)
    for one, other in zip(rows, here.rows(), strict=True):
        assert one | {"ms": 0} == other | {"ms": 0}
