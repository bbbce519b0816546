"""What a file's name says of the line's own units: product, board, joint, view and kind."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePath

from inspection.files import readable

UNITS = ("product", "board", "joint", "view", "kind")
"""The groups that `names.pattern` may have."""


@dataclass(frozen=True)
class Units:
    """What a name says; None where it says nothing.

    Attributes:
        product: Type of board or package; it has a model of its own.
        board: Serial number of what carries the joint.
        joint: One physical joint of the board.
        view: One of several images of the joint.
        kind: Of joint; the certificate is also given for each.
        matched: Whether the pattern was found at all.
    """

    product: str | None = None
    board: str | None = None
    joint: str | None = None
    view: str | None = None
    kind: str | None = None
    matched: bool = False

    def __str__(self) -> str:
        """For people."""
        if not self.matched:
            return "not matched"
        said = [f"{name} {readable(unit)}" for name in UNITS if (unit := getattr(self, name)) is not None]
        return ", ".join(said) or "matched, but no unit in it"

    @property
    def part(self) -> str | None:
        """The physical thing that an image shows: the joint of its board. Its images never straddle a split."""
        if self.board is None and self.joint is None:
            return None
        return "/".join(unit or "" for unit in (self.product, self.board, self.joint) if unit is not None)


def units_of(path: PurePath, pattern: str | None) -> Units:
    """Read a path below the inbox, or below `io` and `nio` of a data set.

    Args:
        path: Relative to there; with `/` between its folders when it is searched.
        pattern: `names.pattern`; without named groups its whole match is the joint. None: names say nothing.
    """
    found = re.search(pattern, path.as_posix()) if pattern else None
    if found is None:
        return Units()
    if not found.re.groupindex:
        return Units(joint=found.group(), matched=True)
    return Units(**{name: value or None for name, value in found.groupdict().items()}, matched=True)
