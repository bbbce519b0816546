"""`solderwatch doctor`: what `check` looks at and more, each thing tried; for whoever sets up or mends a line."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path

import torch

from daemon.checking.check import check
from daemon.checking.finding import Finding
from daemon.checking.machine import machine
from daemon.checking.trial import runtimes, trial
from daemon.checking.unit import service
from filing.lock import is_held
from inspection.errors import SolderwatchError
from inspection.model import library_versions
from settings import Settings

_NVIDIA = Path("/proc/driver/nvidia/version")


def examine(settings: Settings) -> Iterator[Finding]:
    """Look at everything, try everything; the line's own images, verdicts and records stay untouched."""
    yield from check(settings)
    yield from machine(settings)
    yield from _graphics(settings)
    for product in settings.products or (None,):
        for found in _of_model(settings.of_product(product)):
            yield Finding(found.level, f"{product}: {found.text}") if product else found
    yield from _running(settings)
    yield from service()


def as_json(findings: Iterable[Finding]) -> str:
    """For support: the findings, and what they were found on."""
    machine_ = {"system": platform.platform(), "processor": platform.machine(), "cores": os.cpu_count()}
    told = {"versions": library_versions(), "machine": machine_, "findings": [asdict(found) for found in findings]}
    return json.dumps(told, indent=2)


def _of_model(settings: Settings) -> Iterator[Finding]:
    yield from runtimes(settings)
    yield from trial(settings)


def _graphics(settings: Settings) -> Iterator[Finding]:
    """The driver of a GPU, where one is there; one that was asked for and is not there is a problem of its own."""
    if settings.device == "cpu":
        return
    if torch.cuda.is_available():
        free, size = torch.cuda.mem_get_info()
        yield Finding("ok", f"gpu: {free / 1e9:.1f} of {size / 1e9:.1f} GB are free, CUDA {torch.version.cuda}")
    elif _NVIDIA.exists():
        driver = _NVIDIA.read_text(encoding="utf-8", errors="replace").split("  ")[-1].strip()
        yield Finding("warning", f"gpu: there is a driver, and torch cannot use it: nvidia-smi says more ({driver})")


def _running(settings: Settings) -> Iterator[Finding]:
    """Whether a daemon works here now; that it does not is no fault."""
    try:
        alive = is_held(settings.paths.work)
    except SolderwatchError as error:
        yield Finding("warning", f"daemon: {error}")
        return
    yield Finding("ok", f"daemon: {'runs; solderwatch status says more' if alive else 'does not run now'}")
