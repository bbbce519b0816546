"""What the report promises: one page that needs nothing else, the certificate first, and the same numbers as JSON."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import shutil
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
import torch
from PIL import Image

from filing.doubts import Price
from filing.estimates import Agreement, checks
from inspection.image import Limits
from inspection.inspector import Inspector
from inspection.model import Certificate, Proof
from inspection.model import load as load_model
from inspection.shares import Share
from inspection.verdict import judge
from settings import load
from training.data.dataset import read, split
from training.fitting.fit import History
from training.proof.evaluate import Judgement, evaluate
from training.proof.labels import Doubt, LabelCheck
from training.proof.predict import predict
from training.proof.report import Findings, write_report
from training.proof.threshold import Choice, Scores
from training.release.operators import count_acts

pytestmark = pytest.mark.usefixtures("one_thread")

LIMITS = Limits(10**6)
SCORES = Scores(np.array([2.0, 3.0]), np.array([-3.0, -2.0]), ["a", "b"], ["c", "d"])
VOID = {"meta", "img", "br", "link"}


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
        self.said = " ".join(self.said.split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note every address, and that the element is open."""
        self.references += [value or "" for name, value in attrs if name in {"src", "href"}]
        if tag not in VOID:
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


def test_one_file(page: Page, report: Path) -> None:
    """The page refers to nothing outside of itself, and is small enough for a mail."""
    assert page.references
    assert all(reference.startswith("data:image/") for reference in page.references)
    assert not re.search(r"(https?:)?//\w|@import|url\(|<script", re.sub(r"data:image/[^\"]+", "", page.text))
    assert page.open == []
    assert (report / "index.html").stat().st_size < 5_000_000
    assert sorted(path.name for path in report.iterdir()) == ["index.html", "metrics.json", "unseen"]


def test_pictures_are_whole(page: Page) -> None:
    """Every chart is sound SVG and every photograph a JPEG that can be decoded."""
    for reference in page.references:
        kind, data = reference.split(";base64,")
        if kind == "data:image/svg+xml":
            assert ET.fromstring(base64.b64decode(data)).tag.endswith("svg")  # noqa: S314 - our own
        else:
            with Image.open(io.BytesIO(base64.b64decode(data))) as picture:
                picture.load()
                assert picture.format == "JPEG"


def test_in_the_order_of_the_questions(page: Page) -> None:
    """Requirement and proof come first, then test, threshold, mistakes, the strange, labels, data and limits."""
    headings = re.findall(r"<h2>(.*?)</h2>", page.text)
    assert headings == [
        "Requirement and certificate",
        "On the untouched test images",
        "How the threshold was chosen",
        "Worst mistakes",
        "What the model doesn't understand",
        "Check these labels",
        "Images set aside before anything else",
        "Data",
        "Training",
        "What this model can't do",
    ]


def test_numbers(page: Page, report: Path) -> None:
    """The page says what the certificate is bound to, recall, its proof, false calls, and the size of each part."""
    card = json.loads((report.parent / "model.json").read_text(encoding="utf-8"))
    test, certificate = card["metrics"]["test"], card["certificate"]
    assert card["model_id"] in page.said
    assert card["weights_sha256"] in page.said
    assert certificate["data_fingerprint"] in page.said
    for name, version in card["versions"].items():
        assert f"{name} {version}" in page.said
    assert f"{100 * test['recall']:.2f} %" in page.said
    assert f"{100 * certificate['proof']['recall_bound']:.2f} %" in page.said
    assert f"{100 * test['false_call_rate']:.2f} %" in page.said
    for part, counts in card["training_data"]["parts"].items():
        assert re.search(rf"{part}\s+{counts['io']}\s+{counts['nio']}\s", page.said)
    for name in card["training_data"]["settings"]:
        assert f" {name} " in page.said


def test_it_keeps_to_itself_where_it_was_made(page: Page, trained: Path) -> None:
    """The page tells a customer nothing of the folders of the computer that it was made on."""
    assert str(trained.resolve()) not in page.said


def test_strange_images(page: Page, report: Path) -> None:
    """Strange images are made and judged with the model in hand, and the page has a line for each kind of them."""
    made = json.loads((report / "metrics.json").read_text(encoding="utf-8"))["strange"]
    assert [kind["made"].split()[0] for kind in made] == ["blank", "noise", "inverted", "saturated", "half"]
    for kind in made:
        counts = f"{kind['images']} {kind['novel']} {kind['defect']} {kind['io']}"
        assert f"{kind['made']} {counts}" in page.said


def test_metrics_json_is_model_json(report: Path) -> None:
    """metrics.json holds what model.json says, to the last digit, with the history and the predictions."""
    card = json.loads((report.parent / "model.json").read_text(encoding="utf-8"))
    numbers = json.loads((report / "metrics.json").read_text(encoding="utf-8"))
    del card["golden"]
    assert numbers["model"] == card
    assert len(numbers["history"]["train_loss"]) == numbers["model"]["training_data"]["settings"]["epochs"]
    assert len(numbers["unseen"]) == sum(card["training_data"]["parts"]["unseen"].values())


@pytest.fixture(scope="module")
def inspector(trained: Path) -> Inspector:
    """With the trained model."""
    return Inspector(load_model(trained / "models" / "current", torch.device("cpu")), "XGradCAM", only_last_conv=True)


@pytest.fixture
def findings(trained: Path) -> Findings:
    """Small but whole findings, without images set aside: one of the two nio images missed, no false call."""
    settings = load(trained / "config.yaml")
    dataset = read(settings)
    parts = split(dataset.images, settings.training)
    io_images, nio_images = ([i for i in parts["test"] if i.label == label][:2] for label in ("io", "nio"))
    test = [*io_images, *nio_images]
    verdicts = [judge(0.1, 0.5, 0.3), judge(0.2, 0.5, 0.4), judge(0.4, 0.5, 0.6), judge(0.3, 0.5, 1.7)]
    proof = Proof(nio=2, missed=1, images=2, recall_bound=0.025)
    return Findings(
        dataset=dataset,
        parts={**{str(part): images[:2] for part, images in parts.items()}, "test": test, "unseen": []},
        history=History([0.9, 0.5], [0.5, 0.7], [0.8, 0.6], [0.6, 0.8], best=1),
        test=evaluate([image.label for image in test], verdicts),
        tested=[Judgement([verdict]) for verdict in verdicts],
        certificate=Certificate(
            required_recall=0.99,
            confidence=0.95,
            certified=False,
            further_nio=471,
            proof=proof,
            by_part={"<i>left": proof},
            data_fingerprint=dataset.fingerprint(),
        ),
        labels=LabelCheck(40, [], [], []),
        choice=Choice(0.0, [], SCORES),
        curve=[],
        predictions=[],
        options=settings.training,
        names=settings.names,
        operators=count_acts([], None),
    )


def written(findings: Findings, inspector: Inspector, folder: Path) -> Page:
    """The page of these findings."""
    return Page(write_report(folder / "report", findings, inspector, LIMITS).read_text(encoding="utf-8"))


def test_blind_checks_stand_beside_the_certificate(findings: Findings, inspector: Inspector, tmp_path: Path) -> None:
    """The page has the estimate of escapes and how far labels agree, and how many images are disputed."""
    found = checks([])
    found = replace(found, escapes=Share(2, 300), between=Agreement(40, 38, 0.87))
    findings = replace(
        findings,
        operators=replace(findings.operators, checks=found),
        dataset=replace(findings.dataset, disputed=3),
    )
    page = written(findings, inspector, tmp_path)
    assert "escapes among io images, drawn evenly 2 of 300: 0.67% (0.08% to 2.39%)" in page.said
    assert "labels, two people 38 of 40 agree, kappa 0.87" in page.said
    assert "3 disputed images were left out" in page.said
    assert json.loads((tmp_path / "report" / "metrics.json").read_bytes())["disputed"] == 3


def test_indicative(findings: Findings, inspector: Inspector, tmp_path: Path) -> None:
    """Too few nio parts make a model indicative; the page says so at once, how many more are needed, and by part."""
    page = written(findings, inspector, tmp_path)
    assert re.search(r'class="standing indicative">\s*<strong>indicative<', page.text)
    assert "471 more nio test parts" in page.said
    assert re.search(r"<i>left 2 2 1 2\.50 %", page.said)


def test_certified(findings: Findings, inspector: Inspector, tmp_path: Path) -> None:
    """A certified model is called so, and nothing is asked for."""
    proof = Proof(nio=300, missed=0, images=600, recall_bound=0.99006)
    certificate = findings.certificate.model_copy(update={"certified": True, "further_nio": 0, "proof": proof})
    page = written(replace(findings, certificate=certificate), inspector, tmp_path)
    assert re.search(r'class="standing certified">\s*<strong>certified<', page.text)
    assert "300 nio parts (600 images)" in page.said
    assert "<strong>indicative" not in page.text
    assert "more nio test parts" not in page.said


def test_mistakes(findings: Findings, inspector: Inspector, tmp_path: Path) -> None:
    """A missed defect is shown with its map, score, threshold and novelty, before the io images nearest to nio."""
    page = written(findings, inspector, tmp_path)
    missed = findings.parts["test"][2].path.name
    shown = f"{missed} labelled nio, judged io (clear) p(nio) 0.4, threshold 0.5 novelty 0.6"
    assert 0 < page.said.index("Missed defects (escapes): 1") < page.said.index(shown)
    assert page.said.index(shown) < page.said.index("No io image was called nio; these came nearest")
    assert f'alt="map over {missed}"' in page.text


def test_unidentified(findings: Findings, inspector: Inspector, tmp_path: Path) -> None:
    """The page says how many test images of each label exceed the limit, and how many of them no classifier saw."""
    page = written(findings, inspector, tmp_path)
    assert "Above 1 are 0 of 2 io and 1 of 2 nio test images; unidentified 0 io and 1 nio" in page.said


def test_doubted_labels(findings: Findings, inspector: Inspector, tmp_path: Path) -> None:
    """Labels that look wrong are shown, counted where there are many, and the page says what each part costs."""
    io_image, nio_image = findings.parts["test"][0], findings.parts["test"][2]
    doubt = Doubt(nio_image, 0.01)
    labels = LabelCheck(40, [doubt] * 50, [Doubt(io_image, 0.93)], [Price("B1/<i>r2", "nio", 2, 0.026, aside=True)])
    page = written(replace(findings, labels=labels), inspector, tmp_path)
    assert "Labelled nio, but likelier io: 50, the first 6" in page.said
    assert f"nio/{nio_image.path.name} labelled nio p(nio) 0.01" in page.said
    assert "Labelled io, but likelier nio: 1" in page.said
    assert "B1/<i>r2 (2 images): as nio it would cost 2.60% false calls (260 of 10,000 io images)" in page.said


def test_why_this_threshold(findings: Findings, inspector: Inspector, tmp_path: Path) -> None:
    """The page says by what cost the threshold was chosen, what was set aside for it, and what more nio would buy."""
    choice = replace(findings.choice, aside=["B1/r2"])
    page = written(replace(findings, choice=choice), inspector, tmp_path)
    assert f"One escape is worth {findings.options.escape_cost:g} false calls" in page.said
    assert "1.0 % of the images are nio" in page.said
    assert "Set aside for this choice: 1 part whose labels look wrong" in page.said
    assert "with twice as many nio images like these it would be" in page.said
    assert "of 10,000 images, 100 of them nio:" in page.said


def test_of_no_use(findings: Findings, inspector: Inspector, tmp_path: Path) -> None:
    """Of a model that calls nearly every good image nio the page says so at once, and what was measured to help."""
    test = replace(findings.test, false_call_rate=0.98)
    card = inspector.model.card.model_copy(update={"metrics": {"test": test.as_dict()}})
    useless = replace(findings, test=test, curve=["learning curve: <b>flat"])
    inspector = Inspector(replace(inspector.model, card=card), "XGradCAM", only_last_conv=True)
    page = written(useless, inspector, tmp_path)
    assert "calls 98% of good images nio: of no use" in page.said
    assert "learning curve: <b>flat" in page.said


def with_image_set_aside(findings: Findings, inspector: Inspector, folder: Path, name: str) -> Findings:
    """The findings with one image set aside and first in the test, of that name, judged into `folder/report/unseen`."""
    image = findings.parts["test"][0]
    path = folder / name
    shutil.copyfile(image.path, path)
    aside = [replace(image, path=path)]
    predictions = predict(aside, inspector, folder / "report" / "unseen", LIMITS)
    test = [*aside, *findings.parts["test"][1:]]
    return replace(findings, parts={**findings.parts, "unseen": aside, "test": test}, predictions=predictions)


def test_a_file_that_is_gone(findings: Findings, inspector: Inspector, tmp_path: Path) -> None:
    """A test image whose file was deleted or replaced during the training is shown as the network saw it."""
    gone, replaced, *others = findings.parts["test"]
    (tmp_path / "replaced.png").write_bytes(b"no image any more")
    test = [replace(gone, path=tmp_path / "gone.png"), replace(replaced, path=tmp_path / "replaced.png"), *others]
    page = written(replace(findings, parts={**findings.parts, "test": test}), inspector, tmp_path)
    assert 'alt="map over gone.png"' in page.text
    assert 'alt="map over replaced.png"' in page.text


def test_strange_names(findings: Findings, inspector: Inspector, tmp_path: Path) -> None:
    """A file name with markup, quotes, spaces and signs is shown as it is, wherever it stands."""
    name = "<b>50% \"gut\" & 'so' #1?.png"
    dataset = replace(
        findings.dataset,
        unreadable=[(Path("dataset/io/<i>broken.png"), "the file is empty")],
        duplicates=[(Path("dataset/io/one.png"), Path("dataset/io/<u>two.png"))],
    )
    told = with_image_set_aside(replace(findings, dataset=dataset), inspector, tmp_path, name)
    doubt = Doubt(told.parts["test"][0], 0.9)
    page = written(replace(told, labels=LabelCheck(40, [], [doubt] * 9, [])), inspector, tmp_path)
    for said in (name, "<i>broken.png: the file is empty", "<u>two.png (same as dataset/io/one.png)"):
        assert said in page.said
    assert page.said.count(name) >= 1 + 1 + 9  # set aside, nearest to a false call, doubted
    assert page.open == []
    assert all(reference.startswith("data:image/") for reference in page.references)


def test_a_name_that_is_not_utf8(findings: Findings, inspector: Inspector, tmp_path: Path) -> None:
    """A file name is bytes: one that is no UTF-8 does not cost the report."""
    told = with_image_set_aside(findings, inspector, tmp_path, os.fsdecode(b"part\xff.png"))
    told = replace(told, labels=LabelCheck(40, [], [Doubt(told.parts["test"][0], 0.9)], []))
    assert "part\\xff.png" in written(told, inspector, tmp_path).said


def test_none_set_aside_and_stopped_by_hand(findings: Findings, inspector: Inspector, tmp_path: Path) -> None:
    """The page says when no image was set aside, and when the training was interrupted, within an epoch too."""
    history = replace(findings.history, interrupted=True, train_loss=[0.9, 0.5, 0.4], train_accuracy=[0.5, 0.7, 0.8])
    page = written(replace(findings, history=history), inspector, tmp_path)
    assert "interrupted by hand" in page.said
    assert "training.unseen asks for none" in page.said


def test_no_number_no_harm(findings: Findings, inspector: Inspector, tmp_path: Path) -> None:
    """An image for which the network gave no number counts as unidentified and does not cost the report."""
    verdicts = [*findings.test_verdicts[:3], judge(float("nan"), 0.5, float("nan"))]
    labels = [image.label for image in findings.parts["test"]]
    told = replace(findings, tested=[Judgement([verdict]) for verdict in verdicts], test=evaluate(labels, verdicts))
    assert "unidentified 0 io and 1 nio" in written(told, inspector, tmp_path).said
