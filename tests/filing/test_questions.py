from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from ledger_line import START, Kept, Records

from filing.ledger import Image, Ledger, OpenBoard, Outcome, reindex
from filing.ledger.records import Facts
from filing.ledger.schema import COLUMNS
from inspection.errors import LedgerError


@pytest.fixture
def week(records: Records) -> Records:
    """Two products, a few boards of six joints with two views each, and images of no product; some have words."""
    draw = random.Random(0)  # noqa: S311
    for board in range(6):
        for joint in range(6):
            for view in ("1", "2"):
                outcome: Outcome = draw.choice(["io", "io", "nio"])
                facts: dict[str, Any] = {
                    "product": "AB"[board % 2],
                    "board": f"S{board:03d}",
                    "joint": f"r{joint}",
                    "view": view,
                }
                if outcome == "nio":
                    facts |= draw.choice([{}, {"reason": "unidentified"}])
                facts |= {"nio_probability": round(draw.random(), 2), "pages": 5, "page": 3}
                facts |= {"time": (START + timedelta(hours=draw.randrange(100))).isoformat()}
                records.file(outcome, f"S{board}/r{joint}v{view}.png", **facts)
    for number in range(9):
        records.file("nio", f"{number}.png", nio_probability=number / 10)
    records.file("quarantine", "bad.png", product="A")
    nio = [str(path) for outcome, path in records.truth() if outcome == "nio" and path.parent.parts]
    for path in draw.sample(sorted(nio), 8):
        records.relabel(path, draw.choice(["io", "nio"]))
    reindex(records.settings)
    return records


def test_fields_and_columns_are_the_same() -> None:
    """What is read of a record, kept of it, and answered has one order of fields."""
    assert Facts._fields == COLUMNS
    assert tuple(field.name for field in fields(Image))[3:] == COLUMNS


def test_every_record_is_answered_as_it_is(week: Records) -> None:
    """All fields of all images come back as the records have them."""
    week.check()
    truth = week.truth()
    with Ledger(week.ledger) as ledger:
        found = [ledger.find(*place) for place in truth]
        assert ledger.find("io", Path("nothing.png")) is None
    assert [image and (image.outcome, image.path) for image in found] == list(truth)


def test_the_summary_has_the_last_image_and_the_rate(week: Records) -> None:
    """The last image is the one that was judged last; the rate counts the five minutes before."""
    last = week.file("io", "last.png", time=(START + timedelta(days=9)).isoformat(), product="B")
    week.file("io", "second.png", time=(START + timedelta(days=9, minutes=-4)).isoformat())
    week.file("io", "third.png", time=(START + timedelta(days=9, minutes=-6)).isoformat())
    reindex(week.settings)
    with Ledger(week.ledger) as ledger:
        summary = ledger.summary(now=START + timedelta(days=9))
    assert summary.last
    assert (summary.last.outcome, summary.last.path) == last
    assert summary.per_minute == pytest.approx(2 / 5)


def test_an_empty_ledger_answers_too(records: Records) -> None:
    """Without any image all questions have an answer."""
    reindex(records.settings)
    with Ledger(records.ledger) as ledger:
        summary = ledger.summary()
        assert (summary.counts, summary.last, summary.per_minute, summary.complete) == ((), None, 0.0, True)
        assert not [*ledger.images(), *ledger.to_review(), *ledger.board("S1"), *ledger.boards(), *ledger.words("r1")]


def test_days_add_up_to_the_counts(week: Records) -> None:
    """The counts of each day, over all days, are the counts of all; each image is counted on its day."""
    with Ledger(week.ledger) as ledger:
        days = ledger.days(date(2026, 1, 1), date(2027, 1, 1))
        only = ledger.days(date(2026, 7, 2), date(2026, 7, 3), product="A")
        images = list(ledger.images())
    assert sum(day.count.images for day in days) == len(images)
    there = [image for image in images if image.product == "A" and image.time.date() == date(2026, 7, 2)]
    assert sum(day.count.images for day in only) == len(there) > 0


def test_a_board_has_its_images_by_joint_and_view(week: Records) -> None:
    """All images of a board come together, in order; its product and a time tell two boards of one number apart."""
    week.file("io", "again.png", board="S001", joint="r0", view="1", product="C",
              time=(START + timedelta(days=30)).isoformat())  # fmt: skip
    reindex(week.settings)
    with Ledger(week.ledger) as ledger:
        images = ledger.board("S001")
        assert len(images) == 13
        assert [(image.joint, image.view) for image in images] == sorted((image.joint, image.view) for image in images)
        assert len(ledger.board("S001", product="B")) == 12
        assert [image.path.name for image in ledger.board("S001", since=START + timedelta(days=20))] == ["again.png"]
        assert ledger.board("") == []


def test_boards_are_found_by_the_beginning_of_their_number(week: Records) -> None:
    """A search gives each serial number once."""
    with Ledger(week.ledger) as ledger:
        assert ledger.boards("S00", count=4) == ["S000", "S001", "S002", "S003"]
        assert ledger.boards("S005") == ["S005"]
        assert ledger.boards("X") == []


def test_a_time_range_of_a_product(week: Records) -> None:
    """From one time until before another, oldest first."""
    since, until = START + timedelta(hours=20), START + timedelta(hours=60)
    with Ledger(week.ledger) as ledger:
        images = list(ledger.images("A", since, until))
        everything = list(ledger.images())
    assert [image.time for image in images] == sorted(image.time for image in images)
    expected = {image.path for image in everything if image.product == "A" and since <= image.time < until}
    assert {image.path for image in images} == expected != set()


def test_many_images_come_in_pages_without_gaps(records: Records) -> None:
    """Thousands of images of the same time and score come once each, though pages end in the middle of them."""
    for number in range(1201):
        records.file("nio", f"{number}.png", time="2026-07-01T00:00:00Z")
    reindex(records.settings)
    with Ledger(records.ledger) as ledger:
        assert len({image.path for image in ledger.images()}) == 1201
        found: list[Image] = []
        while page := ledger.to_review(after=found[-1] if found else None, count=100):
            found += page
    assert len(found) == len({image.path for image in found}) == 1201


def _wanted(image: Image) -> tuple[bool, float, float]:
    distance = abs((image.nio_probability or 0) - (image.threshold or 0))
    return image.reason != "unidentified", distance, image.time.timestamp()


@pytest.mark.parametrize("product", [None, "A", "B", ""])
@pytest.mark.parametrize("board", [None, "S001", "S002"])
@pytest.mark.parametrize("count", [1, 3, 100])
def test_what_to_review_next(week: Records, product: str | None, board: str | None, count: int) -> None:
    """Unidentified nio images come first, then the nearest to the threshold, the oldest first; none has a word."""
    with Ledger(week.ledger) as ledger:
        found: list[Image] = []
        while page := ledger.to_review(product, board, after=found[-1] if found else None, count=count):
            assert len(page) <= count
            found += page
        expected = {
            image.path
            for image in ledger.images()
            if image.outcome == "nio" and not image.word
            and product in (None, image.product) and board in (None, image.board)
        }  # fmt: skip
    assert len(found) == len(expected)
    assert {image.path for image in found} == expected
    assert all(_wanted(first) <= _wanted(second) for first, second in pairwise(found))


def test_boards_to_review_are_counted(week: Records) -> None:
    """Boards with unreviewed nio images, oldest first; images of no board are none."""
    with Ledger(week.ledger) as ledger:
        boards = ledger.boards_to_review("A")
        assert [board.images for board in boards] == [len(ledger.to_review("A", board.board)) for board in boards]
        assert [board.oldest for board in boards] == sorted(board.oldest for board in boards)
        assert boards
        assert isinstance(boards[0], OpenBoard)
        assert ledger.boards_to_review("") == []


def test_words_of_a_joint(records: Records) -> None:
    """What operators said of a joint, newest first: of all boards, or of one."""
    for number in range(4):
        records.file("nio", f"{number}.png", joint="r1", board=f"S{number}", product="A")
    records.relabel("1.png", "nio", by="Eve")
    records.relabel("2.png", "io", by="Ada")
    records.relabel("1.png", "io", by="Ada")
    reindex(records.settings)
    with Ledger(records.ledger) as ledger:
        words = ledger.words("r1", "A")
        assert [(word.label, word.by, word.image.board) for word in words] == [
            ("io", "Ada", "S1"), ("io", "Ada", "S2"), ("nio", "Eve", "S1"),
        ]  # fmt: skip
        assert [word.label for word in ledger.words("r1", "A", board="S1")] == ["io", "nio"]
        assert len(ledger.words("r1", "A", count=1)) == 1
        assert ledger.words("", "A") == ledger.words("r1", "B") == []


@pytest.mark.parametrize("content", [None, b"", b"text" * 100, b"\0" * 8192])
def test_without_a_ledger_the_answer_is_one_line(records: Records, content: bytes | None) -> None:
    """Where there is none, or something else, whoever asks is told what builds it; nothing is made or changed."""
    if content is not None:
        records.ledger.write_bytes(content)
    there = sorted(records.ledger.parent.iterdir())
    with pytest.raises(LedgerError, match="reindex"):
        Ledger(records.ledger)
    assert (records.ledger.read_bytes() if content is not None else None) == content
    assert sorted(records.ledger.parent.iterdir()) == there


def test_who_may_only_read_can(week: Records) -> None:
    """Nobody writes, and the folder takes no new file: the ledger answers all the same."""
    code = "from pathlib import Path; from filing.ledger import Ledger; import sys;"
    code += "print(len(list(Ledger(Path(sys.argv[1])).images())))"
    script = ["unshare", "-rm", "sh", "-c", 'mount --bind -o ro "$1" "$1" && exec "$2" -c "$3" "$4"', "sh"]

    script += [str(week.ledger.parent), sys.executable, code, str(week.ledger)]
    done = subprocess.run(script, capture_output=True, text=True, check=False)
    if "mount" in done.stderr or "unshare" in done.stderr:
        pytest.skip(f"no mount name space here: {done.stderr.strip()}")
    assert (done.returncode, done.stdout.strip()) == (0, str(len(week.truth()))), done.stderr


def test_who_reads_leaves_no_file(week: Records) -> None:
    """Where no daemon runs, whoever asks makes no file that would be in its way later."""
    there = sorted(week.ledger.parent.iterdir())
    with Ledger(week.ledger) as ledger:
        ledger.summary()
        assert sorted(week.ledger.parent.iterdir()) == there
    assert sorted(week.ledger.parent.iterdir()) == there


def test_readers_do_not_hold_up_the_writer(week: Records, keep: Callable[..., Kept]) -> None:
    """While somebody reads a long list, images are put down, and the list goes on."""
    for number in range(600):
        week.file("nio", f"more/{number}.png", product="A")
    reindex(week.settings)
    kept = keep(week)
    kept.settle()
    with Ledger(week.ledger) as ledger:
        images = ledger.images("A")
        next(images)
        kept.keeper.tell([week.file("nio", "new.png", product="A")])
        kept.settle()
        assert ("nio", Path("new.png")) in {(image.outcome, image.path) for image in images}
    assert not kept.events("ledger_failed")
