"""What the tests of a replay share: a small archive, and replays of it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

if TYPE_CHECKING:
    from replay_line import Replayed


@pytest.fixture
def replayed(line: Path, tmp_path: Path) -> Replayed:
    """Replays, with the model that was really trained."""
    pytest.importorskip("pyarrow", reason="a replay needs pyarrow: install solderwatch[replay]")
    from replay_line import Replayed  # noqa: PLC0415 - only where pyarrow is

    return Replayed(line, tmp_path / "replay")


@pytest.fixture
def archive(trained: Path, tmp_path: Path, draw_stack: Callable[..., bytes], draw_disc: Callable[..., Any]) -> Path:
    """A tree with io and nio, records beside some images, a stack, and what is no image."""
    root = tmp_path / "archive"
    for label in ("io", "nio"):
        (root / label / "lot7").mkdir(parents=True)
        for path in sorted((trained / "dataset" / label).iterdir())[:6]:
            shutil.copy(path, root / label / "lot7" / path.name)
    rng = np.random.default_rng(3)
    pages = [draw_disc(rng, void=False), draw_disc(rng, void=True)]
    (root / "io" / "stack.tif").write_bytes(draw_stack(pages))
    (root / "io" / "damaged.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    (root / "io" / "notes.txt").write_text("no image", encoding="utf-8")
    record = {
        "decision_id": "1",
        "time": "2026-02-03T04:05:06.000Z",
        "verdict": "nio",
        "reason": "defect",
        "product": "QFN",
        "board": "B1",
        "relabelled": [{"to": "io", "by": "Eve", "at": "2026-02-04T00:00:00Z"}],
    }
    image = min((root / "io" / "lot7").iterdir())
    image.with_name(f"{image.name}.json").write_text(json.dumps(record), encoding="utf-8")
    return root
