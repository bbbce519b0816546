"""The fields of an image's record."""

from __future__ import annotations

from collections.abc import Iterator
from typing import get_args, get_type_hints

from filing.record import Record
from reference.text import code, item


def record() -> Iterator[str]:
    """An item for each field of a record, in their order."""
    for name, kind in get_type_hints(Record, include_extras=True).items():
        yield item(f"{code(name)}: {get_args(kind)[1]}")
