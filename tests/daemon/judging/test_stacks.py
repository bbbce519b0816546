"""Files of several pages in the daemon as a whole program: all of them are judged, and one decision is made."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from harness import Nursery, read_events
from numpy.typing import NDArray
from PIL import Image

from daemon.judging.batches import Batches
from daemon.judging.steps import Opened, Twins
from filing.claim import Claim
from inspection.image import GreyImage, Stack, decode
from inspection.inspector import Inspector
from inspection.model import load
from inspection.stack import inspect_stack

Pages = dict[str, list[NDArray[np.uint8]]]
Draw = Callable[..., bytes]


@pytest.fixture(scope="session")
def inspector(trained: Path) -> Inspector:
    """The judge that the daemon uses, in this process."""
    return Inspector(load(trained / "models" / "current", torch.device("cpu")), "ExcessCAM", only_last_conv=True)


@pytest.fixture(scope="session")
def pages(trained: Path, inspector: Inspector) -> Pages:
    """Five pages of each label, which the model judges right."""
    found: Pages = {}
    for label in ("io", "nio"):
        images = [decode(path.read_bytes(), max_pixels=10**6) for path in (trained / "dataset" / label).iterdir()]
        judged = zip(images, inspector.inspect([image.pixels for image in images]), strict=True)
        right = [image.pixels for image, one in judged if one.verdict.label == label]
        found[label] = [np.rint(pixels * 255).astype(np.uint8) for pixels in right[:5]]
    return found


def judged(nursery: Nursery, line: Path, files: dict[str, bytes]) -> dict[str, dict[str, Any]]:
    """The log line of each file, once the daemon has emptied its inbox."""
    inbox = line / "data" / "inbox"
    inbox.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (inbox / name).write_bytes(data)
    assert nursery.once(line) == 0
    events = read_events(line / "stdout.jsonl.out", "decision", "quarantine")
    assert sorted(event["file"] for event in events) == sorted(files)
    return {event["file"]: event for event in events}


def test_a_stack_is_nio_if_one_page_is(
    nursery: Nursery, line: Path, pages: Pages, draw_stack: Draw, inspector: Inspector
) -> None:
    """The verdict is the bad page's, the record names it and has the scores of all; with good pages alone it is io."""
    io, nio = pages["io"], pages["nio"]
    stacks = {
        "bad.tif": [io[0], io[1], nio[0], io[2], io[3]],
        "good.tif": io,
        "single.tif": io[:1],
    }
    events = judged(nursery, line, {name: draw_stack(stack) for name, stack in stacks.items()})
    assert {name: event["verdict"] for name, event in events.items()} == {
        "bad.tif": "nio",
        "good.tif": "io",
        "single.tif": "io",
    }
    assert (events["bad.tif"]["reason"], events["bad.tif"]["pages"], events["bad.tif"]["page"]) == ("defect", 5, 3)
    assert (events["single.tif"]["pages"], events["single.tif"]["page"]) == (1, 1)
    assert "scores" not in events["single.tif"]
    for name, stack in stacks.items():
        event = events[name]
        found = inspect_stack(inspector, Stack("TIFF", [partial(in_memory, page) for page in stack]))
        assert event["page"] == found.page + 1
        assert (event["nio_probability"], event["novelty"]) == (
            found.inspection.verdict.probability,
            found.inspection.verdict.novelty,
        )
        if len(stack) > 1:
            assert event["scores"] == {
                "nio_probability": [verdict.probability for verdict in found.verdicts],
                "novelty": [verdict.novelty for verdict in found.verdicts],
            }
        place = line / "data" / event["outcome"] / name
        assert json.loads(Path(f"{place}.json").read_bytes())["page"] == event["page"]
        with Image.open(f"{place}.cam.png") as picture:
            picture.load()


def in_memory(page: NDArray[np.uint8]) -> GreyImage:
    """A page as it is decoded."""
    return GreyImage(np.divide(page, 255, dtype=np.float32), 8, "TIFF")


def test_size_and_depth_are_of_the_page_that_decides(
    nursery: Nursery, line: Path, pages: Pages, draw_stack: Draw
) -> None:
    """Pages of one file may differ in size."""
    nio = pages["nio"][0]
    larger = np.pad(nio, ((0, 20), (0, 0)), mode="edge")
    (event,) = judged(nursery, line, {"x.tif": draw_stack([pages["io"][0], larger, pages["io"][1]])}).values()
    assert (event["verdict"], event["page"]) == ("nio", 2)
    assert (event["width"], event["height"], event["bits"]) == (nio.shape[1], nio.shape[0] + 20, 8)


def test_a_damaged_page_puts_the_file_away(nursery: Nursery, line: Path, pages: Pages, draw_stack: Draw) -> None:
    """Whatever the pages before it are, the file is in quarantine, and the reason names the page."""
    files = {
        "damaged.tif": draw_stack([*pages["io"][:4]], damaged=3),
        "worse.tif": draw_stack([*pages["nio"][:4]], damaged=4),
        "good.tif": draw_stack(pages["io"][:2]),
    }
    events = judged(nursery, line, files)
    assert {name: event["outcome"] for name, event in events.items()} == {
        "damaged.tif": "quarantine",
        "worse.tif": "quarantine",
        "good.tif": "io",
    }
    assert events["damaged.tif"]["error"].startswith("page 3 of 4: ")
    assert events["worse.tif"]["error"].startswith("page 4 of 4: ")
    assert (line / "data" / "quarantine" / "damaged.tif").read_bytes() == files["damaged.tif"]


def test_batches_find_what_is_found_page_by_page(pages: Pages, inspector: Inspector) -> None:
    """On a GPU, where pages of several files share batches, each file has the record that it has on a CPU."""
    io, nio = pages["io"], pages["nio"]
    files = {"a": [io[0], nio[0], nio[1]], "b": [io[1]], "c": io, "d": [nio[2]], "e": [io[2], io[3], nio[3]]}
    stacks = {name: Stack("TIFF", [partial(in_memory, page) for page in drawn]) for name, drawn in files.items()}

    def opened(claim: Claim) -> Opened:
        return Opened(claim, stacks[claim.source.name], "", 0, 0.0)

    with ThreadPoolExecutor(2) as pool:
        batches = Batches(pool, opened, 4, lambda: True)
        claims = [Claim(Path(name), Path(name), 1, "", settled=True) for name in stacks]
        records = [result.result(60).record for result in batches.submit(Twins(inspector), claims)]
        batches.close()
    for record, stack in zip(records, stacks.values(), strict=True):
        found = inspect_stack(inspector, stack)
        assert (record["pages"], record["page"]) == (len(stack), found.page + 1)
        if len(stack) > 1:
            scores = [verdict.probability for verdict in found.verdicts]
            assert record["scores"]["nio_probability"] == pytest.approx(scores, abs=2e-6)
