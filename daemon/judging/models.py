"""The models in use: one for the line, or one for each of its products, not all of them in memory at once."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from daemon.judging.current_model import CurrentModel
from filing.logs import Log
from inspection.inspector import Inspector
from inspection.model import ModelCard
from settings import Settings

Product = str | None
"""A product's name; None on a line without products."""


class Models:
    """Who judges what. A product's model is loaded when it is first needed, and kept while there is room.

    Args:
        settings: The configuration: products, folders, how many models there is room for.
        device: Where they judge.
        log: Told of every change; with products, of which one.
        before: Those in use before a reload of the configuration: each stays until a better one of its product loads.
    """

    def __init__(self, settings: Settings, device: torch.device, log: Log, before: Models | None = None) -> None:
        self.device = device
        self._room = settings.judge.models_in_memory
        self._known: dict[Product, CurrentModel] = {}
        old: dict[Product, CurrentModel] = {}
        used: list[Product] = []
        if before and before.device == device:
            old, used = before._known, before._used  # noqa: SLF001 - one of its own kind
        for product in settings.products or (None,):
            own = settings.of_product(product)
            told = log.bind(product=product) if product else log
            self._known[product] = CurrentModel(own.paths.models, own.cam, device, own.runtime, told, old.get(product))
        self._used: list[Product] = [product for product in used if product in self._known]
        """In the order of their last use, the latest at the end."""
        self._make_room(self._room)

    @property
    def loaded(self) -> dict[Product, Inspector]:
        """Those in memory, by product."""
        return {product: model.inspector for product, model in self._known.items() if model.inspector}

    @property
    def there(self) -> frozenset[Product]:
        """Products that have a model, in memory or not; None where a line without products has one in memory."""
        found = self._known.items()
        return frozenset(name for name, model in found if (model.is_there if name is not None else model.inspector))

    @property
    def cards(self) -> dict[Product, ModelCard | None]:
        """What is known of every product's model; None if none ever loaded."""
        return {product: model.card for product, model in self._known.items()}

    def refresh(self) -> None:
        """Take up new models for those in memory; on a line without products, load the one there is."""
        for product, model in self._known.items():
            if model.inspector or product is None:
                model.refresh()

    def of(self, product: Product) -> Inspector | None:
        """Who judges a product, loaded if need be; None while it has no model.

        Whoever judges with one of `leaving_for(product)` must have ended.
        """
        model = self._known[product]
        if product in self._used:
            self._used.remove(product)
        self._used.append(product)
        if model.is_to_load:
            self._make_room(self._room - 1)
        return model.refresh()

    def leaving_for(self, product: Product) -> frozenset[Product]:
        """Products whose models would leave the memory if this one's was asked for."""
        if not self._known[product].is_to_load:
            return frozenset()
        return frozenset(self._surplus(self._room - 1, besides=product))

    def verify(self, product: Product) -> None:
        """Score a product's golden samples once more, after an image could not be judged.

        Raises:
            DeviceError: They fail too, so it is the processor that fails, not the image.
        """
        self._known[product].verify()

    def _surplus(self, room: int, besides: Product = None) -> Iterator[Product]:
        """Those that were not used for longest, of more than there is room for."""
        loaded = self.loaded
        for product in [name for name in self._used if name in loaded and name != besides]:
            if len(loaded) <= room:
                return
            del loaded[product]
            yield product

    def _make_room(self, room: int) -> None:
        leaving = list(self._surplus(room))
        for product in leaving:
            self._known[product].unload()
        if leaving and self.device.type == "cuda":
            torch.cuda.empty_cache()
