"""What the training promises to tell of operators: how often they overruled the model in use."""

from __future__ import annotations

import json
from pathlib import Path

from settings import load
from training.release.operators import count_acts, read_operators


def line(decision: str, verdict: str, label: str, model: str = "now") -> bytes:
    """A line of the book."""
    return json.dumps({"decision_id": decision, "model": model, "verdict": verdict, "label": label}).encode()


def test_overruled_and_confirmed() -> None:
    """Confirmed and overruled verdicts of the model in use are counted, and those of others apart."""
    lines = [
        line("1", "nio", "io"),
        line("2", "nio", "io"),
        line("3", "io", "nio"),
        line("4", "nio", "nio"),
        line("5", "io", "io"),
        line("6", "nio", "io", model="before"),
    ]
    found = count_acts(lines, "now")
    assert (found.checked, found.false_calls, found.escapes, found.other_models) == (5, 2, 1, 1)
    assert "operators: 5 verdicts of model now checked; 2 false calls and 1 escapes overruled" in found.text()


def test_the_last_word_counts() -> None:
    """A verdict that was relabelled back and forth is one verdict, with the label that it got last."""
    found = count_acts([line("1", "nio", "io"), line("1", "nio", "nio"), line("1", "nio", "nio")], "now")
    assert (found.checked, found.false_calls, found.escapes) == (1, 0, 0)


def test_damaged_lines_are_counted_and_skipped() -> None:
    """What a crash, an editor or an enemy left in the book costs nothing but its own line."""
    damaged = [
        *(b"{", b"7", b"[]", b"null", b"\xff\xfe", b'{"decision_id": "1"}', b"[" * 100_000),
        *(line("1", "OK", "io"), line("1", "io", "io")[:-9]),
        *(b'{"decision_id": 1, "model": [], "verdict": "io", "label": "io"}',),
        *(b'{"decision_id": "1", "model": "now", "verdict": [], "label": "io"}',),
    ]
    found = count_acts([*damaged, b"", line("1", "io", "nio")], "now")
    assert found.damaged_lines == len(damaged)
    assert (found.checked, found.escapes) == (1, 1)
    assert f"{len(damaged)} damaged lines" in found.text()


def test_nobody_checked_anything(tmp_path: Path) -> None:
    """Without a model and without a book all counts are zero."""
    (tmp_path / "config.yaml").touch()
    found = read_operators(load(tmp_path / "config.yaml"))
    assert set(found.as_dict().values()) == {None, 0}
