"""What the statistics page promises: its charts are there as pictures and as numbers, also the daemon's own."""

from __future__ import annotations

import csv
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from xml.etree import ElementTree as ET

from page_line import NO_CHECKS, Page, PageLine
from visitor import Visitor

from filing.drift import state_name
from filing.logs import open_log
from filing.opinions import Opinions
from review.page.figures import CHARTS, make_chart, per_day
from review.page.line import Line
from review.page.seals import Seals
from review.relabel import relabel

TODAY = datetime.now(UTC).date()


def drifted(line: PageLine, product: str | None = None, **shares: float) -> None:
    """What the daemon wrote of today."""
    state = {"days": {TODAY.isoformat(): shares}}
    (line.folder / "data" / "work" / state_name(product)).write_text(json.dumps(state), encoding="utf-8")


def shown(line: PageLine, name: str, product: str | None = None) -> dict[str, str]:
    """The last row of a chart's numbers."""
    known = Line(line.settings, Seals(b"k" * 32), Opinions(line.settings), {})
    return list(csv.DictReader(make_chart(known, name, product).csv().splitlines()))[-1]


def test_the_daemons_own_charts(tmp_path: Path) -> None:
    """Each of its signals is drawn against its limit, with the highest sum of the day."""
    line = PageLine(tmp_path)
    drifted(line, contrast=0.25, nio_share=1.5)
    line.index()
    assert shown(line, "drift") == {"day": f"{TODAY:%m-%d}", "contrast": "0.25", "nio_share": "1.5", "limit": "1"}


def test_drift_by_product(tmp_path: Path) -> None:
    """A product has its own charts; of all products the nearest to its limit is drawn, and no name leads elsewhere."""
    line = PageLine(tmp_path, NO_CHECKS + "products: {left: {match: L}, right: {match: R}}\n")
    drifted(line, "left", contrast=0.25)
    drifted(line, "right", contrast=0.75)
    (tmp_path / "data" / "secret.drift.json").write_text(json.dumps({"days": {TODAY.isoformat(): {"secret": 1}}}))
    line.index()
    assert shown(line, "drift")["contrast"] == "0.75"
    assert shown(line, "drift", "left")["contrast"] == "0.25"
    assert shown(line, "drift", "/../../secret").keys() == {"day", "limit"}


def test_words_do_not_move_what_the_model_said(tmp_path: Path) -> None:
    """The share of nio is the model's, on the day of the image: whatever people say of it, days later."""
    line = PageLine(tmp_path)
    then = TODAY - timedelta(days=3)
    for name in ("io/0.png", "io/1.png", "io/2.png", "nio/3.png", "nio/4.png"):
        line.file(name, time=f"{then}T10:00:00.000Z")
    for name, word in (("io/0.png", "io"), ("io/1.png", "nio"), ("nio/3.png", "io"), ("nio/4.png", "nio")):
        image = str(line.folder / "data" / name)
        assert list(relabel(line.settings, [image], word, "Ann", open_log(line.settings.logs))) == []  # type: ignore[arg-type]
    line.index()
    days = per_day(Line(line.settings, Seals(b"k" * 32), Opinions(line.settings), {}), None)
    assert (days[then].images, days[then].nio) == (5, 2)
    assert (days[TODAY].false_calls, days[TODAY].escapes) == (1, 1)


def test_each_chart_is_a_file(tmp_path: Path) -> None:
    """All of them can be had as SVG and as CSV, also while there is nothing to draw."""
    line = PageLine(tmp_path)
    line.index()
    with Page(line) as page:
        ann = Visitor(page.port)
        ann.enter()
        for name in CHARTS:
            assert ET.fromstring(ann.get(f"/statistics/{name}.svg").text).tag.endswith("svg")  # noqa: S314
            assert ann.get(f"/statistics/{name}.csv").headers["content-type"].startswith("text/csv")
