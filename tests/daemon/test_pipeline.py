"""Groups of images in one process: what overlaps, what is bounded, and what trouble with one of them costs."""

from __future__ import annotations

import dataclasses
import errno
import os
import shutil
import threading
import weakref
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from bench import Bench, failing
from harness import wait_until

from daemon.judging.workers import Workers
from filing import durable
from filing.claim import Claim
from inspection import picture
from inspection.image import GreyImage, Limits, Stack, open_stack


@pytest.fixture
def bench(line: Path, trained: Path) -> Bench:
    """A line with twelve good images in its inbox."""
    made = Bench(line)
    made.fill(trained / "dataset", 12)
    return made


@pytest.fixture
def small_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """Groups of three."""
    for module in ("line", "pipeline"):
        monkeypatch.setattr(f"daemon.{module}.GROUP", 3)


def _visible(bench: Bench) -> list[str]:
    data = bench.inbox.parent
    return sorted(path.name for label in ("io", "nio") for path in (data / label).glob("??.png"))


def test_one_image_in_trouble_does_not_take_its_group_along(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """An image whose files cannot be written is told and tried again later; the others of its group are filed."""
    monkeypatch.setattr("daemon.intake.trouble._FIRST_REST_S", 0.3)
    monkeypatch.setattr(durable.Unsynced, "write", failing(durable.Unsynced.write, errno.EIO, 1, "cam.part"))
    bench.line.run(once=True)
    (trouble,) = bench.events("trouble")
    filed = [event["file"] for event in bench.events("decision")]
    assert sorted(filed) == [f"{index:02d}.png" for index in range(12)]
    assert filed[-1] == trouble["file"]


@pytest.mark.usefixtures("small_groups")
def test_a_group_is_filed_while_the_next_one_is_judged(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first three images are visible before the workers are done with any of the second three."""
    submit, judge = Workers.submit, Workers._judge
    groups: list[set[str]] = []
    held = []

    def noted(workers: Workers, inspector: Any, claims: Sequence[Claim]) -> Any:
        groups.append({claim.source.name for claim in claims})
        return submit(workers, inspector, claims)

    def slow(workers: Workers, twins: Any, claim: Claim) -> Any:
        if len(groups) > 1 and claim.source.name in groups[1]:
            wait_until(lambda: groups[0] <= set(_visible(bench)))
            held.append(claim.source.name)
        return judge(workers, twins, claim)

    monkeypatch.setattr(Workers, "submit", noted)
    monkeypatch.setattr(Workers, "_judge", slow)
    bench.line.run(once=True)
    assert len(groups[0]) == len(held) == 3
    assert len(bench.events("decision")) == 12


def test_what_is_judged_need_not_wait_for_its_group(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """An image that takes its time holds up none of those that were claimed with it."""
    inspector = bench.judge_with_the_original(monkeypatch)
    inspect, lock, begun = inspector.inspect, threading.Lock(), []
    before_it = []

    def slow(images: Any) -> Any:
        with lock:
            begun.append(1)
            first = len(begun) == 1
        for _ in range(200 if first else 0):
            if len(_visible(bench)) == 11:
                break
            bench.stop.wait(0.05)
        if first:
            before_it.extend(_visible(bench))
        with lock:
            return inspect(images)

    if len(os.sched_getaffinity(0)) == 1:
        pytest.skip("one core, one worker")
    monkeypatch.setattr(inspector, "inspect", slow)
    bench.line.run(once=True)
    assert len(before_it) == 11
    assert len(bench.events("decision")) == 12


def test_an_image_that_comes_later_need_not_wait_for_those_before_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the workers are at one group, what arrives is taken in hand, be it a single image."""
    inspector = bench.judge_with_the_original(monkeypatch)
    inspect, lock, begun, taken = inspector.inspect, threading.Lock(), [], threading.Event()
    pipeline = bench.line._pipeline
    put = pipeline.put

    def followed(product: Any, group: Any) -> int:
        left = put(product, group)
        if len(group) > 1:
            shutil.copyfile(bench.inbox.parents[1] / "late.png", bench.inbox / "late.png")
            bench.wake.set()
        return left

    def slow(images: Any) -> Any:
        with lock:
            begun.append(1)
            for _ in range(200 if len(begun) == 12 else 0):
                if list((bench.inbox.parent / "work").glob("*/late.png")):
                    taken.set()
                    break
                bench.stop.wait(0.05)
            return inspect(images)

    shutil.copyfile(bench.inbox / "00.png", bench.inbox.parents[1] / "late.png")
    monkeypatch.setattr(pipeline, "put", followed)
    monkeypatch.setattr(inspector, "inspect", slow)
    bench.line.run(once=True)
    assert taken.is_set()
    assert len(bench.events("decision")) == 13


def test_arrivals_that_never_end_are_not_left_to_the_timed_scan(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """One file comes with each that is taken, more than are looked for in a row: none waits for the next scan."""
    spare = sorted(bench.inbox.iterdir())
    for path in spare:
        path.rename(bench.inbox.parent / path.name)
    waiting = [bench.inbox.parent / path.name for path in spare]
    monkeypatch.setattr("daemon.line._SCANS_IN_A_ROW", 3)
    pipeline = bench.line._pipeline
    put = pipeline.put

    def drop() -> None:
        if waiting:
            path = waiting.pop()
            path.rename(bench.inbox / path.name)
            bench.line._ring()

    def followed(product: Any, group: Any) -> int:
        left = put(product, group)
        drop()
        return left

    def pause() -> None:
        if not bench.wake.is_set():
            bench.stop.set()

    monkeypatch.setattr(pipeline, "put", followed)
    monkeypatch.setattr(bench.line, "_pause", pause)
    drop()
    bench.line.run()
    assert len(bench.events("decision")) == 12


@pytest.mark.usefixtures("small_groups")
def test_memory_is_bounded(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many wait: each worker holds the pixels of one image, and two groups are in hand."""
    lock, alive, most, in_hand = threading.Lock(), [0], [0], [0]

    def gone() -> None:
        alive[0] -= 1

    def counting(data: bytes, limits: Limits) -> Stack:
        return Stack("PNG", [lambda: counted(data, limits)])

    def counted(data: bytes, limits: Limits) -> GreyImage:
        image = open_stack(data, limits)[0]
        with lock:
            alive[0] += 1
            most[0] = max(most[0], alive[0])
            in_hand[0] = max(in_hand[0], len(list((bench.inbox.parent / "work").glob("2*"))))
        weakref.finalize(image.pixels, gone)
        return image

    monkeypatch.setattr("daemon.judging.workers.open_stack", counting)
    bench.line.run(once=True)
    assert len(bench.events("decision")) == 12
    assert most[0] <= len(os.sched_getaffinity(0))
    assert in_hand[0] <= 6


def _as_stack(monkeypatch: pytest.MonkeyPatch, pages: int, before: Callable[[int], object]) -> None:
    """Have each file hold its image so many times; `before` is called with the number of each page."""

    def opened(data: bytes, limits: Limits) -> Stack:
        def page(number: int) -> GreyImage:
            before(number)
            return open_stack(data, limits)[0]

        return Stack("PNG", [partial(page, number) for number in range(pages)])

    monkeypatch.setattr("daemon.judging.workers.open_stack", opened)


@pytest.fixture
def lone(line: Path, trained: Path) -> Bench:
    """A line with one good image in its inbox."""
    made = Bench(line)
    made.fill(trained / "dataset", 1)
    return made


def test_each_page_is_a_sign_of_life(lone: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stack may take longer than systemd's watchdog waits; a page that hangs is a hang all the same."""
    monkeypatch.setattr("daemon.line._TICK_S", 0.0)
    beats: list[int] = []

    def before(number: int) -> None:
        last, still = -1, 0
        while number == 30 and still < 20:
            still = still + 1 if last == len(lone.beats) else 0
            last = len(lone.beats)
            lone.stop.wait(0.02)
        # The line's thread has heard of the page before.
        while len(lone.beats) <= (beats[-1] if beats else 0):
            if number == 0 or number > 30:
                break
            lone.stop.wait(0.001)
        beats.append(len(lone.beats))

    _as_stack(monkeypatch, 32, before)
    lone.line.run(once=True)
    (decision,) = lone.events("decision")
    assert decision["pages"] == 32
    assert beats[29] >= 29


def test_no_memory_to_draw_is_waited_for(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several workers at once may ask for more than there is: that is told and tried again, and costs no image."""
    left = [1]

    def draw(*arguments: Any) -> bytes:
        if left[0]:
            left[0] -= 1
            raise MemoryError
        return real(*arguments)

    real = picture.draw
    monkeypatch.setattr(picture, "draw", draw)
    bench.line.run(once=True)
    (trouble,) = bench.events("trouble")
    assert "no memory" in trouble["error"]
    assert len(bench.events("decision")) == 12


@pytest.mark.usefixtures("small_groups")
def test_a_stop_gives_up_what_no_worker_has_begun(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is judged by then is filed, the rest stays in hand or in the inbox, and the next start files it."""
    inspector = bench.judge_with_the_original(monkeypatch)
    inspect, lock = inspector.inspect, threading.Lock()

    def last(images: Any) -> Any:
        with lock:
            found = inspect(images)
        bench.stop.set()
        return found

    monkeypatch.setattr(inspector, "inspect", last)
    bench.line.run()
    before = [event["file"] for event in bench.events("decision")]
    assert 1 <= len(before) <= 6
    monkeypatch.undo()
    again = Bench(bench.inbox.parents[1])
    again.line.recover(interrupted=False)
    again.line.run(once=True)
    after = [event["file"] for event in again.events("decision")]
    assert sorted(before + after) == [f"{index:02d}.png" for index in range(12)]


def test_a_stop_does_not_wait_for_the_end_of_a_stack(lone: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is given up after the page at hand and stays in hand; the next start judges it, from its first page."""
    begun: list[int] = []

    def before(number: int) -> None:
        begun.append(number)
        if number == 2:
            lone.stop.set()

    _as_stack(monkeypatch, 1000, before)
    lone.line.run()
    assert lone.events("decision") == lone.events("quarantine") == []
    assert begun == [0, 1, 2]
    (image,) = (lone.inbox.parent / "work").glob("2*/*.png")
    assert image.name == "0.png"
    again = Bench(lone.inbox.parents[1])
    _as_stack(monkeypatch, 4, begun.append)
    again.line.recover(interrupted=False)
    again.line.run(once=True)
    (decision,) = again.events("decision")
    assert (decision["pages"], decision["attempts"]) == (4, 1)
    assert begun == [0, 1, 2, 0, 1, 2, 3]


@pytest.mark.usefixtures("small_groups")
def test_each_group_keeps_the_model_it_was_judged_with(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that is switched while images are with the workers signs only what it has judged itself."""
    inspector = bench.judge_with_the_original(monkeypatch)
    inspect, lock = inspector.inspect, threading.Lock()
    judged: list[int] = []

    def switching(images: Any) -> Any:
        with lock:
            judged.append(1)
            if len(judged) == 1:
                os.utime(bench.inbox.parents[1] / "models" / "current" / "model.json")
            return inspect(images)

    monkeypatch.setattr(inspector, "inspect", switching)
    monkeypatch.setattr(inspector, "model", _renamed(inspector.model, "the-first"))
    bench.line.run(once=True)
    by_first = [event for event in bench.events("decision") if event["model"] == "the-first"]
    assert len(bench.events("decision")) == 12
    assert 3 <= len(by_first) == len(judged) < 12


def _renamed(model: Any, name: str) -> Any:
    return dataclasses.replace(model, card=model.card.model_copy(update={"model_id": name}))
