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
    told = found.as_dict()
    assert told.pop("checks")["escapes"] == {"count": 0, "of": 0, "share": None, "interval": [0.0, 1.0]}
    assert set(told.values()) == {None, 0}
    assert found.lines() == [found.text()]


def test_blind_checks_are_told(tmp_path: Path) -> None:
    """The estimate of escapes and the agreement of looks are what the operator's page computes, from the same words."""
    (tmp_path / "config.yaml").touch()
    book = tmp_path / "dataset" / "relabelled.jsonl"
    book.parent.mkdir()
    act = {"model": "now", "file": "a.png", "at": "2026-03-01T12:00:00.000Z", "by": "Ann"}
    words = [
        *(act | {"decision_id": str(n), "verdict": "io", "label": "io", "shown": "check_even"} for n in range(19)),
        act | {"decision_id": "19", "verdict": "io", "label": "nio", "shown": "check_even"},
        act | {"decision_id": "19", "verdict": "io", "label": "nio", "shown": "repeat", "by": "Bob"},
    ]
    book.write_text("".join(json.dumps(word) + "\n" for word in words), encoding="utf-8")
    found = read_operators(load(tmp_path / "config.yaml"))
    assert found.lines()[1:] == [
        "blind checks, escapes among io images: 1 of 20: 5.00% (0.13% to 24.87%)",
        "blind checks, two people: 1 of 1 agree, no kappa: all are of one label",
    ]
    assert found.as_dict()["checks"]["between"] == {"pairs": 1, "agree": 1, "kappa": None}
