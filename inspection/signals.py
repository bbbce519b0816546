"""What is measured of every image beside its verdict, so that a shift of the whole line can be noticed.

Shapes: N images, one channel, S pixels a side.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from inspection.verdict import Verdict

Signals = dict[str, float]
"""Values of one image by signal; what could not be measured of it is not in there."""

_BRIGHT = 0.9
_COARSE_PX = 64
_LEAST_ODDS = 1e-12
_LEAST_EDGE = 1e-6


def measure(greys_N1SS: Tensor, verdicts: Sequence[Verdict]) -> list[Signals]:
    """All signals of a batch of images: of their grey levels, and of what the model made of them."""
    return [
        {**greys, **verdict_signals(verdict)} for greys, verdict in zip(grey_signals(greys_N1SS), verdicts, strict=True)
    ]


def grey_signals(greys_N1SS: Tensor) -> list[Signals]:
    """What the grey levels say, whatever the model.

    `grey_mean` and `grey_bright`, the level that 90 % of the picture stay below (the background: what the tube gives);
    `contrast`, the standard deviation; and `sharpness`, second differences over first ones, which brightness and
    contrast do not move.

    Args:
        greys_N1SS: Resized grey levels in 0..1, before they are normalised for the model; on any device.
    """
    coarse_NP = functional.avg_pool2d(greys_N1SS, max(1, greys_N1SS.shape[-1] // _COARSE_PX)).flatten(1)
    down, across = greys_N1SS.diff(dim=2), greys_N1SS.diff(dim=3)
    edges_N = _mean(down.abs()) + _mean(across.abs())
    curves_N = _mean(down.diff(dim=2).abs()) + _mean(across.diff(dim=3).abs())
    mean_N = _mean(greys_N1SS)
    columns = {
        "grey_mean": mean_N,
        "grey_bright": coarse_NP.kthvalue(math.ceil(_BRIGHT * coarse_NP.shape[1]), dim=1).values,
        "contrast": _mean((greys_N1SS - mean_N[:, None, None, None]).square()).sqrt(),
        "sharpness": curves_N / edges_N.clamp(min=_LEAST_EDGE),
    }
    rows = torch.stack(list(columns.values()), dim=1).tolist()
    return [_finite(dict(zip(columns, row, strict=True))) for row in rows]


def verdict_signals(verdict: Verdict) -> Signals:
    """What the model made of an image: `score`, the log-odds of nio, and `novelty`."""
    found = {
        "score": None if verdict.probability is None else _log_odds(verdict.probability),
        "novelty": verdict.novelty,
    }
    return _finite({name: value for name, value in found.items() if value is not None})


def _mean(values_N1hw: Tensor) -> Tensor:
    return values_N1hw.mean(dim=(1, 2, 3))


def _finite(signals: Signals) -> Signals:
    return {name: value for name, value in signals.items() if math.isfinite(value)}


def _log_odds(probability: float) -> float:
    clipped = min(max(probability, _LEAST_ODDS), 1 - _LEAST_ODDS)
    return math.log(clipped / (1 - clipped))
