"""The supervised autoencoder: an encoder, a decoder that rebuilds the image, a classifier on the encoder's features.

Beside the classifier a second output tells pseudo-defects from good images (`training.fitting.pseudo`): what it teaches
the encoder is to see whatever is odd, also where no labelled defect shows it.

After Le, Patterson and White, "Supervised autoencoders: improving generalization performance with unsupervised
regularizers", NeurIPS 2018. Shapes: N images, C channels, S pixels a side, features of S/16 a side.
"""

from __future__ import annotations

import itertools
from typing import Literal

from torch import Tensor, nn

Architecture = Literal["residual", "plain"]

WIDTHS = (16, 32, 64, 128)
"""Channels of the encoder's stages."""


class SupervisedAutoencoder(nn.Module):
    """Encoder, decoder and classifier for single-channel images.

    Args:
        architecture: `plain`: four blocks of convolution, ReLU, max pooling and dropout. `residual`: a strided stem
            and residual blocks with batch normalisation, generalised-mean pooling.
        dropout: Probability; in each block (`plain`) or before the linear layer (`residual`).
    """

    def __init__(self, architecture: Architecture, dropout: float = 0.0) -> None:
        super().__init__()
        if architecture == "plain":
            widths = itertools.pairwise((1, *WIDTHS))
            self.encoder = nn.Sequential(*(PlainBlock(before, width, dropout) for before, width in widths))
            self.head = Head(WIDTHS[-1], MeanPool(), 0.0)
        else:
            blocks = (ResidualBlock(before, width) for before, width in itertools.pairwise(WIDTHS))
            self.encoder = nn.Sequential(Stem(WIDTHS[0]), *blocks)
            self.head = Head(WIDTHS[-1], GeneralisedMeanPool(), dropout)
        self.odd = nn.Linear(WIDTHS[-1], 1)
        self.decoder = _decoder(WIDTHS)

    def forward(self, images_N1SS: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised images -> logits `[N, 2]` (io, nio) and reconstruction `[N, 1, S, S]` in 0..1."""
        features_NChw = self.encoder(images_N1SS)
        return self.head(features_NChw), self.decoder(features_NChw)

    def oddness(self, features_NChw: Tensor) -> Tensor:
        """Features -> log-odds `[N]` of a pseudo-defect."""
        pooled_NC = self.head.pool(features_NChw).flatten(1)
        odd_N1: Tensor = self.odd(self.head.dropout(pooled_NC))
        return odd_N1[:, 0]

    def stages(self, images_N1SS: Tensor) -> list[Tensor]:
        """Normalised images -> the outputs `[N, C, h, w]` of all encoder blocks; the last are the features."""
        outputs = [images_N1SS]
        for block in self.encoder:
            outputs.append(block(outputs[-1]))
        return outputs[1:]

    def convolution_stages(self) -> list[str]:
        """Names of the modules whose outputs are the activations of each convolution stage, the first one first."""
        return [f"encoder.{index}.activation" for index in range(len(self.encoder))]


class Head(nn.Module):
    """The classifier: global pooling and one linear layer, so that maps are cheap and exact.

    `features` does nothing; it is where map extractors hook in.
    """

    def __init__(self, width: int, pool: MeanPool | GeneralisedMeanPool, dropout: float) -> None:
        super().__init__()
        self.features = nn.Identity()
        self.pool = pool
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(width, 2)

    def forward(self, features_NChw: Tensor) -> Tensor:
        """Features -> logits `[N, 2]`."""
        pooled_NC = self.pool(self.features(features_NChw)).flatten(1)
        logits: Tensor = self.linear(self.dropout(pooled_NC))
        return logits

    def evidence(self, features_NChw: Tensor) -> Tensor:
        """Features -> what each place adds to the margin of nio over io, `[N, h, w]`; in all the margin less the bias.

        This is HiResCAM (`inspection.cam`) without a gradient: both pools grow in proportion to what they pool, so a
        place's share of the pooled value is its activation times the gradient there.
        """
        weights_C = self.linear.weight[1] - self.linear.weight[0]
        return (self.pool.shares(features_NChw) * weights_C[:, None, None]).sum(dim=1)


class PlainBlock(nn.Sequential):
    """Convolution, ReLU, max pooling, dropout; halves the side. The activation is not in place: maps hook it."""

    def __init__(self, before: int, width: int, dropout: float) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(before, width, 3, padding=1)
        self.activation = nn.ReLU()
        self.pool = nn.MaxPool2d(2)
        self.dropout = nn.Dropout(dropout)


class Stem(nn.Sequential):
    """A strided convolution that halves the side.

    Here as in the residual blocks, what halves the side has an even kernel: an odd one lies off the centre of the
    pixels that it replaces, and the maps would lie half a cell off the image.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(1, width, 6, stride=2, padding=2, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.activation = nn.ReLU()


class ResidualBlock(nn.Module):
    """Two normalised convolutions beside a shortcut; halves the side.

    After He, Zhang, Ren and Sun, "Deep residual learning for image recognition", CVPR 2016.
    """

    def __init__(self, before: int, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(before, width, 4, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
        )
        self.shortcut = nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(before, width, 1, bias=False), nn.BatchNorm2d(width))
        self.activation = nn.ReLU()

    def forward(self, x_NChw: Tensor) -> Tensor:
        """Features -> features."""
        out: Tensor = self.activation(self.body(x_NChw) + self.shortcut(x_NChw))
        return out


class MeanPool(nn.Module):
    """The mean of each feature map."""

    def forward(self, x_NChw: Tensor) -> Tensor:
        """`[N, C, h, w]` -> `[N, C]`."""
        return x_NChw.mean(dim=(2, 3))

    def shares(self, x_NChw: Tensor) -> Tensor:
        """What each place adds to the pooled value, `[N, C, h, w]`."""
        return x_NChw / (x_NChw.shape[2] * x_NChw.shape[3])


class GeneralisedMeanPool(nn.Module):
    """The mean of order 3 over each feature map: between the average and the maximum, so small defects count.

    After Radenovic, Tolias and Chum, "Fine-tuning CNN image retrieval with no human annotation", TPAMI 2019.
    """

    order = 3.0

    def forward(self, x_NChw: Tensor) -> Tensor:
        """`[N, C, h, w]` of non-negative features -> `[N, C]`."""
        powered: Tensor = x_NChw.float().clamp(min=1e-6).pow(self.order).mean(dim=(2, 3))
        return powered.pow(1 / self.order)

    def shares(self, x_NChw: Tensor) -> Tensor:
        """What each place adds to the pooled value, `[N, C, h, w]`."""
        relative_NChw = x_NChw / self(x_NChw)[:, :, None, None]
        shares: Tensor = x_NChw * relative_NChw.pow(self.order - 1) / (x_NChw.shape[2] * x_NChw.shape[3])
        return shares


def _decoder(widths: tuple[int, ...]) -> nn.Sequential:
    """Transposed convolutions that undo the encoder's four halvings, ending in a sigmoid."""
    layers: list[nn.Module] = []
    for before, width in itertools.pairwise(reversed(widths)):
        layers += [nn.ConvTranspose2d(before, width, 4, stride=2, padding=1), nn.ReLU()]
    layers += [nn.ConvTranspose2d(widths[0], 1, 4, stride=2, padding=1), nn.Sigmoid()]
    return nn.Sequential(*layers)


def nio_log_odds(logits_N2: Tensor) -> Tensor:
    """Log-odds of nio `[N]`, in double precision."""
    return logits_N2[:, 1].double() - logits_N2[:, 0].double()
