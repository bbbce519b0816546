"""What README.md and docs/ name is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from documents import DOCUMENTS, REPO, anchors, links, mentioned

from settings.schema import Settings

every_document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
PACKAGES = {path.parent.name for path in REPO.glob("*/__init__.py")} | {"docs", "systemd", "tests", ".ci"}


def test_the_readme_is_short() -> None:
    """Somebody who has five minutes reads all of it."""
    assert len((REPO / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


@every_document
def test_lines_are_short(document: Path) -> None:
    """No line is longer than 120 characters, in tables neither."""
    lines = document.read_text(encoding="utf-8").splitlines()
    assert [f"{number}: {line}" for number, line in enumerate(lines, 1) if len(line) > 120] == []


@every_document
def test_links_lead_somewhere(document: Path) -> None:
    """Every link to a file leads to one in the repository, and its anchor to a heading there."""
    broken = []
    for link in links(document):
        place, _, anchor = link.partition("#")
        target = document.parent / place if place else document
        if not place.startswith("http") and (not target.exists() or (anchor and anchor not in anchors(target))):
            broken.append(link)
    assert broken == []


@every_document
def test_files_that_are_named_are_there(document: Path) -> None:
    """A path into one of the packages, such as `inspection/reading/levels.py`, exists."""
    named = [name for name in mentioned(document) if re.fullmatch(r"[\w.-]+/[\w./-]*", name)]
    assert [name for name in named if name.split("/")[0] in PACKAGES and not (REPO / name).exists()] == []


@every_document
def test_settings_that_are_named_are_settings(document: Path) -> None:
    """A name such as `inbox.quiet_s` is a key that config.yaml may have."""
    sections = "|".join(Settings.model_fields)
    named = [name for name in mentioned(document) if re.fullmatch(rf"({sections})\.\w+", name)]
    schema = Settings.model_json_schema()
    unknown = []
    for name in named:
        section, key = name.split(".")
        made_of = schema["properties"][section].get("$ref", "").rpartition("/")[2]
        if not Path(REPO / name).exists() and key not in schema["$defs"].get(made_of, {}).get("properties", {}):
            unknown.append(name)
    assert unknown == []


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    """Headings become anchors as on GitHub, and links are found in text, tables and pictures."""
    document = tmp_path / "some.md"
    document.write_text("# What's `new`, and how\n[a](b.md#c) | ![d](e.png)\n", encoding="utf-8")
    assert anchors(document) == {"whats-new-and-how"}
    assert list(links(document)) == ["b.md#c", "e.png"]
