"""How near a replay comes to what this machine can do: the engine against the judging alone and against the daemon.

    python -m benchmarks.replay [NAME...] [--runs 3] [--files 20000]

The two sides of a ratio are measured in turns within one run; the median over the runs counts. A replay's rate is from
its first results on: starting Ray and loading models is told apart. `memory` judges a tenth of `--files`
small images, and then five times `--files`. All lies in a folder beside the packages, which is removed afterwards.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import pyarrow as pa

from benchmarks.bench import SIDE, Bench, Line, cores, run_measures
from benchmarks.row import Row, ratio_row
from benchmarks.stages import cpu_seconds
from benchmarks.throughput import files_per_second, memory_mb
from replay import run
from replay.archives import Folder
from replay.engine import Wish, started
from replay.job import Job, models_in
from replay.out import Out
from replay.plan import listed
from settings import load
from settings.schema import JudgeSettings

_SMALL, _STAGE_FILES, _LOOK_S = 64, 40, 0.5
_JUDGE = "ray::MapWorker"
_RAYS = ("ray::", "/ray/")


@dataclass(frozen=True)
class Replayed:
    """One replay.

    Attributes:
        rate: Images per second, from the first results on.
        cpu_s: CPU seconds of each of these images, of the driver, the judges and Ray's own processes together.
        start_s: Until then.
        driver_mb: The most memory that the driver had.
        judge_mb: The same of any judge.
    """

    rate: float
    cpu_s: float
    start_s: float
    driver_mb: float
    judge_mb: float


def engine(bench: Bench) -> Iterator[Row]:
    """As many judges as cores against the CPU time of decoding and judging alone, and against the daemon."""
    ideal, daemon, cpu, note = [], [], [], ""
    for number in range(bench.runs):
        line = bench.line()
        line.fill(bench.images(SIDE), bench.files, linked=True)
        found = _replay(line, cores())
        line.remove()
        spent = _alone(bench)
        theirs = files_per_second(bench, min(bench.files, 1000))
        ideal.append(found.rate * spent / cores())
        daemon.append(found.rate / theirs)
        cpu.append(spent / found.cpu_s)
        note = f"last run {found.rate:.1f} images/s, ideal {cores() / spent:.1f}, daemon {theirs:.1f}"
        print(f"    run {number + 1}: {note}; the first results after {found.start_s:.0f} s", flush=True)
    what = f"{bench.files:,} PNG of {SIDE} x {SIDE}, default network at 256, {cores()} judges on {cores()} cores"
    yield ratio_row(f"images/s, {what}: against cores / CPU seconds of decode and judge", ideal, note, at_least=0.9)
    yield ratio_row("CPU time of decode and judge alone: of the whole replay's", cpu, "does not mind a busy machine")
    yield ratio_row("the same: against the daemon's files/s", daemon, note, at_least=1.3)


def judges(bench: Bench) -> Iterator[Row]:
    """Two judges against one."""
    ratios = []
    for number in range(bench.runs):
        line = bench.line()
        line.fill(bench.images(SIDE), bench.files, linked=True)
        one, two = _replay(line, 1), _replay(line, 2)
        line.remove()
        ratios.append(two.rate / one.rate)
        print(f"    run {number + 1}: {one.rate:.1f} and {two.rate:.1f} images/s", flush=True)
    yield ratio_row("images/s of two judges: against one", ratios, f"{bench.files:,} images each", at_least=1.8)


def tables(bench: Bench) -> Iterator[Row]:
    """How the number of images in a table matters: what the engine does for each costs, what dies with one too."""
    kept = run.TABLE
    for size in (8, 32, 64, 256):
        line = bench.line()
        line.fill(bench.images(SIDE), bench.files, linked=True)
        run.TABLE = size
        found = _replay(line, cores())
        run.TABLE = kept
        line.remove()
        yield Row(f"images/s with {size} images in a table", "-", f"{found.rate:.1f} (one run)")


def memory(bench: Bench) -> Iterator[Row]:
    """Of driver and judges, with few images and with many."""
    few, many = max(bench.files // 10, 50), bench.files * 5
    found = []
    for count in (few, many):
        line = bench.line(_SMALL)
        line.fill(bench.images(_SMALL), count, linked=True)
        found.append(_replay(line, cores()))
        line.remove()
    for name in ("driver", "judge"):
        small, large = (float(getattr(one, f"{name}_mb")) for one in found)
        yield Row(
            f"peak memory of a {name}, {many:,} images of {_SMALL} x {_SMALL}: more than with {few:,}",
            "at most +50 MB",
            f"{large - small:+.0f} MB ({small:.0f} MB with {few:,}; one run)",
            large - small <= 50,
        )


MEASURES: dict[str, Callable[[Bench], Iterator[Row]]] = {
    "engine": engine,
    "judges": judges,
    "tables": tables,
    "memory": memory,
}


def _replay(line: Line, count: int) -> Replayed:
    """Replay a line's inbox, as nobody would but a benchmark."""
    settings = load(line.folder / "config.yaml")
    archives = (Folder(settings.paths.inbox),)
    out = Out(line.folder / f"replay-{time.monotonic_ns()}")
    out.begin({}, resume=False)
    began, first, last = time.monotonic(), 0.0, 0.0
    cpu_first = cpu_last = 0.0
    judged = at_first = 0
    with started(Wish(actors=count), "cpu") as (cluster, device), _Watch() as watch:
        models = models_in(settings.paths.models, settings, None, "--model")
        job = Job(settings, archives, models, {}, None, "none", device)

        def timed(job: Job, places: Iterator[pa.Table]) -> Iterator[pa.Table]:
            nonlocal first, last, judged, at_first, cpu_first, cpu_last
            for table in cluster.judge(job, places):
                last = time.monotonic()
                judged += len(table)
                if not first:
                    first, at_first, cpu_first = last, len(table), _cpu_s()
                yield table
            cpu_last = _cpu_s()

        run.replay(out, job, lambda: listed(archives, settings), timed, lambda _: None, cluster.judges)
    timed_images = max(judged - at_first, 1)
    return Replayed(
        timed_images / max(last - first, 1e-9),
        (cpu_last - cpu_first) / timed_images,
        first - began,
        watch.driver_mb,
        watch.judge_mb,
    )


def _cpu_s() -> float:
    """What this process and all of Ray's have used so far."""
    ticks = 0
    for process in _processes():
        with suppress(OSError):
            command = (process / "cmdline").read_text("utf-8", "replace")
            if int(process.name) == os.getpid() or any(mark in command for mark in _RAYS):
                fields = (process / "stat").read_text("utf-8", "replace").rpartition(")")[2].split()
                ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def _processes() -> Iterator[Path]:
    return (process for process in Path("/proc").iterdir() if process.name.isdigit())


class _Watch:
    """Looks at memory until it is left, as a context."""

    def __init__(self) -> None:
        self.driver_mb = self.judge_mb = 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(_LOOK_S):
            self.driver_mb = max(self.driver_mb, memory_mb(os.getpid()))
            for process in _processes():
                with suppress(OSError, SystemExit, IndexError):
                    if _JUDGE in (process / "cmdline").read_text("utf-8", "replace"):
                        self.judge_mb = max(self.judge_mb, memory_mb(int(process.name)))


def _alone(bench: Bench) -> float:
    """CPU seconds of an image: what no engine can do without."""
    line = bench.line()
    spent = cpu_seconds(line, bench.images(SIDE)[:_STAGE_FILES], JudgeSettings().batch_size)
    line.remove()
    return spent["decode"] + spent["judge"]


if __name__ == "__main__":
    sys.exit(run_measures(__doc__, MEASURES, runs=3, files=20_000, fewest=200))
