"""Batches as a GPU judges them, with a judge that can be made to fail."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from daemon.judging.batches import Batches
from daemon.judging.steps import Judged, JudgingError, Opened, Twins
from filing.claim import Claim
from inspection.errors import ImageError
from inspection.image import GreyImage, Stack
from inspection.inspector import Inspection, Inspector
from inspection.verdict import judge


class _Judge:
    """Stands in for an inspector, and notes the sizes of the batches that it was asked for."""

    def __init__(self, fails: Callable[[Any], Exception | None] = lambda _: None) -> None:
        self.asked: list[int] = []
        self._fails = fails

    def twin(self) -> _Judge:
        return self

    def inspect(self, images: list[Any]) -> list[Inspection]:
        self.asked.append(len(images))
        if error := self._fails(images):
            raise error
        nothing = np.zeros((2, 2), np.float32)
        return [Inspection(judge(float(image[0, 0]), 2.0, 0.0), nothing, 0.0, "CAM", 0.0, {}) for image in images]


def _open(claim: Claim) -> Opened:
    """A file `7.png` has one page of that grey level, `7-3-8.png` three, and `7-x.png` a damaged one."""
    if claim.source.suffix != ".png":
        raise ImageError("no image")
    pages = [partial(_damaged if number == "x" else _page, number) for number in claim.source.stem.split("-")]
    return Opened(claim, Stack("PNG", pages), "", 0, 0.0)


def _page(number: str) -> GreyImage:
    return GreyImage(np.full((8, 8), int(number) / 1000, np.float32), 8, "PNG")


def _damaged(_: str) -> GreyImage:
    raise ImageError("cut short")


def _claims(*names: str) -> list[Claim]:
    return [Claim(Path(name), Path(name), 1, "", settled=True) for name in names]


@contextmanager
def _batches(
    size: int = 8, open_: Callable[[Claim], Opened] = _open, go_on: Callable[[], bool] = lambda: True
) -> Iterator[Batches]:
    with ThreadPoolExecutor(2) as pool:
        batches = Batches(pool, open_, size, go_on)
        yield batches
        batches.close()


def _judged(batches: Batches, stub: _Judge, names: list[str]) -> list[Future[Judged]]:
    original: Inspector = stub  # type: ignore[assignment]
    results = batches.submit(Twins(original), _claims(*names))
    for result in results:
        result.exception(20)
    return results


def _numbers(count: int) -> list[str]:
    return [f"{number}.png" for number in range(count)]


def test_each_image_gets_its_own_result() -> None:
    """In the order in which they were given, whatever is in a batch with them, and also what is no image."""
    names = [*_numbers(11), "x.txt", "11.png"]
    stub = _Judge()
    with _batches(4) as batches:
        results = _judged(batches, stub, names)
    assert isinstance(results.pop(11).exception(), ImageError)
    for number, result in enumerate(results):
        assert result.result().inspection.verdict.probability == pytest.approx(number / 1000)
    assert max(stub.asked) == 4


def test_a_bad_image_does_not_take_its_neighbours_along() -> None:
    """A batch that fails is judged in halves until only the one to blame is left."""

    def fails(images: Any) -> Exception | None:
        return RuntimeError("launch failure") if any(abs(image[0, 0] - 0.005) < 1e-6 for image in images) else None

    with _batches() as batches:
        results = _judged(batches, _Judge(fails), _numbers(8))
    assert [index for index, result in enumerate(results) if result.exception()] == [5]
    assert isinstance(results[5].exception(), JudgingError)


def test_a_full_gpu_is_asked_for_half_and_later_for_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Out of memory halves the batch, drops nothing, and larger batches are tried again when it went well for long."""
    monkeypatch.setattr("daemon.judging.batches._GOOD_BATCHES", 2)
    stub = _Judge(lambda images: torch.OutOfMemoryError("CUDA out of memory") if len(images) > 3 else None)
    with _batches() as batches:
        results = _judged(batches, stub, _numbers(40))
        assert batches.shrunk.get_nowait() == 4
    assert all(result.result() for result in results)
    assert stub.asked[:4] == [8, 4, 2, 2]
    assert 4 in stub.asked[6:]


class _Counting:
    """Opens files, and counts how many pages' pixels are in memory at the same time."""

    def __init__(self) -> None:
        self.alive = self.most = 0
        self._lock = threading.Lock()

    def open(self, claim: Claim) -> Opened:
        opened = _open(claim)
        pages = [partial(self._counted, page) for page in opened.stack.pages]
        return replace(opened, stack=Stack("PNG", pages))

    def _counted(self, decode: Callable[[], GreyImage]) -> GreyImage:
        image = decode()
        with self._lock:
            self.alive += 1
            self.most = max(self.most, self.alive)
        weakref.finalize(image.pixels, self._gone)
        return image

    def _gone(self) -> None:
        self.alive -= 1


def test_pixels_of_three_batches_at_most_are_in_memory() -> None:
    """However many images wait: those being decoded, those being judged, and those being drawn."""
    counting = _Counting()
    with _batches(4, counting.open) as batches:
        results = _judged(batches, _Judge(), _numbers(60))
    assert all(result.result() for result in results)
    assert 4 <= counting.most <= 12
    gc.collect()
    assert counting.alive == 0


def test_pixels_in_memory_are_bounded_by_batches_not_by_stacks() -> None:
    """One stack of a thousand pages takes three batches and its page that decides; thirty of forty take little more."""
    counting = _Counting()
    with _batches(4, counting.open) as batches:
        (result,) = _judged(batches, _Judge(), [_stack(*range(1000))])
    assert result.result().record["page"] == 1000
    assert counting.most <= 13
    counting = _Counting()
    with _batches(4, counting.open) as batches:
        results = _judged(batches, _Judge(), [_stack(*range(stack, stack + 40)) for stack in range(30)])
    assert [result.result().record["page"] for result in results] == [40] * 30
    assert counting.most <= 20
    gc.collect()
    assert counting.alive == 0


def _stack(*numbers: object) -> str:
    return "-".join(map(str, numbers)) + ".png"


def test_pages_of_several_files_share_batches() -> None:
    """Stacks and single images are judged together, each file gets what its own pages say, in their order."""
    stub = _Judge()
    names = [_stack(5, 900, 3), "7.png", _stack(*range(10, 21)), "8.png", _stack(1, 2)]
    with _batches(4) as batches:
        results = [result.result() for result in _judged(batches, stub, names)]
    assert sum(stub.asked) == 18
    assert len(stub.asked) <= 7
    assert [judged.record["pages"] for judged in results] == [3, 1, 11, 1, 2]
    assert [judged.record["page"] for judged in results] == [2, 1, 11, 1, 2]
    assert results[0].record["scores"]["nio_probability"] == pytest.approx([0.005, 0.9, 0.003])
    assert results[2].record["scores"]["nio_probability"] == pytest.approx([level / 1000 for level in range(10, 21)])
    assert "scores" not in results[1].record
    assert [len(judged.signals) for judged in results] == [3, 1, 11, 1, 2]


def test_a_damaged_page_takes_its_file_alone() -> None:
    """Whichever page it is: the error names it, what follows in the file is not judged, the other files are."""
    stub = _Judge()
    names = [_stack(1, "x", *range(20)), "3.png", _stack("x", 4), _stack(5, 6, 7, 8, "x", "x"), _stack(9, 10)]
    with _batches(4) as batches:
        results = _judged(batches, stub, names)
    errors = [result.exception() for result in results]
    assert [str(error) for error in errors if error] == [
        "page 2 of 22: cut short",
        "page 1 of 2: cut short",
        "page 5 of 6: cut short",
    ]
    assert [results[index].result().record["pages"] for index in (1, 4)] == [1, 2]
    assert sum(stub.asked) < 15


def test_a_page_that_cannot_be_judged_takes_its_file_alone() -> None:
    """The model fails on two pages of one stack: that file has the error, its neighbours in the batch are judged."""

    def fails(images: Any) -> Exception | None:
        return RuntimeError("launch failure") if any(0.4 < image[0, 0] < 0.6 for image in images) else None

    with _batches() as batches:
        results = _judged(batches, _Judge(fails), [_stack(1, 2), _stack(3, 500, 4, 501), _stack(5, 6)])
    assert isinstance(results[1].exception(), JudgingError)
    assert [results[index].result().record["pages"] for index in (0, 2)] == [2, 2]


def test_a_stack_is_given_up_between_two_pages() -> None:
    """When the line stops nobody waits for the end of a long stack: it counts as not begun; single images are done."""
    asked: list[int] = []

    def go_on() -> bool:
        asked.append(1)
        return len(asked) < 3

    stub = _Judge()
    with _batches(2, go_on=go_on) as batches:
        results = _judged(batches, stub, ["1.png", _stack(*range(100))])
    assert results[0].result()
    assert isinstance(results[1].exception(), CancelledError)
    assert sum(stub.asked) < 10


def test_nobody_waits_for_ever() -> None:
    """Where the GPU has no room for the model itself, each image is told so."""

    class Roomless(_Judge):
        def twin(self) -> _Judge:
            raise torch.OutOfMemoryError("CUDA out of memory")

    with _batches() as batches:
        results = _judged(batches, Roomless(), _numbers(3))
    assert all(isinstance(result.exception(), JudgingError) for result in results)


def test_what_was_cancelled_is_not_waited_for_either() -> None:
    """Nor for an image that was given up before the GPU turned out to have no room."""
    asked, held = threading.Event(), threading.Event()

    class Roomless(_Judge):
        def twin(self) -> _Judge:
            asked.set()
            held.wait(20)
            raise torch.OutOfMemoryError("CUDA out of memory")

    original: Inspector = Roomless()  # type: ignore[assignment]
    with _batches() as batches:
        results = batches.submit(Twins(original), _claims(*_numbers(3)))
        assert asked.wait(20)
        assert results[0].cancel()
        held.set()
        assert wait(results, 20).not_done == set()
    assert isinstance(results[1].exception(), JudgingError)


def test_what_was_cancelled_is_not_begun() -> None:
    """Images of later batches that nobody wants any more are left alone."""
    held, begun = threading.Event(), threading.Event()

    def fails(_: Any) -> None:
        begun.set()
        held.wait(20)

    original: Inspector = _Judge(fails)  # type: ignore[assignment]
    with _batches(2) as batches:
        results = batches.submit(Twins(original), _claims(*_numbers(8)))
        assert begun.wait(20)
        cancelled = [result.cancel() for result in results]
        held.set()
        assert cancelled == [False] * 4 + [True] * 4
        assert all(result.result(20) for result in results[:4])
