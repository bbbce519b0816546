"""One row of a benchmark's table: what was measured, what it should be, what it is."""

from __future__ import annotations

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
