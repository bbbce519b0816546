"""The training loop: balanced batches in, the best weights by validation loss out."""

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

_NIO = 1
_MIN_STEPS = 8
_MIN_SCHEDULE = 10  # steps; with fewer the one-cycle schedule has no rise
_EVALUATION_BATCH = 64


@dataclass
class History:
    """Per epoch: loss and accuracy in training and validation; and the best epoch, counted from 0."""

    train_loss: list[float] = field(default_factory=list)
    train_accuracy: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)
    validation_accuracy: list[float] = field(default_factory=list)
    best: int = -1
    interrupted: bool = False

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return asdict(self)


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
    validation: tuple[Tensor, Tensor],
    preprocessing: Preprocessing,
    settings: TrainingSettings,
    device: torch.device,
) -> History:
    """Train in place; the network ends in evaluation mode with its best weights.

    Stops early when the validation loss has not improved for `patience` epochs. Ctrl-C stops too and keeps the best
    weights so far; before the first epoch is over it is raised.
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
    optimizer, schedule = _optimizer(network, settings, len(loader))
    weights = train.class_weights().to(device)
    history, best_loss, best = History(), math.inf, network.state_dict()
    progress = tqdm(total=settings.epochs * len(loader), desc="train", unit="step", mininterval=1)
    try:
        for epoch in range(settings.epochs):
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
            if not math.isfinite(tally.loss):
                break
            history.train_loss.append(tally.loss)
            history.train_accuracy.append(tally.accuracy)
            checked = _validate(network, validation, preprocessing, weights, settings, device)
            if checked.loss < best_loss:
                history.best, best_loss, best = epoch, checked.loss, copy.deepcopy(network.state_dict())
            history.validation_loss.append(checked.loss)
            history.validation_accuracy.append(checked.accuracy)
            progress.set_postfix_str(
                f"epoch {epoch + 1}/{settings.epochs} loss {tally.loss:.4f} acc {tally.accuracy:.3f} "
                f"val loss {checked.loss:.4f} acc {checked.accuracy:.3f}"
            )
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
        return torch.optim.Adam(network.parameters(), settings.learning_rate), None
    optimizer = torch.optim.AdamW(network.parameters(), settings.learning_rate, weight_decay=settings.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, settings.learning_rate, total_steps=max(settings.epochs * steps, _MIN_SCHEDULE), pct_start=0.2
    )
    return optimizer, schedule


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
        """The batch's loss: weighted cross entropy, plus the mean squared error of the reconstruction."""
        images = preprocessing.normalise(greys_N1SS).contiguous(memory_format=torch.channels_last)
        logits, rebuilt = network(images)
        loss: Tensor = functional.cross_entropy(logits, classes_N, class_weights)
        loss = loss + settings.reconstruction_weight * functional.mse_loss(rebuilt, greys_N1SS)
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
