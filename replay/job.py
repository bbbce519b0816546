"""What one replay is asked for, and the tables in which places go to those who judge and verdicts come back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pyarrow as pa

from inspection.errors import ConfigError
from inspection.model import read_card
from replay.archives import Archive
from settings import Settings
from settings.schema import CURRENT

Maps = Literal["changed", "nio", "all", "none"]
Models = Mapping[str | None, Path]
"""The folder of each product's model; None: of all images, whatever they show."""

_CARD = "model.json"

PLACES = pa.schema([
    pa.field("number", pa.int64(), nullable=False),
    pa.field("archive", pa.int32(), nullable=False),
    pa.field("path", pa.binary(), nullable=False),
    pa.field("sha256", pa.binary(32)),
])  # fmt: skip
"""Where images are: a number in the plan, which of the archives, the path in it; and the SHA-256 of what is judged
already."""

RESULTS = pa.schema([
    pa.field("number", pa.int64(), nullable=False),
    pa.field("path", pa.string(), nullable=False),
    pa.field("sha256", pa.string()),
    pa.field("verdict", pa.string()),
    pa.field("reason", pa.string(), nullable=False),
    pa.field("nio_probability", pa.float64()),
    pa.field("novelty", pa.float64()),
    pa.field("was", pa.string()),
    pa.field("word", pa.string()),
    pa.field("product", pa.string()),
    pa.field("board", pa.string()),
    pa.field("joint", pa.string()),
    pa.field("view", pa.string()),
    pa.field("pages", pa.int32()),
    pa.field("page", pa.int32()),
    pa.field("model", pa.string()),
    pa.field("ms", pa.float64()),
    pa.field("against", pa.string()),
    pa.field("against_reason", pa.string()),
    pa.field("against_probability", pa.float64()),
    pa.field("against_model", pa.string()),
    pa.field("day", pa.date32()),
])  # fmt: skip
"""What is kept of an image: `verdict` is null where it could not be judged, and `reason` says why."""

JUDGED = RESULTS.append(pa.field("kept", pa.bool_())).append(pa.field("map", pa.binary())).append(
    pa.field("against_map", pa.binary())
)  # fmt: skip
"""What those who judge hand back: `kept` where an earlier verdict stands; pictures as PNG where they are wanted."""


@dataclass(frozen=True)
class Job:
    """What one replay is asked for; can be sent to any machine that sees archives and models at the same paths.

    Attributes:
        settings: The line's.
        archives: Where images lie.
        models: Who judges.
        against: Who judges as well, to be compared; empty: the records' verdicts are compared with.
        only: The product that is asked for; None: all.
        maps: Of which images pictures are drawn.
        device: As in the configuration.
    """

    settings: Settings
    archives: tuple[Archive, ...]
    models: Models
    against: Models
    only: str | None
    maps: Maps
    device: str


def models_in(folder: Path, settings: Settings, only: str | None, option: str) -> dict[str | None, Path]:
    """The models that a folder holds: one, or on a line of several products one in use for each of them.

    Args:
        folder: A model's folder or a link to it, or a folder of models.
        settings: The line's.
        only: The product that is asked for.
        option: By which the folder was named.

    Raises:
        ConfigError: There is none, or it is not said of which product one is.
    """
    for one in (folder, folder / CURRENT):
        if (one / _CARD).exists():
            if settings.products and only is None:
                raise ConfigError(f"{option}: {folder}: is one product's model: say whose, with --product NAME")
            return {only: one.resolve()}
    found = {name: folder / name / CURRENT for name in settings.products if only in {None, name}}
    models: dict[str | None, Path] = {name: one.resolve() for name, one in found.items() if (one / _CARD).exists()}
    if not models:
        raise ConfigError(
            f"{option}: {folder}: no model there; name a model's folder, or a folder with PRODUCT/{CURRENT}"
        )
    return models


def ids_of(models: Models) -> dict[str | None, str]:
    """The id of each model.

    Raises:
        ModelError: One is damaged.
    """
    return {product: read_card(folder).model_id for product, folder in models.items()}
