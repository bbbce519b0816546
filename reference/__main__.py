"""`python -m reference`: writes docs/reference.md anew."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import inspection.reading
from daemon.intake.survey import MENDS
from inspection import errors
from reference.commands import commands
from reference.events import events
from reference.metrics import metrics
from reference.records import record
from reference.settings import settings
from reference.text import below_the_first_line, code, item

FILE = Path(__file__).parents[1] / "docs" / "reference.md"


def reference() -> str:
    """All of it."""
    return "\n\n".join(part for part in _parts() if part) + "\n"


def _parts() -> Iterator[str]:
    yield "# Reference"
    yield "Made from the code by `make docs`; a test holds it to the code. Change it there."
    yield "\n".join(f"- [{name}](#{name.lower().replace(' ', '-')})" for name in _CHAPTERS)
    yield "## Settings"
    yield _SETTINGS
    yield from settings()
    yield "## Log events"
    yield _EVENTS
    yield "\n".join(events())
    yield "### Why a file is passed over"
    yield "\n".join(item(f"{code(reason)}: {mend}") for reason, mend in MENDS.items())
    yield "## Record fields"
    yield _RECORD
    yield "\n".join(record())
    yield "## Metrics"
    yield "In the text file that `metrics.file` names. With products many have the label `product`."
    yield "\n".join(metrics())
    yield "## Command line"
    yield from commands()
    yield "## Exit codes"
    yield "0: done. What else can happen, as a tree; of several products the worst counts, 1 before 3."
    yield f"```text\n{below_the_first_line(errors)}\n```"
    yield "## Formats that are read"
    yield below_the_first_line(inspection.reading)


_CHAPTERS = (
    "Settings", "Log events", "Record fields", "Metrics", "Command line", "Exit codes", "Formats that are read",
)  # fmt: skip
_SETTINGS = """\
All are in `config.yaml`; each may be left out, and what is there as shipped is its default. Relative paths are relative
to the file. A mistake is answered with file, key, value and mend, all mistakes at once."""
_EVENTS = """\
One JSON object per line, on standard output (the journal) and in `logs.file`. Every line has `timestamp` (UTC), `level`
and `event`. With products, lines about a model or drift have `product`. After a crash a line may come again, a decision
with the same `decision_id`. A log that cannot be written never costs the verdict: the file gets its lines when it can,
and has whole lines only."""
_RECORD = """\
The `.json` beside each image, and its line in the log: a `decision`, or in quarantine the `.error.json` and a
`quarantine`. The record of a board is described by [board.schema.json](board.schema.json)."""


if __name__ == "__main__":
    FILE.write_text(reference(), encoding="utf-8")
