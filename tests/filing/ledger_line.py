"""A line's folders with records in them, as the daemon, operators and people with file managers leave them."""

from __future__ import annotations

import io
import json
import os
import uuid
from dataclasses import astuple
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from filing.ledger import Keeper, Ledger, Outcome, Pace, Place
from filing.logs import open_log
from settings import load
from settings.schema import LogSettings

START = datetime(2026, 7, 1, tzinfo=UTC)
PACE = Pace(patience_s=0.1, pause_s=0.02, pause_at_most_s=0.1, look_s=0.02, share=1.0)
SUFFIX = {"io": ".json", "nio": ".json", "quarantine": ".error.json"}
FIELDS = (
    "verdict", "reason", "nio_probability", "threshold", "novelty", "model", "product", "board", "joint", "view",
    "pages", "page",
)  # fmt: skip


class Records:
    """The folders of a line.

    Attributes:
        settings: Their configuration.
        ledger: The ledger's file.
    """

    def __init__(self, home: Path) -> None:
        home.mkdir(exist_ok=True)
        (home / "config.yaml").touch()
        self.home = home
        self.settings = load(home / "config.yaml")
        self.ledger = self.settings.paths.ledger
        for outcome in ("io", "nio", "quarantine"):
            self.folder(outcome).mkdir(parents=True, exist_ok=True)
        self._count = 0

    def folder(self, outcome: Outcome) -> Path:
        """Where images of one outcome lie."""
        return self.settings.paths.line[outcome]

    def record(self, outcome: Outcome, path: str | Path) -> Path:
        """Where an image's record lies."""
        return self.folder(outcome) / f"{path}{SUFFIX[outcome]}"

    def file(self, outcome: Outcome, path: str | Path, **facts: Any) -> Place:
        """File an image away, as the daemon does: its record appears by a rename."""
        self._count += 1
        time = START + timedelta(minutes=self._count)
        content: dict[str, Any] = {"decision_id": uuid.uuid4().hex, "time": time.isoformat(timespec="milliseconds")}
        if outcome == "quarantine":
            content["error"] = "no image"
        else:
            content |= {"verdict": outcome, "reason": "clear" if outcome == "io" else "defect", "model": "m1"}
            content |= {"nio_probability": 0.01 if outcome == "io" else 0.8, "threshold": 0.1, "novelty": 0.5}
        self.write(outcome, path, content | facts)
        return outcome, Path(path)

    def write(self, outcome: Outcome, path: str | Path, content: object) -> None:
        """Replace a record in one step."""
        record = self.record(outcome, path)
        record.parent.mkdir(parents=True, exist_ok=True)
        new = self.home / "new"
        new.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        new.replace(record)

    def relabel(self, path: str, label: Outcome, by: str = "Eve") -> tuple[Place, Place]:
        """An operator's word for a nio image; returns where it lay and where it lies now."""
        content = json.loads(self.record("nio", path).read_bytes())
        self._count += 1
        act = {"to": label, "by": by, "at": (START + timedelta(minutes=self._count)).isoformat()}
        content["relabelled"] = [*content.get("relabelled", []), act]
        self.write(label, path, content)
        if label != "nio":
            self.record("nio", path).unlink()
        return ("nio", Path(path)), (label, Path(path))

    def remove(self, outcome: Outcome, path: str) -> Place:
        """Delete an image, as the retention does."""
        self.record(outcome, path).unlink()
        return outcome, Path(path)

    def truth(self) -> dict[Place, tuple[Any, ...]]:
        """What the records say, read by other means than the ledger's."""
        found: dict[Place, tuple[Any, ...]] = {}
        for outcome in ("io", "nio", "quarantine"):
            root = self.folder(outcome)
            for parent, _, names in os.walk(root):
                for name in names:
                    path = Path(parent, name)
                    if not name.endswith(SUFFIX[outcome]) or path.is_symlink():
                        continue
                    try:
                        content = json.loads(path.read_bytes())
                        assert content["decision_id"]
                    except (ValueError, TypeError, KeyError):
                        continue
                    facts = [content.get(key) or ("" if index < 2 or 4 < index < 10 else content.get(key))
                             for index, key in enumerate(FIELDS)]  # fmt: skip
                    facts[1] = facts[1] or content.get("error", "")
                    word = (content.get("relabelled") or [{"to": ""}])[-1]["to"]
                    image = Path(str(path.relative_to(root)).removesuffix(SUFFIX[outcome]))
                    found[outcome, image] = (datetime.fromisoformat(content["time"]), *facts, word)
        return found

    def known(self) -> dict[Place, tuple[Any, ...]]:
        """What the ledger says."""
        with Ledger(self.ledger) as ledger:
            return {(image.outcome, image.path): astuple(image)[3:] for image in ledger.images()}

    def check(self) -> None:
        """See that the ledger says what the records say, and counts what it says."""
        truth = self.truth()
        assert self.known() == truth
        with Ledger(self.ledger) as ledger:
            summary = ledger.summary()
        assert summary.complete
        counts: dict[tuple[str, str, str], int] = {}
        for (outcome, _), facts in truth.items():
            key = (facts[7], outcome, facts[-1])
            counts[key] = counts.get(key, 0) + 1
        assert {(count.product, count.outcome, count.word): count.images for count in summary.counts} == counts


class Kept:
    """A keeper at work, and what it logged."""

    def __init__(self, records: Records, pace: Pace) -> None:
        self._out = io.StringIO()
        log = open_log(LogSettings(file=None, format="json"), stream=self._out)
        self.keeper = Keeper(records.settings, log, pace)

    def events(self, name: str) -> list[dict[str, Any]]:
        """Its log lines of one kind."""
        lines = [json.loads(line) for line in self._out.getvalue().splitlines()]
        return [line for line in lines if line["event"] == name]

    def settle(self) -> None:
        """Wait until it has nothing to do."""
        assert self.keeper.settled(60), self._out.getvalue()
