"""Reproduces the table of how near daemon and training come to what the machine can do: a row per ratio.

    python -m benchmarks.speed [NAME...] [--runs 5] [--files 1000]

Without names everything is measured; on two cores that takes more than an hour. Each ratio is measured within one run,
its two sides one after the other on the same machine; the median over the runs counts. Everything lies in a folder
beside the packages, so on the checkout's disk, and is removed afterwards: some 2 GB.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator

from benchmarks import epochs, latency, products, start, throughput
from benchmarks.bench import Bench, run_measures
from benchmarks.row import Row

MEASURES: dict[str, Callable[[Bench], Iterator[Row]]] = {
    "throughput": throughput.throughput,
    "lone": latency.lone,
    "load": latency.loaded,
    "start": start.start,
    "backlog": throughput.backlog,
    "memory": throughput.memory,
    "units": throughput.units,
    "products": products.products,
    "epoch": epochs.epoch,
    "processes": epochs.processes,
}


if __name__ == "__main__":
    sys.exit(run_measures(__doc__, MEASURES, runs=5, files=1000, fewest=50))
