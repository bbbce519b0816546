"""One row of a benchmark's table: what was measured, what it should be, what it is."""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """A measured figure beside its target, both as a person reads them.

    Attributes:
        measure: What was measured, on what.
        target: What it should be.
        figure: What it is, with how it was come by (medians, counts).
        met: Whether the figure reaches the target; None where there is none.
    """

    measure: str
    target: str
    figure: str
    met: bool | None = None

    def __str__(self) -> str:
        mark = {True: "met", False: "MISSED", None: "-"}[self.met]
        return f"{mark:<7} {self.measure}\n        target {self.target}\n        found  {self.figure}"


def ratio_row(
    measure: str, ratios: Sequence[float], note: str, *, at_least: float | None = None, at_most: float | None = None
) -> Row:
    """A row of a ratio measured in several runs, of which the median counts; it has a note, and one limit or none."""
    found = statistics.median(ratios)
    spread = f"{min(ratios):.2f} to {max(ratios):.2f} in {len(ratios)} runs"
    figure = f"{found:.2f}x ({spread}; {note})"
    if at_least is not None:
        return Row(measure, f"at least {at_least:g}x", figure, found >= at_least)
    if at_most is not None:
        return Row(measure, f"at most {at_most:g}x", figure, found <= at_most)
    return Row(measure, "none", figure)


def check_names(parser: argparse.ArgumentParser, names: Collection[str], known: Collection[str]) -> None:
    """End the program with one line where a measure is named that there is not."""
    if unknown := set(names) - set(known):
        parser.error(f"no such measure: {', '.join(sorted(unknown))}; there are {', '.join(known)}")


def print_rows(names: Collection[str], measure: Callable[[str], Iterator[Row]]) -> None:
    """Print the rows of the measures named, each as soon as it is known, and how long a measure took."""
    for name in names:
        begin = time.monotonic()
        print(f"==> {name}", flush=True)
        for row in measure(name):
            print(row, flush=True)
        print(f"    {time.monotonic() - begin:.0f} s", flush=True)
