"""Reproduces the table of how far verdicts can be trusted: one row per measure, with its target.

    python -m benchmarks.quality [NAME...] [--seeds 0 1 2]

Without names everything is measured; that takes hours on two cores. Measures on real images need ../shared/data.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence

from benchmarks import bga, certificate, drift, leaks, maps, simulated
from benchmarks.row import Row

Measure = Callable[[Sequence[int]], Iterator[Row]]
"""Seeds -> rows, each as soon as it is known."""

MEASURES: dict[str, Measure] = {
    "bga": bga.measure,
    "few": bga.few,
    "simulated": simulated.measure,
    "leave-one-out": simulated.leave_one_out,
    "strange": simulated.strange,
    "certificate": certificate.measure,
    "maps": maps.measure,
    "drift": drift.measure,
    "leaks": leaks.measure,
}


def main() -> int:
    """Print the rows of the measures named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(MEASURES))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(MEASURES):
        parser.error(f"no such measure: {', '.join(sorted(unknown))}; there are {', '.join(MEASURES)}")
    for name in arguments.names or MEASURES:
        begin = time.monotonic()
        print(f"==> {name}", flush=True)
        for row in MEASURES[name](arguments.seeds):
            print(row, flush=True)
        print(f"    {time.monotonic() - begin:.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
