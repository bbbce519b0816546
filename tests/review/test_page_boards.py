"""What the page promises of boards: one that is done has all its words in its record, and says who was done with it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from page_line import NO_CHECKS, Page, PageLine
from visitor import Visitor

from filing.names import utc

CONFIG = "boards: {complete: {joints: 2}}\nnames: {pattern: '(?P<board>B\\d+)_(?P<joint>r\\d+c\\d+)'}\n"
SCHEMA = Path(__file__).parents[2] / "docs" / "board.schema.json"


def test_board_done(tmp_path: Path) -> None:
    """It is refused while a nio joint has no word; then the record keeps to its schema, with the words and a name."""
    schemas = pytest.importorskip("jsonschema", reason="jsonschema is not installed")
    line = PageLine(tmp_path, NO_CHECKS + CONFIG)
    for joint, label in (("r1c1", "nio"), ("r1c2", "io")):
        name = f"{joint}.png"
        line.file(f"{label}/{name}", board="B1", joint=joint, view="1", time=utc(datetime.now(UTC)), product=None)
    line.index()
    with Page(line) as page:
        ann = Visitor(page.port)
        ann.enter("Ann <b>")
        assert "1 joints are nio" in ann.form("/board/done", board="B1", product="").text
        (item,) = ann.next()
        assert ann.post("/api/word", {"client": "window 1", "seal": item["seal"], "label": "io"}).status == 200
        line.index()
        assert ann.form("/board/done", board="B1", product="").status == 303
        record = json.loads((tmp_path / "data" / "boards" / "B1.json").read_bytes())
        validator = schemas.Draft202012Validator(json.loads(SCHEMA.read_bytes()))
        assert list(validator.iter_errors(record)) == []
        assert record["reviewed"]["by"] == "Ann <b>"
        assert (record["verdict"], record["complete"]["by"]) == ("io", "joints")
        assert [image["word"] for joint in record["joints"] for image in joint["images"]] == ["io", None]
        assert ann.form("/board/done", board="B1", product="").status == 303
