"""Validates everything the daemon needs before it runs: folders, permissions, device and model."""

from __future__ import annotations

import itertools
import os
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from daemon.intake.survey import survey
from filing.disk import check_room
from filing.folders import Folders, file_system, is_local
from inspection.device import choose_device
from inspection.errors import NoModelError, SolderwatchError
from inspection.files import readable
from inspection.model import load
from inspection.runtime import check_runtime, choose_runtime
from inspection.verdict import LABELS
from settings import Settings
from settings.schema import CURRENT

_NAMES_SHOWN, _NAMES_TRIED = 10, 10_000


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: `ok`, `warning` (works, but) or `problem` (must be mended)."""

    level: Literal["ok", "warning", "problem"]
    text: str


def check(settings: Settings) -> Iterator[Finding]:
    """Look at everything, and say each problem with its mend."""
    for name, path in settings.paths.line.items():
        try:
            Folders({name: path}).make()
        except SolderwatchError as error:
            yield Finding("problem", str(error))
    yield from _folders(settings)
    yield Finding("ok", f"stacks: every page of a file is judged, up to {settings.inbox.max_pages} (inbox.max_pages)")
    yield from _names(settings)
    if not settings.products:
        yield from _model(settings)
    for product in settings.products:
        for found in _model(settings.of_product(product)):
            yield Finding(found.level, f"{product}: {found.text}")


def _names(settings: Settings) -> Iterator[Finding]:
    """What names.pattern makes of some names of the inbox, or of the data set where that is empty."""
    pattern = settings.names.pattern
    if pattern is None and not settings.products:
        yield Finding("ok", "names: no names.pattern, so file names say nothing of boards and joints")
        return
    found, where = _tried(settings, settings.paths.inbox), "the inbox"
    yield from _products(settings, found)
    if pattern is None:
        return
    if not found:
        data_sets = [settings.of_product(product).paths.dataset for product in settings.products or (None,)]
        folders = [data_set / label for data_set in data_sets for label in LABELS]
        found, where = [path for folder in folders for path in _tried(settings, folder)], "the data set"
    if not found:
        yield Finding("ok", "names: nothing in the inbox or the data set to try names.pattern on")
        return
    matched = sum(settings.names.units(path).matched for path in found)
    level: Literal["ok", "warning", "problem"] = "ok" if matched == len(found) else "warning"
    yield Finding(level, f"names: names.pattern matches {matched} of {len(found)} names in {where}, such as:")
    for path in found[:_NAMES_SHOWN]:
        yield Finding(level, f"names: {readable(str(path))}: {settings.names.units(path)}")


def _products(settings: Settings, found: list[Path]) -> Iterator[Finding]:
    """Of how many files each product is, which ones have none, and which ones several products take."""
    if not (settings.products and found):
        return
    taken = [(path, list(settings.products_of(path))) for path in found]
    counts = Counter(products[0] for _, products in taken if products)
    told = ", ".join(f"{counts[name]} {name}" for name in settings.products)
    yield Finding("ok", f"products: of {len(found)} names in the inbox: {told}")
    if none := [path for path, products in taken if not products]:
        example = readable(str(none[0]))
        yield Finding("warning", f"products: {len(none)} are of none, such as {example}: it goes to quarantine")
    if several := [(path, products) for path, products in taken if len(products) > 1]:
        path, products = several[0]
        yield Finding(
            "warning",
            f"products: {len(several)} match several, such as {readable(str(path))}: {', '.join(products)}; "
            f"{products[0]} has it, being the first in the configuration",
        )


def _tried(settings: Settings, folder: Path) -> list[Path]:
    """Paths of images below a folder, not all of very many."""
    paths = (Path(parent, name) for parent, _, names in os.walk(folder) for name in sorted(names))
    images = (path.relative_to(folder) for path in paths if settings.inbox.admits(path.name))
    return list(itertools.islice(images, _NAMES_TRIED))


def _folders(settings: Settings) -> Iterator[Finding]:
    folders = settings.paths.line
    writable = True
    for name, path in folders.items():
        try:
            if not path.is_dir():
                writable = False
                continue
            with tempfile.TemporaryFile(dir=path):
                pass
        except OSError as error:
            writable = False
            yield Finding("problem", f"paths.{name}: {path}: not writable: {error.strerror}; mend its owner or mode")
    if writable:
        yield from _room(settings)
        yield Finding("ok", f"folders: {', '.join(folders)} are there and writable")
        yield from _file_systems(folders)
        for reason, passed in survey(folders["inbox"], settings.inbox).passed_over.items():
            yield Finding("warning", f"passed over in paths.inbox: {passed.told(reason)}")
    log = settings.logs.file
    if log:
        place = next(path for path in (log, *log.parents) if path.exists())
        if not os.access(place, os.W_OK):
            yield Finding("problem", f"logs.file: {log}: {place} is not writable; mend its owner or mode")
        else:
            yield Finding("ok", f"log: {log}")
    yield from _metrics(settings.metrics.file)


def _metrics(file: Path | None) -> Iterator[Finding]:
    if file is None:
        return
    if not file.parent.is_dir():
        yield Finding("problem", f"metrics.file: {file}: there is no folder {file.parent}; make it, or write null")
    elif not os.access(file.parent, os.W_OK | os.X_OK):
        yield Finding("problem", f"metrics.file: {file}: {file.parent} is not writable; mend its owner or mode")
    else:
        yield Finding("ok", f"metrics: {file}")


def _room(settings: Settings) -> Iterator[Finding]:
    try:
        check_room(Folders(settings.paths.line), settings.disk)
    except OSError as error:
        yield Finding("problem", f"disk: {error.filename}: {error.strerror}; make room, or lower it")


def _file_systems(folders: dict[str, Path]) -> Iterator[Finding]:
    devices = {path.stat().st_dev for path in folders.values()}
    kind = file_system(folders["inbox"])
    if len(devices) > 1:
        yield Finding("warning", "folders: on several file systems: each image is copied instead of renamed, slower")
    else:
        yield Finding("ok", f"folders: on one file system ({kind})")
    if not is_local(kind):
        yield Finding(
            "warning",
            f"paths.inbox: {kind} sends no events: files are found by the scan, after inbox.quiet_s",
        )


def _model(settings: Settings) -> Iterator[Finding]:
    try:
        device, why = choose_device(settings.device)
        yield Finding("ok", f"device: {device} ({why})")
        check_runtime(settings.runtime, device)
        folder = settings.paths.models / CURRENT
        model = load(folder, device)
        choice = choose_runtime(settings.runtime, model, folder)
    except NoModelError as error:
        yield Finding("warning", f"{error}; until then the daemon watches and leaves the inbox untouched")
        return
    except SolderwatchError as error:
        yield Finding("problem", str(error))
        return
    card = model.card
    runtime = "openvino" if choice.compiled else "torch"
    if choice.refused:
        yield Finding("warning", f"runtime: {runtime} ({choice.why}: {choice.refused})")
    else:
        yield Finding("ok", f"runtime: {runtime} ({choice.why})")
    yield Finding("ok", f"model: {card.model_id}, {card.architecture}, threshold {card.threshold:.6g}")
    certified = card.certificate and card.certificate.certified
    yield Finding("ok" if certified else "warning", f"certificate: {card.certificate_here()}")
    yield Finding("ok", f"self-test: {len(card.golden)} golden samples score as they should")
