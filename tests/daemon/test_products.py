"""A line with products: each image is judged by its own product's model or by none, and no product suffers for another.

Product A calls every image io, product B every image nio: whoever judged an image can be told from its verdict.
"""

from __future__ import annotations

import gc
import shutil
import weakref
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from bench import Bench
from harness import Fault, Ledger, Nursery
from opinions import configure, opinion, picture

from daemon.checking.check import check
from daemon.intake.requeue import requeue
from daemon.judging import current_model
from daemon.reporting.metrics import MetricsFile
from daemon.reporting.standing import Standing
from daemon.reporting.status import as_text, read_status
from filing.folders import Folders
from filing.logs import open_log
from inspection.errors import SolderwatchError
from inspection.inspector import Inspector
from settings import load

MATCHES = {"A": "^a/", "B": "^b/"}
ONE_AT_A_TIME = "judge: {models_in_memory: 1}\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A line of two products whose models contradict each other."""
    configure(tmp_path, MATCHES)
    opinion(tmp_path / "models" / "A", "io")
    opinion(tmp_path / "models" / "B", "nio")
    return tmp_path


def _drop(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / "data" / "inbox" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(sum(name.encode())))


def _outcomes(bench: Bench) -> dict[str, tuple[str, str]]:
    return {event["file"]: (event["product"], event["outcome"]) for event in bench.events("decision")}


def _in_steps(bench: Bench, monkeypatch: pytest.MonkeyPatch, *steps: Callable[[], None]) -> None:
    """Run a line; whenever its inbox is empty the next step is taken, and after the last one it stops."""
    left = list(steps)

    def pause() -> None:
        if any(path.is_file() for path in bench.inbox.rglob("*")):
            bench.stop.wait(0.02)
        elif left:
            left.pop(0)()
        else:
            bench.stop.set()

    monkeypatch.setattr(bench.line, "_pause", pause)
    bench.line.run()


def _names(product: str, count: int) -> list[str]:
    return [f"{product}/{number:03d}.png" for number in range(count)]


@pytest.mark.parametrize("more", ["", ONE_AT_A_TIME], ids=["room for both", "room for one"])
def test_each_image_is_judged_by_its_products_model(folder: Path, more: str) -> None:
    """In a mixed backlog every verdict is that of the product's own model, and the record names the product."""
    configure(folder, MATCHES, more)
    bench = Bench(folder)
    _drop(folder, *_names("a", 40), *_names("b", 40))
    bench.line.run(once=True)
    found = _outcomes(bench)
    assert len(found) == 80
    assert {verdict for name, verdict in found.items() if name[0] == "a"} == {("A", "io")}
    assert {verdict for name, verdict in found.items() if name[0] == "b"} == {("B", "nio")}


def test_a_new_model_concerns_its_product_only(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From one image to the next A has another model; B's is not even loaded again."""
    bench = Bench(folder)
    before = bench.models.of("B")

    def renew() -> None:
        opinion(folder / "models" / "A", "nio")
        _drop(folder, "a/2.png", "b/2.png")

    _in_steps(bench, monkeypatch, partial(_drop, folder, "a/1.png", "b/1.png"), renew)
    assert _outcomes(bench) == {
        "a/1.png": ("A", "io"), "a/2.png": ("A", "nio"), "b/1.png": ("B", "nio"), "b/2.png": ("B", "nio"),
    }  # fmt: skip
    assert bench.models.of("B") is before
    assert [event["product"] for event in bench.events("model_loaded")].count("B") == 1


@pytest.mark.parametrize("more", ["", ONE_AT_A_TIME], ids=["in memory", "out of memory meanwhile"])
def test_a_refused_model_keeps_the_products_old_one(folder: Path, monkeypatch: pytest.MonkeyPatch, more: str) -> None:
    """A damaged new model of A is told with A's name, and A's old one judges on, also if it had left the memory."""
    configure(folder, MATCHES, more)
    bench = Bench(folder)
    kept = (folder / "models" / "A" / "current").resolve()

    def spoil() -> None:
        opinion(folder / "models" / "A", "nio", seed=1)
        (folder / "models" / "A" / "current" / "model.json").write_text("{}")
        _drop(folder, "a/2.png", "b/2.png")

    _in_steps(bench, monkeypatch, partial(_drop, folder, "a/1.png"), partial(_drop, folder, "b/1.png"), spoil)
    assert _outcomes(bench)["a/2.png"] == ("A", "io")
    (refused,) = bench.events("model_refused")
    assert (refused["product"], refused["kept"] in kept.name) == ("A", True)


def test_a_file_of_no_product_goes_to_quarantine_and_comes_back(folder: Path) -> None:
    """Nobody guesses: it says which path and what was tried; once the configuration knows it, requeue has it judged."""
    bench = Bench(folder)
    _drop(folder, "c/1.png", "a/1.png")
    bench.line.run(once=True)
    (event,) = bench.events("quarantine")
    assert event["reason"] == "no product"
    assert "c/1.png is taken by none of the products; tried A (match ^a/), B (match ^b/)" in event["error"]
    assert "product" not in event
    assert _outcomes(bench) == {"a/1.png": ("A", "io")}
    configure(folder, MATCHES | {"C": "^c/"})
    opinion(folder / "models" / "C", "nio")
    settings = load(folder / "config.yaml")
    assert [str(path) for path, _ in requeue(settings, [], open_log(settings.logs))] == ["c/1.png"]
    again = Bench(folder)
    again.line.run(once=True)
    assert _outcomes(again) == {"c/1.png": ("C", "nio")}


def test_a_file_of_no_product_is_of_no_board(folder: Path) -> None:
    """Nobody knows whose board it is of: no record without a product says that one is open, not even after requeue."""
    boards = "names: {pattern: '(?P<board>B1)_(?P<joint>j\\d)'}\nboards: {complete: {joints: 1}}\n"
    configure(folder, MATCHES, boards)
    bench = Bench(folder)
    _drop(folder, "c/B1_j1.png", "a/B1_j1.png")
    bench.line.run(once=True)
    configure(folder, MATCHES | {"C": "^c/"}, boards)
    opinion(folder / "models" / "C", "nio")
    settings = load(folder / "config.yaml")
    assert [str(path) for path, _ in requeue(settings, [], open_log(settings.logs))] == ["c/B1_j1.png"]
    again = Bench(folder)
    again.line.run(once=True)
    told = [(event["record"], event["verdict"]) for event in [*bench.events("board"), *again.events("board")]]
    assert told == [("A/B1.json", "io"), ("C/B1.json", "nio")]


def test_a_product_without_a_model_waits_and_the_others_go_on(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its files stay in the inbox, told once and counted; with a model they are judged, without a restart."""
    shutil.rmtree(folder / "models" / "B")
    _drop(folder, "a/1.png", "b/1.png", "b/2.png")
    once = Bench(folder)
    with pytest.raises(SolderwatchError, match="2 files"):
        once.line.run(once=True)
    assert _outcomes(once) == {"a/1.png": ("A", "io")}
    status = read_status(load(folder / "config.yaml"))
    assert status.products["B"] == {"model": None, "io": 0, "nio": 0, "quarantine": 0, "waiting": 2}
    assert "B: 0 io, 0 nio, 0 quarantine, 2 waiting; no model yet" in as_text(status)
    bench, looks = Bench(folder), []

    def pause() -> None:
        looks.append(1)
        if len(looks) == 3:
            opinion(folder / "models" / "B", "nio")
        elif len(looks) > 3 and len(_outcomes(bench)) == 2:
            bench.stop.set()

    monkeypatch.setattr(bench.line, "_pause", pause)
    bench.line.run()
    assert _outcomes(bench) == {"b/1.png": ("B", "nio"), "b/2.png": ("B", "nio")}
    assert [event["product"] for event in bench.events("no_model")] == ["B"]


def test_memory_falls_when_a_model_leaves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With more products than there is room for, never more of their models are alive than there is room for."""
    matches = {f"P{number}": f"^p{number}/" for number in range(5)}
    configure(tmp_path, matches, "judge: {models_in_memory: 2}\n")
    for number, product in enumerate(matches):
        opinion(tmp_path / "models" / product, "io", seed=number)
    alive: weakref.WeakSet[Inspector] = weakref.WeakSet()
    most: list[int] = []

    def counted(*arguments: Any, **named: Any) -> Inspector:
        made = Inspector(*arguments, **named)
        alive.add(made)
        most.append(len(alive))
        return made

    monkeypatch.setattr(current_model, "Inspector", counted)
    bench = Bench(tmp_path)
    gc.disable()  # the memory falls at once, not some time
    try:
        rounds = [[f"p{number}/{turn}.png" for number in range(5)] for turn in range(2)]
        _in_steps(bench, monkeypatch, *(partial(_drop, tmp_path, *names) for names in rounds))
    finally:
        gc.enable()
    assert len(_outcomes(bench)) == 10
    assert max(most) == 2
    assert len(bench.models.loaded) == 2


def test_a_reload_keeps_each_products_model_for_that_product(folder: Path) -> None:
    """After SIGHUP with swapped patterns files are judged by whom the new configuration says; nothing is mixed up."""
    bench = Bench(folder)
    _drop(folder, "a/1.png", "b/1.png")
    bench.line.run(once=True)
    configure(folder, {"A": "^b/", "B": "^a/"})
    again = Bench(folder, before=bench.models)
    assert {product: again.models.loaded[product] for product in ("A", "B")} == bench.models.loaded
    _drop(folder, "a/2.png", "b/2.png")
    again.line.run(once=True)
    assert _outcomes(again) == {"a/2.png": ("B", "nio"), "b/2.png": ("A", "io")}


def test_recovery_goes_by_the_path_and_the_configuration_of_now(folder: Path, nursery: Nursery) -> None:
    """Killed with images of several products in hand: each is judged by whose it is at the restart, or nobody."""
    ledger = Ledger(folder)
    for number, name in enumerate([*_names("a", 3), *_names("b", 3)]):
        ledger.drop(name, picture(number))
    assert nursery.dies(folder, Fault(at=1, only="cam.part"))
    assert list((folder / "data" / "work").glob("*/*.png"))
    configure(folder, {"A": "^b/"})
    assert nursery.once(folder) == 0
    assert ledger.check_filed() == {"quarantine": 3, "io": 3}
    assert {path.parent.name for path in (folder / "data" / "io").rglob("*.png")} == {"b"}


def test_killed_at_any_call(folder: Path, nursery: Nursery, long: bool) -> None:
    """An image of each product and one of none are whole in one place at every death, and end where they belong."""
    ledger = Ledger(folder)
    for number, name in enumerate(("a/1.png", "b/1.png", "c/1.png")):
        ledger.drop(name, picture(number))
    ledger.save()
    assert nursery.once(folder, Fault(at=10**9)) == 0
    calls = len((folder / "calls").read_text().splitlines())
    for number in range(1, calls + 1, 1 if long else 11):
        ledger.restore()
        nursery.dies(folder, Fault(at=number))
        ledger.check()
        assert nursery.once(folder) == 0
        assert ledger.check_filed() == {"io": 1, "nio": 1, "quarantine": 1}, f"killed at call {number}"


def test_each_product_is_told_apart(folder: Path) -> None:
    """Drift, metrics and status of a product are its own; what is of none is counted as that."""
    metrics = folder / "line.prom"
    configure(folder, MATCHES, f"metrics: {{file: {metrics}}}\n")
    bench = Bench(folder)
    bench.tally.metrics.of(MATCHES)
    _drop(folder, "a/1.png", "a/2.png", "b/1.png", "c/1.png")
    bench.line.run(once=True)
    settings = load(folder / "config.yaml")
    log = open_log(settings.logs, bench.stream)
    models = bench.models
    standing = Standing("cpu", models.there, frozenset(models.loaded), models.cards)
    MetricsFile(bench.tally.metrics).write(
        settings, Folders(settings.paths.line), log, running=True, sees=True, models=standing, drift={}
    )
    text = metrics.read_text()
    for line in (
        'solderwatch_images_total{outcome="io",product="A",reason="clear"} 2.0',
        'solderwatch_images_total{outcome="nio",product="B",reason="defect"} 1.0',
        'solderwatch_images_total{outcome="quarantine",product="",reason="no product"} 1.0',
        'solderwatch_model_loaded{product="B"} 1.0',
        "solderwatch_models_in_memory 2.0",
    ):
        assert line in text
    products = read_status(settings).products
    assert (products["A"]["io"], products["B"]["nio"]) == (2, 1)
    assert bench.drifts.of("A") is not bench.drifts.of("B")


def test_check_looks_at_every_products_model_and_names(folder: Path) -> None:
    """A product without a model is named, so are files of no product, and those that two products would take."""
    shutil.rmtree(folder / "models" / "B")
    configure(folder, MATCHES | {"both": "^a/1"})
    Bench(folder)
    _drop(folder, "a/1.png", "b/1.png", "c/1.png")
    told = [f"{found.level} {found.text}" for found in check(load(folder / "config.yaml"))]
    assert any(text.startswith("ok A: model: ") for text in told)
    assert any(text.startswith("warning B: ") and "no model" in text for text in told)
    assert any("1 are of none, such as c/1.png" in text for text in told)
    assert any("1 match several, such as a/1.png: A, both; A has it" in text for text in told)
