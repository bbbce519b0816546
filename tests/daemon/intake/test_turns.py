"""Whose turn it is: products are not changed without need, and none waits for long. Time here is a number."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path, PurePath

import pytest

from daemon.intake import turns
from daemon.intake.inbox import Candidate
from daemon.intake.turns import SLICE_S, Turns

GROUP, GROUP_S, LOAD_S = 32, 0.5, 0.4


def _candidates(product: str, numbers: Sequence[int]) -> list[Candidate]:
    names = [Path(product) / f"{number}.png" for number in numbers]
    return [Candidate(Path("/inbox") / name, name, settled=True) for name in names]


def _first_part(path: PurePath) -> str | None:
    return None if path.parts[0] == "none" else path.parts[0]


class Inbox:
    """What lies in the inbox, and a clock that judging moves."""

    def __init__(self, files: Sequence[Candidate]) -> None:
        self.files = {candidate.relative: candidate for candidate in files}
        self.now = 0.0
        self.load_s = LOAD_S
        self.turns = Turns(_first_part, GROUP, lambda: self.now)
        self.served: list[str | None] = []
        self.when: dict[Path, float] = {}

    def judge(self, there: set[str | None], arrive: dict[float, list[Candidate]] | None = None) -> None:
        """Go through all of it; some arrive meanwhile, at a moment each."""
        arrive = arrive or {}
        self.turns.look(self.files.values(), there)
        for product, group in self.turns.groups():
            self.now += GROUP_S * len(group) / GROUP
            if not self.served or self.served[-1] != product:
                self.now += self.load_s
            self.served.append(product)
            for candidate in group:
                del self.files[candidate.relative]
                self.when[candidate.relative] = self.now
            for moment in [moment for moment in arrive if moment <= self.now]:
                self.files |= {candidate.relative: candidate for candidate in arrive.pop(moment)}
            if self.turns.is_old:
                self.turns.look(self.files.values(), there)


def test_groups_are_of_one_product_and_nothing_is_left_out() -> None:
    """A backlog of twenty products in any order: each image once, and each product loaded once while its turn lasts."""
    products = [f"p{number:02d}" for number in range(20)]
    files = [candidate for number in range(100) for name in products for candidate in _candidates(name, [number])]
    inbox = Inbox(files)
    inbox.judge(set(products))
    assert inbox.files == {}
    assert len(inbox.when) == 2_000
    assert Counter(product for product, before in zip(inbox.served[1:], inbox.served, strict=False)
                   if product != before) == dict.fromkeys(products[1:], 1)  # fmt: skip


def test_a_lone_image_amid_a_backlog_waits_for_one_slice() -> None:
    """However much there is of nineteen other products, a lone image of the twentieth waits ten seconds at most."""
    others = [f"p{number:02d}" for number in range(19)]
    files = [candidate for name in others for candidate in _candidates(name, range(500))]
    inbox = Inbox(files)
    arrived = 50.0
    inbox.judge({*others, "late"}, {arrived: _candidates("late", [1])})
    assert inbox.when[Path("late/1.png")] - arrived <= 10


def test_no_backlog_starves_behind_lone_images() -> None:
    """A stream of lone images of many products takes every turn but one in a minute or so: the backlog goes on."""
    inbox = Inbox(_candidates("bulk", range(3_000)))
    loners = [f"p{number:02d}" for number in range(20)]
    arrive = {float(second): _candidates(loners[second % 20], [second]) for second in range(1, 200)}
    inbox.judge({"bulk", *loners}, arrive)
    bulk = sorted(moment for name, moment in inbox.when.items() if name.parts[0] == "bulk")
    assert len(bulk) == 3_000
    assert max(later - earlier for earlier, later in pairwise(bulk)) < 75


def test_a_product_keeps_its_turn_for_a_slice() -> None:
    """Two backlogs alternate by slices of time, not by groups: models are not loaded for each group."""
    inbox = Inbox([*_candidates("a", range(1_000)), *_candidates("b", range(1_000))])
    inbox.judge({"a", "b"})
    changes = sum(one != other for one, other in pairwise(inbox.served))
    assert changes <= 2 * 1_000 / GROUP * GROUP_S / SLICE_S + 1


def test_loading_never_takes_more_time_than_judging() -> None:
    """On a busy machine where a model takes longer to load than a slice lasts, each load is made use of for as long."""
    inbox = Inbox([*_candidates("a", range(2_000)), *_candidates("b", range(2_000))])
    inbox.load_s = 4 * SLICE_S
    inbox.judge({"a", "b"})
    loads = 1 + sum(one != other for one, other in pairwise(inbox.served))
    assert loads * inbox.load_s <= 4_000 / GROUP * GROUP_S + inbox.load_s


def test_products_without_a_model_are_counted_and_left() -> None:
    """Their images are in no group; those of no product are, to be put away."""
    inbox = Inbox([*_candidates("a", [1]), *_candidates("b", [1, 2]), *_candidates("none", [1])])
    inbox.judge({"a"})
    assert inbox.turns.without == {"b": 2}
    assert set(inbox.served) == {"a", None}


def test_a_huge_backlog_is_not_all_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond so many images only some of each product are kept until the next look; it is known that there are more."""
    monkeypatch.setattr(turns, "_KEPT", 50)
    monkeypatch.setattr(turns, "_KEPT_OF_EACH", 5)
    found = Turns(_first_part, GROUP)
    found.look([*_candidates("a", range(100)), *_candidates("b", range(100))], {"a", "b"})
    groups = Counter(product for product, group in found.groups() for _ in group)
    assert groups == {"a": 50, "b": 5}
    assert found.left == 145
