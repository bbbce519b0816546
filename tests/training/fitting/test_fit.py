"""What the training loop promises: balanced images, the best weights, the same ones each time, and a way to stop."""

from __future__ import annotations

import math
import signal
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from inspection.errors import SolderwatchError
from inspection.network import SupervisedAutoencoder
from inspection.preprocess import Preprocessing
from settings.schema import TrainingSettings
from training.fitting.balance import BalancedImages
from training.fitting.fit import History, fit

pytestmark = pytest.mark.usefixtures("one_thread")

SIDE = 32
CPU = torch.device("cpu")
PREPROCESSING = Preprocessing(SIDE, 0.5, 0.2)

Images = tuple[Tensor, Tensor]
Discs = Callable[..., Images]


@pytest.fixture
def discs(draw_disc: Callable[..., NDArray[np.uint8]]) -> Discs:
    """`discs(io, nio, seed)`: that many discs without and with a void, and their classes."""

    def make(io: int, nio: int, seed: int = 0) -> Images:
        rng = np.random.default_rng(seed)
        images = [draw_disc(rng, void=index >= io, side=SIDE) for index in range(io + nio)]
        return torch.from_numpy(np.stack(images)).float()[:, None] / 255, torch.tensor([0] * io + [1] * nio)

    return make


def options(**training: Any) -> TrainingSettings:
    """Settings for small discs."""
    return TrainingSettings(**{"image_size": SIDE, "epochs": 3, "batch_size": 8, "learning_rate": 0.005} | training)


def run(
    train: BalancedImages, validation: Images | None, settings: TrainingSettings
) -> tuple[SupervisedAutoencoder, History]:
    """Fit a new network, everything seeded as a refresh does it."""
    torch.manual_seed(settings.seed)
    network = SupervisedAutoencoder(settings.architecture, settings.dropout)
    return network, fit(network, train, validation, PREPROCESSING, settings, CPU)


def validation_loss(
    network: SupervisedAutoencoder, train: BalancedImages, validation: Images, settings: TrainingSettings
) -> float:
    """Weighted cross entropy plus reconstruction loss of a network as it is."""
    greys, classes = validation
    with torch.inference_mode():
        logits, rebuilt = network(PREPROCESSING.normalise(greys))
    loss = functional.cross_entropy(logits, classes, train.class_weights())
    return float(loss + settings.reconstruction_weight * functional.mse_loss(rebuilt, greys))


def same_weights(one: SupervisedAutoencoder, other: SupervisedAutoencoder) -> bool:
    """Whether two networks agree in every bit."""
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


class Tapped(BalancedImages):
    """Counts the batches as they are drawn, and calls `tap(number)` with each; its answer replaces the images."""

    tap: Callable[[int, Tensor], Tensor] = staticmethod(lambda _, greys: greys)

    def __init__(self, greys_N1SS: Tensor, classes_N: Tensor, settings: TrainingSettings) -> None:
        super().__init__(greys_N1SS, classes_N, settings)
        self.sizes: list[int] = []

    def __getitems__(self, indices: list[int]) -> Images:
        greys, classes = super().__getitems__(indices)
        self.sizes.append(len(indices))
        return self.tap(len(self.sizes), greys), classes


class TestBalance:
    """As many nio as io, whatever the folders hold."""

    @pytest.mark.parametrize(("io", "nio"), [(20, 6), (20, 20), (7, 3), (9, 1)])
    def test_nio_is_repeated_to_parity(self, discs: Discs, io: int, nio: int) -> None:
        """Each io image is there once, each nio image about equally often, and both classes weigh alike."""
        train = BalancedImages(*discs(io, nio), options())
        times = torch.bincount(train.order, minlength=io + nio)
        assert len(train) == 2 * io
        assert times[:io].tolist() == [1] * io
        assert times[io:].max() - times[io:].min() <= 1
        assert train.class_weights().tolist() == [1, 1]

    def test_more_nio_than_io(self, discs: Discs) -> None:
        """Where nio is the larger class no image is dropped; the class weights make up for it."""
        train = BalancedImages(*discs(5, 15), options())
        assert len(train) == 20
        weights = train.class_weights()
        assert weights[0] * 5 == pytest.approx(weights[1] * 15)
        assert (weights[0] * 5 + weights[1] * 15).item() == pytest.approx(20)

    def test_io_left_alone(self, discs: Discs) -> None:
        """With augment_io false io images come out bit for bit as they went in; nio images never do."""
        greys, classes = discs(10, 4)
        train = BalancedImages(greys, classes, options(augment_io=False))
        drawn, labels = train.__getitems__(list(range(len(train))))
        assert torch.equal(drawn[labels == 0], greys[:10])
        originals = greys[train.order[labels == 1]]
        assert not any(torch.equal(a, b) for a, b in zip(drawn[labels == 1], originals, strict=True))

    def test_io_augmented(self, discs: Discs) -> None:
        """With augment_io true every image is changed as it is drawn, and what is kept in memory is not."""
        greys, classes = discs(10, 4)
        kept = greys.clone()
        train = BalancedImages(greys, classes, options(augment_io=True))
        drawn, _ = train.__getitems__(list(range(len(train))))
        assert not any(torch.equal(a, b) for a, b in zip(drawn, greys[train.order], strict=True))
        assert torch.equal(greys, kept)

    def test_one_image(self, discs: Discs) -> None:
        """An index gives one image and its class."""
        train = BalancedImages(*discs(4, 2), options())
        grey, label = train[5]
        assert grey.shape == (1, SIDE, SIDE)
        assert label == 1


class TestBatches:
    """Every epoch has enough steps, and no batch is too small to normalise."""

    @pytest.mark.parametrize(("io", "batch_size", "most"), [(32, 128, 8), (32, 4, 4), (5, 128, 2)])
    def test_at_least_eight_steps(self, discs: Discs, io: int, batch_size: int, most: int) -> None:
        """A small data set uses smaller batches than asked for, down to two, so that an epoch has eight steps."""
        settings = options(batch_size=batch_size, epochs=2)
        train = Tapped(*discs(io, io), settings)
        run(train, discs(4, 4, 1), settings)
        assert max(train.sizes) == most
        assert sum(train.sizes) == 2 * 2 * io
        assert len(train.sizes) >= 2 * 8 or most == 2

    def test_five_steps_in_all(self, discs: Discs) -> None:
        """The schedule fits any number of steps, also when its rise would end with the first one."""
        settings = options(epochs=1)
        run(BalancedImages(*discs(5, 5), settings), discs(4, 4, 1), settings)

    def test_a_last_batch_of_one(self, discs: Discs) -> None:
        """A batch of one image, which batch normalisation cannot use, is left out."""
        settings = options(batch_size=4, epochs=2)
        train = Tapped(*discs(16, 17), settings)
        assert len(train) % 4 == 1
        run(train, discs(4, 4, 1), settings)
        assert train.sizes == [4] * 16


class TestFit:
    """The loop: what it optimises, what it keeps, when it stops."""

    @pytest.mark.parametrize("architecture", ["residual", "plain"])
    @pytest.mark.parametrize("optimizer", ["adam", "adamw"])
    def test_it_learns(self, discs: Discs, architecture: str, optimizer: str) -> None:
        """With either optimizer and network the loss falls, and the network ends in evaluation mode."""
        settings = options(architecture=architecture, optimizer=optimizer, epochs=5, learning_rate=0.003)
        train = BalancedImages(*discs(24, 8), settings)
        network, history = run(train, discs(8, 8, 1), settings)
        assert min(history.train_loss[1:]) < history.train_loss[0]
        assert not any(module.training for module in network.modules())

    def test_voids_are_told_apart(self, discs: Discs) -> None:
        """On the easiest task there is, the default network ends without a mistake on images it never saw."""
        settings = options(epochs=8)
        network, history = run(BalancedImages(*discs(24, 8), settings), discs(12, 12, 1), settings)
        greys, classes = discs(20, 20, 2)
        with torch.inference_mode():
            judged = network(PREPROCESSING.normalise(greys))[0].argmax(1)
        assert (judged == classes).float().mean() >= 0.95
        assert history.validation_accuracy[history.best] >= 0.95

    def test_history(self, discs: Discs) -> None:
        """There is one number of each kind per epoch, and the best epoch is the one of least validation loss."""
        settings = options(epochs=4)
        _, history = run(BalancedImages(*discs(16, 8), settings), discs(6, 6, 1), settings)
        numbers = (history.train_loss, history.train_accuracy, history.validation_loss, history.validation_accuracy)
        assert [len(series) for series in numbers] == [4, 4, 4, 4]
        assert history.validation_loss[history.best] == min(history.validation_loss)
        assert all(0 <= accuracy <= 1 for accuracy in history.train_accuracy + history.validation_accuracy)
        assert not history.interrupted

    def test_early_stopping_keeps_the_best(self, discs: Discs) -> None:
        """When validation only gets worse it stops `patience` epochs after the best, whose weights are the ones kept.

        The validation labels are exchanged: what is learned is wrong there.
        """
        settings = options(epochs=20, patience=3)
        greys, classes = discs(8, 8, 1)
        validation = (greys, 1 - classes)
        train = BalancedImages(*discs(24, 8), settings)
        network, history = run(train, validation, settings)
        assert len(history.validation_loss) == history.best + 1 + settings.patience < settings.epochs
        best = min(history.validation_loss)
        assert history.validation_loss[-1] > best
        assert validation_loss(network, train, validation, settings) == pytest.approx(best, rel=1e-4)

    def test_without_validation_the_last_epoch_is_kept(self, discs: Discs) -> None:
        """With nothing to validate on it never stops early, and the weights are those that the loop ended with."""
        settings = options(epochs=3, patience=1)
        train = BalancedImages(*discs(16, 8), settings)
        network, history = run(train, None, settings)
        assert (len(history.train_loss), history.validation_loss, history.best) == (3, [], 2)
        assert not any(module.training for module in network.modules())
        # The same draws and steps, watched by images that change nothing: equal where its best epoch is the last one.
        watched, seen = run(train, discs(6, 6, 1), settings.model_copy(update={"patience": 40}))
        assert history.train_loss == seen.train_loss
        assert same_weights(network, watched) == (seen.best == 2)

    def test_large_sets_take_fewer_epochs(self, discs: Discs) -> None:
        """`draws` bounds the images drawn in all, to whole epochs; a small set has all its epochs."""
        train = Tapped(*discs(16, 8), options())
        _, few = run(train, None, options(epochs=10, draws=70))
        assert (len(few.train_loss), sum(train.sizes)) == (3, 3 * 32)
        _, all_of_them = run(BalancedImages(*discs(16, 8), options()), None, options(epochs=4))
        assert len(all_of_them.train_loss) == 4

    @pytest.mark.parametrize("weight", [0.0, 3.0])
    def test_reconstruction_weight(self, discs: Discs, weight: float) -> None:
        """The loss is the classifier's plus that much of the autoencoder's."""
        settings = options(epochs=1, reconstruction_weight=weight)
        train, validation = BalancedImages(*discs(16, 8), settings), discs(6, 6, 1)
        network, history = run(train, validation, settings)
        expected = validation_loss(network, train, validation, settings)
        assert history.validation_loss[0] == pytest.approx(expected, rel=1e-4)

    @pytest.mark.parametrize("optimizer", ["adam", "adamw"])
    def test_divergence_names_the_key(self, discs: Discs, optimizer: str) -> None:
        """A learning rate that leads nowhere is one line that names the key to lower."""
        # Larger than the configuration allows, to be sure of it.
        settings = options(optimizer=optimizer).model_copy(update={"learning_rate": 1e10})
        with pytest.raises(SolderwatchError, match=r"^.*diverged.*training\.learning_rate$"):
            run(BalancedImages(*discs(16, 8), settings), discs(4, 4, 1), settings)

    def test_late_divergence_keeps_the_best(self, discs: Discs) -> None:
        """When the loss is no number any more it stops at once, and the best weights so far are the ones kept."""
        settings = options(epochs=6)
        train, validation = Tapped(*discs(16, 8), settings), discs(4, 4, 1)
        train.tap = lambda number, greys: greys if number <= 16 else greys * math.nan
        network, history = run(train, validation, settings)
        assert len(history.train_loss) == 2
        assert all(map(math.isfinite, history.train_loss))
        assert history.best in {0, 1}
        expected = history.validation_loss[history.best]
        assert validation_loss(network, train, validation, settings) == pytest.approx(expected, rel=1e-4)

    def test_validation_without_a_number(self, discs: Discs) -> None:
        """Where only the validation loss is no number, it stops too, and the history stays one that JSON can hold."""
        settings = options(epochs=6)
        train, (greys, classes) = BalancedImages(*discs(16, 8), settings), discs(4, 4, 1)
        with pytest.raises(SolderwatchError, match="diverged"):
            run(train, (greys * math.nan, classes), settings)


class TestPseudoDefects:
    """Good images are also told from spoilt copies of themselves, where there are any."""

    def test_batches_with_hardly_any_good_image(self, discs: Discs) -> None:
        """Where nio are many and batches small, some hold one io image or none: there is nothing to spoil then."""
        settings = options(epochs=2, batch_size=2)
        _, history = run(BalancedImages(*discs(4, 16), settings), None, settings)
        assert len(history.train_loss) == 2


class TestRepeatable:
    """The same seed gives the same model."""

    @pytest.mark.parametrize("workers", [0, 2])
    def test_same_seed_same_weights(self, discs: Discs, workers: int) -> None:
        """The same seed gives the same weights and history, bit for bit, also with loader processes."""
        settings = options(epochs=2, workers=workers)
        one, other = (run(BalancedImages(*discs(16, 8), settings), discs(4, 4, 1), settings) for _ in range(2))
        assert same_weights(one[0], other[0])
        assert one[1] == other[1]

    def test_another_seed_other_weights(self, discs: Discs) -> None:
        """Another seed gives another network."""
        first, second = options(epochs=1, seed=1), options(epochs=1, seed=2)
        networks = [run(BalancedImages(*discs(16, 8), s), discs(4, 4, 1), s)[0] for s in (first, second)]
        assert not same_weights(*networks)

    def test_the_seed_orders_the_batches(self, discs: Discs) -> None:
        """From equal weights, another seed draws the images in another order."""
        greys, classes = discs(16, 16)
        results = []
        for seed in (1, 2):
            settings = options(epochs=1, seed=seed)
            torch.manual_seed(0)
            network = SupervisedAutoencoder("residual")
            fit(network, BalancedImages(greys, classes, settings), discs(4, 4, 1), PREPROCESSING, settings, CPU)
            results.append(network)
        assert not same_weights(*results)


class TestStoppedByHand:
    """Ctrl-C is a way to end the training, not to lose it."""

    def interrupt(self, train: Tapped, at: int) -> None:
        """Send the process a real SIGINT when the n-th batch is drawn."""

        def tap(number: int, greys: Tensor) -> Tensor:
            if number == at:
                signal.raise_signal(signal.SIGINT)
            return greys

        train.tap = tap

    def test_keeps_the_best_so_far(self, discs: Discs) -> None:
        """In the third epoch it stops, says so, and the network is the best of the first two."""
        settings = options(epochs=50, patience=50)
        train, validation = Tapped(*discs(16, 8), settings), discs(4, 4, 1)
        self.interrupt(train, at=2 * 8 + 3)
        network, history = run(train, validation, settings)
        assert history.interrupted
        assert len(history.validation_loss) == 2
        assert history.best in {0, 1}
        expected = history.validation_loss[history.best]
        assert validation_loss(network, train, validation, settings) == pytest.approx(expected, rel=1e-4)
        assert not any(module.training for module in network.modules())

    def test_before_the_first_epoch_is_over(self, discs: Discs) -> None:
        """With nothing to keep yet, it is passed on."""
        settings = options(epochs=50)
        train = Tapped(*discs(16, 8), settings)
        self.interrupt(train, at=3)
        with pytest.raises(KeyboardInterrupt):
            run(train, discs(4, 4, 1), settings)
