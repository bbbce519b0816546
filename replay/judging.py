"""Judges a table of places as the daemon would; knows nothing of who cut the tables, nor on which machine it is.

On a CPU each image is judged alone, by the very code of the daemon: verdicts are equal to the last bit on the same
runtime. On a GPU pages are judged together, as the daemon does there.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections import OrderedDict, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from inspection import picture
from inspection.device import choose_device
from inspection.errors import DeviceError, ImageError, in_one_line
from inspection.files import RECORD_SUFFIX, readable
from inspection.image import Limits, Stack, open_stack
from inspection.inspector import Inspector
from inspection.model import load
from inspection.runtime import check_agreement, choose_runtime
from inspection.stack import StackInspection, inspect_by
from replay.job import JUDGED, Job, Models
from replay.together import inspect_together
from replay.told import Told, tell

_AHEAD = 4
"""Files that are read while another one is judged: what a store takes to answer is not waited for."""

_RECORD_BYTES = 2**20


@dataclass(frozen=True)
class _Read:
    """A file that was read.

    Attributes:
        told: What was known of it before.
        sha256: Of its bytes.
        kept: Whether an earlier verdict is of these very bytes.
        stack: Its pages; none where the earlier verdict stands.
    """

    told: Told
    sha256: str
    kept: bool
    stack: Stack | None
    ms: float


class Judge:
    """Judges images, each by its product's model; models are loaded as they are needed.

    Args:
        job: What is asked for.

    Raises:
        DeviceError: The device that was asked for is not there.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        self._device, _ = choose_device(job.device)
        self._limits = Limits.of(job.settings.inbox)
        self._loaded: OrderedDict[Path, Inspector] = OrderedDict()
        self._readers = ThreadPoolExecutor(_AHEAD, "reader")

    def __call__(self, places: pa.Table) -> pa.Table:
        """Judge places; a row for each, in any order.

        Args:
            places: As `PLACES`.

        Returns:
            As `JUDGED`.

        Raises:
            ModelError: A model is damaged, or fails its self-test here.
            DeviceError: The processor fails on golden samples too.
        """
        rows: list[dict[str, Any]] = []
        waiting: list[tuple[dict[str, Any], _Read]] = []
        together = 1 if self._device.type == "cpu" else self._job.settings.judge.batch_size
        for place, found in self._read_ahead(places.to_pylist()):
            row = {"number": place["number"], "path": self._named(place), "kept": False}
            try:
                read = found.result()
            except (ImageError, OSError) as error:
                rows.append(row | {"reason": _why(error), "kept": place["sha256"] is not None})
                continue
            row |= {"sha256": read.sha256, **asdict(read.told)}
            if read.kept:
                rows.append(row | {"reason": "", "kept": True})
                continue
            waiting.append((row, read))
            if len(waiting) >= together:
                rows += self._judged(waiting)
                waiting = []
        rows += self._judged(waiting)
        return pa.Table.from_pylist(rows, schema=JUDGED)

    def given_up(self, places: pa.Table, why: str) -> pa.Table:
        """The same for places that nobody is to judge any more."""
        rows = [
            {"number": place["number"], "path": self._named(place), "kept": False, "reason": why}
            for place in places.to_pylist()
        ]
        return pa.Table.from_pylist(rows, schema=JUDGED)

    def _named(self, place: dict[str, Any]) -> str:
        """A place for people."""
        archive = self._job.archives[place["archive"]]
        return readable(f"{archive.name.rstrip('/')}/{os.fsdecode(place['path'])}")

    def _read_ahead(self, places: list[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], Future[_Read]]]:
        begun: deque[tuple[dict[str, Any], Future[_Read]]] = deque()
        for place in places:
            begun.append((place, self._readers.submit(self._read, place)))
            if len(begun) > _AHEAD:
                yield begun.popleft()
        yield from begun

    def _read(self, place: dict[str, Any]) -> _Read:
        """Read a file and its record.

        Raises:
            ImageError: It is no image.
            OSError: It is gone, or cannot be read.
        """
        started = time.perf_counter()
        archive, path = self._job.archives[place["archive"]], os.fsdecode(place["path"])
        try:
            content = archive.read(path, self._job.settings.inbox.max_file_mb * 2**20)
        except MemoryError:
            raise OSError("no memory to read it") from None
        record = None
        with suppress(OSError):
            record = archive.read(path + RECORD_SUFFIX, _RECORD_BYTES).data
        told = tell(archive.name, path, content.written, record, self._job.settings)
        sha256 = hashlib.sha256(content.data)
        kept = sha256.digest() == place["sha256"]
        stack = None if kept else open_stack(content.data, self._limits)
        return _Read(told, sha256.hexdigest(), kept, stack, 1000 * (time.perf_counter() - started))

    def _judged(self, waiting: Sequence[tuple[dict[str, Any], _Read]]) -> Iterator[dict[str, Any]]:
        """Judge files, those of one product together."""
        products: dict[str | None, list[tuple[dict[str, Any], _Read]]] = {}
        for row, read in waiting:
            products.setdefault(read.told.product, []).append((row, read))
        for product, files in products.items():
            models = [folder for one in (self._job.models, self._job.against) if (folder := _of(one, product))]
            if _of(self._job.models, product) is None:
                yield from (row | {"reason": self._nobody(product)} for row, _ in files)
                continue
            inspectors = [self._inspector(folder) for folder in models]
            for (row, read), found in zip(files, self._inspect(inspectors, files, models), strict=True):
                if isinstance(found, Exception):
                    yield row | {"reason": _why(found)}
                else:
                    opinions, ms = found
                    yield row | self._told(read, opinions, inspectors, read.ms + ms)

    def _nobody(self, product: str | None) -> str:
        if self._job.only is not None:
            return f"of {f'product {product}' if product else 'no product'}: {self._job.only} was asked for"
        return f"no model of product {product}" if product else "no product: neither record nor name tell of one"

    def _inspector(self, folder: Path) -> Inspector:
        """The model in a folder; those that were not used for longest make room for it."""
        if folder in self._loaded:
            self._loaded.move_to_end(folder)
            return self._loaded[folder]
        room = self._job.settings.judge.models_in_memory * (2 if self._job.against else 1)
        while len(self._loaded) >= room:
            self._loaded.popitem(last=False)
        model = load(folder, self._device)
        cam = self._job.settings.cam
        compiled = choose_runtime(self._job.settings.runtime, model, folder).compiled
        self._loaded[folder] = Inspector(model, cam.method, only_last_conv=cam.only_last_conv, compiled=compiled)
        return self._loaded[folder]

    def _inspect(
        self, inspectors: list[Inspector], files: Sequence[tuple[dict[str, Any], _Read]], folders: Sequence[Path]
    ) -> Iterator[tuple[list[StackInspection], float] | Exception]:
        """What the inspectors find in each file, and the milliseconds that it took; or why it cannot be judged."""
        stacks = [read.stack for _, read in files if read.stack is not None]
        if self._device.type != "cpu":
            yield from inspect_together(inspectors, stacks, self._job.settings.judge.batch_size)
            return
        for stack in stacks:
            started = time.perf_counter()
            try:
                found = inspect_by(inspectors, stack)
            except (ImageError, MemoryError) as error:
                yield error
            except Exception as error:  # noqa: BLE001 - whatever it is, it must not stop the replay
                self._verify(inspectors, folders, error)
                yield error
            else:
                yield found, 1000 * (time.perf_counter() - started)

    def _verify(self, inspectors: Sequence[Inspector], folders: Sequence[Path], why: Exception) -> None:
        """After an image could not be judged: see that it is not the processor that fails."""
        try:
            for inspector, folder in zip(inspectors, folders, strict=True):
                check_agreement(inspector.model, folder, inspector.look, inspector.runtime)
        except Exception as error:
            raise DeviceError(f"{self._device} fails on golden samples too: {error}, after {why}") from error

    def _told(
        self, read: _Read, opinions: Sequence[StackInspection], inspectors: Sequence[Inspector], ms: float
    ) -> dict[str, Any]:
        """The columns that say how an image was judged."""
        found, *others = opinions
        verdict = found.inspection.verdict
        columns: dict[str, Any] = {
            "verdict": verdict.label,
            "reason": verdict.reason,
            "nio_probability": verdict.probability,
            "novelty": verdict.novelty,
            "pages": len(found.verdicts),
            "page": found.page + 1,
            "model": inspectors[0].model.card.model_id,
            "ms": round(ms, 2),
        }
        before = read.told.was
        for other, inspector in zip(others, inspectors[1:], strict=True):
            theirs = other.inspection.verdict
            before = theirs.label
            columns |= {
                "against": theirs.label,
                "against_reason": theirs.reason,
                "against_probability": theirs.probability,
                "against_model": inspector.model.card.model_id,
            }
        changed = before is not None and before != verdict.label
        if {"changed": changed, "nio": verdict.label == "nio", "all": True, "none": False}[self._job.maps]:
            columns["map"] = _drawn(found)
            if others and changed:
                columns["against_map"] = _drawn(others[0])
        return columns


def _of(models: Models, product: str | None) -> Path | None:
    """Who judges an image of a product."""
    return models.get(None) or models.get(product)


def _drawn(found: StackInspection) -> bytes:
    return picture.draw(found.image.pixels, found.inspection, found.page + 1, len(found.verdicts))


def _why(error: Exception) -> str:
    """Why an image cannot be judged, in a line."""
    if isinstance(error, MemoryError):
        return "no memory to decode it"
    if isinstance(error, FileNotFoundError):
        return "the file is gone"
    if isinstance(error, OSError):
        return f"cannot be read: {error.strerror or error}"
    told = in_one_line(error)
    return told if isinstance(error, ImageError) else f"the model failed: {told}"
