"""What example names are proposed to mean."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from settings.names import Units, units_of
from settings.proposal import propose

NAMES = ["BGA64_B01_r01c02_view1.png", "BGA64_B02_r01c03_view2.png", "CSP36_B02_r11c03_view2.png"]


def pattern(names: list[str], units: dict[int, str]) -> str:
    """The pattern of these units."""
    proposal = propose(names)
    assert proposal
    return proposal.pattern(units)


def read(name: str, regex: str) -> Units:
    """What a name says by a pattern."""
    return units_of(PurePosixPath(name), regex)


def test_fields_become_units() -> None:
    """Every field that somebody names is found again, in the examples and in names that are new."""
    regex = pattern(NAMES, {0: "product", 1: "board", 2: "joint", 3: "view"})
    for name in [*NAMES, "lot7/QFN48_B17_r99c01_view12.tif"]:
        product, board, joint, view = PurePosixPath(name).stem.split("_")
        assert read(name, regex) == Units(product, board, joint, view, matched=True)


def test_what_stays_the_same_is_written_as_it_is() -> None:
    """Letters that never differ stand in the pattern; numbers may always differ."""
    assert pattern(["PCBA1_r03c11.png", "PCBA2_r03c12.png"], {0: "board", 1: "joint"}) == (
        r"(?:^|/)(?P<board>PCBA\d+)_(?P<joint>r\d+c\d+)"
    )


def test_a_name_is_read_from_its_beginning() -> None:
    """What stands before the first unit is part of the pattern; the end may be anything."""
    regex = pattern(["lot7-001-top.png", "lot7-002-top.png"], {1: "board"})
    assert read("lot8-017-bottom.png", regex).board == "017"
    assert not read("xlot8-017-top.png", regex).matched


def test_fields_in_a_row_can_be_one_unit() -> None:
    """Row and column of a joint are one; with something between they can't be."""
    assert read("b1_02_03_v4.png", pattern(["b1_02_03_v4.png"], {1: "joint", 2: "joint"})).joint == "02_03"
    with pytest.raises(ValueError, match="joint is named twice"):
        pattern(["b1_02_03_v4.png"], {0: "joint", 2: "joint"})


def test_folders_are_fields_too() -> None:
    """A pattern needs the folders only where they say something."""
    names = ["B01/r01c02.png", "B02/r01c03.png"]
    assert read(names[0], pattern(names, {0: "board", 1: "joint"})) == Units(board="B01", joint="r01c02", matched=True)
    assert read("r07c08.png", pattern(names, {1: "joint"})).joint == "r07c08"


def test_fields_of_many_shapes_are_any_word() -> None:
    """A serial number of letters and digits in no order is taken as it comes."""
    names = ["A1B2_j1.png", "7F00_j2.png", "CAFE_j3.png"]
    assert read("0D0E_j9.png", pattern(names, {0: "board", 1: "joint"})).board == "0D0E"


def test_the_most_common_kind_of_name_counts() -> None:
    """One odd name among the examples spoils nothing, and is counted."""
    proposal = propose([*NAMES, "Thumbs.db"])
    assert proposal
    assert (len(proposal.fields), proposal.fitting) == (4, 3)


@pytest.mark.parametrize("names", [[], ["---.png"], ["_"]])
def test_names_without_fields_propose_nothing(names: list[str]) -> None:
    """Where there is nothing to go by, nothing is made up."""
    assert propose(names) is None


def test_one_example_is_enough() -> None:
    """With a single name, what holds a number may be a unit."""
    proposal = propose(["solder_PCBA1_r03c11.png"])
    assert proposal
    assert [field.is_candidate for field in proposal.fields] == [False, True, True]


@given(st.lists(st.text(min_size=1), min_size=1), st.data())
def test_a_pattern_matches_what_it_was_made_from(names: list[str], data: st.DataObject) -> None:
    """Whatever names look like, the pattern can be compiled and finds the field in those that fit."""
    proposal = propose(names)
    if proposal is None:
        return
    number = data.draw(st.integers(0, len(proposal.fields) - 1))
    regex = proposal.pattern({number: "joint"})
    assert sum(re.search(regex, name) is not None for name in names) >= proposal.fitting
