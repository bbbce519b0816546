"""From the close of a file to its appearance in io or nio: alone, and among others at 70 % load.

An image appears by a rename, which is the last change of its inode: its ctime, to the kernel's tick of a few
milliseconds.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.bench import SIDE, Bench, Line
from benchmarks.row import Row, ratio_row
from benchmarks.stages import Stages
from benchmarks.throughput import files_per_second

_LONE = 20
_WARM_UP = 3
_PAUSE_S = 0.1
_LOAD = 0.7
_AT_MOST_MS = 10


def lone(bench: Bench) -> Iterator[Row]:
    """A lone file and the bare stages, in turns."""
    found, bare = [], []
    for run in range(bench.runs):
        line, apart = bench.line(), bench.line()
        stages = Stages(apart)
        waits, alone = [], []
        with line.running():
            for number, image in enumerate((bench.images(SIDE) * 2)[: _WARM_UP + _LONE]):
                waits.append(_wait(line, image, f"{number}.png"))
                time.sleep(_PAUSE_S)
                alone.append(_bare(stages, image))
                time.sleep(_PAUSE_S)
        line.remove()
        apart.remove()
        found.append(statistics.median(waits[_WARM_UP:]))
        bare.append(statistics.median(alone[_WARM_UP:]))
        print(f"    run {run + 1}: p50 {1000 * found[-1]:.1f} ms, stages {1000 * bare[-1]:.1f} ms", flush=True)
    over = statistics.median(1000 * (wait - 2 * alone) for wait, alone in zip(found, bare, strict=True))
    ratio = statistics.median(wait / alone for wait, alone in zip(found, bare, strict=True))
    yield Row(
        "close of a lone file to visible in io/nio, p50: against the bare stages of one image",
        f"at most 2x, plus at most {_AT_MOST_MS} ms",
        f"{ratio:.2f}x: {1000 * statistics.median(found):.1f} ms against {1000 * statistics.median(bare):.1f} ms; "
        f"{over:+.1f} ms beyond 2x",
        over <= _AT_MOST_MS,
    )


def loaded(bench: Bench) -> Iterator[Row]:
    """Files that arrive at random, at 70 % of what the daemon can do."""
    ratios, note = [], ""
    count = min(bench.files, 500)
    for run in range(bench.runs):
        rate = _LOAD * files_per_second(bench, min(bench.files, 200))
        apart = bench.line()
        stages = Stages(apart)
        alone = [_bare(stages, image) for image in bench.images(SIDE)[: _WARM_UP + _LONE]][_WARM_UP:]
        apart.remove()
        waits = sorted(_under_load(bench, rate, count, seed=run))
        p99 = waits[min(len(waits) - 1, int(0.99 * len(waits)))]
        bare = statistics.median(alone)
        ratios.append(p99 / bare)
        note = (
            f"p99 {1000 * p99:.0f} ms, p50 {1000 * statistics.median(waits):.0f} ms at {rate:.1f} files/s, "
            f"stages {1000 * bare:.1f} ms"
        )
        print(f"    run {run + 1}: {note}", flush=True)
    measure = f"the same at 70 % load ({count} files at random moments), p99: against the bare stages of one image"
    yield ratio_row(measure, ratios, f"last: {note}", at_most=8)


def _bare(stages: Stages, image: Path) -> float:
    return sum(stages.work([image], time.perf_counter).values())


def _wait(line: Line, image: Path, name: str) -> float:
    closed = _write(line, image.read_bytes(), name)
    while not (place := line.place(name)):
        time.sleep(0.002)
    return place.stat().st_ctime - closed


def _under_load(bench: Bench, rate: float, count: int, seed: int) -> Sequence[float]:
    dice = random.Random(seed)  # noqa: S311 - arrivals, not secrets
    line = bench.line()
    data = [image.read_bytes() for image in bench.images(SIDE)]
    closed = {}
    with line.running():
        for number in range(_WARM_UP):
            _write(line, data[0], f"warm{number}.png")
            line.wait_for("decision", number + 1)
        arrives = time.monotonic()
        for number in range(count):
            arrives += dice.expovariate(rate)
            time.sleep(max(0.0, arrives - time.monotonic()))
            closed[f"{number}.png"] = _write(line, data[number % len(data)], f"{number}.png")
        line.wait_for("decision", _WARM_UP + count)
    places = {name: line.place(name) for name in closed}
    waits = [place.stat().st_ctime - closed[name] for name, place in places.items() if place]
    line.remove()
    return waits


def _write(line: Line, data: bytes, name: str) -> float:
    """Write a file as a machine does; when it was closed."""
    with (line.inbox / name).open("wb") as file:
        file.write(data)
    return time.time()
