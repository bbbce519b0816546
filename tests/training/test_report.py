"""What the report promises: a page that works offline, its figures, and the same numbers as JSON."""

from __future__ import annotations

import json
import os
import re
import shutil
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest
import torch
from PIL import Image

from inspection.inspector import Inspector
from inspection.model import load as load_model
from settings import load
from training.dataset import read, split
from training.evaluate import evaluate
from training.fit import History
from training.predict import predict
from training.report import Findings, write_report

pytestmark = pytest.mark.usefixtures("one_thread")

MAX_PIXELS = 10**6


@dataclass
class Page(HTMLParser):
    """An HTML page: what it refers to, and what it says."""

    text: str
    references: list[str] = field(default_factory=list)
    said: str = ""
    open: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self.feed(self.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note every address, and that the element is open."""
        self.references += [unquote(value or "") for name, value in attrs if name in {"src", "href"}]
        if tag not in {"meta", "img", "br", "link"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Elements close in their order."""
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Note the text."""
        self.said += f"{data} "


@pytest.fixture(scope="module")
def report(trained: Path) -> Path:
    """The report of a real training."""
    return trained / "models" / "current" / "report"


@pytest.fixture(scope="module")
def page(report: Path) -> Page:
    """Its page."""
    return Page((report / "index.html").read_text(encoding="utf-8"))


def test_everything_referred_to_is_there(page: Page, report: Path) -> None:
    """The page refers to its five figures, the copies set aside and the numbers, all of them files beside it."""
    assert {"epochs.png", "confusion.png", "scores.png", "maps.png", "transformed.png"} <= set(page.references)
    assert {"metrics.json", "unseen/"} <= set(page.references)
    assert all((report / reference).resolve().is_relative_to(report.resolve()) for reference in page.references)
    assert all((report / reference).exists() for reference in page.references)


def test_it_works_offline(page: Page) -> None:
    """Nothing on the page is fetched from anywhere else."""
    assert not re.search(r"(https?:)?//\w|@import|url\(|<script", page.text)
    assert page.open == []


def test_figures_are_pictures(report: Path) -> None:
    """Every figure is a whole PNG that a person can read something on."""
    for path in report.glob("*.png"):
        with Image.open(path) as figure:
            figure.load()
            assert figure.format == "PNG"
            assert min(figure.size) > 200


def test_numbers(page: Page, report: Path) -> None:
    """The page says the model's id, recall, what it proves, the false-call rate and how many images each part has."""
    card = json.loads((report.parent / "model.json").read_text(encoding="utf-8"))
    test = card["metrics"]["test"]
    assert card["model_id"] in page.said
    assert f"{100 * test['recall']:.2f} %" in page.said
    assert f"{100 * test['recall_bound']:.2f} %" in page.said
    assert f"{100 * test['false_call_rate']:.2f} %" in page.said
    assert card["training_data"]["fingerprint"] in page.said
    for part, counts in card["training_data"]["parts"].items():
        assert re.search(rf"{part}\s+{counts['io']}\s+{counts['nio']}\s", page.said)


def test_metrics_json_is_model_json(report: Path) -> None:
    """metrics.json holds what model.json says, to the last digit, with the history and the predictions."""
    card = json.loads((report.parent / "model.json").read_text(encoding="utf-8"))
    numbers = json.loads((report / "metrics.json").read_text(encoding="utf-8"))
    del card["golden"]
    assert numbers["model"] == card
    assert numbers["history"]["best"] == min(range(10), key=numbers["history"]["validation_loss"].__getitem__)
    assert len(numbers["unseen"]) == sum(card["training_data"]["parts"]["unseen"].values())


@pytest.fixture(scope="module")
def inspector(trained: Path) -> Inspector:
    """With the trained model."""
    return Inspector(load_model(trained / "models" / "current", torch.device("cpu")), "XGradCAM", only_last_conv=True)


@pytest.fixture
def findings(trained: Path) -> Findings:
    """Small but whole findings, without images set aside."""
    settings = load(trained / "config.yaml")
    dataset = read(settings)
    parts = split(dataset.images, settings.training)
    test = [*parts["test"][:2], *parts["test"][-2:]]
    scores = [0.1, 0.2, 0.8, 0.9]
    found = evaluate([image.label for image in test], scores, 0.5)
    return Findings(
        dataset=dataset,
        parts={**{str(part): images[:2] for part, images in parts.items()}, "test": test, "unseen": []},
        history=History([0.9, 0.5], [0.5, 0.7], [0.8, 0.6], [0.6, 0.8], best=1),
        test=found,
        test_probabilities=scores,
        predictions=[],
        required_recall=0.99,
        vertical_flip=0.6,
    )


def with_image_set_aside(findings: Findings, inspector: Inspector, folder: Path, name: str) -> Findings:
    """The findings with one image set aside, of that name, judged into `folder/report/unseen`."""
    image = findings.parts["test"][0]
    path = folder / name
    shutil.copyfile(image.path, path)
    aside = [replace(image, path=path)]
    predictions = predict(aside, inspector, folder / "report" / "unseen", MAX_PIXELS)
    return replace(findings, parts={**findings.parts, "unseen": aside}, predictions=predictions)


def test_strange_names(findings: Findings, inspector: Inspector, tmp_path: Path) -> None:
    """A file name with markup, spaces and signs is shown as it is and its link works; so are skipped files' names."""
    name = '<b>50% "gut" & #1?.png'
    dataset = replace(
        findings.dataset,
        unreadable=[(Path("dataset/io/<i>broken.png"), "the file is empty")],
        duplicates=[(Path("dataset/io/one.png"), Path("dataset/io/<u>two.png"))],
    )
    told = with_image_set_aside(replace(findings, dataset=dataset), inspector, tmp_path, name)
    page = Page(write_report(tmp_path / "report", told, inspector, MAX_PIXELS).read_text(encoding="utf-8"))
    for said in (name, "<i>broken.png: the file is empty", "<u>two.png (same as dataset/io/one.png)"):
        assert said in page.said
    assert page.open == []
    assert all((tmp_path / "report" / reference).exists() for reference in page.references)


def test_a_name_that_is_not_utf8(findings: Findings, inspector: Inspector, tmp_path: Path) -> None:
    """A file name is bytes: one that is no UTF-8 does not cost the report."""
    told = with_image_set_aside(findings, inspector, tmp_path, os.fsdecode(b"part\xff.png"))
    assert write_report(tmp_path / "report", told, inspector, MAX_PIXELS).is_file()


def test_none_set_aside_and_stopped_by_hand(findings: Findings, inspector: Inspector, tmp_path: Path) -> None:
    """The page says when no image was set aside, and when the training was interrupted, within an epoch too."""
    history = replace(findings.history, interrupted=True, train_loss=[0.9, 0.5, 0.4], train_accuracy=[0.5, 0.7, 0.8])
    told = replace(findings, history=history)
    page = Page(write_report(tmp_path / "report", told, inspector, MAX_PIXELS).read_text(encoding="utf-8"))
    assert "interrupted by hand" in page.said
    assert "training.unseen  asks for none" in page.said
    assert "unseen/" not in page.references
