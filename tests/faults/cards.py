"""Cards of models, for tests that care for a part of them only."""

from __future__ import annotations

from typing import Any

from inspection.model import ModelCard, PreprocessingCard, library_versions


def plain_card(**changes: Any) -> ModelCard:
    """What model.json says of a small model that was trained on nothing, but for the changes."""
    content: dict[str, Any] = {
        "created": "2026-01-02T03:04:05Z",
        "architecture": "residual",
        "dropout": 0.0,
        "preprocessing": PreprocessingCard(image_size=32, mean=0.5, std=0.25),
        "threshold": 0.5,
        "training_data": {},
        "metrics": {},
        "versions": library_versions(),
    }
    return ModelCard(**content | changes)
