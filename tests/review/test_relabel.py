"""What relabelling promises: one place, one label, nothing overwritten, everything written down; whatever dies."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from harness import Daemon, Fault, Ledger, Nursery, Trials, read_events

from daemon.__main__ import main
from filing.disk import Retention
from filing.folders import Folders
from filing.ledger import Ledger as Index
from filing.ledger import reindex
from filing.logs import open_log
from inspection.verdict import LABELS
from review.relabel import Refused, relabel
from settings import Settings, load

OTHER = {"io": "nio", "nio": "io"}


class Line:
    """A line whose daemon has judged some images, and a data set beside it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "config.yaml"
        self.config.touch()
        self.data, self.dataset = folder / "data", folder / "dataset"
        Folders(self.settings.paths.line).make()

    @property
    def settings(self) -> Settings:
        """As config.yaml says now."""
        return load(self.config)

    def file(self, place: str, content: bytes | None = None) -> Path:
        """An image as the daemon files it, such as `nio/lot/a.png`."""
        image = self.data / place
        content = os.fsencode(place) if content is None else content
        label, _, name = place.partition("/")
        record = {
            "file": name,
            "verdict": label,
            "model": "abc",
            "nio_probability": 0.5,
            "sha256": hashlib.sha256(content).hexdigest(),
            "decision_id": f"decision of {place}",
            "outcome": label,
            "filed_as": name,
        }
        image.parent.mkdir(parents=True, exist_ok=True)
        Path(f"{image}.cam.png").write_bytes(b"map of " + content)
        Path(f"{image}.json").write_text(json.dumps(record))
        image.write_bytes(content)
        return image

    def relabel(self, *arguments: object) -> int:
        """`solderwatch relabel` as Ann."""
        given = [str(argument) for argument in arguments]
        return main(["relabel", *given, "--config", str(self.config), "--by", "Ann"])

    def files(self) -> list[str]:
        """All images and sidecars, and the whole data set but its book."""
        roots = (self.data / "io", self.data / "nio", self.dataset)
        found = [
            path for root in roots for path in root.rglob("*") if path.is_file() and path.name != "relabelled.jsonl"
        ]
        return sorted(str(path.relative_to(self.folder)) for path in found)

    def record(self, place: str) -> dict[str, Any]:
        """The record beside an image."""
        found: dict[str, Any] = json.loads((self.data / f"{place}.json").read_bytes())
        return found

    def book(self) -> list[dict[str, Any]]:
        """All lines of the book."""
        return [json.loads(each) for each in (self.dataset / "relabelled.jsonl").read_bytes().splitlines()]

    def logged(self) -> list[dict[str, Any]]:
        """What was logged of relabelling."""
        return read_events(self.folder / "logs" / "decisions.jsonl", "relabelled")


@pytest.fixture
def judged(tmp_path: Path) -> Line:
    """A line with nothing judged yet."""
    return Line(tmp_path)


def triple(place: str) -> list[str]:
    """An image with its sidecars, as `Line.files` names them."""
    return [f"data/{place}", f"data/{place}.cam.png", f"data/{place}.json"]


@pytest.mark.parametrize("label", LABELS)
def test_overruled(judged: Line, label: str) -> None:
    """An overruled image moves with its sidecars to the other folder, in its sub-folder, and goes to the data set."""
    image = judged.file(f"{OTHER[label]}/lot/a.png")
    assert judged.relabel(image, label) == 0
    assert judged.files() == sorted([*triple(f"{label}/lot/a.png"), f"dataset/{label}/a.png"])
    content = f"{OTHER[label]}/lot/a.png".encode()
    assert (judged.data / label / "lot" / "a.png").read_bytes() == content
    assert (judged.data / label / "lot" / "a.png.cam.png").read_bytes() == b"map of " + content
    assert (judged.dataset / label / "a.png").read_bytes() == content


def test_the_ledger_is_told(judged: Line) -> None:
    """Where an image lay, where it lies, under whatever name, and the word: the ledger has it without a sweep."""
    name = os.fsdecode(b"lot\xff/a\n.png")
    images = [judged.file(place) for place in (f"nio/{name}", f"io/{name}", "nio/confirmed.png")]
    reindex(judged.settings)
    assert judged.relabel(images[0], "io") == 0
    assert judged.relabel(images[2], "nio") == 0
    moved = Path(name).with_name("a\n~2.png")
    with Index(judged.settings.paths.ledger) as ledger:
        found = {(image.outcome, image.path): image.word for image in ledger.images()}
    assert found == {("io", Path(name)): "", ("io", moved): "io", ("nio", Path("confirmed.png")): "nio"}


def test_it_is_written_down(judged: Line) -> None:
    """Record, book and log say who overruled which verdict and when; the verdict itself stays what it was."""
    image = judged.file("nio/lot/a.png")
    assert judged.relabel(image, "io") == 0
    record = judged.record("io/lot/a.png")
    (act,) = record["relabelled"]
    assert (act["to"], act["by"]) == ("io", "Ann")
    assert (record["verdict"], record["outcome"], record["filed_as"]) == ("nio", "io", "lot/a.png")
    (entry,) = judged.book()
    (event,) = judged.logged()
    for told in (entry, event):
        assert {key: told[key] for key in ("file", "model", "verdict", "label", "by", "at", "dataset")} == {
            "file": "lot/a.png",
            "model": "abc",
            "verdict": "nio",
            "label": "io",
            "by": "Ann",
            "at": act["at"],
            "dataset": "io/a.png",
        }
        assert told["sha256"] == hashlib.sha256(b"nio/lot/a.png").hexdigest()
    assert event["level"] == "info"
    assert event["filed_as"] == "lot/a.png"


def test_with_products_each_teaches_its_own_data_set(judged: Line, capsys: pytest.CaptureFixture[str]) -> None:
    """The product that judged learns from the word, or whose path it is; an image of none is refused and stays."""
    judged.config.write_text("products: {A: {match: ^a/}, B: {match: ^b/}}\n")
    image = judged.file("nio/a/1.png")
    record = Path(f"{image}.json")
    record.write_text(json.dumps(json.loads(record.read_bytes()) | {"product": "B"}))
    assert judged.relabel(image, judged.file("nio/a/2.png"), "io") == 0
    assert (judged.dataset / "B" / "io" / "1.png").read_bytes() == b"nio/a/1.png"
    assert (judged.dataset / "A" / "io" / "2.png").read_bytes() == b"nio/a/2.png"
    assert not (judged.dataset / "io").exists()
    assert judged.relabel(judged.file("nio/c/3.png"), "io") == 1
    assert "of no product in the configuration" in capsys.readouterr().err
    assert (judged.data / "nio" / "c" / "3.png").exists()


def test_confirmed(judged: Line) -> None:
    """A confirmed verdict moves nothing, but goes to the data set and is written down; its age is still known."""
    image = judged.file("nio/a.png")
    os.utime(f"{image}.json", (1e9, 1e9))
    assert judged.relabel(image, "nio") == 0
    assert judged.files() == sorted([*triple("nio/a.png"), "dataset/nio/a.png"])
    assert [act["to"] for act in judged.record("nio/a.png")["relabelled"]] == ["nio"]
    assert [entry["label"] for entry in judged.book()] == ["nio"]
    assert len(judged.logged()) == 1
    assert Path(f"{image}.json").stat().st_mtime == 1e9


def test_back_again(judged: Line) -> None:
    """What relabelling put into the data set under the wrong label is taken out again; the history has all acts."""
    judged.relabel(judged.file("nio/a.png"), "io")
    assert judged.relabel(judged.data / "io" / "a.png", "nio") == 0
    assert judged.files() == sorted([*triple("nio/a.png"), "dataset/nio/a.png"])
    assert [act["to"] for act in judged.record("nio/a.png")["relabelled"]] == ["io", "nio"]
    assert judged.relabel(judged.data / "nio" / "a.png", "io") == 0
    assert judged.files() == sorted([*triple("io/a.png"), "dataset/io/a.png"])


def test_the_same_image_twice(judged: Line) -> None:
    """Two judged images of the same bytes are one image in the data set, under the label that it got last."""
    judged.relabel(judged.file("nio/a.png", b"twin"), "io")
    judged.relabel(judged.file("nio/b.png", b"twin"), "nio")
    assert [name for name in judged.files() if "dataset" in name] == ["dataset/nio/b.png"]


def test_a_file_of_the_users_own_is_never_touched(judged: Line, capsys: pytest.CaptureFixture[str]) -> None:
    """If somebody put the same image into the data set under the other label, that is told, and nothing is done."""
    image = judged.file("nio/a.png")
    (judged.dataset / "nio" / "lot").mkdir(parents=True)
    (judged.dataset / "nio" / "lot" / "own.png").write_bytes(image.read_bytes())
    before = judged.files()
    assert judged.relabel(image, "io") == 1
    assert judged.files() == before
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert str(judged.dataset / "nio" / "lot" / "own.png") in told
    assert judged.relabel(image, "nio") == 0
    assert judged.files() == before
    assert judged.book()[-1]["copied"] is False


def test_taken_names(judged: Line) -> None:
    """Nothing is overwritten, neither in the other folder nor in the data set: the newcomer gets a number."""
    judged.file("io/a.png")
    (judged.dataset / "io").mkdir(parents=True)
    (judged.dataset / "io" / "a.png").write_bytes(b"another")
    assert judged.relabel(judged.file("nio/a.png"), "io") == 0
    expected = [*triple("io/a.png"), *triple("io/a~2.png"), "dataset/io/a.png", "dataset/io/a~2.png"]
    assert judged.files() == sorted(expected)
    assert judged.record("io/a~2.png")["filed_as"] == "a~2.png"
    assert (judged.dataset / "io" / "a.png").read_bytes() == b"another"


def test_a_sidecar_is_in_the_way(judged: Line) -> None:
    """A name is taken if only a sidecar has it."""
    (judged.data / "io" / "a.png.cam.png").write_bytes(b"somebody's")
    assert judged.relabel(judged.file("nio/a.png"), "io") == 0
    assert (judged.data / "io" / "a.png.cam.png").read_bytes() == b"somebody's"
    assert (judged.data / "io" / "a~2.png").exists()


def test_many_at_once(judged: Line) -> None:
    """Images may be named by a shell's `*`, sidecars and all: each is relabelled once."""
    for name in "abc":
        judged.file(f"nio/lot/{name}.png")
    assert judged.relabel(*(judged.data / "nio" / "lot").iterdir(), "io") == 0
    assert [name for name in judged.files() if "nio" in name] == []
    assert len(judged.book()) == len(judged.logged()) == 3


def test_names_of_any_bytes(judged: Line) -> None:
    """A name that is no UTF-8, or as long as a name can be, is relabelled like any other."""
    for name in (os.fsdecode(b"\xff\n.png"), 234 * "x" + ".png"):
        assert judged.relabel(judged.file(f"nio/{name}"), "io") == 0
        assert (judged.data / "io" / name).exists()
        assert (judged.dataset / "io" / name).exists()
        assert judged.relabel(judged.data / "io" / name, "nio") == 0
    assert not list((judged.dataset / "io").iterdir())
    assert len(list((judged.dataset / "nio").iterdir())) == 2


def _no_record(judged: Line) -> Path:
    image = judged.file("nio/a.png")
    Path(f"{image}.json").unlink()
    return image


def _foreign_record(judged: Line) -> Path:
    image = judged.file("nio/a.png")
    Path(f"{image}.json").write_text('{"verdict": NaN}')
    return image


def _endless_record(judged: Line) -> Path:
    image = judged.file("nio/a.png")
    record = Path(f"{image}.json")
    record.write_text(record.read_text().replace("0.5", "1e999"))
    return image


def _other_bytes(judged: Line) -> Path:
    image = judged.file("nio/a.png")
    image.write_bytes(b"other bytes")
    return image


def _link(judged: Line) -> Path:
    image = judged.file("nio/a.png")
    image.rename(judged.folder / "a.png")
    image.symlink_to(judged.folder / "a.png")
    return image


def _way_through_a_link(judged: Line) -> Path:
    judged.file("nio/lot/a.png")
    (judged.data / "nio" / "lot").rename(judged.folder / "lot")
    (judged.data / "nio" / "lot").symlink_to(judged.folder / "lot")
    return judged.data / "nio" / "lot" / "a.png"


def _elsewhere(judged: Line) -> Path:
    (judged.data / "inbox" / "a.png").touch()
    return judged.data / "nio" / ".." / "inbox" / "a.png"


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda judged: judged.data / "nio" / "none.png", "no such image"),
        (lambda judged: judged.data / "nio", "only images that were judged"),
        (_no_record, r"a.png.json beside it is no record"),
        (_foreign_record, r"a.png.json beside it is no record"),
        (_endless_record, r"a.png.json beside it is no record"),
        (_other_bytes, "its bytes are not those that were judged"),
        (_link, "a link"),
        (_way_through_a_link, "leads through a link"),
        (_elsewhere, "only images that were judged"),
    ],
)
def test_refused(judged: Line, make: Callable[[Line], Path], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What cannot be relabelled is told in one line and left as it is; the others are done, and the exit code is 1."""
    bad = make(judged)
    before = judged.files()
    good = [judged.file("nio/first.png"), judged.file("nio/last.png")]
    assert judged.relabel(good[0], bad, good[1], "io") == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert told in said
    done = [*triple("io/first.png"), *triple("io/last.png"), "dataset/io/first.png", "dataset/io/last.png"]
    assert judged.files() == sorted([*before, *done])


def test_what_cannot_be_written_is_named(judged: Line, capsys: pytest.CaptureFixture[str]) -> None:
    """An error of the file system says where it is, which may be far from the image; the others are done."""
    bad, good = judged.file("nio/a.png"), judged.file("nio/b.png")
    part = hashlib.sha256(b"a.png").hexdigest()[:16]
    blocked = judged.dataset / "io" / f".{part}.part"
    blocked.mkdir(parents=True)
    assert judged.relabel(bad, good, "io") == 1
    assert f"{blocked}: " in capsys.readouterr().err
    assert (judged.data / "io" / "b.png").exists()


@pytest.mark.parametrize("arguments", [["a.png"], ["a.png", "OK"], ["io"], [], ["a.png", "io", "--name", "Ann"]])
def test_wrong_command_line(judged: Line, arguments: list[str]) -> None:
    """A label that is not io or nio, or none, is a wrong command line: exit code 2."""
    with pytest.raises(SystemExit) as ended:
        main(["relabel", *arguments, "--config", str(judged.config)])
    assert ended.value.code == 2


def test_the_login_name(judged: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without --by it is who logged in, also behind sudo."""
    image = judged.file("nio/a.png")
    monkeypatch.setenv("LOGNAME", "bob")
    monkeypatch.delenv("SUDO_USER", raising=False)
    main(["relabel", str(image), "nio", "--config", str(judged.config)])
    monkeypatch.setenv("SUDO_USER", "carol")
    main(["relabel", str(image), "nio", "--config", str(judged.config)])
    assert [act["by"] for act in judged.record("nio/a.png")["relabelled"]] == ["bob", "carol"]


def test_a_torn_book(judged: Line) -> None:
    """What a crash or an editor left in the book costs no later line, and no copy is forgotten for it."""
    judged.relabel(judged.file("nio/a.png"), "io")
    with (judged.dataset / "relabelled.jsonl").open("ab") as book:
        book.write(b'\xff[7]\n{"sha256": "12')
    assert judged.relabel(judged.data / "io" / "a.png", "nio") == 0
    assert json.loads((judged.dataset / "relabelled.jsonl").read_bytes().splitlines()[-1])["label"] == "nio"
    assert [name for name in judged.files() if "dataset" in name] == ["dataset/nio/a.png"]


def test_no_torch(judged: Line) -> None:
    """It answers at once: nothing heavy is imported."""
    image = judged.file("nio/a.png")
    code = (
        "import sys; from daemon.__main__ import main; "
        f"assert main(['relabel', {str(image)!r}, 'io', '--config', {str(judged.config)!r}]) == 0; "
        "assert not {'torch', 'training', 'PIL', 'numpy'} & sys.modules.keys()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_retention(judged: Line) -> None:
    """Old io images are deleted whether they were always there, came by relabelling, or were confirmed; no others."""
    judged.file("io/always.png")
    judged.relabel(judged.file("nio/came.png"), "io")
    judged.relabel(judged.file("io/confirmed.png"), "io")
    judged.relabel(judged.file("io/went.png"), "nio")
    for record in (judged.data / "io").glob("*.json"):
        os.utime(record, (1e9, 1e9))
    judged.config.write_text("disk: {keep_io_days: 1}\nlogs: {format: json}\n")
    settings = judged.settings
    folders = Folders(settings.paths.line)
    folders.look()
    retention = Retention(folders, settings.disk, open_log(settings.logs), lambda _: None)
    retention._next = 0
    retention.work(5)
    assert [name for name in judged.files() if "data/" in name] == triple("nio/went.png")
    assert [name for name in judged.files() if "dataset" in name] == [
        *("dataset/io/came.png", "dataset/io/confirmed.png", "dataset/nio/went.png")
    ]


# --- with real daemons, and with deaths ---


def test_while_the_daemon_runs(nursery: Nursery, ledger: Ledger, image: Callable[[int], bytes]) -> None:
    """Verdicts of a running daemon can be overruled under its hands, and it goes on judging under the same names."""
    daemon = nursery.start(ledger.folder)
    judged = Line(ledger.folder)
    for number in range(1, 4):
        ledger.drop("lot/a.png", image(number))
        outcome = daemon.wait_for("decision", number)[-1]["outcome"]
        assert judged.relabel(next((judged.data / outcome).rglob("a*.png.json")), OTHER[outcome]) == 0
    assert daemon.stop() == 0
    ledger_check(judged, 3)
    assert len(judged.logged()) == 3
    assert {event["model"] for event in judged.logged()} == {
        (ledger.folder / "models" / "current").readlink().name.partition("-")[2]
    }


def ledger_check(judged: Line, count: int) -> None:
    """Each image is whole in exactly one of io and nio, with its sidecars, and has one label at most."""
    images = [path for label in LABELS for path in _images(judged.data / label)]
    assert len({path.read_bytes() for path in images}) == len(images) == count
    for path in images:
        record = json.loads(Path(f"{path}.json").read_bytes())
        assert record["outcome"] == path.relative_to(judged.data).parts[0]
        assert record["filed_as"] == str(path.relative_to(judged.data / record["outcome"]))
        assert Path(f"{path}.cam.png").exists()
    labelled = {label: {path.read_bytes() for path in _images(judged.dataset / label)} for label in LABELS}
    assert not labelled["io"] & labelled["nio"]


def _images(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*.png"):
        if not path.name.endswith(".cam.png"):
            yield path


@pytest.mark.timeout(600)
@pytest.mark.parametrize("apart", [False, True], ids=["one file system", "two"])
@pytest.mark.parametrize("error", [None, "ENOSPC"], ids=["killed", "disk full"])
def test_interrupted_at_any_call(
    line: Path, nursery: Nursery, apart: bool, error: str | None, request: pytest.FixtureRequest, long: bool
) -> None:
    """Killed or without room at any call, each image is whole in one place; the same command ends it then, once."""
    judged = Line(line)
    also = ""
    if apart:
        also = str(request.getfixturevalue("elsewhere"))
        judged.config.write_text(f"paths: {{io: {also}}}\n")
    place = judged.settings.paths.io

    def start(at: int) -> int:
        shutil.rmtree(judged.data / "nio", ignore_errors=True)
        shutil.rmtree(judged.dataset, ignore_errors=True)
        for path in place.iterdir() if place.is_dir() else ():
            shutil.rmtree(path)
        # It was called nio before: a copy of ours is to be taken back.
        judged.relabel(judged.file("nio/lot/a.png"), "nio")
        (line / "logs" / "decisions.jsonl").unlink()
        return run(nursery, judged, Fault(at=at, also=also, error=error))

    assert start(10**9) == 0
    calls = (line / "calls").read_text().splitlines()
    assert len(calls) > 10
    with Trials() as trial:
        for number in range(1, len(calls) + 1, 1 if long else 3):
            with trial(f"call {number}, {calls[number - 1]}"):
                assert start(number) in ((0, 1) if error else (-signal.SIGKILL,))
                images = [*_images(judged.data / "nio"), *_images(place)]
                assert len(images) in ((1, 2) if apart else (1,))
                assert all(path.read_bytes() == b"nio/lot/a.png" for path in images)
                assert all(Path(f"{path}.json").exists() and Path(f"{path}.cam.png").exists() for path in images)
                code = run(nursery, judged, Fault())
                if code:
                    # All was done but to say so.
                    assert "no such image" in (line / "relabel.out").read_text()
                left = [path for path in [*(judged.data / "nio").rglob("*"), *place.rglob("*")] if path.is_file()]
                assert sorted(path.name for path in left) == ["a.png", "a.png.cam.png", "a.png.json"]
                assert [path.relative_to(judged.dataset) for path in _images(judged.dataset)] == [Path("io/a.png")]
                assert json.loads((place / "lot" / "a.png.json").read_bytes())["relabelled"][-1]["to"] == "io"
                # A log without room costs no act; the book has it.
                assert error or judged.logged()[-1]["label"] == "io"
                last = (judged.dataset / "relabelled.jsonl").read_bytes().splitlines()[-1]
                assert json.loads(last)["label"] == "io"


def run(nursery: Nursery, judged: Line, fault: Fault) -> int:
    """Relabel nio/lot/a.png as io in a process of its own; the exit code."""
    output = judged.folder / "relabel.out"
    output.unlink(missing_ok=True)
    arguments = ["relabel", "data/nio/lot/a.png", "io", "--by", "Ann"]
    answer = nursery.ask(
        folder=str(judged.folder), arguments=arguments, output=str(output), environment={}, fault=asdict(fault)
    )
    process = Daemon(nursery, judged.folder, answer["pid"], output, 0)
    try:
        return process.wait()
    finally:
        process.kill()


def file_of(line: Line, place: str, product: object) -> Path:
    """An image that the daemon judged as one of a product."""
    image = line.file(place)
    record = {**line.record(place), "product": product}
    Path(f"{image}.json").write_text(json.dumps(record))
    return image


def test_products(judged: Line) -> None:
    """An operator's word teaches the data set of the product that the record names, in a book of its own."""
    judged.config.write_text("products: {BGA64: {match: ^bga/}, QFN48: {match: ^qfn/}}\n")
    products = {"a": "QFN48", "b": "BGA64", "c": "QFN48"}
    images = [file_of(judged, f"nio/{name}.png", product) for name, product in products.items()]
    assert judged.relabel(*images, "io") == 0
    taught = {"BGA64/io/b.png", "QFN48/io/a.png", "QFN48/io/c.png"}
    assert {name.removeprefix("dataset/") for name in judged.files() if name.startswith("dataset/")} == taught
    assert {told["dataset"] for told in judged.logged()} == taught
    book = (judged.dataset / "QFN48" / "relabelled.jsonl").read_bytes().splitlines()
    assert [json.loads(each)["dataset"] for each in book] == ["io/a.png", "io/c.png"]
    assert judged.relabel(judged.data / "io" / "a.png", "nio") == 0
    assert "dataset/QFN48/nio/a.png" in judged.files()
    assert "dataset/QFN48/io/a.png" not in judged.files()


@pytest.mark.parametrize("product", ["SOT23", None, ["QFN48"], "../nio"])
def test_a_product_that_the_line_has_not(judged: Line, product: object, capsys: pytest.CaptureFixture[str]) -> None:
    """An image of no product that the configuration knows is refused, and stays as it was; no folder is made for it."""
    judged.config.write_text("products: {QFN48: {match: ^qfn/}}\n")
    image = file_of(judged, "nio/a.png", product)
    before = judged.files()
    assert judged.relabel(image, "io") == 1
    assert judged.files() == before
    assert not list(judged.dataset.iterdir())
    assert "of no product in the configuration" in capsys.readouterr().err


def test_a_product_that_only_the_name_tells(judged: Line) -> None:
    """On a line without products there is one data set, whatever product a name speaks of."""
    assert judged.relabel(file_of(judged, "nio/a.png", "QFN48"), "io") == 0
    assert "dataset/io/a.png" in judged.files()


def take_back(judged: Line, place: str, by: str = "Ann") -> list[Refused]:
    """Ann takes her word for an image back."""
    images = [str(judged.data / place)]
    return list(relabel(judged.settings, images, None, by, open_log(judged.settings.logs)))


def test_taken_back(judged: Line) -> None:
    """A word that is taken back leaves the image where the verdict puts it, out of the data set, and unreviewed."""
    image = judged.file("nio/lot/a.png")
    assert judged.relabel(image, "io") == 0
    assert take_back(judged, "io/lot/a.png") == []
    assert judged.files() == sorted(triple("nio/lot/a.png"))
    assert [act["to"] for act in judged.record("nio/lot/a.png")["relabelled"]] == ["io", None]
    assert [line["label"] for line in judged.book()] == ["io", None]
    reindex(judged.settings)
    with Index(judged.settings.paths.ledger) as index:
        assert [image.word for image in index.to_review()] == [""]


def test_the_word_before_stands_again(judged: Line) -> None:
    """Of two words only the last is taken back: the first one counts, in the folder and in the data set."""
    image = judged.file("nio/a.png")
    assert judged.relabel(image, "nio") == judged.relabel(image, "io") == 0
    assert take_back(judged, "io/a.png") == []
    assert judged.files() == sorted([*triple("nio/a.png"), "dataset/nio/a.png"])
    assert [line["label"] for line in judged.book()] == ["nio", "io", "nio"]


def test_nothing_to_take_back(judged: Line) -> None:
    """Where nobody said anything there is nothing to take back, and it is told."""
    judged.file("nio/a.png")
    assert "nobody has said" in take_back(judged, "nio/a.png")[0].why
    assert judged.files() == sorted(triple("nio/a.png"))


def test_disputed(judged: Line) -> None:
    """Where two people disagree the image is in nio and teaches nothing; the next word settles it."""
    image = judged.file("nio/a.png")
    assert judged.relabel(image, "nio") == 0
    log = open_log(judged.settings.logs)
    assert list(relabel(judged.settings, [str(image)], "io", "Bob", log, {"shown": "repeat", "disputed": True})) == []
    assert judged.files() == sorted(triple("nio/a.png"))
    assert judged.record("nio/a.png")["relabelled"][-1] | {"at": ""} == {
        "to": "io", "by": "Bob", "at": "", "shown": "repeat", "disputed": True,
    }  # fmt: skip
    assert judged.relabel(image, "io") == 0
    assert judged.files() == sorted([*triple("io/a.png"), "dataset/io/a.png"])
