"""A model on disk: `weights.safetensors`, `model.json` and golden samples in one folder; save, load, self-test.

Loading reads numbers and JSON only; no code from the folder ever runs.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError
from torch import Tensor

from inspection.errors import ImageError, ModelError, NoModelError
from inspection.files import sync
from inspection.image import decode
from inspection.network import Architecture, SupervisedAutoencoder, nio_probability
from inspection.preprocess import Preprocessing
from inspection.verdict import Label, judge

FORMAT_VERSION = 1
_CARD, _WEIGHTS, _GOLDEN = "model.json", "weights.safetensors", "golden"
_MAX_CARD_BYTES, _MAX_WEIGHTS_BYTES, _MAX_GOLDEN_BYTES = 10_000_000, 1_000_000_000, 50_000_000
_GOLDEN_MAX_PIXELS = 100_000_000
# Logits of one model on one image differ by about 1e-4 between processors and library versions; a wrong
# preprocessing or a damaged weight moves them by far more than this.
_LOGIT_TOLERANCE = 0.005


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class GoldenSample(_Part):
    """An image whose score is known: `logits` of io and nio."""

    file: Annotated[str, Field(pattern=r"^[\w.-]+\.png$")]
    sha256: str
    label: Label
    logits: Annotated[list[float], Field(min_length=2, max_length=2)]


class PreprocessingCard(_Part):
    """The numbers of `Preprocessing`."""

    image_size: Annotated[int, Field(ge=32, le=1024, multiple_of=16)]
    mean: float
    std: Annotated[float, Field(gt=0)]


class ModelCard(_Part):
    """What model.json says."""

    format: Literal["solderwatch-model"] = "solderwatch-model"
    format_version: int = FORMAT_VERSION
    model_id: str = ""
    created: str
    architecture: Architecture
    dropout: Annotated[float, Field(ge=0, lt=1)]
    preprocessing: PreprocessingCard
    classes: tuple[Literal["io"], Literal["nio"]] = Field(default=("io", "nio"), strict=False)
    threshold: Annotated[float, Field(ge=0, le=1)]
    training_data: dict[str, Any]
    metrics: dict[str, Any]
    versions: dict[str, str]
    weights_sha256: str = ""
    golden: list[GoldenSample] = []

    def content_id(self) -> str:
        """The hash of everything the model is; not of when it was made."""
        content = self.model_dump(mode="json", exclude={"model_id", "created"})
        return _sha256(json.dumps(content, sort_keys=True, allow_nan=False).encode())[:12]


@dataclass(frozen=True)
class Model:
    """A loaded model, in evaluation mode on its device."""

    card: ModelCard
    network: SupervisedAutoencoder
    device: torch.device

    @property
    def preprocessing(self) -> Preprocessing:
        """What images go through before the network sees them."""
        return Preprocessing(**self.card.preprocessing.model_dump())

    def batch(self, images: Sequence[NDArray[np.float32]]) -> Tensor:
        """Grey images `[H, W]` in 0..1 -> normalised `[N, 1, S, S]` on the model's device."""
        return self.preprocessing(images).to(self.device, memory_format=torch.channels_last)

    @torch.inference_mode()
    def logits(self, images_N1SS: Tensor) -> Tensor:
        """Normalised images -> logits `[N, 2]` of io and nio, on the CPU."""
        images_N1SS = images_N1SS.to(self.device, memory_format=torch.channels_last)
        scores: Tensor = self.network.head(self.network.encoder(images_N1SS))
        return scores.float().cpu()


def library_versions() -> dict[str, str]:
    """The versions that a model's scores may depend on."""
    names = ("solderwatch", "torch", "torchvision", "pillow", "numpy")
    return {"python": platform.python_version(), **{name: version(name) for name in names}}


def save(
    models: Path,
    network: SupervisedAutoencoder,
    card: ModelCard,
    golden: Sequence[tuple[NDArray[np.float32], Label]],
) -> Path:
    """Write a model folder, whole or not at all.

    Args:
        models: The folder that holds the model folders.
        network: The trained network, on any device.
        card: What is known of it; ids, hashes and golden scores are filled in here.
        golden: Grey images `[H, W]` in 0..1 with their labels; kept with 16 bits and scored as kept.

    Returns:
        The new folder, `models/<time>-<model id>`.
    """
    models.mkdir(parents=True, exist_ok=True)
    building = models / f".building-{os.getpid()}"
    shutil.rmtree(building, ignore_errors=True)
    (building / _GOLDEN).mkdir(parents=True)
    try:
        card = _write(building, network, card, golden)
        folder = models / f"{card.created.replace('-', '').replace(':', '')}-{card.model_id}"
        if not folder.exists():  # else: the same content in the same second
            building.rename(folder)
            sync(models)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return folder


def _write(
    folder: Path,
    network: SupervisedAutoencoder,
    card: ModelCard,
    golden: Sequence[tuple[NDArray[np.float32], Label]],
) -> ModelCard:
    """Fill a model folder, durably; returns the completed card."""
    network = network.to("cpu").to(memory_format=torch.contiguous_format).eval()
    weights = safetensors.torch.save(network.state_dict())
    (folder / _WEIGHTS).write_bytes(weights)
    samples = []
    scorer = Model(card, network, torch.device("cpu"))
    for index, (pixels, label) in enumerate(golden):
        name = f"{index:02d}_{label}.png"
        path = folder / _GOLDEN / name
        Image.fromarray(np.round(pixels * 65535).astype(np.uint16)).save(path)
        data = path.read_bytes()
        logits = scorer.logits(scorer.batch([decode(data, max_pixels=_GOLDEN_MAX_PIXELS).pixels]))[0]
        samples.append(GoldenSample(file=name, sha256=_sha256(data), label=label, logits=logits.tolist()))
    card = card.model_copy(update={"weights_sha256": _sha256(weights), "golden": samples})
    card = card.model_copy(update={"model_id": card.content_id()})
    text = json.dumps(card.model_dump(mode="json"), indent=2, allow_nan=False)
    (folder / _CARD).write_text(text + "\n", encoding="utf-8")
    for path in (*folder.rglob("*"), folder):
        sync(path)
    return card


def now() -> str:
    """The time as model cards say it: UTC, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def load(folder: Path, device: torch.device) -> Model:
    """Load a model folder and check it against its golden samples.

    Args:
        folder: The model folder, or the `current` link to it.
        device: Where it shall judge.

    Raises:
        NoModelError: There is no such folder.
        ModelError: The folder is damaged, foreign, newer than this program, or the golden samples score differently.
    """
    if not folder.exists():
        raise NoModelError(f"{folder}: no model there; train one with solderwatch-train")
    card = read_card(folder)
    weights = _read(folder / _WEIGHTS, _MAX_WEIGHTS_BYTES)
    if _sha256(weights) != card.weights_sha256:
        raise ModelError(f"{folder / _WEIGHTS}: damaged: its hash is not the one in {_CARD}; copy the folder anew")
    network = SupervisedAutoencoder(card.architecture, card.dropout)
    try:
        network.load_state_dict(safetensors.torch.load(weights))
    except (SafetensorError, RuntimeError, KeyError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelError(f"{folder / _WEIGHTS}: not the weights of a {card.architecture} network: {reason}") from None
    network = network.to(device).to(memory_format=torch.channels_last).eval().requires_grad_(requires_grad=False)
    model = Model(card, network, device)
    self_test(model, folder)
    return model


def read_card(folder: Path) -> ModelCard:
    """Read and check model.json alone.

    Raises:
        ModelError: It is missing, damaged, foreign or newer than this program.
    """
    path = folder / _CARD
    text = _read(path, _MAX_CARD_BYTES)
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        raise ModelError(f"{path}: damaged: not JSON; copy the folder anew") from None
    if not isinstance(content, dict) or content.get("format") != "solderwatch-model":
        raise ModelError(f"{path}: not a Solderwatch model")
    found = content.get("format_version")
    if isinstance(found, int) and found > FORMAT_VERSION:
        raise ModelError(f"{path}: format {found} is newer than this program's {FORMAT_VERSION}: update Solderwatch")
    try:
        card = ModelCard.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise ModelError(f"{path}: {key}: {first['msg']}") from None
    try:
        content_id = card.content_id()
    except (ValueError, RecursionError):
        raise ModelError(f"{path}: damaged: no sound JSON; copy the folder anew") from None
    if card.model_id != content_id:
        raise ModelError(f"{path}: damaged or edited: its content is not that of model {card.model_id}")
    if not card.golden:
        raise ModelError(f"{path}: no golden samples, so nothing proves that it scores here as it should; train anew")
    return card


def self_test(model: Model, folder: Path) -> None:
    """Score the golden samples as the daemon scores images, and compare.

    Raises:
        ModelError: One is damaged, or scores differently.
    """
    for sample in model.card.golden:
        path = folder / _GOLDEN / sample.file
        data = _read(path, _MAX_GOLDEN_BYTES)
        if _sha256(data) != sample.sha256:
            raise ModelError(f"{path}: damaged: its hash is not the one in {_CARD}; copy the folder anew")
        try:
            image = decode(data, max_pixels=_GOLDEN_MAX_PIXELS)
        except ImageError as error:
            raise ModelError(f"{path}: {error}") from None
        expected = torch.tensor(sample.logits)
        found = model.logits(model.batch([image.pixels]))[0]
        close = torch.allclose(found, expected, rtol=1e-3, atol=_LOGIT_TOLERANCE)
        threshold = model.card.threshold
        probabilities = nio_probability(torch.stack([found, expected])).tolist()
        verdicts = {judge(probability, threshold).label for probability in probabilities}
        if not close or (len(verdicts) > 1 and not torch.allclose(found, expected, atol=1e-3)):
            raise ModelError(
                f"{path}: self-test failed: logits {found.tolist()}, expected {expected.tolist()}; this machine or "
                "its libraries compute differently: compare `versions` in model.json, or train here"
            )


def _read(path: Path, max_bytes: int) -> bytes:
    """The bytes of a file in a model folder, which may come from anywhere: nothing is waited for or endless."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise ModelError(f"{path}: not a regular file")
            if found.st_size > max_bytes:
                raise ModelError(f"{path}: {found.st_size} bytes are more than such a file can have ({max_bytes})")
            return file.read(found.st_size)
    except FileNotFoundError:
        raise ModelError(f"{path}: missing: the model folder is not whole; copy it anew") from None
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror}") from None


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
