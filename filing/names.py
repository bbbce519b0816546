"""Names of filed images and their sidecars, and times as logs and sidecars write them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from datetime import UTC, datetime

from filing.durable import NAME_MAX
from inspection.files import ERROR_SUFFIX

_LONGEST_ADDITION = len("~99999") + len(ERROR_SUFFIX)


def free_names(name: str) -> Iterator[str]:
    """name.png, name~2.png, name~3.png ...; shortened where the sidecars' names would be too long."""
    stem, suffix = os.path.splitext(name)  # noqa: PTH122 - Path.suffix differs on names that end in a dot
    stem = shortened(stem, NAME_MAX - _LONGEST_ADDITION - len(os.fsencode(suffix)))
    yield stem + suffix
    number = 2
    while True:
        yield f"{stem}~{number}{suffix}"
        number += 1


def shortened(name: str, room: int) -> str:
    """A name of so many bytes at most; what is cut off is replaced by a hash, so that it stays one of its kind."""
    if len(os.fsencode(name)) <= room:
        return name
    digest = hashlib.sha256(os.fsencode(name)).hexdigest()[:8]
    return os.fsencode(name)[: room - 9].decode("utf-8", "ignore") + "-" + digest


def utc(moment: datetime) -> str:
    """A moment as logs and sidecars write it: UTC, to the millisecond."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
