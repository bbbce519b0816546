"""What judging a stack promises: all of it is judged, the page that decides speaks for it, and little is in memory."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from inspection.errors import ImageError
from inspection.image import GreyImage, Limits, Stack, open_stack
from inspection.inspector import Inspection, Inspector
from inspection.model import load
from inspection.stack import StackInspection, inspect_stack
from inspection.verdict import Verdict, deciding, judge

NOTHING = np.zeros((2, 2), np.float32)


@pytest.fixture
def inspector(untrained_model: Path) -> Inspector:
    """An inspector with random weights."""
    return Inspector(load(untrained_model, torch.device("cpu")), "ExcessCAM", only_last_conv=True)


def stack_of(*images: GreyImage | Exception) -> Stack:
    """A file of these pages; an error is a damaged one."""

    def decoder(image: GreyImage | Exception) -> Callable[[], GreyImage]:
        def decode() -> GreyImage:
            if isinstance(image, Exception):
                raise image
            return image

        return decode

    return Stack("TIFF", [decoder(image) for image in images])


def pages(count: int, *, notes: Sequence[tuple[str, ...]] = ()) -> list[GreyImage]:
    """So many unlike pages of unlike sizes."""
    rng = np.random.default_rng(0)
    told = [*notes, *([()] * (count - len(notes)))]
    return [GreyImage(rng.random((30 + page, 40), np.float32), 8, "TIFF", told[page]) for page in range(count)]


def gathered(*verdicts: Verdict, notes: Sequence[tuple[str, ...]] = ()) -> StackInspection:
    """What is found out about a file whose pages have these verdicts."""
    images = pages(len(verdicts), notes=notes)
    inspections = [Inspection(verdict, NOTHING, 0.0, "CAM", 0.0, {}) for verdict in verdicts]
    found = StackInspection(images[0], inspections[0])
    for image, inspection in zip(images[1:], inspections[1:], strict=True):
        found.add(image, inspection)
    assert found.image is images[found.page]
    assert found.inspection is inspections[found.page]
    return found


def test_every_page_is_judged_as_if_it_were_alone(inspector: Inspector) -> None:
    """To the last bit: each page's verdict, and the map of the page that decides."""
    images = pages(5)
    alone = [inspector.inspect([image.pixels])[0] for image in images]
    found = inspect_stack(inspector, stack_of(*images))
    assert found.verdicts == [one.verdict for one in alone]
    assert found.signals == [one.signals for one in alone]
    assert found.page == deciding(found.verdicts)
    assert np.array_equal(found.inspection.evidence, alone[found.page].evidence)
    assert found.image is images[found.page]


def test_one_page_is_the_image(inspector: Inspector) -> None:
    """A file of one page has its verdict, its map and its notes as they are."""
    (image,) = pages(1, notes=[("a note",)])
    found = inspect_stack(inspector, stack_of(image))
    assert (found.page, len(found.verdicts), found.notes) == (0, 1, ["a note"])
    assert found.inspection.verdict == inspector.inspect([image.pixels])[0].verdict


def test_the_page_that_decides_is_kept_wherever_it_is() -> None:
    """A defect before what is unidentified before io, then the strongest, of equals the first."""
    io, faint, strange = judge(0.1, 0.5, 0.2), judge(0.6, 0.5, 0.2), judge(0.1, 0.5, 3.0)
    strong, no_number = judge(0.9, 0.5, 0.2), judge(float("nan"), 0.5, 0.2)
    assert gathered(io, io, io).page == 0
    assert gathered(io, judge(0.2, 0.5, 0.2), io).page == 1
    assert gathered(strong, faint, strong).page == 0
    assert gathered(faint, no_number, strong, strange).page == 2
    assert gathered(io, strange, no_number, io).page == 2
    found = gathered(strange, io, faint)
    assert (found.inspection.verdict, len(found.verdicts)) == (faint, 3)


def test_notes_say_which_pages_they_are_about() -> None:
    """Each note once, with its pages; one that holds for all of them says so."""
    io = judge(0.1, 0.5, 0.2)
    found = gathered(io, io, io, notes=[("all", "odd"), ("all",), ("all", "odd", "last")])
    assert found.notes == ["all pages: all", "pages 1, 3: odd", "page 3: last"]


def test_a_damaged_page_is_no_image(inspector: Inspector) -> None:
    """What stands before it counts for nothing, and the error names the page."""
    with pytest.raises(ImageError, match="page 3 of 4: cut short"):
        inspect_stack(inspector, stack_of(*pages(2), ImageError("cut short"), *pages(1)))


def test_threads_may_decode_pages_at_the_same_time(
    draw_disc: Callable[..., NDArray[np.uint8]], draw_stack: Callable[..., bytes]
) -> None:
    """On a GPU the workers decode the pages of one stack side by side; each gets what it gets alone."""
    rng = np.random.default_rng(0)
    drawn = [draw_disc(rng, void=False, side=200) for _ in range(16)]
    stack = open_stack(draw_stack(drawn), Limits(10**6))
    with ThreadPoolExecutor(4) as pool:
        for _ in range(5):
            for page, image in zip(drawn, pool.map(stack.__getitem__, range(16)), strict=True):
                np.testing.assert_allclose(image.pixels, page / 255, atol=1e-6)


def test_two_pages_at_most_are_in_memory(inspector: Inspector) -> None:
    """Of forty pages: the one at hand, and the one that decides so far."""
    alive, most = [0], [0]
    rng = np.random.default_rng(0)

    def gone() -> None:
        alive[0] -= 1

    def decode() -> GreyImage:
        pixels = rng.random((40, 40), np.float32)
        alive[0] += 1
        most[0] = max(most[0], alive[0])
        weakref.finalize(pixels, gone)
        return GreyImage(pixels, 8, "TIFF")

    found: Any = inspect_stack(inspector, Stack("TIFF", [decode] * 40))
    assert len(found.verdicts) == 40
    assert most[0] == 2
    del found
    gc.collect()
    assert alive[0] == 0
