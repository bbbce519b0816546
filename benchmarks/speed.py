"""Reproduces the table of how near daemon and training come to what the machine can do: a row per ratio.

    python -m benchmarks.speed [NAME...] [--runs 5] [--files 1000]

Without names everything is measured; on two cores that takes more than an hour. Each ratio is measured within one run,
its two sides one after the other on the same machine; the median over the runs counts. Everything lies in a folder
beside the packages, so on the checkout's disk, and is removed afterwards: some 2 GB.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks import epochs, latency, products, throughput
from benchmarks.bench import REPO, Bench, cores
from benchmarks.row import Row, check_names, print_rows
from filing.folders import file_system

MEASURES: dict[str, Callable[[Bench], Iterator[Row]]] = {
    "throughput": throughput.throughput,
    "lone": latency.lone,
    "load": latency.loaded,
    "backlog": throughput.backlog,
    "memory": throughput.memory,
    "units": throughput.units,
    "products": products.products,
    "epoch": epochs.epoch,
    "processes": epochs.processes,
}


def main() -> int:
    """Print the rows of the measures named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(MEASURES))
    parser.add_argument("--runs", type=int, default=5, help="of which the median counts; default: 5")
    parser.add_argument("--files", type=int, default=1000, help="in each run, at least 50; fewer shorten all measures")
    arguments = parser.parse_args()
    check_names(parser, arguments.names, MEASURES)
    if arguments.runs < 1 or arguments.files < 50:
        parser.error("--runs must be 1 or more, and --files 50 or more")
    print(f"{cores()} cores, {file_system(REPO)}; {arguments.runs} runs, {arguments.files} files", flush=True)
    with tempfile.TemporaryDirectory(prefix="bench-run.", dir=REPO) as folder:
        bench = Bench(Path(folder), arguments.runs, arguments.files)
        print_rows(arguments.names or MEASURES, lambda name: MEASURES[name](bench))
    return 0


if __name__ == "__main__":
    sys.exit(main())
