"""Finds images that are copies of one another: flipped, turned, cut, re-encoded, brighter.

Solder joints of one kind look alike, so likeness alone says little. Two stages: for each image the nearest few by small
descriptors that know what joints have in common; then each such pair is laid over one another and compared closely.
N images, D numbers that describe one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from inspection.preprocess import resize
from training.data.alignment import SIDE, disc, mismatch, warped

_CELLS = 16  # a side, of a descriptor
_RADIUS = 0.96
_ZOOMS = (1.0, 1.04)  # a descriptor bears half the step between them; the other way round the other image is zoomed
_SHIFT, _STRETCH, _TURN = 0.02, 0.02, 0.035  # what a descriptor should not mind: 1 %, 1 % a side, 2 degrees
_NOISE = 0.005
_SAMPLE = 1000
_ROWS = 512  # images that are compared with all others at once; bounds the memory
_PAIRS = 256
_NEAREST = 8
_BESIDE = (12, 16, 20, 24, 28, 32, 36)  # ranks of neighbours that tell how alike images are that are no copies
_LIKELY = 0.5  # similarity of descriptors; of copies 0.54 and more were seen
_FARTHEST, _FARTHEST_BESIDE = 0.08, 0.2  # change of the affine map; of copies up to 0.067

# Of the mismatch. Where these were chosen: copies mostly -3.9 and less; other pairs of real balls -2.2 and more, of
# simulated ones -5.3 and more, at one place of many simulated boards -6.2 and more, but then many others are near.
# Of four further such places one was too much alike for this: 29 % of its images were joined.
_ALIKE, _THE_SAME = -3.9, -6.3
_CLOSER, _CLOSER_PER_MISMATCH, _CLOSER_AT_LEAST = 2.4, 0.7, 0.3


def thumbnail(pixels: NDArray[np.float32]) -> NDArray[np.float16]:
    """A grey image `[H, W]` -> what is kept to find its copies, `[SIDE, SIDE]` with mean 0 and variance 1."""
    return _standard(resize(pixels, SIDE)[0])


def projection(pages: Sequence[NDArray[np.float16]]) -> NDArray[np.float16]:
    """The thumbnails of a stack's pages -> its own: all of them seen through one another.

    Not each page is compared: those out of focus, or blank, are alike in all stacks.
    """
    return _standard(torch.from_numpy(np.stack(pages)).float().mean(0))


def _standard(small_SS: Tensor) -> NDArray[np.float16]:
    centred = small_SS - small_SS.mean()
    return (centred / centred.std().clamp_min(1e-6)).numpy().astype(np.float16)


@dataclass(frozen=True)
class _Neighbours:
    """Of each image the nearest others, best first: how near, which, and how it was turned, all `[N, K]`."""

    similarity: Tensor
    index: Tensor
    variant: Tensor


def find_copies(thumbnails: Sequence[NDArray[np.float16]]) -> list[tuple[int, int]]:
    """Pairs of images of which one is a copy of the other; first the lower index, in order.

    A pair that differs less than two exposures do is a pair of copies. One that differs more is, if both of the two
    differ much more from their other neighbours: joints at the same place of many boards are very much alike. So an
    image that has a dozen copies, all of them much changed, may miss some.

    10,000 images take one to two minutes of two cores, and some hundred megabytes.
    """
    if len(thumbnails) < 2:
        return []
    images_NSS = torch.from_numpy(np.stack(thumbnails)).float()
    near = _neighbours(images_NSS, min(_BESIDE[-1], len(images_NSS) - 1))
    near_PR = _likely(near)
    found = _compare(images_NSS, near, near_PR, _FARTHEST)
    alike = found < _ALIKE
    usual = _usual(images_NSS, near, near_PR[alike])
    pairs = set()
    for (one, rank), value in zip(near_PR[alike].tolist(), found[alike].tolist(), strict=True):
        other = int(near.index[one, rank])
        closer = max(_CLOSER + _CLOSER_PER_MISMATCH * (value - _ALIKE), _CLOSER_AT_LEAST)
        if value < _THE_SAME or value < min(usual[one], usual[other]) - closer:
            pairs.add((min(one, other), max(one, other)))
    return sorted(pairs)


def _likely(near: _Neighbours) -> Tensor:
    """Image and rank of its neighbour `[P, 2]`, for the pairs that are worth a close look; none of them twice."""
    similarity = near.similarity[:, :_NEAREST]
    best: dict[tuple[int, int], tuple[int, int]] = {}
    for one, rank in (similarity > _LIKELY).nonzero().tolist():
        other = int(near.index[one, rank])
        pair = (min(one, other), max(one, other))
        before = best.get(pair)
        if before is None or similarity[before] < similarity[one, rank]:
            best[pair] = (one, rank)
    return torch.tensor(list(best.values()), dtype=torch.long).view(-1, 2)


def _usual(images_NSS: Tensor, near: _Neighbours, alike_PR: Tensor) -> dict[int, float]:
    """For each image in a pair: the least mismatch to farther neighbours, which are no copies of it, or many."""
    ranks = [rank - 1 for rank in _BESIDE if rank <= near.index.shape[1]]
    images = sorted({*alike_PR[:, 0].tolist(), *near.index[alike_PR[:, 0], alike_PR[:, 1]].tolist()})
    if not images or not ranks:
        return dict.fromkeys(images, 0.0)
    wanted = torch.cartesian_prod(torch.tensor(images), torch.tensor(ranks)).view(-1, 2)
    found = _compare(images_NSS, near, wanted, _FARTHEST_BESIDE).view(len(images), len(ranks))
    least = torch.where(found < _THE_SAME, 0.0, found).amin(1)
    return dict(zip(images, least.tolist(), strict=True))


def _neighbours(images_NSS: Tensor, count: int) -> _Neighbours:
    describe = _Descriptors.learn(images_NSS)
    plain_ND = describe(images_NSS)
    rows = []
    for begin in range(0, len(images_NSS), _ROWS):
        some = slice(begin, begin + _ROWS)
        own = torch.arange(len(images_NSS[some]))
        best_RN = torch.full((len(own), len(plain_ND)), -2.0)
        variant_RN = torch.zeros_like(best_RN, dtype=torch.uint8)
        for number, changed in enumerate(_variants()):
            # Warped as the alignment would: the map leads from the neighbour into this image.
            similarity_RN = describe(warped(images_NSS[some], changed.expand(len(own), 2, 3))) @ plain_ND.T
            better = similarity_RN > best_RN
            best_RN = torch.where(better, similarity_RN, best_RN)
            variant_RN[better] = number
        best_RN[own, own + begin] = -2.0
        similarity_RK, index_RK = best_RN.topk(count, 1)
        rows.append((similarity_RK, index_RK, variant_RN.gather(1, index_RK).long()))
    return _Neighbours(*(torch.cat(column) for column in zip(*rows, strict=True)))


def _variants() -> Tensor:
    """Affine maps `[V, 2, 3]`: all flips and quarter turns, in each zoom."""
    flips = torch.tensor([[[x, 0.0], [0.0, y]] for x in (1, -1) for y in (1, -1)])
    swapped = torch.cat([flips, flips.flip(1)])
    zoomed = torch.cat([swapped / zoom for zoom in _ZOOMS])
    return torch.cat([zoomed, torch.zeros(len(zoomed), 2, 1)], 2)


@dataclass(frozen=True)
class _Descriptors:
    """Unit vectors that tell apart images of the same kind, and hardly change when one is moved a little.

    A linear discriminant: directions in which small shifts, stretches and turns move an image count less, those in
    which images differ count more. Both are taken over all flips and quarter turns, as copies may come in any.
    """

    mean: Tensor
    basis: Tensor

    @classmethod
    def learn(cls, images_NSS: Tensor) -> _Descriptors:
        sample = images_NSS[:: -(-len(images_NSS) // _SAMPLE)]
        cells_NCC = _cells(sample)
        plain_ND = _within(_turned(cells_NCC))
        count, size = plain_ND.shape
        moved_DD = torch.eye(size) * (_NOISE**2 / size)
        for change in _nuisances():
            moved_ND = _within(_turned(_cells(warped(sample, change.expand(len(sample), 2, 3))) - cells_NCC))
            moved_DD += moved_ND.mT @ moved_ND / count
        mean_D = plain_ND.mean(0)
        spread_DD = (plain_ND - mean_D).mT @ (plain_ND - mean_D) / count
        variances, axes = torch.linalg.eigh(moved_DD)
        whiten = axes / variances.sqrt()
        ratios, directions = torch.linalg.eigh(whiten.mT @ spread_DD @ whiten)
        ratios = ratios.clamp_min(0)
        return cls(mean_D, whiten @ directions * ratios / (ratios + 1) ** 1.5)

    def __call__(self, images_NSS: Tensor) -> Tensor:
        """`[N, S, S]` -> `[N, D]`."""
        return functional.normalize((_within(_cells(images_NSS)) - self.mean) @ self.basis)


def _nuisances() -> Tensor:
    """Affine maps `[3, 2, 3]`: a little shift, stretch and turn."""
    return torch.tensor(
        [
            [[1, 0, _SHIFT], [0, 1, 0]],
            [[1 + _STRETCH, 0, 0], [0, 1, 0]],
            [[1, -_TURN, 0], [_TURN, 1, 0]],
        ]
    )


def _cells(images_NSS: Tensor) -> Tensor:
    """Coarse pictures `[N, C, C]` of mean 0 and length 1 within the disc, 0 outside."""
    mask_CC = disc(_CELLS, _RADIUS)
    coarse_NCC = functional.adaptive_avg_pool2d(images_NSS, _CELLS) * mask_CC
    centred_NCC = (coarse_NCC - coarse_NCC.sum((1, 2), keepdim=True) / mask_CC.sum()) * mask_CC
    return functional.normalize(centred_NCC.flatten(1)).view_as(centred_NCC)


def _within(cells_NCC: Tensor) -> Tensor:
    return cells_NCC[:, disc(_CELLS, _RADIUS) > 0]


def _turned(cells_NCC: Tensor) -> Tensor:
    """All flips and quarter turns `[8 N, C, C]`."""
    both = (cells_NCC, cells_NCC.mT)
    return torch.cat([flipped for cells in both for flipped in (cells, cells.flip(1), cells.flip(2), cells.flip(1, 2))])


def _compare(images_NSS: Tensor, near: _Neighbours, wanted: Tensor, farthest: float) -> Tensor:
    """The mismatch of the pairs (image, rank of its neighbour) in `wanted` `[P, 2]`; 0 where the maps went too far."""
    variants = _variants()
    found = []
    for some in torch.split(wanted, _PAIRS) if len(wanted) else ():
        one, rank = some.unbind(1)
        other, start = near.index[one, rank], variants[near.variant[one, rank]]
        value, change = mismatch(images_NSS[other], images_NSS[one], start)
        found.append(torch.where(change < farthest, value, 0.0))
    return torch.cat(found) if found else torch.zeros(0)
