"""The training loop: balanced batches in, a fitted network out."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader
from tqdm import tqdm

from inspection.errors import SolderwatchError
from inspection.network import SupervisedAutoencoder
from inspection.preprocess import Preprocessing
from settings.schema import TrainingSettings
from training.fitting import processes
from training.fitting.balance import BalancedImages
from training.fitting.checkpoint import Checkpoint, State
from training.fitting.pseudo import pseudo_defects
from training.fitting.worst import PageDealer, worst_pages

_IO = 0
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


def fit(
    network: SupervisedAutoencoder,
    train: BalancedImages,
    validation: tuple[Sequence[Tensor] | Tensor, Tensor] | None,
    preprocessing: Preprocessing,
    settings: TrainingSettings,
    device: torch.device,
    title: str = "train",
    row: int = 0,
    checkpoint: Checkpoint | None = None,
) -> History:
    """Train in place; the network ends in evaluation mode.

    With validation images the weights with the best validation loss are kept, and it stops early when that has not
    improved for `patience` epochs; without, those of the last epoch are kept. Ctrl-C stops too and keeps the weights
    so far; before the first epoch is over it is raised.

    Of a stack each epoch learns from one page (`training.fitting.worst`); validated is the one that looks worst.

    Args:
        network: Trained on `device`, and left there.
        train: What to fit to.
        validation: Grey levels `[P, S, S]` of N images and classes `[N]`.
        preprocessing: What images go through.
        settings: How to train.
        device: Where.
        title: Of the progress bar.
        row: On which that is shown, from 0.
        checkpoint: Where it is kept how far this has come, and where it goes on from.

    Raises:
        SolderwatchError: The loss became infinite before the first epoch was over; there are fewer than two images
            per process; another process ended.
    """
    network.to(device).to(memory_format=torch.channels_last)
    run = _Run(network, train, preprocessing, settings, device)
    if state := checkpoint.fit() if checkpoint else None:
        run.restore(state)
    history, done = run.history, len(run.history.train_loss)
    progress = tqdm(
        total=run.epochs * run.steps,
        initial=done * run.steps,
        desc=title,
        position=row,
        unit="step",
        mininterval=1,
        disable=processes.rank() > 0,
    )
    try:
        for epoch in range(done, run.epochs):
            tally = run.train(epoch, progress)
            checked = run.validate(validation) if validation else None
            if not math.isfinite(tally.loss) or (checked and not math.isfinite(checked.loss)):
                break
            progress.set_postfix_str(f"epoch {epoch + 1}/{run.epochs} {history.add(tally, checked)}")
            run.note(epoch, checked)
            if epoch - history.best >= settings.patience:
                break
            if checkpoint:
                checkpoint.keep(run.state)
    except KeyboardInterrupt:
        if history.best < 0 or processes.count() > 1:  # the others may be in another step
            raise
        history.interrupted = True
    finally:
        progress.close()
    if history.best < 0:
        raise SolderwatchError("training diverged in its first epoch: lower training.learning_rate")
    network.load_state_dict(run.best)
    network.eval()
    return history


class _Run:
    """One fit: what it changes as it goes, and the best weights so far."""

    def __init__(
        self,
        network: SupervisedAutoencoder,
        train: BalancedImages,
        preprocessing: Preprocessing,
        settings: TrainingSettings,
        device: torch.device,
    ) -> None:
        self._network, self._train, self._preprocessing = network, train, preprocessing
        self._settings, self._device = settings, device
        self._weights = train.class_weights().to(device)
        self.epochs = min(settings.epochs, math.ceil(settings.draws / len(train)))
        self.steps = len(self._batches(0))
        if not self.steps:
            raise SolderwatchError(f"{len(train)} images are too few for {processes.count()} processes: start fewer")
        self._optimizer, self._schedule = _optimizer(network, settings, self.epochs * self.steps)
        self.history, self.best, self._best_loss = History(), network.state_dict(), math.inf
        self._dealer = PageDealer(train, self.epochs)

    def train(self, epoch: int, progress: tqdm[Any]) -> _Tally:
        """One epoch over the balanced images, of which each process takes its share of every batch."""
        tally, batches = _Tally(), self._batches(epoch)
        self._dealer.deal(epoch, self._worst, _seed(self._settings.seed, epoch, 0, 1))
        self._network.train()
        for (greys, classes), batch in zip(self._loader(batches, epoch), batches, strict=True):
            self._optimizer.zero_grad(set_to_none=True)
            loss = self._add(tally, greys, classes)
            # The mean over all images, also where the processes have not equally many of them.
            torch.autograd.backward(loss * (len(classes) * processes.count() / len(batch)))
            _average_gradients(self._network)
            self._optimizer.step()
            if self._schedule:
                self._schedule.step()
            progress.update()
        # Weights are alike already; the statistics of batch normalisation are of each process's own images.
        processes.average(value for value in self._network.state_dict().values() if value.is_floating_point())
        return tally.over_processes()

    @torch.inference_mode()
    def validate(self, validation: tuple[Sequence[Tensor] | Tensor, Tensor]) -> _Tally:
        """The same numbers of images that are not fitted to."""
        tally, (greys, classes) = _Tally(), validation
        self._network.eval()
        worst = self._worst(greys).tolist()
        for batch in processes.share(torch.split(torch.arange(len(classes)), _EVALUATION_BATCH)):
            shown = torch.stack([greys[index][worst[index]][None] for index in batch.tolist()])
            self._add(tally, shown, classes[batch])
        return tally.over_processes()

    def _worst(self, greys: Sequence[Tensor] | Tensor) -> Tensor:
        return worst_pages(self._network, greys, self._preprocessing, self._device)

    def _add(self, tally: _Tally, greys: Tensor, classes: Tensor) -> Tensor:
        images, targets = greys.to(self._device), classes.to(self._device)
        return tally.add(self._network, images, targets, self._preprocessing, self._weights, self._settings)

    def note(self, epoch: int, checked: _Tally | None) -> None:
        """The weights of an epoch are the best ones, if they are."""
        if checked is None or checked.loss < self._best_loss:
            self._best_loss = checked.loss if checked else self._best_loss
            self.history.best, self.best = epoch, copy.deepcopy(self._network.state_dict())

    def state(self) -> State:
        """All that changes, to be kept."""
        is_best = self.history.best == len(self.history.train_loss) - 1
        return {
            "history": self.history.as_dict(),
            "best_loss": self._best_loss,
            "best": None if is_best else self.best,
            "network": self._network.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "schedule": self._schedule.state_dict() if self._schedule else None,
            "worst": self._dealer.worst_N,
        }

    def restore(self, state: State) -> None:
        """Go on from what was kept."""
        self.history, self._best_loss = History(**state["history"]), state["best_loss"]
        self._network.load_state_dict(state["network"])
        self._optimizer.load_state_dict(state["optimizer"])
        if self._schedule:
            self._schedule.load_state_dict(state["schedule"])
        self._dealer.worst_N = state["worst"]
        self.best = state["best"] or copy.deepcopy(self._network.state_dict())

    def _batches(self, epoch: int) -> list[list[int]]:
        """What an epoch draws, in order; the same in all processes.

        Batch normalisation needs two images in each process: a smaller last batch is left out.
        """
        fewest = 2 * processes.count()
        size = max(fewest, min(self._settings.batch_size, len(self._train) // _MIN_STEPS))
        generator = torch.Generator().manual_seed(_seed(self._settings.seed, epoch))
        batches = torch.split(torch.randperm(len(self._train), generator=generator), size)
        return [batch.tolist() for batch in batches if len(batch) >= fewest]

    def _loader(self, batches: list[list[int]], epoch: int) -> DataLoader[tuple[Tensor, Tensor]]:
        """This process's share of each batch. All else that is random in an epoch is drawn from a seed of its own."""
        torch.manual_seed(_seed(self._settings.seed, epoch, 1 + processes.rank()))
        shares = [list(processes.share(batch)) for batch in batches]
        return DataLoader(self._train, batch_sampler=shares, num_workers=self._settings.workers, collate_fn=_as_is)


def _seed(*numbers: int) -> int:
    """One seed from several numbers: unlike others in every bit, however much these are alike."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0])


def _average_gradients(network: nn.Module) -> None:
    """The gradient of the whole batch; what a process's share did not use has none, such as where it had no io."""
    if processes.count() == 1:
        return
    for parameter in network.parameters():
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    processes.average(parameter.grad for parameter in network.parameters() if parameter.grad is not None)


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

    def over_processes(self) -> _Tally:
        """The same over the shares of all processes."""
        sums = processes.summed(torch.stack([self._loss, self._right, torch.tensor(self._count)]).double())
        self._loss, self._right, self._count = sums[0], sums[1], int(sums[2])
        return self

    @property
    def loss(self) -> float:
        return float(self._loss) / self._count

    @property
    def accuracy(self) -> float:
        return float(self._right) / self._count
