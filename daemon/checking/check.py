"""Validates everything the daemon needs before it runs: folders, permissions, device and model."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from daemon.checking.finding import Finding
from daemon.checking.names import names
from daemon.intake.survey import survey
from filing.disk import check_room
from filing.folders import Folders, file_system, is_local
from filing.ledger import Ledger
from inspection.device import choose_device
from inspection.errors import LedgerError, NoModelError, SolderwatchError
from inspection.model import load
from inspection.runtime import check_runtime, choose_runtime
from settings import Settings
from settings.schema import CURRENT


def check(settings: Settings) -> Iterator[Finding]:
    """Look at everything, and say each problem with its mend."""
    for name, path in settings.paths.line.items():
        try:
            Folders({name: path}).make()
        except SolderwatchError as error:
            yield Finding("problem", str(error))
    yield from _folders(settings)
    yield Finding("ok", f"stacks: every page of a file is judged, up to {settings.inbox.max_pages} (inbox.max_pages)")
    yield from names(settings)
    if not settings.products:
        yield from _model(settings)
    for product in settings.products:
        for found in _model(settings.of_product(product)):
            yield Finding(found.level, f"{product}: {found.text}")


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
    yield _ledger(settings.paths.ledger)


def _ledger(path: Path) -> Finding:
    place = next(there for there in (path, *path.parents) if os.path.lexists(there))
    if not os.access(place, os.W_OK):
        return Finding("warning", f"ledger: {path}: {place} is not writable; mend its owner or mode")
    if place != path:
        return Finding("ok", f"ledger: {path}: the daemon makes it")
    try:
        with Ledger(path) as ledger:
            summary = ledger.summary()
    except LedgerError as error:
        return Finding("warning", f"ledger: {error}")
    known = f"{sum(count.images for count in summary.counts):,} images"
    return Finding("ok", f"ledger: {path}: {known}{'' if summary.complete else ' so far, not all yet'}")


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
    for name, reason in choice.refused.items():
        yield Finding("warning", f"runtime: {name} is refused: {reason}")
    yield Finding("ok", f"runtime: {choice.runtime} ({choice.why})")
    yield Finding("ok", f"model: {card.model_id}, {card.architecture}, threshold {card.threshold:.6g}")
    certified = card.certificate and card.certificate.certified
    yield Finding("ok" if certified else "warning", f"certificate: {card.certificate_here()}")
    yield Finding("ok", f"self-test: {len(card.golden)} golden samples score as they should")
