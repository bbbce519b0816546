"""All models of a line as a table: when they were made, how they did in their test, and what the gate said."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from filing.models import model_folders
from inspection.errors import ModelError
from inspection.files import readable
from inspection.model import ModelCard, read_card
from settings.schema import CURRENT
from training.release.gate import read_record
from training.release.promote import PREVIOUS

_HEADINGS = ("", "model", "trained", "nio found in its test", "false calls", "recall proven", "gate")


def history(models: Path) -> str:
    """The table, the oldest model first; a damaged folder is a line that says so.

    Args:
        models: The folder with the model folders.
    """
    folders = model_folders(models)
    if not folders:
        return f"no models in {models}; train one with solderwatch-train"
    return aligned([_HEADINGS, *(_row(folder) for folder in folders)])


def roles(folder: Path) -> list[str]:
    """Which of `current` and `previous` lead to a model folder."""
    return [name for name in (CURRENT, PREVIOUS) if (folder.parent / name).resolve() == folder.resolve()]


def aligned(rows: Sequence[tuple[str, ...]]) -> str:
    """Rows as a table in plain text; a row may end early, and its last cell then says so at any length."""
    columns = len(rows[0]) - 1
    widths = [max(len(row[column]) for row in rows if column < len(row) - 1) for column in range(columns)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, [*widths, 0], strict=False)).rstrip() for row in rows
    )


def _row(folder: Path) -> tuple[str, ...]:
    start = (" ".join(roles(folder)), readable(folder.name))
    try:
        card = read_card(folder)
    except ModelError as error:
        return (*start, readable(f"damaged: {error}"))
    try:
        record = read_record(folder)
        said = record.summary if record else "not asked"
    except ModelError as error:
        said = readable(str(error))
    return (*start, readable(card.created), *figures(card), said)


def figures(card: ModelCard) -> tuple[str, str, str]:
    """Recall and false calls in its test, with their counts, and what is proven; of a foreign card nothing."""
    certificate = card.certificate
    proven = f"{certificate.proof.recall_bound:.1%}, {certificate.standing}" if certificate else "-"
    try:
        (io_io, io_nio), (nio_io, nio_nio) = card.metrics["test"]["confusion"]
        io, nio = io_io + io_nio, nio_io + nio_nio
        return f"{nio_nio} of {nio}, {nio_nio / nio:.1%}", f"{io_nio} of {io}, {io_nio / io:.1%}", proven
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return "-", "-", proven
