"""A line in one process, where single calls can be made to fail."""

from __future__ import annotations

import io
import json
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from daemon.judging.models import Models
from daemon.line import Line
from daemon.reporting.drifts import Drifts
from daemon.reporting.tally import Tally
from filing.folders import Folders
from filing.logs import open_log
from inspection.inspector import Inspector
from settings import load


class Bench:
    """A line in a folder, with its log and its tally; after a reload, with the models that were in use before."""

    def __init__(self, folder: Path, before: Models | None = None) -> None:
        settings = load(folder / "config.yaml")
        folders = Folders(settings.paths.line, settings.inbox.admission)
        folders.make()
        self.stream = io.StringIO()
        self.tally = Tally()
        self.beats: list[str] = []
        log = open_log(settings.logs, self.stream)
        self.models = Models(settings, torch.device("cpu"), log, before)
        self.drifts = Drifts(settings, folders, log)
        self.stop, self.wake = threading.Event(), threading.Event()
        self.line = Line(
            settings,
            folders,
            self.models,
            log,
            stop=self.stop,
            wake=self.wake,
            tally=self.tally,
            drifts=self.drifts,
            beat=lambda state, _: self.beats.append(state),
        )
        self.inbox = settings.paths.inbox

    def fill(self, dataset: Path, count: int) -> None:
        """Copy so many good images into the inbox, named by their number with digits enough for all."""
        for index, path in enumerate(sorted((dataset / "io").iterdir())[:count]):
            shutil.copyfile(path, self.inbox / f"{index:0{len(str(count))}d}.png")

    def events(self, name: str) -> list[dict[str, Any]]:
        """What was logged."""
        found = [json.loads(line) for line in self.stream.getvalue().splitlines()]
        return [event for event in found if event["event"] == name]

    def judge_with_the_original(self, monkeypatch: pytest.MonkeyPatch) -> Inspector:
        """Have the workers take the one inspector whose calls can be replaced, instead of twins."""
        inspector = self.models.of(None)
        assert inspector
        monkeypatch.setattr(inspector, "twin", lambda: inspector)
        return inspector


def failing(real: Callable[..., Any], code: int, times: int, name: str = "") -> Callable[..., Any]:
    """A call that fails so often, on paths that hold a name, and then works; it may be a method."""
    left = [times]

    def call(*arguments: Any) -> Any:
        path = next((argument for argument in arguments if isinstance(argument, Path)), Path())
        if left[0] and name in str(path):
            left[0] -= 1
            raise OSError(code, os.strerror(code), str(path))
        return real(*arguments)

    return call
