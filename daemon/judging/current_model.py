"""The model in use: loads what `models/current` names, and picks up a new one between two images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from filing.logs import Log
from inspection.errors import DeviceError, NoModelError
from inspection.inspector import Inspector
from inspection.model import Certificate, load
from inspection.runtime import check_agreement, choose_runtime
from settings.schema import CURRENT, CamSettings

Signature = tuple[Any, ...]


class CurrentModel:
    """Holds the inspector of the current model; a bad new one is refused and the old one stays.

    Args:
        models: The folder with the `current` link.
        cam: Which maps are made.
        device: Where it judges.
        runtime: What computes there: `auto`, `torch` or `openvino`.
        log: Told of every change.
        inspector: What was in use before a reload of the configuration, kept if nothing better loads.
    """

    def __init__(
        self,
        models: Path,
        cam: CamSettings,
        device: torch.device,
        runtime: str,
        log: Log,
        inspector: Inspector | None = None,
    ) -> None:
        self.inspector = inspector
        self._link = models / CURRENT
        self._cam = cam
        self._device = device
        self._runtime = runtime
        self._log = log
        self._tried: Signature | None = None
        self._folder = self._link

    def refresh(self) -> Inspector | None:
        """Load what the link names if that has changed; returns what is in use then, None if nothing ever loaded."""
        signature = self._signature()
        if signature == self._tried:
            return self.inspector
        self._tried = signature
        try:
            model = load(self._link, self._device)
            choice = choose_runtime(self._runtime, model, self._link)
            # Maps its golden samples: as likely to fail as loading is.
            inspector = Inspector(
                model, self._cam.method, only_last_conv=self._cam.only_last_conv, compiled=choice.compiled
            )
        except NoModelError as error:
            if self.inspector:
                self._log.warning("model_refused", error=str(error), kept=self.inspector.model.card.model_id)
            else:
                self._log.warning("no_model", error=str(error), inbox="left untouched until there is one")
            return self.inspector
        except Exception as error:  # noqa: BLE001 - no memory on the GPU, a fault of its driver: the old one must stay
            kept = self.inspector.model.card.model_id if self.inspector else None
            self._log.error("model_refused", error=f"{error}" or type(error).__name__, kept=kept)
            return self.inspector
        self._folder = self._link.resolve()
        self.inspector = inspector
        card = model.card
        if choice.refused:
            self._log.warning("runtime_refused", runtime="openvino", error=choice.refused, instead=inspector.runtime)
        self._log.info(
            "model_loaded",
            model=card.model_id,
            created=card.created,
            architecture=card.architecture,
            image_size=card.preprocessing.image_size,
            threshold=card.threshold,
            certificate=_told(card.certificate),
            device=str(self._device),
            runtime=inspector.runtime,
            why=choice.why,
        )
        return self.inspector

    def verify(self) -> None:
        """Score the golden samples once more, after an image could not be judged.

        Raises:
            DeviceError: They fail too, so it is the processor that fails, not the image.
        """
        assert self.inspector is not None
        try:
            check_agreement(self.inspector.model, self._folder, self.inspector.look)
        except Exception as error:
            raise DeviceError(f"{self.inspector.model.device} fails on golden samples too: {error}") from error

    def _signature(self) -> Signature:
        try:
            target = self._link.readlink() if self._link.is_symlink() else self._link
            found = (self._link / "model.json").stat()
        except OSError as error:
            return "missing", error.errno
        return str(target), found.st_ino, found.st_size, found.st_mtime_ns


def _told(certificate: Certificate | None) -> dict[str, Any] | None:
    """What the log says of a certificate; model.json has all of it."""
    if certificate is None:
        return None
    return {"standing": certificate.standing, "recall_bound": certificate.proof.recall_bound}
