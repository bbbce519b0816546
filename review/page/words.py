"""Takes words from the page, by the code of `solderwatch relabel`, each once, however often a browser sends it."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filing.logs import Log
from filing.words import acts, standing
from inspection.errors import SolderwatchError
from inspection.files import readable
from inspection.verdict import Label
from review.page.archive import Archive, Found
from review.page.seals import Handle, Kind
from review.relabel import relabel
from settings import Settings

LONGEST_COMMENT = 500

_SHOWN: dict[Kind, str] = {
    "blind": "blind",
    "even": "check_even",
    "near": "check_near",
    "repeat": "repeat",
    "third": "third",
}


class TakenError(SolderwatchError):
    """Somebody else has said something of the image since it was shown."""


@dataclass(frozen=True)
class Speaker:
    """Who says it, and from where."""

    name: str
    address: str


class Words:
    """The words of a line.

    Args:
        settings: Its configuration.
        archive: Where the images are.
        log: Told of each word.
    """

    def __init__(self, settings: Settings, archive: Archive, log: Log) -> None:
        self._settings, self._archive, self._log = settings, archive, log
        self._one_by_one = threading.Lock()

    def say(
        self, handle: Handle, label: Label, speaker: Speaker, reason: str = "", comment: str = ""
    ) -> dict[str, Any]:
        """Label an image.

        Returns:
            Its record before.

        Raises:
            TakenError: It has a word already.
            SolderwatchError: It is gone, or cannot be labelled.
        """
        shown = _SHOWN.get(handle.kind, "")
        remarks: dict[str, str | bool] = {
            key: text for key, text in (("reason", reason), ("comment", comment), ("shown", shown)) if text
        }
        with self._one_by_one:
            found = self._archive.find(handle)
            said = standing(found.record)
            if said and _is_same(said[-1], {"to": label, "by": readable(speaker.name), **remarks}):
                return found.record
            if said and handle.kind not in ("repeat", "third", "look"):
                raise TakenError(f"{said[-1].get('by')} was faster: {said[-1]['to']}")
            if handle.kind == "repeat" and said and said[-1]["to"] != label:
                remarks["disputed"] = True
            self._relabel(found, label, speaker, remarks)
        return found.record

    def take_back(self, handle: Handle, speaker: Speaker) -> None:
        """Take one's own last word back.

        Raises:
            TakenError: The last word is somebody else's.
            SolderwatchError: It is gone, or cannot be changed.
        """
        with self._one_by_one:
            found = self._archive.find(handle)
            said = standing(found.record)
            history = acts(found.record)
            if history and history[-1]["to"] is None and history[-1].get("by") == readable(speaker.name):
                return
            if not said or said[-1].get("by") != readable(speaker.name):
                raise TakenError("the last word on it is not yours" if said else "nobody has said anything of it")
            self._relabel(found, None, speaker, {})

    def _relabel(self, found: Found, label: Label | None, speaker: Speaker, remarks: dict[str, str | bool]) -> None:
        image = str(Path(self._settings.paths.line[found.outcome], found.path))
        log = self._log.bind(address=speaker.address)
        for refused in relabel(self._settings, [image], label, speaker.name, log, remarks):
            raise SolderwatchError(refused.why)


def _is_same(act: dict[str, Any], said: dict[str, str | bool]) -> bool:
    """Whether a word is one that was sent before: its answer was lost on the way."""
    return {key: value for key, value in act.items() if key not in ("at", "disputed")} == said
