"""One HTML page that holds all that it shows: what would change, by whose word it is right, and what it cost."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from itertools import islice
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image

from inspection.files import MAP_SUFFIX
from inspection.verdict import LABELS
from replay.archives import Archive
from replay.charts import Line, over_days
from replay.out import Out
from replay.plan import place_of
from replay.tally import Row, Tally

_HEIGHT, _QUALITY = 300, 85
_CHARTS = 8
_BOARDS = 100
_PICTURE_BYTES = 2**23
_NIO = "#c62828"


@dataclass(frozen=True)
class Shown:
    """An image whose verdict changes: its maps by who judged before and by who judges now, where there are any."""

    row: Row
    before: str | None
    now: str | None


@dataclass(frozen=True)
class Drift:
    """A product's days."""

    product: str | None
    scores: Markup
    share: Markup


def write_page(out: Out, archives: tuple[Archive, ...], tally: Tally, summary: dict[str, Any]) -> Path:
    """Write `index.html`, which needs no other file; returns it.

    Args:
        out: Laid out.
        archives: Where the maps of earlier verdicts lie.
        tally: Of the results.
        summary: As `summary.json` has it.
    """
    environment = Environment(
        loader=PackageLoader("replay"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": _percent, "number": _number, "share": _share}
    products = sorted({product for product, _ in tally.scores}, key=str)
    content = environment.get_template("page.html").render(
        summary=summary,
        tally=tally,
        labels=LABELS,
        shown={label: [_shown(out, archives, row) for row in tally.shown(label)] for label in LABELS},
        boards=list(islice(tally.changed_boards(), _BOARDS)),
        drifts=[_drift(tally, product) for product in products[:_CHARTS]],
        more_products=len(products[_CHARTS:]),
        mistakes=[
            (name, tally.mistakes(word, now=False), tally.mistakes(word, now=True))
            for name, word in (("false calls (io by an operator's word)", "io"), ("escapes (nio by word)", "nio"))
        ],
    )
    page = out.folder / "index.html"
    page.write_text(content, "utf-8")
    return page


def _shown(out: Out, archives: tuple[Archive, ...], row: Row) -> Shown:
    if row["against"] is not None:
        before = _embedded(lambda: out.picture(row["sha256"], "against.png").read_bytes())
    else:
        archive, path = place_of(out.plan, row["number"])
        before = _embedded(lambda: archives[archive].read(path + MAP_SUFFIX, _PICTURE_BYTES).data)
    return Shown(row, before, _embedded(lambda: out.picture(row["sha256"]).read_bytes()))


def _embedded(read: Callable[[], bytes]) -> str | None:
    """A picture as a data URI; None where there is none."""
    with suppress(OSError, ValueError, Image.DecompressionBombError):
        with Image.open(io.BytesIO(read())) as found:
            found.thumbnail((2 * _HEIGHT, _HEIGHT))
            file = io.BytesIO()
            found.convert("RGB").save(file, "JPEG", quality=_QUALITY)
        return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"
    return None


def _drift(tally: Tally, product: str | None) -> Drift:
    """The scores' median and middle eighty percent, and the share of nio before and now, day by day."""
    days: list[date] = sorted(day for name, day in tally.scores if name == product)
    low, middle, high = ([tally.scores[product, day].quantile(q) for day in days] for q in (0.1, 0.5, 0.9))
    cells = [tally.days[product, day] for day in days]
    shares = [Line("now", _NIO, [100 * cell.nio / cell.images for cell in cells])]
    if all(cell.compared for cell in cells):
        shares.insert(0, Line("before", "#59636e", [100 * cell.nio_before / cell.compared for cell in cells]))
    return Drift(product, over_days(days, [Line("median", "#1565c0", middle)], (low, high)), over_days(days, shares))


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"


def _share(found: Any) -> str:
    """A share with its interval."""
    if found.share is None:
        return "no words"
    low, high = found.bounds
    return f"{found.count:,} of {found.of:,}: {_percent(found.share)} ({_percent(low)} to {_percent(high)})"


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.4g}"
