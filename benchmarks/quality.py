"""Reproduces the table of how far verdicts can be trusted: one row per measure, with its target.

    python -m benchmarks.quality [NAME...] [--seeds 0 1 2]

Without names everything is measured; that takes hours on two cores. Measures on real images need ../shared/data.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence

from benchmarks import bga, certificate, drift, leaks, maps, simulated, stacks
from benchmarks.row import Row, check_names, print_rows

Measure = Callable[[Sequence[int]], Iterator[Row]]
"""Seeds -> rows, each as soon as it is known."""

MEASURES: dict[str, Measure] = {
    "bga": bga.measure,
    "answered": bga.answered,
    "few": bga.few,
    "simulated": simulated.measure,
    "few-nio": simulated.few_nio,
    "flipped": simulated.flipped,
    "leave-one-out": simulated.leave_one_out,
    "strange": simulated.strange,
    "stacks": stacks.measure,
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
    check_names(parser, arguments.names, MEASURES)
    print_rows(arguments.names or MEASURES, lambda name: MEASURES[name](arguments.seeds))
    return 0


if __name__ == "__main__":
    sys.exit(main())
