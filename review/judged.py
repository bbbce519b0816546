"""Judged images as they lie in io and nio: the bytes, the map and the record; no link is followed."""

from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path
from typing import Any

from filing import durable
from inspection.errors import SolderwatchError
from inspection.files import MAP_SUFFIX, RECORD_SUFFIX
from inspection.verdict import LABELS

TEXTS = ("sha256", "file", "model", "verdict", "decision_id")
"""What every record has."""


def triple(image: Path) -> tuple[Path, Path, Path]:
    """An image, its map and its record."""
    return image, Path(f"{image}{MAP_SUFFIX}"), Path(f"{image}{RECORD_SUFFIX}")


def read(path: Path) -> bytes:
    """A file's bytes.

    Raises:
        SolderwatchError: There is no regular file.
        OSError: It cannot be read now.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise SolderwatchError("no such image") from None
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise SolderwatchError("a link, not an image that was judged") from None
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise SolderwatchError("no regular file, so no image that was judged")
        return file.read()


def read_map(image: Path) -> bytes | None:
    """The map beside an image; None if somebody took it away."""
    try:
        return read(triple(image)[1])
    except SolderwatchError:
        return None


def read_record(image: Path) -> dict[str, Any] | None:
    """The record beside an image; None where there is none that this program wrote."""
    try:
        record = json.loads(read(triple(image)[2]))
        durable.to_json(record)  # refuses NaN and infinity, which could not be written again
        texts = [record[key] for key in TEXTS]
        return record if record["verdict"] in LABELS and all(isinstance(text, str) for text in texts) else None
    except (SolderwatchError, OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
