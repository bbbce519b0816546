"""What the page keeps to itself: its key, and the seals under which the browser holds names of images.

A seal says nothing to who reads it, not even whether an image is io or nio: blind checks depend on that.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import os
import secrets
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from filing import durable
from inspection.errors import SolderwatchError
from inspection.verdict import LABELS, Label

Kind = Literal["open", "blind", "even", "near", "repeat", "third", "look", "label"]
"""Why an image is shown: it is open, with or without the model's verdict; io, drawn evenly or near the threshold, to
find escapes; once more, to see whether the label holds; disputed; only to be looked at; of the data set, whose label a
training doubts."""

BLIND = {"blind", "even", "near", "repeat", "third"}
"""Shown without the verdict, and told apart by nobody."""

_MAC_BYTES = 16
_LONGEST = 4096


@dataclass(frozen=True)
class Handle:
    """An image as the browser has it.

    Attributes:
        outcome: The folder in which it lay.
        path: In that folder.
        decision: The `decision_id` of its record, in a data set the hash of its bytes; empty: it is only to be looked
            at.
        kind: Why it is shown.
        product: In whose data set it lies; empty where it lies in none, or the line has no products.
    """

    outcome: Label
    path: Path
    decision: str
    kind: Kind
    product: str = ""

    @property
    def place(self) -> tuple[str | Path, ...]:
        """What it is told apart by, whatever it is shown for."""
        return (self.outcome, self.path, *((self.product,) if self.kind == "label" else ()))


def read_key(folder: Path) -> bytes:
    """The page's key; made when it is first asked for.

    Raises:
        SolderwatchError: It cannot be read or made.
    """
    path = folder / "key"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with suppress(FileExistsError):
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                durable.write_all(descriptor, secrets.token_bytes(32))
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        key = path.read_bytes()
    except OSError as error:
        raise SolderwatchError(f"review.folder: {path}: {error.strerror}: give this user the folder") from None
    if len(key) != 32:
        raise SolderwatchError(f"review.folder: {path}: damaged: remove it; everybody then signs in again")
    return key


class Seals:
    """Seals handles and opens them; the same handle always has the same seal, so that browsers can cache pictures.

    Args:
        key: The page's.
    """

    def __init__(self, key: bytes) -> None:
        self._for_mac = hashlib.sha256(b"seal mac" + key).digest()
        self._for_text = hashlib.sha256(b"seal text" + key).digest()

    def seal(self, handle: Handle) -> str:
        """A handle as text for URLs."""
        told = [handle.outcome, str(handle.path), handle.decision, handle.kind, handle.product]
        text = json.dumps(told).encode()
        mac = self._mac(text)
        return base64.urlsafe_b64encode(mac + self._crossed(mac, text)).decode().rstrip("=")

    def open(self, sealed: str) -> Handle | None:
        """The handle; None where this page has sealed no such."""
        try:
            if len(sealed) > _LONGEST:
                return None
            data = base64.b64decode(sealed + "=" * (-len(sealed) % 4), b"-_", validate=True)
        except (ValueError, binascii.Error):
            return None
        mac = data[:_MAC_BYTES]
        text = self._crossed(mac, data[_MAC_BYTES:])
        if not hmac.compare_digest(mac, self._mac(text)):
            return None
        # Words that wait in a browser may be older than data sets on this page.
        outcome, path, decision, kind, *product = json.loads(text)
        if outcome not in LABELS or kind not in get_args(Kind):
            return None
        return Handle(outcome, Path(path), decision, kind, *product)

    def _mac(self, text: bytes) -> bytes:
        return hmac.digest(self._for_mac, text, "sha256")[:_MAC_BYTES]

    def _crossed(self, mac: bytes, text: bytes) -> bytes:
        """The mac of the text is also what its key stream begins from."""
        stream = hashlib.shake_256(self._for_text + mac).digest(len(text))
        return bytes(one ^ other for one, other in zip(text, stream, strict=True))
