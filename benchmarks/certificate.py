"""Whether the certificate is honest: tests of models whose true recall is known, by the real `certify`.

A model that really finds so many nio images is tested on so many nio parts, 1,000 times a seed; in at most 5 % of these
tests may the certificate prove more than is true. Where a part has two images, both are missed together more often than
not, as one hard part looks hard in each of its views.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from benchmarks.row import Row
from inspection.shares import CONFIDENCE
from training.proof.certificate import Tested, certify

_DRAWS = 1000
_PARTS = (30, 100, 300, 475)
_RECALLS = (0.9, 0.97, 0.985, 0.9895, 0.995)
_ALIKE = (0.8, 1.0)
_REQUIRED = 0.99


@dataclass(frozen=True)
class _Case:
    """A model and its tests.

    Attributes:
        parts: In each test.
        recall: The model's true one, on images.
        alike: How often the second image of a part is judged as the first one is; None: there is only one.
    """

    parts: int
    recall: float
    alike: float | None

    def __str__(self) -> str:
        views = "" if self.alike is None else f" of two images, {self.alike:.0%} of them alike"
        return f"{self.parts} parts{views}, true recall {self.recall:.2%}"


@dataclass(frozen=True)
class _Found:
    """Shares of a case's tests whose certificate proves more than is true, and that are certified."""

    too_much: float
    certified: float


def measure(seeds: Sequence[int]) -> Iterator[Row]:
    """The worst of all cases, with one image of each part and with two."""
    for views, alike in (("one image", (None,)), ("two images", _ALIKE)):
        cases = [_Case(*values) for values in itertools.product(_PARTS, _RECALLS, alike)]
        found = {case: _tested(case, seeds) for case in cases}
        most = 1 - CONFIDENCE
        # Of many cases one may lie above by chance: so far, if each of them were at 5 %.
        sampling = float(norm.ppf(1 - most / len(cases))) * math.sqrt(most * CONFIDENCE / (_DRAWS * len(seeds)))
        target = f"at most {most:.0%}; the worst of {len(cases)} cases up to {most + sampling:.1%} by chance"
        worst = max(cases, key=lambda case: found[case].too_much)
        yield Row(
            f"certificate honest: {_DRAWS * len(seeds):,} simulated tests a case, parts of {views}: "
            "true recall below the bound",
            target,
            f"worst {found[worst].too_much:.1%} ({worst})",
            found[worst].too_much <= most + sampling,
        )
        poor = [case for case in cases if case.recall < _REQUIRED]
        worst = max(poor, key=lambda case: found[case].certified)
        yield Row(
            f"the same: certified for {_REQUIRED:.0%} although the true recall is less",
            target,
            f"worst {found[worst].certified:.1%} ({worst})",
            found[worst].certified <= most + sampling,
        )


def _tested(case: _Case, seeds: Sequence[int]) -> _Found:
    certificates = []
    for seed in seeds:
        rng = np.random.default_rng([seed, case.parts, round(1e4 * case.recall)])
        certificates += [certify(_test(case, rng), _REQUIRED, "") for _ in range(_DRAWS)]
    too_much = [certificate.proof.recall_bound > case.recall for certificate in certificates]
    return _Found(float(np.mean(too_much)), float(np.mean([certificate.certified for certificate in certificates])))


def _test(case: _Case, rng: np.random.Generator) -> list[Tested]:
    views = [rng.random(case.parts) < case.recall]
    if case.alike is not None:
        views.append(np.where(rng.random(case.parts) < case.alike, views[0], rng.random(case.parts) < case.recall))
    return [Tested(str(part), caught) for view in views for part, caught in enumerate(view.tolist())]
