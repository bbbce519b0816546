"""Trains networks and measures them on images that they have seen nothing of, not even another view of the part."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.covariance import LedoitWolf
from sklearn.model_selection import StratifiedGroupKFold
from torch import Tensor

from inspection.errors import DatasetError
from inspection.model import Model
from inspection.network import nio_log_odds
from inspection.novelty import DESCRIPTION, Novelty, appearance, describe
from inspection.verdict import LABELS
from settings.schema import TrainingSettings
from training.data.dataset import LabelledImage, all_pages
from training.proof.limits import tail_quantile
from training.proof.threshold import Scores

_FEW_NIO = 300  # from here on one validation part holds enough of them for its lowest scores to say something
_DEFAULT_FOLDS = 5
_BATCH = 64
_FEWEST_GOOD = 3  # two differ in one direction only, and the covariance of that is not shrunk
_PLAIN_MARGIN = 1.2
_SMALLEST_PLAIN_SPREAD = 0.05  # of what the plain eye sees, for the same reason
_SMALLEST_SPREAD = 0.03  # a channel that all of a few good images leave silent may stir in the next one


@dataclass(frozen=True)
class Scored:
    """What a network that was not fitted to them says of images; of a stack the highest that it says of a page.

    For that is what verdicts come to: a stack is nio if any of its pages is.

    Attributes:
        images: In the order of the others.
        log_odds: Of nio `[N]`.
        distances: From the good images that the network was fitted to `[N]`.
        oddness: Log-odds of a pseudo-defect `[N]`.
        strangeness: How far the plain eye finds them from those good images `[N]`.
        pages: Which page has those log-odds `[N]`, from 0.
    """

    images: list[LabelledImage]
    log_odds: Tensor
    distances: Tensor
    oddness: Tensor
    strangeness: Tensor
    pages: Tensor

    @property
    def numbers(self) -> list[Tensor]:
        """All but the images, in order."""
        return [self.log_odds, self.distances, self.oddness, self.strangeness, self.pages]

    @property
    def is_nio(self) -> list[bool]:
        """The labels."""
        return [image.label == "nio" for image in self.images]

    @property
    def io(self) -> Tensor:
        """Which are io `[N]`."""
        return ~torch.tensor(self.is_nio)

    def to_choose_on(self, unidentified_N: Tensor, temperature: float) -> Scores:
        """The calibrated log-odds that a threshold is chosen on.

        What is unidentified is nio whatever its probability: a nio image is caught, an io image is on another budget.
        """
        log_odds = self.log_odds.double() / temperature
        nio, io = ~self.io, self.io
        groups = [image.group for image in self.images]
        return Scores(
            nio=torch.where(unidentified_N, torch.inf, log_odds)[nio].numpy(),
            io=torch.where(unidentified_N, -torch.inf, log_odds)[io].numpy(),
            nio_parts=[group for group, is_nio in zip(groups, self.is_nio, strict=True) if is_nio],
            io_parts=[group for group, is_nio in zip(groups, self.is_nio, strict=True) if not is_nio],
            trusted=frozenset(image.group for image in self.images if image.confirmed),
        )


def together(parts: Iterable[Scored]) -> Scored:
    """The scores of several networks, each of its own images, as if one had made them."""
    found = list(parts)
    return Scored(
        [image for part in found for image in part.images],
        torch.cat([part.log_odds for part in found]),
        torch.cat([part.distances for part in found]),
        torch.cat([part.oddness for part in found]),
        torch.cat([part.strangeness for part in found]),
        torch.cat([part.pages for part in found]),
    )


def how_many(settings: TrainingSettings, images: Sequence[LabelledImage]) -> int:
    """How many folds these images shall be put into; 0: none, one validation part is enough."""
    groups = {label: {image.group for image in images if image.label == label} for label in LABELS}
    fewest = min(len(found) for found in groups.values())
    if settings.folds != "auto":
        if settings.folds > fewest:
            raise DatasetError(f"training.folds: {settings.folds} folds of {fewest} parts: use at most {fewest}")
        return settings.folds
    if sum(image.label == "nio" for image in images) >= _FEW_NIO or fewest < 2:
        return 0
    return min(_DEFAULT_FOLDS, fewest)


def deal(
    images: Sequence[LabelledImage], folds: int, seed: int
) -> list[tuple[list[LabelledImage], list[LabelledImage]]]:
    """Images -> per fold those to fit to and those to score; the images of one part are in one fold.

    Raises:
        DatasetError: All images of a label are in one fold, though of several parts: a few of these are far too large.
    """
    dealer = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    labels = [image.label for image in images]
    groups = [image.group for image in images]
    dealt = [
        ([images[index] for index in fitted], [images[index] for index in left_out])
        for fitted, left_out in dealer.split(np.zeros(len(images)), labels, groups)
    ]
    if any({image.label for image in fitted} != set(LABELS) for fitted, _ in dealt):
        raise DatasetError(
            f"training.folds: parts of very different sizes, so that one of {folds} folds has all images of a label: "
            "set it to 0, or make names.pattern finer"
        )
    return dealt


def one_fold(images: Sequence[LabelledImage], folds: int, seed: int) -> tuple[list[LabelledImage], list[LabelledImage]]:
    """The images to fit to and those to score of the first fold that has both labels in both.

    Raises:
        DatasetError: There is none; there are too few parts, or a few of these are far too large.
    """
    fewest = min(len({image.group for image in images if image.label == label}) for label in LABELS)
    if fewest >= 2:
        for fitted, left_out in deal(images, min(folds, fewest), seed):
            if {image.label for image in left_out} == set(LABELS):
                return fitted, left_out
    raise DatasetError("too few parts of a label to learn from some and measure on others: add labelled images")


@torch.inference_mode()
def fit_novelty(model: Model, images: Sequence[LabelledImage]) -> None:
    """Set the model's `novelty` from the good images that its network was fitted to; its limits stay open.

    The covariance is shrunk after Ledoit and Wolf, "A well-conditioned estimator for large-dimensional covariance
    matrices", Journal of Multivariate Analysis 2004: there may be fewer images than numbers that describe one.

    Raises:
        DatasetError: There are fewer good images than a spread can be told from.
    """
    good = [image for image in images if image.label == "io"]
    if len(good) < _FEWEST_GOOD:
        raise DatasetError(
            f"only {len(good)} io images to train on, which do not tell how good ones differ: add labelled io images"
        )
    described, plain = [], []
    for part in _normalised(model, all_pages(good)):
        described.append(describe(model.stages(part)))
        plain.append(appearance(part))
    novelty = Novelty(DESCRIPTION)
    centre_D, whitening_DD = _spread(torch.cat(described), _SMALLEST_SPREAD)
    novelty.centre.copy_(centre_D)
    novelty.whitening.copy_(whitening_DD)
    centre_A, whitening_AA = _spread(torch.cat(plain), _SMALLEST_PLAIN_SPREAD)
    novelty.plain_centre.copy_(centre_A)
    novelty.plain_whitening.copy_(whitening_AA)
    model.novelty.load_state_dict(novelty.state_dict())


def _spread(numbers_ND: Tensor, smallest: float) -> tuple[Tensor, Tensor]:
    """The centre `[D]` of what describes images, and what maps their deviations to ones of unit variance `[D, D]`."""
    numbers = numbers_ND.double().cpu()
    centre_D, spread_D = numbers.mean(dim=0), numbers.std(dim=0, correction=0).clamp(min=smallest)
    # Not sklearn's own inverse: it takes ten times as long as all the rest, seconds of a core for each network.
    estimate = LedoitWolf(store_precision=False, assume_centered=True)
    covariance = estimate.fit(((numbers - centre_D) / spread_D).numpy()).covariance_
    # Of the inverse of the covariance; what it maps the io images to has unit variance in every direction.
    whitening_DD = torch.linalg.cholesky(torch.linalg.inv(torch.from_numpy(covariance))) / spread_D[:, None]
    # Per number, so that a distance does not depend on how many there are.
    return centre_D, whitening_DD / len(centre_D) ** 0.5


@torch.inference_mode()
def score(model: Model, images: Sequence[LabelledImage]) -> Scored:
    """Score images, whatever the model's limits are."""
    found = [model.scores(part) for part in _normalised(model, all_pages(images))]
    counts = [len(image.grey) for image in images]
    log_odds, pages = _highest(nio_log_odds(torch.cat([part.logits for part in found])), counts)
    distances, _ = _highest(torch.cat([part.distance for part in found]).double(), counts)
    oddness, _ = _highest(torch.cat([part.oddness for part in found]).double(), counts)
    strangeness, _ = _highest(torch.cat([part.strangeness for part in found]).double(), counts)
    return Scored(list(images), log_odds, distances, oddness, strangeness, pages)


def _highest(values_P: Tensor, counts: list[int]) -> tuple[Tensor, Tensor]:
    """The highest value of each image's pages `[N]`, and which page has it."""
    found = [pages.max(dim=0) for pages in torch.split(values_P, counts)]
    return torch.stack([one.values for one in found]), torch.stack([one.indices for one in found])


def limit_novelty(model: Model, scored: Scored, budget: float) -> None:
    """Set the limits that together the budgeted share of new good images exceeds: half of it each by the network's eye.

    What the plain eye finds strange must be so by a margin, so hardly any good image is: it is for other things.
    """
    io, share = scored.io, budget / 2
    model.novelty.farthest.fill_(float(np.exp(tail_quantile(scored.distances[io].log().tolist(), share))))
    strangest = float(np.exp(tail_quantile(scored.strangeness[io].log().tolist(), share)))
    model.novelty.strangest.fill_(_PLAIN_MARGIN * strangest)
    model.novelty.oddest.fill_(tail_quantile(scored.oddness[io].tolist(), share))


def unidentified(model: Model, scored: Scored) -> Tensor:
    """Which of the images are beyond a model's limits `[N]`."""
    return novelties(model, scored) > 1


def novelties(model: Model, scored: Scored) -> Tensor:
    """How unlike good ones the images are by a model's limits `[N]`, on the CPU."""
    measured = (one.to(model.device) for one in (scored.distances, scored.oddness, scored.strangeness))
    novelty_N: Tensor = model.novelty(*measured)
    return novelty_N.cpu()


def _normalised(model: Model, greys_N1SS: Tensor) -> Iterable[Tensor]:
    return (model.preprocessing.normalise(part) for part in torch.split(greys_N1SS, _BATCH))
