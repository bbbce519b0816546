"""What reading promises for damaged files: each is refused, or shows exactly what it showed before."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
from odd.damage import MUTATIONS, Whole, mutated, whole_files
from odd.hearing import as_in_the_daemon
from odd.streams import still_well_formed

from inspection.errors import ImageError
from inspection.image import GreyImage, Limits, open_stack

LIMITS = Limits(10_000_000)
FILES = whole_files()
SAMPLE, ALL = 7, 2000
"""Mutations of each format, without and with `--long`."""


def _read(data: bytes) -> list[GreyImage]:
    with as_in_the_daemon():
        return list(open_stack(data, LIMITS))


def _same(found: Sequence[GreyImage], right: Sequence[GreyImage]) -> bool:
    return len(found) == len(right) and all(
        np.array_equal(page.pixels, original.pixels) for page, original in zip(found, right, strict=True)
    )


def _cannot_be_told(kind: str, whole: Whole, data: bytes) -> bool:
    """Whether the bytes may be those of another valid file."""
    if kind == "lost":
        return len(whole.data) - len(data) < whole.least
    return kind == "overwritten" and not whole.checked


@pytest.mark.parametrize("form", FILES)
def test_a_damaged_file_is_refused_or_shows_what_it_showed(
    form: str, long: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    """Cuts, end mark put back or not, holes of zeros and lost parts, anywhere, never make another picture.

    Where checksums guard everything, random bytes do not either; and nothing is printed.
    """
    whole = FILES[form]()
    right = _read(whole.data)
    caught: Counter[str] = Counter()
    missed: list[str] = []
    for number in range(ALL if long else SAMPLE):
        kind = list(MUTATIONS)[number % len(MUTATIONS)]
        data = mutated(whole, kind, number)
        try:
            found = _read(data)
        except ImageError as error:
            assert "\n" not in str(error)  # noqa: PT017 - most raise, and that is well
            caught[f"{kind}: refused"] += 1
            continue
        if data == whole.data or _same(found, right):
            caught[f"{kind}: shows the same"] += 1
        elif still_well_formed(form, data, whole.data) or _cannot_be_told(kind, whole, data):
            caught[f"{kind}: another valid file"] += 1
        else:
            missed.append(f"{kind}, seed {number}")
    assert capfd.readouterr() == ("", "")
    if long:
        with capfd.disabled():
            print(f"\n{form}: " + ", ".join(f"{what} {count}" for what, count in sorted(caught.items())))
    assert not missed, f"{form}: {len(missed)} of {ALL if long else SAMPLE} show another picture: {missed[:20]}"
