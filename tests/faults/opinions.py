"""Models that have one opinion of every image, so that a verdict tells whose model judged; a line of such products."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from cards import plain_card
from PIL import Image

from inspection.model import Model, save
from inspection.network import SupervisedAutoencoder
from inspection.novelty import DESCRIPTION, Novelty
from inspection.verdict import Label

_ALWAYS, _NEVER = 1e-30, 1.0


def opinion(models: Path, label: Label, seed: int = 0) -> None:
    """Put a model in use that calls every image io, or every image nio."""
    torch.manual_seed(seed)
    novelty = Novelty(DESCRIPTION)
    novelty.farthest.fill_(1e6)
    novelty.oddest.fill_(1e6)
    card = plain_card(threshold=_NEVER if label == "io" else _ALWAYS)
    model = Model(card, SupervisedAutoencoder("residual").eval(), novelty, torch.device("cpu"))
    folder = save(models, model, [(np.full((32, 32), 0.5, np.float32), label)])
    new = models / ".current.new"
    new.symlink_to(folder.name)
    new.replace(models / "current")


def picture(number: int) -> bytes:
    """A small PNG unlike any other."""
    grey = np.random.default_rng(number).integers(0, 256, (32, 32), np.uint8)
    file = io.BytesIO()
    Image.fromarray(grey).save(file, "PNG")
    return file.getvalue()


def configure(folder: Path, matches: Mapping[str, str], more: str = "") -> None:
    """Write config.yaml: a product for each name, of the files in which its regular expression is found."""
    products = ", ".join(f"{name}: {{match: '{match}'}}" for name, match in matches.items())
    text = f"device: cpu\nruntime: torch\ninbox: {{quiet_s: 0.05, scan_s: 0.05}}\n{more}products: {{{products}}}\n"
    (folder / "config.yaml").write_text(text, encoding="utf-8")
