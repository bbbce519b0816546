"""A cluster of two nodes, started on this machine as on two: what a node had in hand when it was lost is not lost."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

pytest.importorskip("ray", reason="Ray is not installed")

import pyarrow as pa
import ray
from replay_line import Replayed

from replay import run
from replay.engine import Wish, started
from replay.job import Job

ENVIRONMENT = {"RAY_worker_niceness": "0", "RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}
RAY = Path(sys.executable).with_name("ray")
PATIENCE_S = 300.0

pytestmark = [pytest.mark.timeout(900), pytest.mark.filterwarnings("ignore")]

Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch, *, long: bool) -> Iterator[Start]:
    """Starts a node with one core by `ray start`; all are killed at the end."""
    if not long:
        pytest.skip("two nodes take a quiet machine and a minute: with --long")
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    paths = os.pathsep.join(sys.path)
    with ExitStack() as stack:

        def node(*arguments: str) -> subprocess.Popen[bytes]:
            options = ["--num-cpus=1", "--object-store-memory=100000000", "--disable-usage-stats", "--block"]
            process = subprocess.Popen(
                [RAY, "start", *arguments, *options],
                env=os.environ | {"PYTHONPATH": paths},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            stack.callback(kill, process)
            return process

        yield node


def kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a node with all of its processes, as a power cut does."""
    if process.poll() is None:
        for child in family(process.pid):
            try:
                os.kill(child, signal.SIGKILL)
            except ProcessLookupError:
                continue
    process.wait(60)


def family(pid: int) -> list[int]:
    """A process and all that it started."""
    parents = {}
    for process in Path("/proc").iterdir():
        try:
            if process.name.isdigit():
                parents[int(process.name)] = int((process / "stat").read_text("utf-8").rpartition(")")[2].split()[1])
        except OSError:
            continue
    found = [pid]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found


def free_port() -> int:
    """One that nobody listens on."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port: int = server.getsockname()[1]
        return port


def alive() -> int:
    """How many nodes the cluster has."""
    return sum(bool(node["Alive"]) for node in ray.nodes())  # type: ignore[no-untyped-call]


def alive_at(address: str) -> int:
    """The same of a cluster that this process is not part of; 0 where there is none yet."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), 1).close()
        ray.init(address=address, log_to_driver=False, logging_level=logging.CRITICAL)
    except (OSError, RuntimeError):
        return 0
    try:
        return alive()
    finally:
        ray.shutdown()


def join(start: Start, address: str, count: int, *arguments: str) -> subprocess.Popen[bytes]:
    """Start a node, and wait until the cluster has so many of them."""
    end = time.monotonic() + PATIENCE_S
    process = start(*arguments)
    while alive_at(address) < count:
        assert time.monotonic() < end, "the nodes do not come up"
        if process.poll() is not None:
            process = start(*arguments)  # Ray gives a node half a minute, which a busy machine does not
        time.sleep(1)
    return process


def test_a_lost_node_costs_no_image(
    start: Start, replayed: Replayed, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of two nodes is killed in the middle; the other one ends the work, and each image is there once."""
    monkeypatch.setattr(run, "TABLE", 2)
    for number in range(16):
        shutil.copytree(archive / "nio", archive / f"more{number}" / "nio")
    host = ray.util.get_node_ip_address()  # type: ignore[no-untyped-call]
    address = f"{host}:{free_port()}"
    join(start, address, 1, "--head", f"--port={address.rpartition(':')[2]}", "--include-dashboard=false")
    second = join(start, address, 2, f"--address={address}")
    with started(Wish(address=address), "cpu") as (cluster, _):

        def lost(job: Job, tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
            for number, table in enumerate(cluster.judge(job, tables)):
                if number == 4:
                    kill(second)
                yield table

        done = replayed.run(archive, judges=lost)
        assert alive() == 1
    assert (done.judged, done.unread) == (13 + 96, 1)
    assert len({row["number"] for row in replayed.rows()}) == 13 + 96
