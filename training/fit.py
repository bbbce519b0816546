"""The training loop: balanced batches in, a fitted network out."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from inspection.errors import SolderwatchError
from inspection.network import SupervisedAutoencoder
from inspection.preprocess import Preprocessing
from settings.schema import TrainingSettings
from training.augment import augment
from training.pseudo import pseudo_defects

_IO, _NIO = 0, 1
_MIN_STEPS = 8
_MIN_SCHEDULE = 10  # steps; with fewer the one-cycle schedule has no rise
_EVALUATION_BATCH = 64
_REBUILT_EVERY = 4


@dataclass
class History:
    """Per epoch: loss and accuracy in training and, where there is one, validation; and the epoch kept, from 0."""

    train_loss: list[float] = field(default_factory=list)
    train_accuracy: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)
    validation_accuracy: list[float] = field(default_factory=list)
    best: int = -1
    interrupted: bool = False

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return asdict(self)

    def add(self, train: _Tally, validation: _Tally | None) -> str:
        """Note an epoch; returns it in words."""
        self.train_loss.append(train.loss)
        self.train_accuracy.append(train.accuracy)
        if validation is None:
            return f"loss {train.loss:.4f} acc {train.accuracy:.3f}"
        self.validation_loss.append(validation.loss)
        self.validation_accuracy.append(validation.accuracy)
        return (
            f"loss {train.loss:.4f} acc {train.accuracy:.3f} "
            f"val loss {validation.loss:.4f} acc {validation.accuracy:.3f}"
        )


class BalancedImages(Dataset[tuple[Tensor, Tensor]]):
    """The training images with nio repeated until both classes weigh alike, augmented as they are drawn.

    Args:
        greys_N1SS: Grey levels in 0..1.
        classes_N: 0 io, 1 nio.
        settings: Which classes are augmented, and how.
    """

    def __init__(self, greys_N1SS: Tensor, classes_N: Tensor, settings: TrainingSettings) -> None:
        self._greys, self._classes, self._settings = greys_N1SS, classes_N, settings
        io, nio = (torch.nonzero(classes_N == label).flatten() for label in (0, 1))
        copies = nio.repeat(-(-max(len(io), len(nio)) // len(nio)))[: max(len(io), len(nio))]
        self.order = torch.cat([io, copies])

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        greys, classes = self.__getitems__([index])
        return greys[0], classes[0]

    def __getitems__(self, indices: list[int]) -> tuple[Tensor, Tensor]:
        """A whole batch at once: `[N, 1, S, S]` and `[N]`; far faster than image by image."""
        chosen = self.order[indices]
        greys, classes = self._greys[chosen], self._classes[chosen]
        changed = torch.ones_like(classes, dtype=torch.bool) if self._settings.augment_io else classes == _NIO
        if changed.any():
            greys[changed] = augment(greys[changed], self._settings.vertical_flip)
        return greys, classes

    def class_weights(self) -> Tensor:
        """What makes both classes count alike in the loss `[2]`, whatever balance the repetition reached."""
        counts = torch.bincount(self._classes[self.order], minlength=2).float()
        return counts.sum() / (2 * counts)


def fit(
    network: SupervisedAutoencoder,
    train: BalancedImages,
    validation: tuple[Tensor, Tensor] | None,
    preprocessing: Preprocessing,
    settings: TrainingSettings,
    device: torch.device,
    title: str = "train",
) -> History:
    """Train in place; the network ends in evaluation mode.

    With validation images the weights with the best validation loss are kept, and it stops early when that has not
    improved for `patience` epochs; without, those of the last epoch are kept. Ctrl-C stops too and keeps the weights
    so far; before the first epoch is over it is raised.

    Args:
        network: Trained on `device`, and left there.
        train: What to fit to.
        validation: Grey images `[N, 1, S, S]` and classes `[N]`.
        preprocessing: What images go through.
        settings: How to train.
        device: Where.
        title: Of the progress bar.

    Raises:
        SolderwatchError: The loss became infinite before the first epoch was over.
    """
    network.to(device).to(memory_format=torch.channels_last)
    batch_size = max(2, min(settings.batch_size, len(train) // _MIN_STEPS))
    loader = DataLoader(
        train,
        batch_size,
        shuffle=True,
        drop_last=len(train) % batch_size == 1,  # batch normalisation needs two
        num_workers=settings.workers,
        collate_fn=_as_is,
        generator=torch.Generator().manual_seed(settings.seed),
        persistent_workers=settings.workers > 0,
    )
    epochs = min(settings.epochs, math.ceil(settings.draws / len(train)))
    optimizer, schedule = _optimizer(network, settings, epochs * len(loader))
    weights = train.class_weights().to(device)
    history, best_loss, best = History(), math.inf, network.state_dict()
    progress = tqdm(total=epochs * len(loader), desc=title, unit="step", mininterval=1)
    try:
        for epoch in range(epochs):
            tally = _Tally()
            network.train()
            for greys, classes in loader:
                images, targets = greys.to(device), classes.to(device)
                optimizer.zero_grad(set_to_none=True)
                loss = tally.add(network, images, targets, preprocessing, weights, settings)
                torch.autograd.backward(loss)
                optimizer.step()
                if schedule:
                    schedule.step()
                progress.update()
            checked = _validate(network, validation, preprocessing, weights, settings, device) if validation else None
            if not math.isfinite(tally.loss) or (checked and not math.isfinite(checked.loss)):
                break
            progress.set_postfix_str(f"epoch {epoch + 1}/{epochs} {history.add(tally, checked)}")
            if checked is None or checked.loss < best_loss:
                best_loss = checked.loss if checked else best_loss
                history.best, best = epoch, copy.deepcopy(network.state_dict())
            if epoch - history.best >= settings.patience:
                break
    except KeyboardInterrupt:
        if history.best < 0:
            raise
        history.interrupted = True
    finally:
        progress.close()
    if history.best < 0:
        raise SolderwatchError("training diverged in its first epoch: lower training.learning_rate")
    network.load_state_dict(best)
    network.eval()
    return history


def _as_is(batch: Any) -> Any:
    return batch


def _optimizer(
    network: nn.Module, settings: TrainingSettings, steps: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler | None]:
    if settings.optimizer == "adam":
        return torch.optim.Adam(network.parameters(), settings.learning_rate, fused=True), None
    optimizer = torch.optim.AdamW(
        network.parameters(), settings.learning_rate, weight_decay=settings.weight_decay, fused=True
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, settings.learning_rate, total_steps=max(steps, _MIN_SCHEDULE), pct_start=0.2
    )
    return optimizer, schedule


def _has_bfloat16(device: torch.device) -> bool:
    """Whether half precision has instructions of its own there; elsewhere it would be slower than single precision."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    return bool(torch.cpu.get_capabilities().get("avx512_bf16"))


class _Tally:
    """Loss and accuracy over the batches of one epoch."""

    def __init__(self) -> None:
        self._loss = self._right = torch.zeros(())
        self._count = 0

    def add(
        self,
        network: SupervisedAutoencoder,
        greys_N1SS: Tensor,
        classes_N: Tensor,
        preprocessing: Preprocessing,
        class_weights: Tensor,
        settings: TrainingSettings,
    ) -> Tensor:
        """The batch's loss: weighted cross entropy, and the mean squared error of the reconstruction.

        In training also how well the good images are told from spoilt copies of half of them; and only a part of the
        batch is rebuilt, for the decoder is as dear as all the rest.
        """
        rebuilding = slice(None, None, _REBUILT_EVERY if network.training else None)
        spoilt = greys_N1SS[:0]
        if network.training:
            good = greys_N1SS[classes_N == _IO]
            spoilt = pseudo_defects(good[: len(good) // 2].cpu()).to(greys_N1SS.device)
        seen = preprocessing.normalise(torch.cat([greys_N1SS, spoilt])).contiguous(memory_format=torch.channels_last)
        half = network.training and _has_bfloat16(seen.device)
        with torch.autocast(seen.device.type, torch.bfloat16, enabled=half):
            features = network.encoder(seen)
            rebuilt = network.decoder(features[: len(classes_N)][rebuilding])
            logits = network.head(features[: len(classes_N)])
            odd = network.oddness(torch.cat([features[: len(classes_N)][classes_N == _IO], features[len(classes_N) :]]))
        loss: Tensor = functional.cross_entropy(logits.float(), classes_N, class_weights)
        loss = loss + settings.reconstruction_weight * functional.mse_loss(rebuilt.float(), greys_N1SS[rebuilding])
        if len(spoilt):
            is_spoilt = torch.arange(len(odd), device=odd.device) >= len(odd) - len(spoilt)
            loss = loss + functional.binary_cross_entropy_with_logits(odd.float(), is_spoilt.float())
        self._count += len(classes_N)
        self._loss = self._loss + loss.detach().cpu() * len(classes_N)
        self._right = self._right + (logits.detach().argmax(1) == classes_N).sum().cpu()
        return loss

    @property
    def loss(self) -> float:
        return float(self._loss) / self._count

    @property
    def accuracy(self) -> float:
        return float(self._right) / self._count


@torch.inference_mode()
def _validate(
    network: SupervisedAutoencoder,
    validation: tuple[Tensor, Tensor],
    preprocessing: Preprocessing,
    weights: Tensor,
    settings: TrainingSettings,
    device: torch.device,
) -> _Tally:
    tally = _Tally()
    network.eval()
    for greys, classes in _batches(*validation):
        tally.add(network, greys.to(device), classes.to(device), preprocessing, weights, settings)
    return tally


def _batches(greys: Tensor, classes: Tensor) -> Sequence[tuple[Tensor, Tensor]]:
    return list(zip(torch.split(greys, _EVALUATION_BATCH), torch.split(classes, _EVALUATION_BATCH), strict=True))
