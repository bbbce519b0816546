"""The models of a line as status and metrics tell of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from inspection.model import ModelCard

Product = str | None
"""A product's name; None on a line without products."""


@dataclass(frozen=True)
class Standing:
    """The models at this moment.

    Attributes:
        device: Where they judge.
        there: Products that have a model, in memory or not.
        loaded: Those whose model is in memory.
        cards: What is known of every product's model; None if none ever loaded.
    """

    device: str
    there: frozenset[Product]
    loaded: frozenset[Product]
    cards: Mapping[Product, ModelCard | None]
