"""What a file's name says of the line's units."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest

from inspection.errors import ConfigError
from settings import load
from settings.names import Units, units_of

BALLS = r"(?P<board>PCBA\d)_(?P<joint>r\d+c\d+)_view(?P<view>\d+)"


@pytest.mark.parametrize(
    ("path", "pattern", "units"),
    [
        ("PCBA2_r03c11_view04.jpg", BALLS, Units(board="PCBA2", joint="r03c11", view="04", matched=True)),
        ("lot/PCBA2_r03c11_view04.jpg", BALLS, Units(board="PCBA2", joint="r03c11", view="04", matched=True)),
        ("A/7/U3.1.png", r"^(?P<product>\w+)/(?P<board>\w+)/(?P<joint>U\d)", Units("A", "7", "U3", matched=True)),
        ("QFN_3.png", r"(?P<kind>[A-Z]+)_(?P<board>x)?", Units(kind="QFN", matched=True)),
        ("b1_r02c03.png", r"r\d+c\d+", Units(joint="r02c03", matched=True)),
        ("b1_r02c03.png", r"(r\d+)(c\d+)", Units(joint="r02c03", matched=True)),
        ("b\udcff_1.png", r"(?P<joint>b.)_", Units(joint="b\udcff", matched=True)),
        ("other.png", BALLS, Units()),
        ("b1.png", None, Units()),
    ],
    ids=["name", "below a folder", "folders", "nothing there", "no group", "groups", "bytes", "no match", "no pattern"],
)
def test_units(path: str, pattern: str | None, units: Units) -> None:
    """Named groups are the units; a pattern without them names the joint; where it is not found nothing is known."""
    assert units_of(PurePosixPath(path), pattern) == units


@pytest.mark.parametrize(
    ("units", "part"),
    [
        (Units(board="7", joint="r1"), "7/r1"),
        (Units(joint="r1"), "r1"),
        (Units(board="7"), "7"),
        (Units("A", "7", "r1", "2", "QFN"), "A/7/r1"),
        (Units(view="2", kind="QFN", product="A"), None),
    ],
)
def test_a_part_is_a_joint_of_a_board(units: Units, part: str | None) -> None:
    """Views of one joint are one part; where neither board nor joint is known, so is no part."""
    assert units.part == part


@pytest.mark.parametrize(
    ("content", "answer"),
    [
        ("training: {group_pattern: x}", "training.group_pattern: is now names.pattern.*board and joint"),
        ("training: {part_pattern: x}", "training.part_pattern: is now the named group kind of names.pattern"),
        ("names: {pattern: '(?P<bord>x)'}", "names.pattern.*'bord'; a name's groups are product, board, joint"),
    ],
)
def test_mistakes(tmp_path: Path, content: str, answer: str) -> None:
    """Keys that moved are answered with where they went, unknown groups with those that there are."""
    config = tmp_path / "config.yaml"
    config.write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError, match=answer):
        load(config)
