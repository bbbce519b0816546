"""From the start of the service, with an image waiting, to its first verdict; with everything in the disk's cache."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.bench import REPO, SIDE, Bench, Line
from benchmarks.row import Row, ratio_row
from settings.schema import CURRENT

_LOADED = """
import sys
from pathlib import Path
import torch
from inspection.model import load
load(Path(sys.argv[1]), torch.device("cpu"))
"""


def start(bench: Bench) -> Iterator[Row]:
    """The command that the unit starts, and a bare import of torch and load of the model, in turns."""
    ratios, note = [], ""
    for run in range(bench.runs + 1):
        line = bench.line()
        bare = _bare(line.folder / "models" / CURRENT)
        first = _first_verdict(line, bench.images(SIDE)[0])
        line.remove()
        if not run:  # brought everything into the cache
            continue
        ratios.append(first / bare)
        note = f"last: {first:.2f} s against {bare:.2f} s"
        print(f"    run {run}: {note}", flush=True)
    measure = (
        "from the start of the service to its first image in io/nio: against importing torch and loading the model"
    )
    yield ratio_row(measure, ratios, note, at_most=1.3)


def _bare(model: Path) -> float:
    """Seconds of a process that does nothing else."""
    begin = time.monotonic()
    subprocess.run([sys.executable, "-c", _LOADED, model], check=True, env=os.environ | {"PYTHONPATH": str(REPO)})
    return time.monotonic() - begin


def _first_verdict(line: Line, image: Path) -> float:
    """Seconds to the rename of an image that waits; its ctime."""
    line.fill([image], 1)
    begin = time.time()
    with line.running():
        line.wait_for("decision")
    judged = line.place("000000.png")
    assert judged
    return judged.stat().st_ctime - begin
