"""What the pages know of a line besides its images: boards with their words, days, models."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from filing.drift import read_days
from filing.ledger import DayCount, Image, Ledger, OpenBoard
from filing.models import REPORT, model_folders
from filing.opinions import Opinions
from inspection.errors import SolderwatchError
from inspection.files import readable
from review.page.layout import Point
from review.page.seals import Handle, Seals
from settings import Settings
from settings.schema import CURRENT

_LARGEST_REPORT = 64 * 2**20


@dataclass(frozen=True)
class ModelFolder:
    """A model, as its files say.

    Attributes:
        product: Whose.
        folder: Where it lies.
        role: `current` or `previous`, or empty.
        card: model.json; empty where it cannot be read.
        gate: What the gate said; empty where it was not asked.
    """

    product: str
    folder: Path
    role: str
    card: dict[str, Any]
    gate: dict[str, Any]

    @property
    def name(self) -> str:
        """For people."""
        return readable(self.folder.name)

    @property
    def report(self) -> Path:
        """The training's report."""
        return self.folder / REPORT


@dataclass(frozen=True)
class Line:
    """A line, for who looks at it.

    Attributes:
        settings: Its configuration.
        seals: For images' names.
        opinions: What was said.
        layout: Where joints are.
    """

    settings: Settings
    seals: Seals
    opinions: Opinions
    layout: dict[str, Point]

    @property
    def products(self) -> list[str]:
        """Those that the ledger knows; an empty one where records name none."""
        with Ledger(self.settings.paths.ledger) as ledger:
            return ledger.products()

    def board(self, board: str, product: str | None) -> list[Image]:
        """The images of a board's last run, in io and nio."""
        with Ledger(self.settings.paths.ledger) as ledger:
            images = [image for image in ledger.board(board, product) if image.outcome != "quarantine"]
        if not images:
            return []
        again = timedelta(hours=self.settings.boards.again_after_h)
        times = sorted({image.time for image in images}, reverse=True)
        begun = times[0]
        for time in times:
            if begun - time > again:
                break
            begun = time
        return [image for image in images if image.time >= begun]

    def open_boards(self) -> list[tuple[str, OpenBoard]]:
        """Boards with nio images without a word, by product."""
        with Ledger(self.settings.paths.ledger) as ledger:
            return [(name, board) for name in ledger.products() for board in ledger.boards_to_review(name)]

    def search(self, beginning: str) -> list[str]:
        """Serial numbers that begin like this."""
        with Ledger(self.settings.paths.ledger) as ledger:
            return ledger.boards(beginning)

    def days(self, product: str | None, count: int) -> list[DayCount]:
        """The last days."""
        today = datetime.now(UTC).date()
        with Ledger(self.settings.paths.ledger) as ledger:
            return ledger.days(today - timedelta(days=count - 1), today + timedelta(days=1), product)

    def drift(self, product: str | None) -> dict[date, dict[str, float]]:
        """By day and signal, how near the daemon's charts came to their limits; of all products the nearest."""
        known = self.settings.products
        names = [name for name in known if product in (None, name)] if known else [None]
        found: dict[date, dict[str, float]] = {}
        for name in names:
            for day, signals in read_days(self.settings.paths.work, name).items():
                highest = found.setdefault(day, {})
                for signal, share in signals.items():
                    highest[signal] = max(share, highest.get(signal, 0.0))
        return found

    def last_days(self, count: int) -> list[date]:
        """Today and those before, the oldest first."""
        today = datetime.now(UTC).date()
        return [today - timedelta(days=back) for back in reversed(range(count))]

    def look(self, image: Image) -> str:
        """A seal with which an image can be looked at."""
        return self.seals.seal(Handle("io" if image.outcome == "io" else "nio", image.path, "", "look"))

    def models(self) -> list[ModelFolder]:
        """All models, product by product, the oldest first."""
        roots = {name: self.settings.of_product(name).paths.models for name in self.settings.products}
        roots = roots or {"": self.settings.paths.models}
        return [model for product, root in roots.items() for model in _models(product, root)]

    def report(self, number: int) -> str:
        """A training's report.

        Raises:
            SolderwatchError: There is none.
        """
        models = self.models()
        try:
            path = models[number].report
            if number < 0 or path.is_symlink() or path.stat().st_size > _LARGEST_REPORT:
                raise SolderwatchError("no such report")
            return path.read_text(encoding="utf-8")
        except (IndexError, OSError, ValueError):
            raise SolderwatchError("no such report") from None


def _models(product: str, root: Path) -> list[ModelFolder]:
    try:
        folders = model_folders(root)
    except OSError:
        return []
    roles = {(root / role).resolve(): role for role in ("previous", CURRENT)}
    return [
        ModelFolder(
            product=product,
            folder=folder,
            role=roles.get(folder.resolve(), ""),
            card=_read_json(folder / "model.json"),
            gate=_read_json(folder / "gate.json"),
        )
        for folder in folders
    ]


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}
