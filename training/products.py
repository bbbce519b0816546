"""Refreshes the models of a line's products, one after another, and tells in the end what became of each."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from filing.models import model_folders
from inspection.errors import ModelError, NotPromotedError, SolderwatchError
from inspection.files import readable
from inspection.model import ModelCard, read_card
from settings import Settings
from training.data.answers import read_answered
from training.fitting.build import say
from training.fitting.sizes import with_any_size
from training.refresh import refresh
from training.release.gate import read_record
from training.release.history import aligned, figures, roles
from training.release.promote import in_use, only_refresh

_HEADINGS = ("product", "", "model in use", "threshold", "recall proven", "false calls")
_FROM_GOOD_TO_BAD = (0, NotPromotedError.exit_code, SolderwatchError.exit_code)


class _Outcome(NamedTuple):
    """What became of a product's refresh, in a word, and as an exit code."""

    word: str
    code: int = 0


def refresh_products(settings: Settings, wanted: Sequence[str], *, force: bool = False) -> int:
    """Refresh the products that are wanted; what keeps one of them from it is told, and the others go on.

    Args:
        settings: The configuration of a line with products.
        wanted: Names of products, refreshed whether or not their data sets changed; empty: each product whose data set
            changed since its newest model.
        force: Put the new models to use whatever the gate says.

    Returns:
        The worst of the exit codes: 1 if one failed, else 3 if one was not promoted, else 0.
    """
    names = wanted or list(settings.products)
    rows, codes = [_HEADINGS], []
    for number, name in enumerate(names, 1):
        say(f"product {name}, {number} of {len(names)}")
        own = settings.of_product(name)
        outcome = _refresh(name, own, even_unchanged=bool(wanted), force=force)
        rows.append((name, outcome.word, *_in_use(own.paths.models)))
        codes.append(outcome.code)
    say("products")
    print(aligned(rows))
    return max(codes, key=_FROM_GOOD_TO_BAD.index)


def _refresh(name: str, own: Settings, *, even_unchanged: bool, force: bool) -> _Outcome:
    try:
        with only_refresh(own.paths.models):
            say(f"read: {own.paths.dataset}")
            dataset = read_answered(with_any_size(own))
            if not even_unchanged and dataset.fingerprint() == _learnt_last(own.paths.models):
                print("  unchanged since its newest model")
                return _Outcome("unchanged")
            refresh(own, None if own.training.image_size == "auto" else dataset, force=force)
    except (SolderwatchError, OSError) as error:
        print(f"solderwatch-train: {name}: {error}", file=sys.stderr, flush=True)
        if isinstance(error, NotPromotedError):
            return _Outcome("not promoted", error.exit_code)
        return _Outcome("failed", SolderwatchError.exit_code)
    return _Outcome("promoted")


def _learnt_last(models: Path) -> str | None:
    """The fingerprint of the data set that the newest model was made from, promoted or not.

    None where no model can be used. A training that was killed before the gate or a promotion was done doesn't count.
    """
    learnt = {}
    for folder in model_folders(models):
        with suppress(ModelError):
            card, record = read_card(folder), read_record(folder)
            if record and (roles(folder) or not record.promoted):
                learnt[card.created] = card.training_data.get("fingerprint")
    return learnt[max(learnt)] if learnt and _champion(models) else None


def _in_use(models: Path) -> tuple[str, str, str, str]:
    """The model in use: its folder, its threshold, and what it did in its test."""
    champion = _champion(models)
    if not champion:
        return "none", "-", "-", "-"
    folder, card = champion
    _, false_calls, proven = figures(card)
    return readable(folder.name), f"{card.threshold:.4g}", proven, false_calls


def _champion(models: Path) -> tuple[Path, ModelCard] | None:
    """The model in use, if it is whole."""
    with suppress(ModelError):
        if folder := in_use(models):
            return folder, read_card(folder)
    return None
