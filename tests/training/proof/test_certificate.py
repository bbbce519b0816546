"""What the certificate promises: it is exact, and says no more than the test proves."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from scipy.stats import binom

from training.proof.certificate import Tested as Judged  # by its own name pytest would take it for a test
from training.proof.certificate import certify, recall_lower_bound

DRAWS = 1000
SAMPLING = 3 * math.sqrt(0.05 * 0.95 / DRAWS)
"""Three standard errors of a share of 5 % among so many draws."""


def judged_parts(count: int, missed: int, images: int = 1) -> list[Judged]:
    """So many parts with so many images each, of which the first ones were missed."""
    return [Judged(f"part {part}", caught=part >= missed) for part in range(count) for _ in range(images)]


class TestBound:
    """What so many images with so many misses prove."""

    @pytest.mark.parametrize(
        ("count", "missed", "proved"),
        [(299, 0, True), (298, 0, False), (473, 1, True), (472, 1, False), (628, 2, True)],
    )
    def test_what_proves_99_percent(self, count: int, missed: int, proved: bool) -> None:
        """99 % take 299 nio images with none missed, 473 with one, 628 with two."""
        assert (recall_lower_bound(count, missed) >= 0.99) == proved

    def test_forty_of_forty(self) -> None:
        """40 of 40 found prove 92.8 %."""
        assert recall_lower_bound(40, 0) == pytest.approx(0.928, abs=0.0005)

    @pytest.mark.parametrize("count", [0, 1, 12])
    def test_nothing_found_proves_nothing(self, count: int) -> None:
        """No images, or every one missed: the bound is 0."""
        assert recall_lower_bound(count, count) == 0

    @given(count=st.integers(1, 400), data=st.data())
    @hypothesis_settings(deadline=None, max_examples=100)
    def test_the_bound_is_exact(self, count: int, data: st.DataObject) -> None:
        """At a true recall as low as the bound, so few misses come with a probability of 5 %."""
        missed = data.draw(st.integers(0, count - 1))
        bound = recall_lower_bound(count, missed)
        assert 0 < bound < 1 - missed / count + 1e-9
        assert math.isclose(binom.cdf(missed, count, 1 - bound), 0.05, rel_tol=1e-6)


class TestCertificate:
    """A claim that may be believed."""

    @pytest.mark.parametrize(("count", "recall"), [(40, 0.9), (150, 0.97), (300, 0.985), (300, 0.9895), (600, 0.99)])
    def test_it_is_honest(self, count: int, recall: float) -> None:
        """Of 1,000 tests of a model with a known recall, at most 5 % prove more than that is."""
        missed = np.random.default_rng(count).binomial(count, 1 - recall, DRAWS)
        proven = {
            misses: certify(judged_parts(count, misses), 0.99, "").proof.recall_bound for misses in set(missed.tolist())
        }
        too_much = [proven[misses] > recall for misses in missed.tolist()]
        assert np.mean(too_much) <= 0.05 + SAMPLING

    @pytest.mark.parametrize("alike", [0.5, 0.9, 1.0])
    def test_it_is_honest_where_images_come_in_pairs(self, alike: float) -> None:
        """Nor do two images of each part, missed together more often than not, prove more than the parts do.

        Counted as so many images they would: the test can tell.
        """
        recall, count = 0.98, 200
        rng = np.random.default_rng(3)
        by_parts, by_images = [], []
        for _ in range(DRAWS):
            first = rng.random(count) < recall
            second = np.where(rng.random(count) < alike, first, rng.random(count) < recall)
            images = [
                Judged(str(part), bool(caught)) for caughts in (first, second) for part, caught in enumerate(caughts)
            ]
            proof = certify(images, 0.99, "").proof
            assert (proof.nio, proof.images) == (count, 2 * count)
            by_parts.append(proof.recall_bound > recall)
            by_images.append(recall_lower_bound(2 * count, int((~first).sum() + (~second).sum())) > recall)
        assert np.mean(by_parts) <= 0.05 + SAMPLING
        assert np.mean(by_images) > 0.05 + SAMPLING or alike < 0.9

    def test_a_part_is_missed_with_any_of_its_images(self) -> None:
        """Two views of which one was caught are a missed part: the other one would have escaped."""
        views = [Judged("a", caught=True), Judged("a", caught=False)]
        proof = certify([*views, Judged("b", caught=True)], 0.99, "").proof
        assert (proof.nio, proof.missed, proof.images) == (2, 1, 3)
        assert proof.recall_bound == recall_lower_bound(2, 1)

    @pytest.mark.parametrize(
        ("count", "missed", "certified"),
        [(299, 0, True), (298, 0, False), (473, 1, True), (472, 1, False), (0, 0, False)],
    )
    def test_certified_only_when_proven(self, count: int, missed: int, certified: bool) -> None:
        """Certified is a model whose bound reaches the required recall; every other one is indicative."""
        found = certify(judged_parts(count, missed), 0.99, "f" * 64)
        assert found.certified == certified == (found.proof.recall_bound >= 0.99)
        assert found.standing == ("certified" if certified else "indicative")
        assert str(found).startswith(f"{found.standing}: {missed} of {count} nio parts missed")
        assert (found.required_recall, found.confidence, found.data_fingerprint) == (0.99, 0.95, "f" * 64)
        assert found.by_part == {}

    @pytest.mark.parametrize(
        ("count", "missed", "further"),
        [(0, 0, 299), (1, 0, 298), (298, 0, 1), (299, 0, 0), (500, 0, 0), (10, 1, 463), (472, 1, 1), (473, 1, 0),
         (40, 2, 588), (1, 1, 472), (5, 5, None)],
    )  # fmt: skip
    def test_how_many_more_would_do(self, count: int, missed: int, further: int | None) -> None:
        """It says how many more nio parts, none of them missed, would prove the recall: exactly so many."""
        found = certify(judged_parts(count, missed), 0.99, "")
        more = found.further_nio
        assert more is not None
        assert further is None or more == further
        assert recall_lower_bound(count + more, missed) >= 0.99
        assert more == 0 or recall_lower_bound(count + more - 1, missed) < 0.99
        assert (f"; {more} more nio parts, none missed, would prove it" in str(found)) == (more > 0)

    def test_no_number_proves_every_one(self) -> None:
        """A recall of 100 % is proven by no test, and nothing is said of how many more would do."""
        found = certify(judged_parts(400, 0), 1.0, "")
        assert (found.certified, found.further_nio) == (False, None)
        assert "would prove" not in str(found)

    def test_by_kind(self) -> None:
        """Where names say the kind of joint, the proof is also given for each; the rest is told as other."""
        images = [
            *(Judged(f"1 {part}", caught=True, kind="QFN") for part in range(6)),
            *(Judged(f"2 {part}", caught=part > 0, kind="BGA\udcff") for part in range(4)),
            Judged("x", caught=True),
        ]
        found = certify(images, 0.99, "")
        told = {kind: (proof.nio, proof.missed, proof.recall_bound) for kind, proof in found.by_part.items()}
        assert told == {
            "QFN": (6, 0, recall_lower_bound(6, 0)),
            r"BGA\xff": (4, 1, recall_lower_bound(4, 1)),
            "other": (1, 0, recall_lower_bound(1, 0)),
        }
        assert (found.proof.nio, found.proof.missed) == (11, 1)
        assert certify([Judged("x", caught=True)], 0.99, "").by_part == {}
