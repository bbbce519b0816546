"""What blind checks promise: nobody can tell them, they say how many escapes there are and what labels are worth."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from page_line import Page, PageLine
from visitor import Visitor

from filing.estimates import agreement, checks
from filing.ledger import Ledger
from filing.logs import open_log
from filing.opinions import Opinions
from review.page.archive import Archive
from review.page.desk import LEASE_S, Desk, Wish
from review.page.items import Teller
from review.page.labels import disputed
from review.page.seals import BLIND, Handle, Seals
from review.page.words import Speaker, TakenError, Words
from settings.schema import ReviewSettings
from training.data.answers import labels_said

ANN, BOB, EVE = (Speaker(name, "127.0.0.1") for name in ("Ann", "Bob", "Eve"))


@pytest.fixture
def line(tmp_path: Path) -> PageLine:
    """A line with a dozen io and nio images."""
    line = PageLine(tmp_path)
    for number in range(12):
        line.file(f"nio/{number:02d}.png", board="B1", joint=f"r{number}c1", view="1")
        line.file(f"io/{number:02d}.png", nio_probability=0.001 * number)
    line.index()
    return line


class Shift:
    """A desk, and what it deals out."""

    def __init__(self, line: PageLine, check_io: float = 0.0, repeat: float = 0.0) -> None:
        self.now = 0.0
        settings = ReviewSettings(check_io=check_io, repeat=repeat)
        self.desk = Desk(settings, lambda: self.now, random.Random(1))  # noqa: S311
        self._line, self._opinions = line, Opinions(line.settings)

    def deal(self, client: str, count: int, **wish: Any) -> list[tuple[str, str]]:
        """Names and kinds."""
        with Ledger(self._line.settings.paths.ledger) as ledger:
            dealt = self.desk.deal(client, Wish(**wish), count, ledger)
            return [(f"{image.outcome}/{image.path}", kind) for image, kind in dealt]

    def disputed(self, who: str) -> list[str]:
        """Names of what waits for a third look by somebody."""
        with Ledger(self._line.settings.paths.ledger) as ledger:
            return [f"{image.outcome}/{image.path}" for image in disputed(who, None, ledger, self._opinions)]


def words_of(line: PageLine) -> Words:
    """What takes words."""
    return Words(line.settings, Archive(line.settings), open_log(line.settings.logs))


def handle(line: PageLine, place: str, kind: Any) -> Handle:
    """An image as a browser has it."""
    outcome, _, name = place.partition("/")
    return Handle(outcome, Path(name), line.record(place)["decision_id"], kind)  # type: ignore[arg-type]


def test_no_image_twice(line: PageLine) -> None:
    """What one window has in hand no other gets, until it was not heard of for two minutes."""
    shift = Shift(line)
    one, other = shift.deal("one", 8), shift.deal("other", 8)
    assert len(one) == 8
    assert len(other) == 4
    assert not set(one) & set(other)
    shift.now = LEASE_S + 1
    assert len(shift.deal("third", 20)) == 12


def test_what_is_in_hand_is_said_again(line: PageLine) -> None:
    """A window that says what it has keeps it, also when the program was started anew; not what others have by now."""
    shift = Shift(line)
    places = {("nio", Path("00.png")), ("nio", Path("01.png"))}
    assert shift.desk.keep("one", places) == places
    assert shift.desk.keep("other", places) == set()
    assert ("nio/00.png", "open") not in shift.deal("other", 20)
    shift.desk.keep("one", set())
    assert ("nio/00.png", "open") in shift.deal("other", 20)


def test_skipped_comes_last(line: PageLine) -> None:
    """What was skipped comes again when there is nothing else; for others at once."""
    shift = Shift(line)
    shift.desk.skip("one", ("nio", Path("00.png")))
    assert shift.deal("one", 20)[-1] == ("nio/00.png", "open")
    shift.desk.keep("one", set())
    assert shift.deal("other", 1) == [("nio/00.png", "open")]


def test_checks_are_mixed_in(line: PageLine) -> None:
    """Images called io are mixed in, and more nio ones without the verdict, so that none stands out."""
    kinds: Counter[str] = Counter()
    near: Counter[str] = Counter()
    shift = Shift(line, check_io=0.3)
    for _ in range(60):
        for name, kind in shift.deal("one", 6):
            kinds[kind] += 1
            near[name] += kind == "near"
            assert name.startswith("io/") == (kind in ("even", "near"))
        shift.desk.keep("one", set())
    assert min(kinds["even"], kinds["near"]) > 10
    assert kinds["blind"] > kinds["even"] + kinds["near"]
    assert near.most_common(1)[0][0] == "io/11.png"


@pytest.mark.parametrize("kind", sorted(BLIND))
def test_nothing_gives_a_check_away(line: PageLine, kind: Any) -> None:
    """What the browser is told of blind images has the same fields, no verdict and no word on the image itself."""
    words_of(line).say(handle(line, "nio/00.png", "open"), "nio", ANN)
    line.index()
    settings = line.settings
    teller = Teller(settings, Archive(settings), Seals(b"k" * 32), {})
    with Ledger(settings.paths.ledger) as ledger:
        found = [ledger.find("nio", Path("00.png")), ledger.find("io", Path("11.png"))]
        told = [teller.item(image, kind, ledger) for image in found if image]
        shown = teller.item(found[0], "open", ledger) if found[0] else None
    assert shown is not None
    assert shown["says"]
    assert shown["words"]
    for item in told:
        assert item is not None
        assert (item["says"], item["scores"], item["map"], item["words"]) == (None, None, False, [])
        assert item.keys() == shown.keys()
        assert "nio" not in str({key: value for key, value in item.items() if key != "seal"})


def test_no_map_of_a_check(line: PageLine) -> None:
    """The server gives no map of an image that is shown blind, whoever asks."""
    with Page(line) as page:
        visitor = Visitor(page.port)
        visitor.enter()
        seals = Seals((line.settings.review.folder / "key").read_bytes())
        for kind, status in (("open", 200), ("blind", 410), ("even", 410), ("repeat", 410)):
            seal = seals.seal(handle(line, "nio/00.png", kind))
            assert visitor.get(f"/picture/{seal}/0").status == 200
            assert visitor.get(f"/map/{seal}/0").status == status


def test_each_word_once(line: PageLine) -> None:
    """A word that is sent twice counts once; a second person's on an open image is refused, and told."""
    words = words_of(line)
    image = handle(line, "nio/00.png", "open")
    words.say(image, "io", ANN, "void", "a comment")
    words.say(image, "io", ANN, "void", "a comment")
    assert len(line.book()) == 1
    with pytest.raises(TakenError, match="Ann was faster: io"):
        words.say(image, "nio", BOB)
    with pytest.raises(TakenError, match="not yours"):
        words.take_back(image, BOB)
    words.take_back(image, ANN)
    words.take_back(image, ANN)
    assert [line["label"] for line in line.book()] == ["io", None]


def test_disputed(line: PageLine) -> None:
    """Who disagrees in a second look makes a third: the image is nio, and teaches nothing before that."""
    words, shift = words_of(line), Shift(line)
    words.say(handle(line, "nio/00.png", "open"), "io", ANN)
    assert (line.folder / "dataset/io/00.png").exists()
    words.say(_moved(line), "nio", BOB)
    assert not list((line.folder / "dataset").glob("*/00.png"))
    line.index()
    assert shift.disputed("Ann") == shift.disputed("Bob") == []
    (name,) = shift.disputed("Eve")
    outcome, _, path = name.partition("/")
    words.say(handle(line, f"{outcome}/{path}", "third"), "io", EVE)
    line.index()
    assert shift.disputed("Zoe") == []
    assert len(list((line.folder / "dataset/io").glob("00*.png"))) == 1
    words.take_back(handle(line, _place_of(line, "third"), "third"), EVE)
    line.index()
    assert shift.disputed("Zoe") == [name]
    assert not list((line.folder / "dataset").glob("*/00*.png"))
    assert labels_said(line.folder / "dataset") == {line.record(name)["sha256"]: "disputed"}


def _place_of(line: PageLine, shown: str) -> str:
    """Where an image lies that was shown so."""
    data = line.folder / "data"
    (found,) = [path for path in data.glob("*io/*.json") if f'"shown": "{shown}"' in path.read_text()]
    return str(found.relative_to(data)).removesuffix(".json")


def _moved(line: PageLine) -> Handle:
    """A second look at an image that its first word has moved beside another one of its name."""
    (found,) = [path for path in (line.folder / "data/io").glob("00*.png.json") if "relabelled" in path.read_text()]
    return handle(line, f"io/{found.name.removesuffix('.json')}", "repeat")


def test_estimates(line: PageLine) -> None:
    """Escapes are estimated from evenly drawn images alone, agreement from second looks, within and between people."""
    words = words_of(line)
    for number, label in enumerate(["io", "io", "nio", "io"]):
        words.say(handle(line, f"io/{number:02d}.png", "even"), label, ANN)  # type: ignore[arg-type]
    words.say(handle(line, "io/11.png", "near"), "nio", ANN)
    for number, (first, second, by) in enumerate([("nio", "nio", BOB), ("nio", "io", BOB), ("nio", "nio", ANN)], 5):
        words.say(handle(line, f"nio/{number:02d}.png", "open"), first, ANN)  # type: ignore[arg-type]
        words.say(handle(line, f"nio/{number:02d}.png", "repeat"), second, by)  # type: ignore[arg-type]
    found = checks(Opinions(line.settings).subjects())
    assert (found.escapes.count, found.escapes.of) == (1, 4)
    assert (found.near.count, found.near.of) == (1, 1)
    assert (found.within.pairs, found.within.agree) == (1, 1)
    assert (found.between.pairs, found.between.agree) == (2, 1)
    assert found.disputed == 1


def test_books_are_read_on(line: PageLine) -> None:
    """What is added to a book is seen at once, half a line and damaged ones are not; a new book is read anew."""
    opinions = Opinions(line.settings)
    assert opinions.all() == []
    words = words_of(line)
    words.say(handle(line, "nio/00.png", "open"), "nio", ANN)
    assert len(opinions.all()) == 1
    book = line.folder / "dataset/relabelled.jsonl"
    whole = book.read_bytes()
    with book.open("ab") as file:
        file.write(b"[1]\n{}\nno json\n" + whole[:-20])
    assert len(opinions.all()) == 1
    book.unlink()
    book.write_bytes(whole.replace(b'"sha256": "', b'"sha256": "f') * 3)
    assert len(opinions.all()) == 3


def test_kappa(line: PageLine) -> None:
    """Kappa is 1 where all agree, 0 where agreement is chance, and none where there is but one label."""

    def pairs(said: str) -> Iterator[tuple[Any, Any]]:
        words = words_of(line)
        words.say(handle(line, "nio/00.png", "repeat"), "nio", ANN)
        some = Opinions(line.settings).all()[0]
        for two in said.split():
            yield tuple(replace(some, label="nio" if letter == "n" else "io") for letter in two)  # type: ignore[misc]

    assert agreement(list(pairs("nn ii nn"))).kappa == 1
    assert agreement(list(pairs("nn ni in ii"))).kappa == 0
    assert agreement(list(pairs("nn nn"))).kappa is None
    assert "2 of 3" in str(agreement(list(pairs("nn ii ni"))))
