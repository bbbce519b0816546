"""Batches as a GPU judges them, with a judge that can be made to fail."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from daemon.batches import Batches
from daemon.claim import Claim
from daemon.judging import Judged, JudgingError, Opened, Twins
from inspection.errors import ImageError
from inspection.image import GreyImage
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
    if claim.source.suffix != ".png":
        raise ImageError("no image")
    pixels = np.full((8, 8), int(claim.source.stem) / 1000, np.float32)
    return Opened(claim, GreyImage(pixels, 8, "PNG"), "", 0, 0.0)


def _claims(*names: str) -> list[Claim]:
    return [Claim(Path(name), Path(name), 1, "", settled=True) for name in names]


@contextmanager
def _batches(size: int = 8, open_: Callable[[Claim], Opened] = _open) -> Iterator[Batches]:
    with ThreadPoolExecutor(2) as pool:
        batches = Batches(pool, open_, size)
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
    monkeypatch.setattr("daemon.batches._GOOD_BATCHES", 2)
    stub = _Judge(lambda images: torch.OutOfMemoryError("CUDA out of memory") if len(images) > 3 else None)
    with _batches() as batches:
        results = _judged(batches, stub, _numbers(40))
        assert batches.shrunk.get_nowait() == 4
    assert all(result.result() for result in results)
    assert stub.asked[:4] == [8, 4, 2, 2]
    assert 4 in stub.asked[6:]


def test_pixels_of_three_batches_at_most_are_in_memory() -> None:
    """However many images wait: those being decoded, those being judged, and those being drawn."""
    alive, most, lock = [0], [0], threading.Lock()

    def gone() -> None:
        alive[0] -= 1

    def counting(claim: Claim) -> Opened:
        opened = _open(claim)
        with lock:
            alive[0] += 1
            most[0] = max(most[0], alive[0])
        weakref.finalize(opened.image.pixels, gone)
        return opened

    with _batches(4, counting) as batches:
        results = _judged(batches, _Judge(), _numbers(60))
    assert all(result.result() for result in results)
    assert 4 <= most[0] <= 12
    gc.collect()
    assert alive[0] == 0


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
