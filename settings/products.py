"""What a product may be called, and how its settings differ from the line's."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TypeVar

from pydantic import BaseModel

_LONGEST = 100
_TAKEN = {"io", "nio", "unlabelled", "current"}
"""What lies in a data set, or among models, beside the folders of products."""

S = TypeVar("S", bound=BaseModel)


def product_name(value: object) -> object:
    """See that a name can be a folder on every file system, and a label of metrics.

    Raises:
        ValueError: It can't.
    """
    if not isinstance(value, str):
        raise ValueError("YAML does not read this name as text: put it in quotes")  # noqa: TRY004 - pydantic wants it
    if not re.fullmatch(r"[a-z0-9]([a-z0-9._-]*[a-z0-9_-])?", value, re.ASCII | re.IGNORECASE) or len(value) > _LONGEST:
        raise ValueError("names folders: letters a to z, digits, and . _ - between them, at most 100")
    if value.lower() in _TAKEN:
        raise ValueError("names a folder of the data set or the models already: choose another")
    return value


def same_folder(names: Iterable[str]) -> tuple[str, str] | None:
    """Two names that a file system may take for one; None without any."""
    seen: dict[str, str] = {}
    for name in names:
        if name.lower() in seen:
            return seen[name.lower()], name
        seen[name.lower()] = name
    return None


def over(base: S, differs: S) -> S:
    """A section as `base`, but for the keys that were written into `differs`."""
    changed = {}
    for name in differs.model_fields_set:
        ours, theirs = getattr(base, name), getattr(differs, name)
        changed[name] = over(ours, theirs) if isinstance(theirs, BaseModel) else theirs
    return base.model_copy(update=changed)
