"""One model in use: loads what `models/current` names, and picks up a new one between two images."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from filing.logs import Log
from inspection.errors import DeviceError, NoModelError
from inspection.inspector import Inspector
from inspection.model import Certificate, ModelCard, load
from inspection.runtime import Choice, check_agreement, choose_runtime
from settings.schema import CURRENT, CamSettings

Signature = tuple[Any, ...]

_MISSING = "missing"
_REST_S = 30.0
"""After a model that was unloaded could not be loaded again."""


class CurrentModel:
    """Holds the inspector of the current model; a bad new one is refused and the old one stays.

    Args:
        models: The folder with the `current` link.
        cam: Which maps are made.
        device: Where it judges.
        runtime: What computes there: one of the configuration's.
        log: Told of every change.
        before: What was in use before a reload of the configuration, kept if nothing better loads.
        clock: Monotonic seconds.

    Attributes:
        inspector: Who judges; None if nothing ever loaded, and while it is not in memory.
        card: Of the model that loaded last, in memory or not; None if nothing ever loaded.
    """

    def __init__(
        self,
        models: Path,
        cam: CamSettings,
        device: torch.device,
        runtime: str,
        log: Log,
        before: CurrentModel | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.inspector: Inspector | None = before.inspector if before else None
        self._link = models / CURRENT
        self._cam = cam
        self._device = device
        self._runtime = runtime
        self._log = log
        self._clock = clock
        self._tried: Signature | None = None
        self._folder: Path = before._folder if before else self._link  # noqa: SLF001 - one of its own kind
        self.card: ModelCard | None = before.card if before else None
        self._rests_until = 0.0

    @property
    def is_there(self) -> bool:
        """Whether there is a model to judge with, in memory or not; one that was not tried yet counts."""
        return self.card is not None or self._is_new

    @property
    def _is_new(self) -> bool:
        signature = self._signature()
        return signature != self._tried and signature[0] != _MISSING

    @property
    def is_to_load(self) -> bool:
        """Whether `refresh` would load a model into memory where none is."""
        return self.inspector is None and (self._is_new or self._is_unloaded)

    @property
    def _is_unloaded(self) -> bool:
        return self.inspector is None and self.card is not None and self._clock() >= self._rests_until

    def refresh(self) -> Inspector | None:
        """Load what the link names if that has changed; returns what is in use then, None if nothing ever loaded.

        What was unloaded is loaded again.
        """
        signature = self._signature()
        if signature != self._tried:
            self._tried = signature
            self._load(self._link)
        if self._is_unloaded:
            # Not through the link: what that names may have been refused.
            self._load(self._folder)
            if self.inspector is None:
                self._rests_until = self._clock() + _REST_S
        return self.inspector

    def unload(self) -> None:
        """Give the memory back; nobody may be judging with it."""
        self.inspector = None

    def _load(self, folder: Path) -> None:
        kept = self.card.model_id if self.card else None
        try:
            model = load(folder, self._device)
            choice = choose_runtime(self._runtime, model, folder)
            # Maps its golden samples: as likely to fail as loading is.
            inspector = Inspector(
                model, self._cam.method, only_last_conv=self._cam.only_last_conv, compiled=choice.compiled
            )
        except NoModelError as error:
            if kept:
                self._log.warning("model_refused", error=str(error), kept=kept)
            else:
                self._log.warning("no_model", error=str(error), inbox="left untouched until there is one")
            return
        except Exception as error:  # noqa: BLE001 - no memory on the GPU, a fault of its driver: the old one must stay
            self._log.error("model_refused", error=f"{error}" or type(error).__name__, kept=kept)
            return
        self._folder = folder.resolve()
        self.inspector, self.card = inspector, model.card
        if folder == self._link:
            self._tell(model.card, choice, inspector.runtime)

    def _tell(self, card: ModelCard, choice: Choice, runtime: str) -> None:
        for name, reason in choice.refused.items():
            self._log.warning("runtime_refused", runtime=name, error=reason, instead=runtime)
        self._log.info(
            "model_loaded",
            model=card.model_id,
            created=card.created,
            architecture=card.architecture,
            image_size=card.preprocessing.image_size,
            threshold=card.threshold,
            certificate=_told(card.certificate),
            device=str(self._device),
            runtime=runtime,
            why=choice.why,
        )

    def verify(self) -> None:
        """Score the golden samples once more, after an image could not be judged.

        Raises:
            DeviceError: They fail too, so it is the processor that fails, not the image.
        """
        inspector = self.refresh()
        if inspector is None:
            raise DeviceError(f"{self._device} cannot load the model again that failed")
        try:
            check_agreement(inspector.model, self._folder, inspector.look, inspector.runtime)
        except Exception as error:
            raise DeviceError(f"{self._device} fails on golden samples too: {error}") from error

    def _signature(self) -> Signature:
        try:
            target = self._link.readlink() if self._link.is_symlink() else self._link
            found = (self._link / "model.json").stat()
        except OSError as error:
            return _MISSING, error.errno
        return str(target), found.st_ino, found.st_size, found.st_mtime_ns


def _told(certificate: Certificate | None) -> dict[str, Any] | None:
    """What the log says of a certificate; model.json has all of it."""
    if certificate is None:
        return None
    return {"standing": certificate.standing, "recall_bound": certificate.proof.recall_bound}
