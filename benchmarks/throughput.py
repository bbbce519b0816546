"""Files per second and memory of a whole daemon as a real process."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.bench import SIDE, Bench, Event, cores, moment
from benchmarks.original import seconds_per_file
from benchmarks.row import Row, ratio_row
from benchmarks.stages import cpu_seconds
from settings.schema import JudgeSettings

_SLOW_FILES, _STAGE_FILES = 22, 40
_BACKLOG, _LITTLE = 100_000, 1_000
_SMALL, _SMALL_MODEL = 64, 64
_LONG_RUN, _BEGIN = 20_000, 500
_JOINTS = 100
_CROP = 100  # pixels a side of what most machines send: one joint
_UNITS = f"""\
names: {{pattern: '(?P<board>\\d{{4}})(?P<joint>\\d\\d)'}}
boards: {{complete: {{joints: {_JOINTS}}}}}
"""


def throughput(bench: Bench) -> Iterator[Row]:
    """The daemon against the original way and against the ideal, in turns; with whole images and with crops."""
    yield from _against_the_original(bench, SIDE, at_least=(18, 12))
    yield from _against_the_original(bench, _CROP, at_least=(15, 5))


def _against_the_original(bench: Bench, side: int, at_least: tuple[float, float]) -> Iterator[Row]:
    smooth, plain, ideal, rates = [], [], [], []
    for run in range(bench.runs):
        rate = files_per_second(bench, bench.files, side=side)
        slow = _original(bench, side, "SmoothGradCAMpp", 10), _original(bench, side, "XGradCAM", _SLOW_FILES)
        spent = _stage_seconds(bench, side)
        best = cores() / sum(spent.values())
        rates.append(rate)
        smooth.append(rate * slow[0])
        plain.append(rate * slow[1])
        ideal.append(rate / best)
        alone = ", ".join(f"{name} {1000 * seconds:.1f}" for name, seconds in spent.items())
        print(
            f"    {side} px, run {run + 1}: {rate:.1f} files/s; original {1 / slow[0]:.2f} and {1 / slow[1]:.2f} "
            f"files/s; ideal {best:.1f} files/s (CPU ms: {alone})",
            flush=True,
        )
    what = f"files/s through the daemon, {bench.files} PNG of {side} x {side}, default network at 256, random weights"
    found = f"daemon {statistics.median(rates):.1f} files/s"
    yield ratio_row(f"{what}: against the original way", smooth, found, at_least=at_least[0])
    yield ratio_row("the same: against the same loop with XGradCAM", plain, found, at_least=at_least[1])
    measure = f"the same: against the ideal, {cores()} cores over the stages' CPU time alone"
    yield ratio_row(measure, ideal, found, at_least=0.9)


def units(bench: Bench) -> Iterator[Row]:
    """The daemon that tells boards and joints by their names and keeps boards' records, against one that does not."""
    ratios = []
    for run in range(bench.runs):
        without, with_them = files_per_second(bench, bench.files), files_per_second(bench, bench.files, _UNITS)
        ratios.append(with_them / without)
        print(f"    run {run + 1}: {with_them:.1f} files/s with names and boards, {without:.1f} without", flush=True)
    what = f"files/s, {bench.files} PNG of {SIDE} x {SIDE} of boards of {_JOINTS} joints: with names and boards"
    yield ratio_row(f"{what} against without", ratios, "the ledger is kept in both", at_least=0.95)


def files_per_second(bench: Bench, count: int, config: str = "", side: int = SIDE) -> float:
    """From the first claim to the last file in its folder; the start of the program is not counted."""
    line = bench.line(config=config)
    line.fill(bench.images(side), count)
    decisions = line.once()
    line.remove()
    if len(decisions) != count:
        raise SystemExit(f"benchmarks: {len(decisions)} of {count} files were judged")
    return count / seconds_of(decisions)


def seconds_of(decisions: Sequence[Event]) -> float:
    """From the first claim to the last decision."""
    return moment(decisions[-1]["timestamp"]) - min(moment(event["claimed"]) for event in decisions)


def _original(bench: Bench, side: int, method: str, count: int) -> float:
    line = bench.line()
    images = (bench.images(side) * count)[:count]
    seconds = seconds_per_file(line.folder / "models" / "current", images, line.folder / "original", method)
    line.remove()
    return seconds


def _stage_seconds(bench: Bench, side: int) -> dict[str, float]:
    line = bench.line()
    spent = cpu_seconds(line, bench.images(side)[:_STAGE_FILES], JudgeSettings().batch_size)
    line.remove()
    return spent


def backlog(bench: Bench) -> Iterator[Row]:
    """The first files of a large inbox against all of a small one; many a file is a hard link."""
    few, many = min(_LITTLE, bench.files), min(_BACKLOG, 100 * bench.files)
    ratios, note = [], ""
    for run in range(bench.runs):
        small, large = _first(bench, few, few), _first(bench, many, few)
        ratios.append(large / small)
        note = f"{large:.1f} against {small:.1f} files/s"
        print(f"    run {run + 1}: {note}", flush=True)
    measure = f"files/s with {many:,} waiting (images of {_SMALL} x {_SMALL}): against {few:,} waiting"
    yield ratio_row(measure, ratios, f"the first {few:,}, from the first look on; last run {note}", at_least=0.9)


def _first(bench: Bench, waiting: int, count: int) -> float:
    """The rate of the first `count` files, from the daemon's first look at the inbox on."""
    line = bench.line(_SMALL_MODEL)
    line.fill(bench.images(_SMALL), waiting, linked=True)
    with line.running():
        decisions = line.wait_for("decision", count)[:count]
    (watching,) = line.events("watching")
    line.remove()
    return count / (moment(decisions[-1]["timestamp"]) - moment(watching["timestamp"]))


def memory(bench: Bench) -> Iterator[Row]:
    """Resident memory late and early in the life of one daemon; once, for it takes long."""
    late, early = min(_LONG_RUN, 20 * bench.files), min(_BEGIN, 5 * bench.files)
    line = bench.line(_SMALL_MODEL)
    line.fill(bench.images(_SMALL), late, linked=True)
    with line.running() as pid:
        line.wait_for("decision", early)
        before = memory_mb(pid)
        print(f"    after {early:,}: {before:.0f} MB", flush=True)
        line.wait_for("decision", late)
        after = memory_mb(pid)
    line.remove()
    yield Row(
        f"memory after {late:,} images (of {_SMALL} x {_SMALL}, network at {_SMALL_MODEL}): after {early:,}",
        "at most +20 MB",
        f"{after - before:+.1f} MB ({before:.0f} MB after {early:,}; one run)",
        after - before <= 20,
    )


def memory_mb(pid: int, figure: str = "VmRSS") -> float:
    """Resident memory of a process, by its name in /proc/PID/status: as it is now, or at its peak, `VmHWM`."""
    for text in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if text.startswith(f"{figure}:"):
            return float(text.split()[1]) / 1024
    raise SystemExit(f"benchmarks: process {pid} is gone")
