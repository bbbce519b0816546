"""The model folders of a line, or of one of its products."""

from __future__ import annotations

from pathlib import Path

REPORT, METRICS = Path("report", "index.html"), Path("report", "metrics.json")
"""What a training says of its model: for people, and as numbers."""


def model_folders(models: Path) -> list[Path]:
    """What may be model folders, damaged or not, the oldest first; none where there is no such folder.

    Args:
        models: `paths.models`.

    Raises:
        OSError: The folder cannot be read.
    """
    return sorted(path for path in models.iterdir() if _may_be_model(path)) if models.is_dir() else []


def _may_be_model(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink() and not path.name.startswith(".")
