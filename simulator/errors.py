"""What the simulator refuses. It stands alone, so this is not in the tree of `inspection.errors`."""

from __future__ import annotations


class SimulationError(ValueError):
    """An argument is wrong, or the folder holds something that would be mixed with or replaced; told in one line."""
