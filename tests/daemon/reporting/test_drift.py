"""What the watch over drift promises: said once, over once, over restarts, and never in the way."""

from __future__ import annotations

import io
import json
import math
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cards import plain_card
from harness import Nursery
from PIL import Image

from daemon.reporting.drift import DriftWatch
from daemon.reporting.status import as_text, read_status
from filing.drift import DAYS, enter, read_days, state_name
from filing.folders import Folders
from filing.logs import open_log
from inspection.model import ModelCard
from inspection.reference import Reference, distribution
from inspection.verdict import judge
from settings import Settings, load
from settings.schema import LogSettings

TIME = "2026-01-01T00:00:00.000Z"
STATE = state_name(None)


def card(*signals: str, model: str = "one", images: int = 1000) -> ModelCard:
    """Of a model whose signals were standard normal in training."""
    values = np.random.default_rng(0).normal(0, 1, images).tolist()
    known = distribution(values, [str(number) for number in range(images)])
    return plain_card(model_id=model, reference=Reference(signals=dict.fromkeys(signals, known), nio_share=0.2))


class Bench:
    """A watch in a folder, with its log."""

    def __init__(self, folder: Path, config: dict[str, Any] | None = None) -> None:
        settings = Settings.model_validate({"drift": config or {}}, context={"base": folder})
        folders = Folders(settings.paths.line)
        folders.make()
        folders.look()
        self.work = settings.paths.work
        self.stream = io.StringIO()
        self.watch = DriftWatch(settings.drift, folders, open_log(LogSettings(file=None), self.stream))
        self.rng = np.random.default_rng(1)

    def feed(self, model: ModelCard, count: int, *, nio: float = 0.0, **shifts: float) -> None:
        """So many images: signals are moved by so many standard deviations."""
        for _ in range(count):
            verdict = judge(0.9 if self.rng.random() < nio else 0.1, 0.5, 0.5)
            signals = {name: float(self.rng.normal(shift, 1)) for name, shift in shifts.items()}
            self.watch.add(model, verdict, [signals], TIME)

    def events(self) -> list[dict[str, Any]]:
        """What was logged."""
        return [json.loads(line) for line in self.stream.getvalue().splitlines()]

    def names(self) -> list[str]:
        """What the log lines are called."""
        return [event["event"] for event in self.events()]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """A watch in an empty folder."""
    return Bench(tmp_path)


def test_a_shift_is_told_once_and_its_end_once(bench: Bench) -> None:
    """One event says what moved which way and how far; however long it lasts there is no other until it is over."""
    model = card("grey_mean", "contrast")
    bench.feed(model, 1000, grey_mean=0, contrast=0)
    assert bench.events() == []
    bench.feed(model, 200, grey_mean=-1, contrast=0)
    (event,) = bench.events()
    (moved,) = event["signals"]
    assert (event["event"], event["level"], event["model"], event["since"]) == ("drift", "warning", "one", TIME)
    assert (moved["signal"], moved["moved"]) == ("grey_mean", "down")
    assert moved["by_std"] == pytest.approx(-1, abs=0.5)
    assert moved["now"] == pytest.approx(-1, abs=0.5)
    assert moved["reference"] == pytest.approx(0, abs=0.1)
    bench.feed(model, 5000, grey_mean=-1, contrast=0)
    assert len(bench.events()) == 1
    bench.feed(model, 2000, grey_mean=0, contrast=0)
    assert bench.names() == ["drift", "drift_over"]
    assert bench.events()[1]["signals"] == ["grey_mean"]


def test_each_day_has_its_highest_sums(bench: Bench) -> None:
    """What others draw of it: below 1 while all is well, 1 and more where a chart has moved, also of a model before."""
    bench.feed(card("grey_mean", "contrast"), 300, grey_mean=-1, contrast=0)
    bench.feed(card("contrast", model="two"), 1, contrast=0)
    bench.watch.save(now=True)
    ((day, found),) = read_days(bench.work, None).items()
    assert day.isoformat() == TIME[:10]
    assert found["grey_mean"] > 1 > found["contrast"] > 0
    assert set(found) == {"grey_mean", "contrast", "nio_share"}


def test_old_days_are_forgotten(tmp_path: Path) -> None:
    """So that the state stays small; a clock that was set back adds no day, and damage costs no more than the chart."""
    days: dict[str, dict[str, float]] = {}
    for number in range(DAYS + 9):
        enter(days, f"2026-{1 + number // 28:02d}-{1 + number % 28:02d}T00:00:00.000Z", "contrast", 0.5)
    assert len(days) == DAYS
    enter(days, "2020-01-01T00:00:00.000Z", "contrast", 2)
    assert len(days) == DAYS
    for damage in (b"[]", b"{", b'{"days": {"x": {}}}', b'{"days": {"2026-01-01": {"contrast": []}}}'):
        (tmp_path / STATE).write_bytes(damage)
        assert read_days(tmp_path, None) == {}


def test_signals_that_join_are_told_once_each(bench: Bench) -> None:
    """What has nearly moved is in the first event; what follows has one event, even if it comes and goes."""
    model = card("grey_mean", "grey_bright", "contrast")
    bench.feed(model, 200, grey_mean=1.5, grey_bright=1.5, contrast=0)
    assert [sorted(chart["signal"] for chart in event["signals"]) for event in bench.events()] == [
        ["grey_bright", "grey_mean"]
    ]
    for contrast in (2.0, 0.0, 2.0, 0.0):
        bench.feed(model, 300, grey_mean=1.5, grey_bright=1.5, contrast=contrast)
    assert bench.names() == ["drift", "drift_more"]
    bench.feed(model, 500, grey_mean=0, grey_bright=0, contrast=0)
    assert bench.names() == ["drift", "drift_more", "drift_over"]


def test_images_judged_nio_move_the_share_alone(bench: Bench) -> None:
    """Defects look different and come more or less often; that is no drift of the grey levels."""
    model = card("grey_mean")
    for number in range(3000):
        is_nio = number % 5 == 0
        verdict = judge(0.9 if is_nio else 0.1, 0.5, 0.5)
        value = 3.0 if is_nio else float(bench.rng.normal(0, 1))
        bench.watch.add(model, verdict, [{"grey_mean": value}], TIME)
    assert bench.events() == []


def test_all_nio_is_told_at_once(bench: Bench) -> None:
    """A new model that calls everything nio is told within 50 images, before anything was learned."""
    bench.feed(card("grey_mean"), 50, nio=1.0, grey_mean=0)
    (event,) = bench.events()
    assert [(chart["signal"], chart["moved"], chart["now"]) for chart in event["signals"]] == [("nio_share", "up", 1.0)]
    assert event["signals"][0]["reference"] == 0.2


def test_a_stack_counts_once(bench: Bench) -> None:
    """Sixty-four pages of one unusual joint are one file, and no drift; three such joints in a row are none either."""
    model = card("grey_mean")
    verdict = judge(0.1, 0.5, 0.5)
    for _ in range(3):
        bench.watch.add(model, verdict, [{"grey_mean": 2.0}] * 64, TIME)
    assert bench.events() == []
    assert bench.watch.report()["images"] == 3


def test_pages_that_differ_are_no_drift_and_a_shift_of_all_is(bench: Bench) -> None:
    """Slices at several heights are dark and bright in turn; when all become brighter that is told."""
    model, verdict = card("grey_mean"), judge(0.1, 0.5, 0.5)

    def feed(count: int, shift: float) -> None:
        for _ in range(count):
            noise = bench.rng.normal(0, 0.3)
            pages = [{"grey_mean": float(height + noise + shift)} for height in (-1.2, -0.6, 0.0, 0.6, 1.2)]
            bench.watch.add(model, verdict, pages, TIME)

    feed(2000, 0)
    assert bench.events() == []
    feed(200, 1)
    (event,) = bench.events()
    assert event["signals"][0]["now"] == pytest.approx(1, abs=0.3)


def test_a_bad_page_keeps_its_stack_out_of_the_charts(bench: Bench) -> None:
    """Of a file that is nio no page moves a chart of grey levels, though some of them are good."""
    for _ in range(40):
        bench.watch.add(card("grey_mean"), judge(0.9, 0.5, 0.5), [{"grey_mean": 3.0}] * 5, TIME)
        bench.watch.add(card("grey_mean"), judge(0.1, 0.5, 0.5), [{"grey_mean": 0.0}] * 5, TIME)
    assert bench.events() == []


def test_the_usual_share_is_learned(bench: Bench) -> None:
    """A line with half the training's share is calm; after 500 images more than thrice its own is told."""
    model = card("grey_mean")
    bench.feed(model, 2000, nio=0.05, grey_mean=0)
    assert bench.events() == []
    bench.feed(model, 200, nio=0.4, grey_mean=0)
    (event,) = bench.events()
    assert event["signals"][0]["reference"] == pytest.approx(0.05, abs=0.03)
    bench.feed(model, 500, nio=0.05, grey_mean=0)
    assert bench.names() == ["drift", "drift_over"]


def test_the_usual_share_can_be_given(tmp_path: Path) -> None:
    """With drift.nio_share nothing is learned: a line of 80 % nio is calm, one of 30 % is told."""
    bench = Bench(tmp_path, {"nio_share": 0.8})
    model = card("grey_mean")
    bench.feed(model, 2000, nio=0.8, grey_mean=0)
    assert bench.events() == []
    bench.feed(model, 200, nio=0.3, grey_mean=0)
    assert [chart["moved"] for chart in bench.events()[0]["signals"]] == ["down"]


def test_a_restart_goes_on_where_it_was(tmp_path: Path) -> None:
    """A drift that was told is not told again by the next process; its end is."""
    first, model = Bench(tmp_path), card("grey_mean")
    first.feed(model, 100, grey_mean=2)
    first.watch.save()
    before = first.watch.report()
    second = Bench(tmp_path)
    second.watch.use(model)
    assert second.watch.report() == before
    second.feed(model, 300, grey_mean=2)
    assert (first.names(), second.names()) == (["drift"], [])
    second.feed(model, 500, grey_mean=0)
    assert second.names() == ["drift_over"]


def test_another_model_begins_anew(bench: Bench) -> None:
    """The charts are of one model: the next one has empty charts, and a drift of the old one is over."""
    bench.feed(card("grey_mean"), 100, grey_mean=2)
    bench.watch.use(card("grey_mean", model="two"))
    assert bench.names() == ["drift", "drift_over"]
    assert bench.watch.report()["images"] == 0
    assert not any("moved" in chart for chart in bench.watch.report()["charts"])


@pytest.mark.parametrize(
    "state",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff",
        b'{"model": 3}',
        b'{"model": "one", "images": -1}',
        b'{"model": "one", "learning": 500, "nio": 5000}',
        b'{"model": "one", "charts": {"grey_mean": {"up": {"total": NaN}}}}',
        b'{"model": "one", "charts": {"grey_mean": {"up": {"total": Infinity}}}}',
        b'{"model": "one", "charts": {"grey_mean": {"up": {"total": "much"}}}}',
        b"[" * 100_000,
    ],
)
def test_a_damaged_state_is_begun_anew(tmp_path: Path, state: bytes) -> None:
    """Whatever lies in the state file, the watch starts and works."""
    Bench(tmp_path).work.joinpath(STATE).write_bytes(state)
    bench = Bench(tmp_path)
    bench.feed(card("grey_mean"), 100, grey_mean=2)
    assert bench.names() == ["drift"]


def test_a_state_of_other_signals_is_used_as_far_as_it_goes(tmp_path: Path) -> None:
    """After an update of the program some signals may be new and others gone."""
    first = Bench(tmp_path)
    first.feed(card("grey_mean", "old"), 50, grey_mean=0.3, old=0)
    first.watch.save(now=True)
    second = Bench(tmp_path)
    second.feed(card("grey_mean", "new"), 50, grey_mean=0, new=0)
    assert [chart["signal"] for chart in second.watch.report()["charts"]] == ["grey_mean", "new", "nio_share"]
    assert second.watch.report()["images"] == 100


def test_a_state_that_cannot_be_written_costs_nothing(bench: Bench) -> None:
    """When the work folder goes away the watch goes on in memory."""
    bench.feed(card("grey_mean"), 1, grey_mean=0)
    shutil.rmtree(bench.work)
    bench.feed(card("grey_mean"), 100, grey_mean=2)
    bench.watch.save(now=True)
    assert bench.names() == ["drift"]


def test_a_state_that_could_not_be_written_is_written_later(bench: Bench) -> None:
    """On a full disk nothing of it is lost for good: also if no further image came, the last word is written down."""
    model = card("grey_mean")
    bench.feed(model, 100, grey_mean=2)
    in_the_way = bench.work / f"{STATE}.new"
    in_the_way.mkdir()
    bench.watch.save()
    assert not (bench.work / STATE).exists()
    in_the_way.rmdir()
    bench.watch.save(now=True)
    assert json.loads((bench.work / STATE).read_bytes())["told"] == ["grey_mean"]


def test_the_state_of_another_model_is_replaced(tmp_path: Path) -> None:
    """That the old model's drift is over is told once, also where no image came since and as many as before came."""
    first = Bench(tmp_path)
    first.feed(card("grey_mean"), 100, grey_mean=2)
    first.watch.save()
    second = Bench(tmp_path)
    second.watch.use(card("grey_mean", model="two"))
    second.feed(card("grey_mean", model="two"), 100, grey_mean=0)
    second.watch.save(now=True)
    third = Bench(tmp_path)
    third.watch.use(card("grey_mean", model="two"))
    assert (second.names(), third.names()) == (["drift_over"], [])
    assert third.watch.report()["images"] == 100


def test_the_state_is_not_written_for_every_image(bench: Bench) -> None:
    """Ordinary images are written down now and then; a drift soon."""
    model = card("grey_mean")
    bench.feed(model, 20, grey_mean=0)
    bench.watch.save()
    assert not (bench.work / STATE).exists()
    bench.feed(model, 50, grey_mean=2)
    bench.watch.save()
    assert json.loads((bench.work / STATE).read_bytes())["told"] == ["grey_mean"]


def test_what_cannot_be_watched_is_said_once(bench: Bench) -> None:
    """A model without a reference is told once, and so is one with too few images; the status says it too."""
    old = card().model_copy(update={"reference": None})
    bench.feed(old, 30, grey_mean=9)
    assert bench.names() == ["drift_unwatched"]
    assert "train anew" in bench.watch.report()["unwatched"]
    bench.feed(card("grey_mean", model="two", images=5), 10, grey_mean=9)
    assert bench.names() == ["drift_unwatched"] * 2
    assert "grey_mean" in bench.watch.report()["unwatched"]


def test_nothing_is_watched_where_nobody_wants_it(tmp_path: Path) -> None:
    """With drift.watch: false there is no event, whatever comes."""
    bench = Bench(tmp_path, {"watch": False})
    bench.feed(card("grey_mean"), 300, nio=0.5, grey_mean=5)
    assert bench.events() == []
    assert bench.watch.report()["unwatched"] == "drift.watch is false"


def test_signals_that_are_missing_move_nothing(bench: Bench) -> None:
    """An image without a number, or with a signal that training did not know, is passed over."""
    model = card("grey_mean")
    bench.feed(model, 300, unknown=math.pi)
    bench.feed(model, 300)
    assert bench.events() == []


@pytest.fixture
def drop(line: Path, draw_disc: Callable[..., Any]) -> Callable[[int, float], None]:
    """Put so many fresh good discs into the inbox, brighter by a factor."""
    rng = np.random.default_rng(8)
    numbers: Iterator[int] = iter(range(10_000))

    def put(count: int, brightness: float) -> None:
        inbox = line / "data" / "inbox"
        inbox.mkdir(parents=True, exist_ok=True)
        for number, _ in zip(numbers, range(count), strict=False):
            pixels = np.clip(draw_disc(rng, void=False) * brightness, 0, 255).astype(np.uint8)
            part = inbox / f"{number}.part"
            Image.fromarray(pixels).save(part, "png")
            part.rename(inbox / f"{number:04d}.png")

    return put


def _drift_lines(folder: Path) -> Sequence[str]:
    text = as_text(read_status(load(folder / "config.yaml")))
    return [row.partition(" ")[2].strip() for row in text.splitlines() if row.startswith("drift")]


def test_a_daemon_tells_a_drift_and_its_end(nursery: Nursery, line: Path, drop: Callable[[int, float], None]) -> None:
    """Images 4 % brighter: one event, in the status too; the next process says nothing new; ordinary images end it."""
    drop(60, 1.04)
    assert nursery.once(line) == 0
    (event,) = _logged(line, "drift")
    told = {chart["signal"]: chart["moved"] for chart in event["signals"]}
    # As the model sees it: a brighter good image, or something that is none at all.
    assert told.get("grey_mean") == "up" or told.get("nio_share") == "up"
    for signal, moved in told.items():
        assert any(row.startswith(f"{signal} {moved} ") for row in _drift_lines(line))
    drop(30, 1.04)
    assert nursery.once(line) == 0
    drop(120, 1.0)
    assert nursery.once(line) == 0
    assert len(_logged(line, "drift")) == len(_logged(line, "drift_over")) == 1
    assert _drift_lines(line)[-1].startswith("none, after 210 images")


def _logged(folder: Path, name: str) -> list[dict[str, Any]]:
    lines = (folder / "logs" / "decisions.jsonl").read_text().splitlines()
    return [event for event in map(json.loads, lines) if event["event"] == name]
