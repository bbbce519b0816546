"""How far each fit of a training has come, in a file of its own: an interrupted one goes on from the end of an epoch.

What is random is drawn from the seed and the number of the epoch alone, so no state of a generator is kept.
"""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from inspection.errors import NotPromotedError
from inspection.files import sync
from inspection.model import library_versions
from settings.schema import TrainingSettings
from training.data.dataset import LabelledImage, Part
from training.fitting import processes

NAME = ".resume"
_COST = 0.02
_DIGEST = 32  # bytes of a hash before all others

State = dict[str, Any]


def fingerprint(parts: Mapping[Part, Sequence[LabelledImage]], options: TrainingSettings) -> str:
    """The hash of all that the weights depend on: images, labels, groups, split, settings with the seed, libraries."""
    # What the gate tolerates is asked when the weights are there.
    lines = [json.dumps([options.model_dump(mode="json", exclude={"gate"}), library_versions()], sort_keys=True)]
    lines += [f"{part} {one.label} {one.sha256} {one.group}" for part, images in parts.items() for one in images]
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


def told_of(checkpoints: Sequence[Checkpoint | None]) -> str:
    """Where a training goes on, or why it begins anew; nothing where none was interrupted."""
    there = [one for one in checkpoints if one and one.state != "none"]
    for one in there:
        if one.state == "damaged":
            return f"{one.path} is damaged: begins anew"
        if one.state == "another":
            return "an interrupted training was of other images, settings or libraries: begins anew"
    if not there:
        return ""
    folds, epochs = sum(bool(one.scores) for one in there), sum(one.epochs for one in there)
    return f"goes on where a training was interrupted: after {folds} folds and {epochs} epochs"


class Checkpoint:
    """How far one fit has come: its state, or what it scored, if that is all that is wanted of it.

    Only the first of several processes reads and writes.

    Args:
        path: Where it is kept; read at once, if it is there.
        fingerprint: Of the training; what was kept of another one is left aside.
        cost: How much of the time may be spent on keeping the state of fits, at most.
    """

    def __init__(self, path: Path, fingerprint: str, cost: float = _COST) -> None:
        self.path, self._fingerprint, self._cost = path, fingerprint, cost
        self._wait_until = 0.0
        self.state: Literal["none", "damaged", "another", "kept"] = "none"
        self.scores: list[Tensor] = []
        self._fit: State | None = None
        self._load()

    def of(self, fold: int) -> Checkpoint:
        """That of a fold of the same training, in a file beside: folds may be fitted side by side."""
        return Checkpoint(self.path.with_name(f"{self.path.name}-{fold}"), self._fingerprint, self._cost)

    @property
    def epochs(self) -> int:
        """Of the fit that was interrupted."""
        return len(self._fit["history"]["train_loss"]) if self._fit else 0

    def fit(self) -> State | None:
        """The state that `keep` was given in the fit that was interrupted; None in every later fit."""
        state, self._fit = self._fit, None
        return state

    def keep(self, state: Callable[[], State]) -> None:
        """Keep the state of a fit after an epoch, unless that has taken too much of the time already."""
        if time.monotonic() >= self._wait_until:
            self._write(state())

    def finish(self, scores: Sequence[Tensor]) -> None:
        """Keep what was scored; the fit is over."""
        self.scores = list(scores)
        self._write(None)

    @contextmanager
    def until_ended(self) -> Iterator[None]:
        """Remove what was kept, of the folds too, when what follows has ended the training: promoted or not."""
        try:
            yield
        except NotPromotedError:
            self._remove()
            raise
        self._remove()

    def _remove(self) -> None:
        for path in self.path.parent.glob(f"{self.path.name}*"):
            path.unlink(missing_ok=True)

    def _load(self) -> None:
        data = b"" if processes.rank() or not self.path.is_file() else self.path.read_bytes()
        data = processes.from_first(data)
        if not data:
            return
        kept = _unpacked(data)
        if kept is None:
            self.state = "damaged"
        elif kept["fingerprint"] != self._fingerprint:
            self.state = "another"
        else:
            self.state, self.scores, self._fit = "kept", kept["scores"], kept["fit"]

    def _write(self, fit: State | None) -> None:
        """Write it all in one step: after a power cut there is what was kept last, or before."""
        if processes.rank():
            return
        began = time.monotonic()
        content = io.BytesIO()
        torch.save({"fingerprint": self._fingerprint, "scores": self.scores, "fit": fit}, content)
        new = self.path.with_name(f"{self.path.name}.new")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            new.write_bytes(hashlib.sha256(content.getbuffer()).digest() + content.getbuffer())
            sync(new)
            new.replace(self.path)
            sync(self.path.parent)
        except OSError as error:  # the training itself can go on
            print(f"  {self.path}: cannot keep how far it has come: {error.strerror}")
        ended = time.monotonic()
        self._wait_until = ended + (ended - began) / self._cost


def _unpacked(data: bytes) -> State | None:
    """What was written; None where it is damaged, or holds more than numbers, texts and tensors."""
    digest, content = data[:_DIGEST], data[_DIGEST:]
    if hashlib.sha256(content).digest() != digest:
        return None
    try:
        kept: State = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        return None
    return kept
