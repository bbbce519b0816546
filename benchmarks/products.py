"""A line of many products against a line of one: files per second of a mixed backlog, and memory."""

from __future__ import annotations

import shutil
import statistics
from collections.abc import Iterator

from benchmarks.bench import SIDE, Bench, Line
from benchmarks.row import Row, ratio_row
from benchmarks.throughput import memory_mb, seconds_of
from settings.schema import JudgeSettings

_PRODUCTS = 20


def products(bench: Bench) -> Iterator[Row]:
    """The same files as one product, as many as have room, and as twenty, in turns; the start is not counted."""
    room = JudgeSettings().models_in_memory
    ratios, more, worths = [], [], []
    files = 2 * bench.files
    for run in range(bench.runs):
        (one, small), (_, full), (many, large) = (_judge(bench, count, files) for count in (1, room, _PRODUCTS))
        worths.append((full - small) / (room - 1))
        ratios.append(many / one)
        more.append(large - small)
        print(
            f"    run {run + 1}: {many:.1f} files/s of {_PRODUCTS} products, {one:.1f} of one; {large:.0f} MB at most, "
            f"{full:.0f} of {room} products, {small:.0f} of one",
            flush=True,
        )
    what = f"{files} PNG of {SIDE} x {SIDE}, mixed of {_PRODUCTS} products, default network at 256"
    yield ratio_row(f"files/s, {what}: against one product", ratios, f"room for {room} models", at_least=0.85)
    worth, found = statistics.median(worths), statistics.median(more)
    yield Row(
        f"peak memory, {what}: more than one product's",
        f"at most {room} models' worth: {room * worth:.0f} MB",
        f"{found:.0f} MB ({worth:.0f} MB a model)",
        found <= room * worth,
    )


def _judge(bench: Bench, products: int, files: int) -> tuple[float, float]:
    """Files per second of a backlog, and the peak of memory in MB."""
    line = _line(bench, products)
    line.fill(bench.images(SIDE), files)
    with line.running() as pid:
        decisions = line.wait_for("decision", files)
        peak = memory_mb(pid, "VmHWM")
    line.remove()
    return files / seconds_of(decisions), peak


def _line(bench: Bench, products: int) -> Line:
    """A line whose files' numbers say of which product they are, one after the other."""
    line = bench.line()
    model = line.folder / "models"
    names = [f"P{number:02d}" for number in range(products)]
    kept = model.rename(line.folder / "model")
    config = ["device: cpu", "products:"]
    for number, name in enumerate(names):
        shutil.copytree(kept, line.folder / "models" / name, symlinks=True)
        numbers = "|".join(f"{left:02d}" for left in range(100) if left % products == number)
        config.append(f"  {name}: {{match: '({numbers})\\.png$'}}")
    (line.folder / "config.yaml").write_text("\n".join(config) + "\n", encoding="utf-8")
    return line
