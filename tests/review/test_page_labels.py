"""What the queue of labels to check promises: doubted images by price, each answered once, as the training reads it."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest
from page_line import NO_CHECKS, Page, PageLine, ball, png
from visitor import Visitor

from filing.labels import NAME, Said, open_answers, read_answers, read_said
from filing.logs import open_log
from inspection.errors import DatasetError, SolderwatchError
from review.page.archive import Archive, GoneError
from review.page.labels import Labels
from review.page.seals import Handle, Seals
from review.page.words import Speaker, TakenError
from training.release.doubted import doubted

ANN, BOB = (Speaker(name, "127.0.0.1") for name in ("Ann", "Bob"))
PATTERN = "names: {pattern: '(?P<board>B\\d)_(?P<joint>r\\d+)_?(?P<view>v\\d)?'}\n"
DEAR = {"part": "B1/r2", "label": "nio", "images": 2, "false_calls": 0.026, "aside": True}
CHEAP = {"part": "plain, <i>.png", "label": "io", "images": 1, "false_calls": 0.001, "aside": False}


def doubt(line: PageLine, *prices: dict[str, Any], product: str = "") -> None:
    """A model whose training doubts labels."""
    report = line.folder / "models" / product / "m1" / "report"
    report.mkdir(parents=True, exist_ok=True)
    (report / "metrics.json").write_text(json.dumps({"prices": prices}), encoding="utf-8")


def label(line: PageLine, *places: str) -> None:
    """Put images into the data set."""
    for number, place in enumerate(places, 50):
        path = line.folder / "dataset" / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(ball(number)))


@pytest.fixture
def line(tmp_path: Path) -> PageLine:
    """A line whose training doubts a nio part of two views, and an io image."""
    line = PageLine(tmp_path, NO_CHECKS + PATTERN)
    label(line, "nio/lot/B1_r2_v0.png", "nio/B1_r2_v1.png", "nio/B1_r3_v0.png", "io/B1_r2_v2.png", "io/plain, <i>.png")
    doubt(line, DEAR, CHEAP)
    line.index()
    return line


def labels_of(line: PageLine) -> Labels:
    """The queue of a line."""
    settings = line.settings
    return Labels(settings, Archive(settings), Seals(b"k" * 32), open_log(settings.logs))


def shown(labels: Labels) -> dict[str, Handle]:
    """The images to check as a browser has them, by their path."""
    items = [item for one in labels.open() if (item := labels.item(one))]
    return {item["file"]: handle for item in items if (handle := Seals(b"k" * 32).open(item["seal"]))}


def test_by_price_with_label_and_cost(line: PageLine) -> None:
    """The dearest part comes first, each image with its present label, what that costs, and the part's other images."""
    labels = labels_of(line)
    items = [item for one in labels.open() if (item := labels.item(one))]
    assert [item["file"] for item in items] == ["nio/B1_r2_v1.png", "nio/lot/B1_r2_v0.png", "io/plain, <i>.png"]
    first = items[0]
    assert first["says"] == (
        "Labelled nio. The training: as nio it would cost 2.60% false calls (260 of 10,000 io images); "
        "set aside for the threshold"
    )
    assert (first["board"], first["joint"], first["view"], first["label"]) == ("B1", "r2", "v1", "nio")
    assert [view["name"] for view in first["views"]] == ["v0"]


def test_an_answer_is_what_the_training_reads(line: PageLine) -> None:
    """The same word confirms a label, the other one changes it, and who cannot tell disputes it; each with a name."""
    labels = labels_of(line)
    handles = shown(labels)
    assert labels.answer(handles["nio/B1_r2_v1.png"], "nio", ANN) == "confirmed"
    assert labels.answer(handles["nio/lot/B1_r2_v0.png"], "disputed", ANN, "half a void") == "disputed"
    assert "2 labels to check, 0 answered" not in doubted(line.settings)
    assert labels.answer(handles["io/plain, <i>.png"], "nio", BOB) == "changed"
    assert read_answers(line.folder / "dataset") == {
        "nio/B1_r2_v1.png": "confirmed",
        "nio/lot/B1_r2_v0.png": "disputed",
        "io/plain, <i>.png": "changed",
    }
    assert [(said.by, said.comment) for said in read_said(line.folder / "dataset")] == [
        ("Ann", ""),
        ("Ann", "half a void"),
        ("Bob", ""),
    ]
    assert shown(labels) == {}
    assert "0 labels to check, 2 answered" in doubted(line.settings)


def test_each_answer_once(line: PageLine) -> None:
    """What is sent twice counts once, what somebody else answered stands, and only one's own answer is taken back."""
    labels = labels_of(line)
    handle = shown(labels)["nio/B1_r2_v1.png"]
    labels.answer(handle, "io", ANN)
    labels.answer(handle, "io", ANN)
    assert len(read_said(line.folder / "dataset")) == 1
    with pytest.raises(TakenError, match="Ann was faster: changed"):
        labels.answer(handle, "nio", BOB)
    with pytest.raises(TakenError, match="not yours"):
        labels.take_back(handle, BOB)
    labels.take_back(handle, ANN)
    labels.take_back(handle, ANN)
    assert read_answers(line.folder / "dataset") == {}
    assert "nio/B1_r2_v1.png" in shown(labels)


def test_what_people_wrote_stays(line: PageLine) -> None:
    """Lines that somebody wrote by hand stay, with their remarks; a wrong one is named, and nothing is written."""
    path = line.folder / "dataset" / NAME
    path.write_text("\ufefffile,answer\n\nB1/r9, Confirmed,Eve,,my own words,and more\n", encoding="utf-8")
    labels = labels_of(line)
    handle = shown(labels)["nio/B1_r2_v1.png"]
    labels.answer(handle, "io", ANN)
    labels.take_back(handle, ANN)
    labels.answer(handle, "nio", ANN)
    assert read_answers(path.parent) == {"B1/r9": "confirmed", "nio/B1_r2_v1.png": "confirmed"}
    assert "Eve,,my own words,and more" in path.read_text(encoding="utf-8")
    path.write_text("B1/r9,perhaps\n", encoding="utf-8")
    with pytest.raises(DatasetError, match=r"labels\.csv, line 1"):
        labels.answer(handle, "io", ANN)
    assert path.read_text(encoding="utf-8") == "B1/r9,perhaps\n"


def test_two_at_once_lose_nothing(tmp_path: Path) -> None:
    """Many programs that answer at the same time lose none of each other's lines."""

    def answer(who: str) -> None:
        for number in range(20):
            with open_answers(tmp_path) as answers:
                answers.add(Said(f"nio/{who} {number}\n.png", "confirmed", who))

    threads = [threading.Thread(target=answer, args=(who,)) for who in ("Ann", "Bob", "Eve")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(read_answers(tmp_path)) == 60


def test_no_link_is_followed(line: PageLine) -> None:
    """A link in the data set is no image, one in the place of `labels.csv` is refused, and no path leads out."""
    secret = line.folder / "secret.png"
    secret.write_bytes(png(ball(9)))
    labels, archive = labels_of(line), Archive(line.settings)
    (line.folder / "dataset/nio/lot/B1_r2_v0.png").unlink()
    (line.folder / "dataset/nio/lot/B1_r2_v0.png").symlink_to(secret)
    handles = shown(labels)
    assert "nio/lot/B1_r2_v0.png" not in handles
    for path in ("../../secret.png", "/etc/passwd", "..", "lot", "../relabelled.jsonl"):
        with pytest.raises(GoneError):
            archive.image(Handle("nio", Path(path), "", "label"))
    with pytest.raises(SolderwatchError, match="no product"), archive.data_set("other"):
        pass
    (line.folder / "dataset" / NAME).symlink_to(secret)
    with pytest.raises(DatasetError):
        labels.answer(handles["nio/B1_r2_v1.png"], "io", ANN)
    assert secret.read_bytes() == png(ball(9))


def test_another_image_in_its_place(line: PageLine) -> None:
    """An answer is about the image that was looked at, and never about another one that lies there by now."""
    labels = labels_of(line)
    handle = shown(labels)["nio/B1_r2_v1.png"]
    (line.folder / "dataset/nio/B1_r2_v1.png").write_bytes(png(ball(3)))
    with pytest.raises(GoneError, match="another image"):
        labels.answer(handle, "io", ANN)


def test_by_product(tmp_path: Path) -> None:
    """With products each data set has its own answers."""
    line = PageLine(tmp_path, NO_CHECKS + "products: {left: {match: L}, right: {match: R}}\n")
    for product in ("left", "right"):
        label(line, f"{product}/nio/a.png")
        doubt(line, DEAR | {"part": "a.png"}, product=product)
    labels = labels_of(line)
    (one,) = labels.open("right")
    assert one.handle.product == "right"
    labels.answer(one.handle, "io", ANN)
    assert read_answers(line.folder / "dataset/right") == {"nio/a.png": "changed"}
    assert read_answers(line.folder / "dataset/left") == {}
    assert [found.handle.product for found in labels.open()] == ["left"]


def test_the_queue_over_http(line: PageLine) -> None:
    """The browser gets picture and cost, answers, takes back; what one window has in hand the other has not."""
    with Page(line) as page:
        ann, bob = Visitor(page.port), Visitor(page.port)
        ann.enter("Ann")
        bob.enter("Bob")
        items = ann.next(labels=True, count=2)
        assert [item["label"] for item in items] == ["nio", "nio"]
        assert [item["file"] for item in bob.next(labels=True, client="window 2")] == ["io/plain, <i>.png"]
        assert ann.get(f"/picture/{items[0]['seal']}/0").status == 200
        assert ann.get(f"/map/{items[0]['seal']}/0").status == 410
        content = {"client": "window 1", "seal": items[0]["seal"]}
        assert ann.post("/api/word", content | {"label": "perhaps"}).status == 422
        assert ann.post("/api/word", content | {"label": "disputed"}).json() == {"told": "disputed: in labels.csv"}
        assert bob.post("/api/undo", content).status == 409
        assert ann.post("/api/undo", content).status == 200
        assert read_answers(line.folder / "dataset") == {}
        assert "plain, &lt;i&gt;.png" in ann.get("/labels/list").text
        log = (line.folder / "logs" / "decisions.jsonl").read_text(encoding="utf-8")
        assert log.count("label_answered") == 2
