"""A model on disk: `weights.safetensors`, `model.json` and golden samples in one folder; save, load, self-test.

Loading reads numbers and JSON only; no code from the folder ever runs.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
import os
import platform
import shutil
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field, ValidationError
from safetensors import SafetensorError
from torch import Tensor, nn

from inspection.errors import ImageError, ModelError, NoModelError, in_one_line
from inspection.files import dangling_link, sync
from inspection.image import decode
from inspection.network import Architecture, SupervisedAutoencoder, nio_log_odds
from inspection.novelty import ADDED, DESCRIPTION, Novelty
from inspection.preprocess import Preprocessing
from inspection.reference import CardPart, Reference
from inspection.scorer import Findings, Scorer
from inspection.verdict import Label, Verdict, judge

FORMAT_VERSION = 2
_CARD, _WEIGHTS, GOLDEN = "model.json", "weights.safetensors", "golden"
_MAX_CARD_BYTES, _MAX_WEIGHTS_BYTES, _MAX_GOLDEN_BYTES = 10_000_000, 1_000_000_000, 50_000_000
GOLDEN_MAX_PIXELS = 100_000_000
# Logits of one model on one image differ by about 1e-4 between processors and library versions; a wrong
# preprocessing or a damaged weight moves them by far more than this.
_LOGIT_TOLERANCE = 0.005
_NOVELTY_TOLERANCE = 0.01
LONGEST_WAY = 0.5


class GoldenSample(CardPart):
    """An image whose scores are known: `logits` of io and nio, and `novelty`."""

    file: Annotated[str, Field(pattern=r"^[\w.-]+\.png$")]
    sha256: str
    label: Label
    logits: Annotated[list[float], Field(min_length=2, max_length=2)]
    novelty: float


class PreprocessingCard(CardPart):
    """The numbers of `Preprocessing`."""

    image_size: Annotated[int, Field(ge=32, le=1024, multiple_of=16)]
    mean: float
    std: Annotated[float, Field(gt=0)]


class Proof(CardPart):
    """What nio images that neither weights nor threshold were chosen on tell: `nio` parts, of which `missed` were."""

    nio: Annotated[int, Field(ge=0)]
    missed: Annotated[int, Field(ge=0)]
    images: Annotated[int, Field(ge=0)]
    recall_bound: Annotated[float, Field(ge=0, le=1)]


class Certificate(CardPart):
    """What is proven about a model's recall: a lower bound, one-sided, at `confidence`.

    It holds for the weights, preprocessing, threshold and libraries that stand beside it in model.json, whose hash the
    model's id is.

    Attributes:
        certified: Whether the bound reaches `required_recall`; otherwise the model is only indicative.
        further_nio: How many more nio parts, none of them missed, would certify it; None: no number would.
        proof: Over all test images.
        by_part: The same per match of the configured pattern.
    """

    required_recall: Annotated[float, Field(gt=0, le=1)]
    confidence: Annotated[float, Field(gt=0, lt=1)]
    certified: bool
    further_nio: Annotated[int, Field(ge=0)] | None
    proof: Proof
    by_part: dict[str, Proof]
    data_fingerprint: str

    @property
    def standing(self) -> Literal["certified", "indicative"]:
        """The word for it."""
        return "certified" if self.certified else "indicative"

    def __str__(self) -> str:
        proof = self.proof
        text = (
            f"{self.standing}: {proof.missed} of {proof.nio} nio parts missed, which proves a recall of "
            f"{proof.recall_bound:.2%} ({self.confidence:.0%} confidence); required {self.required_recall:.2%}"
        )
        if not self.certified and self.further_nio is not None:
            text += f"; {self.further_nio} more nio parts, none missed, would prove it"
        return text


class RuntimeProof(CardPart):
    """How another runtime than torch judged, at the end of the training, what torch had judged.

    Attributes:
        version: Of its library.
        images: So many; of stacks each page.
        changed: Verdicts that were others.
        log_odds: The largest difference between the calibrated log-odds of nio.
        way: How far at most an image came on its way to the other verdict, as a share of that way.
    """

    version: str
    images: Annotated[int, Field(gt=0)]
    changed: Annotated[int, Field(ge=0)]
    log_odds: Annotated[float, Field(ge=0)]
    way: Annotated[float, Field(ge=0)]

    @property
    def holds(self) -> bool:
        """Whether it may judge: no verdict changed, and none came half its way."""
        return not self.changed and self.way < LONGEST_WAY

    def __str__(self) -> str:
        return (
            f"{self.changed} of {self.images} verdicts changed; log-odds differ by at most {self.log_odds:.2g}; "
            f"an image came at most {self.way:.2g} of its way to the other verdict (allowed: less than {LONGEST_WAY:g})"
        )


class ModelCard(CardPart):
    """What model.json says."""

    format: Literal["solderwatch-model"] = "solderwatch-model"
    format_version: int = FORMAT_VERSION
    model_id: str = ""
    created: str
    architecture: Architecture
    dropout: Annotated[float, Field(ge=0, lt=1)]
    preprocessing: PreprocessingCard
    classes: tuple[Literal["io"], Literal["nio"]] = Field(default=("io", "nio"), strict=False)
    temperature: Annotated[float, Field(gt=0)] = 1.0
    threshold: Annotated[float, Field(ge=0, le=1)]
    certificate: Certificate | None = None
    training_data: dict[str, Any]
    metrics: dict[str, Any]
    versions: dict[str, str]
    weights_sha256: str = ""
    golden: list[GoldenSample] = Field(default_factory=list)
    reference: Reference | None = None
    runtimes: dict[str, RuntimeProof] = Field(default_factory=dict)

    def content_id(self) -> str:
        """The hash of everything the model is, not of when it was made; and whether its recall is certified."""
        content = self.model_dump(mode="json", exclude={"model_id", "created"})
        if not self.runtimes:  # as in models from before there were any
            del content["runtimes"]
        digest = _sha256(json.dumps(content, sort_keys=True, allow_nan=False).encode())[:12]
        return f"{digest}-{self.certificate.standing if self.certificate else 'indicative'}"

    def certificate_here(self) -> str:
        """What is proven, in one line, with the libraries here that it was not proven with."""
        others = [
            f"{name} {self.versions.get(name, 'unknown')}, here {found}"
            for name, found in library_versions().items()
            if self.versions.get(name) != found
        ]
        proven = str(self.certificate or "none: nothing is proven about this model")
        also = [name for name, proof in self.runtimes.items() if proof.holds]
        if self.certificate and also:
            proven += f"; by torch, and by {' and '.join(also)}, which judged alike"
        return f"{proven}; given with {'; '.join(others)}" if others else proven


@dataclass(frozen=True)
class Scores:
    """What a model says of a batch, on the CPU.

    Attributes:
        logits: Of io and nio `[N, 2]`.
        distance: From the good training images `[N]`.
        oddness: Log-odds of a pseudo-defect `[N]`.
        strangeness: How far the plain eye finds it from them `[N]`.
        novelty: Of all three `[N]`; unidentified above 1.
    """

    logits: Tensor
    distance: Tensor
    oddness: Tensor
    strangeness: Tensor
    novelty: Tensor

    @classmethod
    def of(cls, found: Findings) -> Scores:
        """Bring the scores of a batch to the CPU, in one piece: each wait for a GPU counts."""
        columns = found.logits, found.distance, found.oddness, found.strangeness, found.novelty
        rows_N6 = torch.column_stack(columns).float().cpu()
        return cls(rows_N6[:, :2], *rows_N6[:, 2:].unbind(dim=1))


@dataclass(frozen=True)
class Model:
    """A loaded model, in evaluation mode on its device.

    Attributes:
        card: What model.json says.
        network: With its weights.
        novelty: Fitted to the good images.
        device: Where it judges.
        good: The golden samples that are io, resized, in 0..1 `[N, 1, S, S]`; none before the model is loaded.
    """

    card: ModelCard
    network: SupervisedAutoencoder
    novelty: Novelty
    device: torch.device
    good: Tensor = field(default_factory=lambda: torch.empty(0, 1, 1, 1))

    @property
    def preprocessing(self) -> Preprocessing:
        """What images go through before the network sees them."""
        return Preprocessing(**self.card.preprocessing.model_dump())

    def batch(self, images: Sequence[NDArray[np.float32]]) -> Tensor:
        """Grey images `[H, W]` in 0..1 -> normalised `[N, 1, S, S]` on the model's device."""
        return self.normalised(self.preprocessing.resized(images))

    def normalised(self, greys_N1SS: Tensor) -> Tensor:
        """Resized grey levels in 0..1 -> normalised, on the model's device."""
        return self.preprocessing.normalise(greys_N1SS).to(self.device, memory_format=torch.channels_last)

    def probability(self, logits_N2: Tensor) -> Tensor:
        """Calibrated probability of nio `[N]`, with both classes weighing alike."""
        return torch.sigmoid(nio_log_odds(logits_N2) / self.card.temperature)

    def verdicts(self, scores: Scores) -> list[Verdict]:
        """The verdict on each image of a batch."""
        pairs = zip(self.probability(scores.logits).tolist(), scores.novelty.tolist(), strict=True)
        return [judge(probability, self.card.threshold, novelty) for probability, novelty in pairs]

    def stages(self, images_N1SS: Tensor) -> list[Tensor]:
        """Normalised images -> the outputs `[N, C, h, w]` of all encoder blocks, on the model's device."""
        return self.network.stages(images_N1SS.to(self.device, memory_format=torch.channels_last))

    @torch.inference_mode()
    def look(self, images_N1SS: Tensor) -> Findings:
        """Look at normalised images with torch, the reference for every other runtime."""
        found: Findings = self.scorer(images_N1SS.to(self.device, memory_format=torch.channels_last))
        return found

    def scores(self, images_N1SS: Tensor) -> Scores:
        """Score normalised images."""
        return Scores.of(self.look(images_N1SS))

    @functools.cached_property
    def scorer(self) -> Scorer:
        """Network and novelty as one graph."""
        return Scorer(self.network, self.novelty)

    def twin(self) -> Model:
        """Another one with the same weights in memory, and modules of its own for another thread to hook into."""
        with torch.device("meta"):
            network = SupervisedAutoencoder(self.card.architecture, self.card.dropout)
        network.load_state_dict(self.network.state_dict(), assign=True)
        return replace(self, network=network.eval().requires_grad_(requires_grad=False))


def library_versions() -> dict[str, str]:
    """The versions that a model's scores may depend on."""
    return dict(_installed_versions())


@functools.cache
def _installed_versions() -> dict[str, str]:
    """Looked up once: what a process has loaded stays, also while an update replaces the packages beneath it."""
    names = ("solderwatch", "torch", "torchvision", "pillow", "numpy")
    return {"python": platform.python_version(), **{name: version(name) for name in names}}


def save(
    models: Path,
    model: Model,
    golden: Sequence[tuple[NDArray[np.float32], Label]],
    files: Mapping[str, bytes] | None = None,
) -> Path:
    """Write a model folder, whole or not at all.

    Args:
        models: The folder that holds the model folders.
        model: The trained model, on any device; ids, hashes and golden scores are filled in here.
        golden: Grey images `[H, W]` in 0..1 with their labels; kept with 16 bits and scored as kept.
        files: What else goes into the folder, by name; the card should hold its hash.

    Returns:
        The new folder, `models/<time>-<model id>`.
    """
    models.mkdir(parents=True, exist_ok=True)
    building = models / f".building-{os.getpid()}"
    shutil.rmtree(building, ignore_errors=True)
    (building / GOLDEN).mkdir(parents=True)
    try:
        for name, content in (files or {}).items():
            (building / name).write_bytes(content)
        card = _write(building, model, golden)
        folder = models / f"{card.created.replace('-', '').replace(':', '')}-{card.model_id}"
        if not folder.exists():  # else: the same content in the same second
            building.rename(folder)
            sync(models)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return folder


def _write(folder: Path, model: Model, golden: Sequence[tuple[NDArray[np.float32], Label]]) -> ModelCard:
    """Fill a model folder, durably; returns the completed card."""
    network = model.network.to("cpu").to(memory_format=torch.contiguous_format).eval()
    scorer = Model(model.card, network, model.novelty.to("cpu"), torch.device("cpu"))
    weights = safetensors.torch.save(_holder(scorer).state_dict())
    (folder / _WEIGHTS).write_bytes(weights)
    samples = []
    for index, (pixels, label) in enumerate(golden):
        name = f"{index:02d}_{label}.png"
        path = folder / GOLDEN / name
        Image.fromarray(np.round(pixels * 65535).astype(np.uint16)).save(path)
        data = path.read_bytes()
        scores = scorer.scores(scorer.batch([decode(data, max_pixels=GOLDEN_MAX_PIXELS).pixels]))
        samples.append(
            GoldenSample(
                file=name,
                sha256=_sha256(data),
                label=label,
                logits=scores.logits[0].tolist(),
                novelty=float(scores.novelty[0]),
            )
        )
    card = model.card.model_copy(update={"weights_sha256": _sha256(weights), "golden": samples})
    card = card.model_copy(update={"model_id": card.content_id()})
    text = json.dumps(card.model_dump(mode="json"), indent=2, allow_nan=False)
    (folder / _CARD).write_text(text + "\n", encoding="utf-8")
    for path in (*folder.rglob("*"), folder):
        sync(path)
    return card


def _holder(model: Model) -> nn.ModuleDict:
    """Everything of a model that goes into the weights file."""
    return nn.ModuleDict({"network": model.network, "novelty": model.novelty})


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
        ModelError: The folder is damaged, foreign, of another format, or the golden samples score differently.
    """
    if not folder.exists():
        link = dangling_link(folder)
        raise NoModelError(f"{folder}: {link or 'no model there'}; train one with solderwatch-train")
    card = read_card(folder)
    weights = _read(folder / _WEIGHTS, _MAX_WEIGHTS_BYTES)
    if _sha256(weights) != card.weights_sha256:
        raise ModelError(f"{folder / _WEIGHTS}: damaged: its hash is not the one in {_CARD}; copy the folder anew")
    model = Model(card, SupervisedAutoencoder(card.architecture, card.dropout), Novelty(DESCRIPTION), device)
    holder = _holder(model)
    known = {f"novelty.{name}": value for name, value in model.novelty.state_dict().items() if name in ADDED}
    try:
        holder.load_state_dict(known | safetensors.torch.load(weights))
    except (SafetensorError, RuntimeError, KeyError) as error:
        reason = in_one_line(error)
        raise ModelError(f"{folder / _WEIGHTS}: not the weights of a {card.architecture} network: {reason}") from None
    holder.to(device).to(memory_format=torch.channels_last).eval().requires_grad_(requires_grad=False)
    return replace(model, good=self_test(model, folder))


def read_card(folder: Path) -> ModelCard:
    """Read and check model.json alone.

    Raises:
        ModelError: It is missing, damaged, foreign or of another format than this program's.
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
    if isinstance(found, int) and found < FORMAT_VERSION:
        raise ModelError(f"{path}: format {found} is older than this program's {FORMAT_VERSION}: train anew")
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


def golden_samples(model: Model, folder: Path) -> Iterator[tuple[Path, GoldenSample, Tensor]]:
    """File, scores and resized grey levels in 0..1 `[1, 1, S, S]` of each golden sample.

    Raises:
        ModelError: One is damaged.
    """
    for sample in model.card.golden:
        path = folder / GOLDEN / sample.file
        data = _read(path, _MAX_GOLDEN_BYTES)
        if _sha256(data) != sample.sha256:
            raise ModelError(f"{path}: damaged: its hash is not the one in {_CARD}; copy the folder anew")
        try:
            image = decode(data, max_pixels=GOLDEN_MAX_PIXELS)
        except ImageError as error:
            raise ModelError(f"{path}: {error}") from None
        yield path, sample, model.preprocessing.resized([image.pixels])


def self_test(model: Model, folder: Path) -> Tensor:
    """Score the golden samples with torch, and compare.

    Returns:
        Those that are io, resized, in 0..1 `[N, 1, S, S]`; maybe none.

    Raises:
        ModelError: One is damaged, or scores differently.
    """
    size = model.card.preprocessing.image_size
    good = [torch.empty(0, 1, size, size)]
    for path, sample, grey_11SS in golden_samples(model, folder):
        if sample.label == "io":
            good.append(grey_11SS)
        check_scores(model, path, sample, model.look(model.normalised(grey_11SS)))
    return torch.cat(good)


def check_scores(model: Model, path: Path, sample: GoldenSample, found: Findings) -> None:
    """Compare what was found in a golden sample, by whatever runtime, with what its card says.

    Raises:
        ModelError: It scores differently.
    """
    scores = Scores.of(found)
    logits, novelty = scores.logits[0], float(scores.novelty[0])
    expected = torch.tensor(sample.logits)
    close = torch.allclose(logits, expected, rtol=1e-3, atol=_LOGIT_TOLERANCE)
    close = close and math.isclose(novelty, sample.novelty, rel_tol=_NOVELTY_TOLERANCE)
    probabilities = model.probability(torch.stack([logits, expected])).tolist()
    novelties = (novelty, sample.novelty)
    verdicts = {
        judge(probability, model.card.threshold, one).label
        for probability, one in zip(probabilities, novelties, strict=True)
    }
    if not close or (len(verdicts) > 1 and not torch.allclose(logits, expected, atol=1e-3)):
        raise ModelError(
            f"{path}: self-test failed: logits {logits.tolist()}, expected {expected.tolist()}, novelty "
            f"{novelty:.4g}, expected {sample.novelty:.4g}; this machine or its libraries compute differently: "
            "compare `versions` in model.json, or train here"
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
