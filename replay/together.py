"""Judging on a GPU: pages of several files at a time."""

from __future__ import annotations

import time
from collections.abc import Sequence

from inspection.image import GreyImage, Stack
from inspection.inspector import Inspector
from inspection.stack import StackInspection

Found = tuple[list[StackInspection], float] | Exception
"""What each inspector found in a file and the milliseconds that it took, or why it cannot be judged."""


def inspect_together(inspectors: Sequence[Inspector], stacks: Sequence[Stack], size: int) -> list[Found]:
    """Judge files as `inspection.stack.inspect_by` does each; what is decoded at a time is `size` pages at most.

    Args:
        inspectors: Each judges all.
        stacks: The files.
        size: Pages in a batch.

    Returns:
        One for each file, in their order.
    """
    started = time.perf_counter()
    found: dict[int, list[StackInspection]] = {}
    failed: dict[int, Exception] = {}
    batch: list[tuple[int, GreyImage]] = []
    for number, stack in enumerate(stacks):
        for page in range(len(stack)):
            try:
                batch.append((number, stack[page]))
            except Exception as error:  # noqa: BLE001 - damage or no memory: this file's alone
                failed[number] = error
                break
            if len(batch) == size:
                _judge(inspectors, batch, found, failed)
                batch = []
    _judge(inspectors, batch, found, failed)
    each_ms = 1000 * (time.perf_counter() - started) / max(len(stacks), 1)
    return [failed.get(number) or (found[number], each_ms) for number in range(len(stacks))]


def _judge(
    inspectors: Sequence[Inspector],
    batch: Sequence[tuple[int, GreyImage]],
    found: dict[int, list[StackInspection]],
    failed: dict[int, Exception],
) -> None:
    """Judge pages together; in halves if that fails, so that a bad one does not take its neighbours along."""
    if not batch:
        return
    try:
        inspections = [inspector.inspect([image.pixels for _, image in batch]) for inspector in inspectors]
    except Exception as error:  # noqa: BLE001 - whatever it is, it must not stop the replay
        if len(batch) == 1:
            failed[batch[0][0]] = error
            return
        middle = len(batch) // 2
        _judge(inspectors, batch[:middle], found, failed)
        _judge(inspectors, batch[middle:], found, failed)
        return
    for (number, image), *each in zip(batch, *inspections, strict=True):
        if number in found:
            for one, inspection in zip(found[number], each, strict=True):
                one.add(image, inspection)
        else:
            found[number] = [StackInspection(image, inspection) for inspection in each]
