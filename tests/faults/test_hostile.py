"""An inbox that wishes us ill: nothing outside the line's folders is touched, and every image is filed all the same."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import shutil
import socket
import stat
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from harness import IMPATIENT, Daemon, Fault, Ledger, Nursery, wait_until
from lines import configure

_OWN = (
    "data/inbox", "data/work", "data/io", "data/nio", "data/quarantine", "data/ledger.db", "logs", "stdout.jsonl.out",
    "config.yaml",
)  # fmt: skip

LONGEST = "n" * 251 + ".png"
NAMES = [
    b"plain.png", b"PLAIN.PNG", b"Plain.Png", b"plain~2.png", b"plain.cam.png.png", b"plain.png.json.png",
    b"plain.tif.png", b"plain.png.png", b"claim.json.png", b"decision.json.png", b"cam.part.png",
    b"a\nb.png", b"a\rb.png", b"a\tb.png", b"\x1b]0;owned\x07.png", b"\x1b[2J.png", b"\x7f.png", b"\x01.png",
    b"\xff.png", b"\xff\xfe\x80.png", b"ok\xc3.png", b"\xed\xa0\x80.png", LONGEST.encode(), b"\xff" * 251 + b".png",
    "ü".encode() * 125 + b".png", "🙂".encode() * 62 + b".png",
    b"-rf.png", b"--help.png", b"-.png", b"a..png", b"a...png", b" .png", b" lead and trail .png", b"a.png .png",
    "🔬🙂.png".encode(), "\u202egnp.exe.png".encode(), "שלום.png".encode(), "\u2028.png".encode(), "\x85.png".encode(),
    "e\u0301.png".encode(), "é.png".encode(), b"$(touch x).png", b"`x`;x&|.png", b"%s%n%00.png", b"'\"\\.png",
    b"{}.png", b"*.png", b"~.png", b"~root.png", b"con.png", b"nul.png", b"<script>.png",
]  # fmt: skip


def surroundings(line: Path) -> dict[str, tuple[Any, ...]]:
    """Everything beside the folders that are the daemon's to write into: kinds, modes, owners, times and contents."""
    found = {}
    for folder, folders, files in os.walk(line):
        for name in (*folders, *files):
            path = Path(folder, name)
            inside = str(path.relative_to(line))
            if inside.startswith(_OWN):
                continue
            about = path.lstat()
            content: object = None
            if path.is_symlink():
                content = path.readlink()
            elif path.is_file():
                content = hashlib.sha256(path.read_bytes()).hexdigest(), about.st_mtime_ns
            found[inside] = stat.S_IFMT(about.st_mode), about.st_mode, about.st_uid, content
        folders[:] = [name for name in folders if not str(Path(folder, name).relative_to(line)).startswith(_OWN)]
    return found


@pytest.fixture
def outside(line: Path, image: Callable[[int], bytes]) -> Iterator[Path]:
    """A folder that is none of the daemon's business, beside the line's own; it must be as it was in the end."""
    folder = line / "outside"
    (folder / "sub").mkdir(parents=True)
    (line / "data" / "inbox").mkdir(parents=True)
    for name, number in (("a.png", 9001), ("b.png", 9002), ("sub/c.png", 9003), ("a.png.done", 9004)):
        (folder / name).write_bytes(image(number))
    before = surroundings(line)
    yield folder
    after = surroundings(line)
    changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    assert not changed, f"changed outside the line's folders: {changed}"


def check_log(line: Path, *, whole: bool = True) -> list[dict[str, Any]]:
    """Each log line is one JSON object of printable ASCII; returns them."""
    events: list[dict[str, Any]] = []
    for path in (line / "stdout.jsonl.out", line / "logs" / "decisions.jsonl"):
        data = path.read_bytes()
        events = []
        for number, text in enumerate(data.split(b"\n")[:-1]):
            assert all(32 <= byte < 127 for byte in text), f"{path.name}:{number + 1}: {text!r}"
            events.append(json.loads(text))
        assert not whole or data.endswith(b"\n")
    assert all(isinstance(event, dict) and event["event"] for event in events)
    return events


def drop_bytes(ledger: Ledger, name: bytes, data: bytes) -> None:
    """Drop an image whose name is bytes."""
    ledger.drop(os.fsdecode(name), data)


def emptied(ledger: Ledger) -> bool:
    """Whether no regular image file is left in the inbox, and nothing in work, from where it may come back."""

    def waits() -> bool:
        found = (ledger.data / "inbox").rglob("*.png")
        return any(path.is_file() and not path.is_symlink() and path.name[0] != "." for path in found)

    return not waits() and not any(path.is_dir() for path in (ledger.data / "work").iterdir()) and not waits()


def test_every_name_is_a_name(nursery: Nursery, ledger: Ledger, outside: Path, image: Callable[[int], bytes]) -> None:
    """Control characters, no UTF-8, 255 bytes, options, other scripts: each image is filed, logged on one line each."""
    assert outside
    for number, name in enumerate(NAMES):
        drop_bytes(ledger, name, image(number))
        if number % 5 == 0:
            drop_bytes(ledger, b"lot \n\xff/" + name, image(100 + number))
    assert nursery.once(ledger.folder) == 0
    counts = ledger.check_filed()
    assert counts["quarantine"] == 0
    events = check_log(ledger.folder)
    assert len([event for event in events if event["event"] == "decision"]) == len(ledger.arrived)
    for label in ("io", "nio"):
        for path in (ledger.data / label).rglob("*"):
            assert len(os.fsencode(path.name)) <= 255
    # The shorter of them keep their names, if nobody else has them.
    filed = {path.name for label in ("io", "nio") for path in (ledger.data / label).rglob("*")}
    assert {os.fsdecode(name) for name in NAMES if len(name) < 200 and b"plain" not in name} <= filed


def test_bad_files_of_every_name_are_put_away(nursery: Nursery, ledger: Ledger, outside: Path) -> None:
    """The same names on files that are no images: all in quarantine, each with its reason beside it."""
    assert outside
    for number, name in enumerate(NAMES):
        drop_bytes(ledger, name, b"no image " + str(number).encode())
    assert nursery.once(ledger.folder) == 0
    assert ledger.check_filed() == {"quarantine": len(NAMES)}
    check_log(ledger.folder)
    quarantine = ledger.data / "quarantine"
    for path in quarantine.iterdir():
        if not path.name.endswith(".error.json"):
            assert json.loads(path.with_name(f"{path.name}.error.json").read_bytes())["error"]


def test_names_cannot_write_to_the_terminal(
    nursery: Nursery, ledger: Ledger, outside: Path, image: Callable[[int], bytes]
) -> None:
    """On a console too, a name is text: no escape sequence of its own, no line break, whatever happens to its image."""
    configure(ledger.folder, inbox={"quiet_s": 0.3, "scan_s": 0.2}, logs={"format": "console"})
    assert outside
    for number, name in enumerate((b"a\nb.png", b"\x1b]0;owned\x07.png", b"\xff.png", "\u202e\x85.png".encode())):
        drop_bytes(ledger, name, image(number))
        drop_bytes(ledger, b"bad" + name, b"no image %d" % number)
    assert nursery.once(ledger.folder) == 0
    assert ledger.check_filed()["quarantine"] == 4
    shown = (ledger.folder / "stdout.jsonl.out").read_text(encoding="utf-8", errors="surrogateescape")
    lines = shown.split("\n")[:-1]
    assert len(lines) == len((ledger.folder / "logs" / "decisions.jsonl").read_bytes().splitlines())
    assert not {"\x1b]", "\x07", "\u202e", "\x85", "\udcff"} & {char for char in ("\x1b]", *shown) if char in shown}


def test_what_is_no_regular_file_is_left_alone(
    nursery: Nursery, ledger: Ledger, outside: Path, image: Callable[[int], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Links, loops, FIFOs, sockets, devices, folders with image names: untouched; the images beside are judged."""
    inbox = ledger.data / "inbox"
    links: dict[str, str | Path] = {
        "file.png": outside / "a.png", "folder.png": outside, "lot": outside, "dangling.png": "nowhere.png",
        "loop.png": "loop.png", "up": "..", "here": ".", "self.png": inbox, "absolute.png": "/etc/passwd",
        "ping.png": "pong.png", "pong.png": "ping.png", "work": ledger.data / "work",
    }  # fmt: skip
    for name, target in links.items():
        (inbox / name).symlink_to(target)
    os.mkfifo(inbox / "fifo.png")
    monkeypatch.chdir(inbox)  # a socket's address is short
    with socket.socket(socket.AF_UNIX) as listener, contextlib.suppress(PermissionError):
        listener.bind("socket.png")
        os.mknod(inbox / "device.png", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    (inbox / "empty.png").mkdir()
    before = {path.name: path.lstat() for path in inbox.iterdir()}
    for number, name in enumerate(("first.png", "x.png/inner.png", "x.png/deep.tif/image.png")):
        ledger.drop(name, image(number))
    assert nursery.once(ledger.folder) == 0
    for name, about in before.items():
        now = (inbox / name).lstat()
        assert (now.st_ino, now.st_mode, now.st_mtime_ns) == (about.st_ino, about.st_mode, about.st_mtime_ns), name
        if not stat.S_ISDIR(now.st_mode):
            (inbox / name).unlink()
    assert ledger.check_filed()["quarantine"] == 0
    check_log(ledger.folder)


def test_hard_links_are_files_of_their_own(
    nursery: Nursery, ledger: Ledger, outside: Path, image: Callable[[int], bytes]
) -> None:
    """A name of a file outside, and two names of one file: each name is judged and filed; what is outside stays."""
    os.link(outside / "b.png", ledger.data / "inbox" / "hard.png")
    twin = image(1)
    (ledger.data / "inbox" / "one.png").write_bytes(twin)
    (ledger.data / "inbox" / "lot").mkdir()
    os.link(ledger.data / "inbox" / "one.png", ledger.data / "inbox" / "two.png")
    os.link(ledger.data / "inbox" / "one.png", ledger.data / "inbox" / "lot" / "one.png")
    ledger.drop("other.png", image(2))
    assert nursery.once(ledger.folder) == 0
    filed = {str(path.relative_to(ledger.data / label)) for label in ("io", "nio") for path in _images(ledger, label)}
    assert filed == {"hard.png", "one.png", "two.png", "lot/one.png", "other.png"}
    assert len([event for event in check_log(ledger.folder) if event["event"] == "decision"]) == 5
    assert emptied(ledger)


def _images(ledger: Ledger, label: str) -> list[Path]:
    return [p for p in (ledger.data / label).rglob("*.png") if p.is_file() and not p.name.endswith(".cam.png")]


@pytest.mark.parametrize("name", ["x.png", "x.png.json", "x.png.cam.png"])
def test_a_folder_named_as_a_filed_file(
    name: str, nursery: Nursery, ledger: Ledger, outside: Path, image: Callable[[int], bytes]
) -> None:
    """Where io holds a file x.png, images of a sub-folder x.png find another place, and the other way round."""
    assert outside
    daemon = nursery.start(ledger.folder, fault=Fault(settings=IMPATIENT))
    ledger.drop("x.png", image(1))
    daemon.wait_for("decision", 1)
    ledger.drop(f"{name}/inner.png", image(2))
    ledger.drop(f"{name}/y.png", b"no image")
    ledger.drop("y/y.png", image(3))
    daemon.wait_for("decision", 2)
    wait_until(lambda: emptied(ledger), 15)
    assert daemon.stop() == 0
    assert ledger.check_filed()["quarantine"] == 1


@pytest.mark.parametrize("label", ["io", "quarantine"])
@pytest.mark.parametrize("sub", ["lot7", "lot7/board"])
def test_a_link_in_an_output_folder_is_not_followed(
    label: str, sub: str, nursery: Nursery, ledger: Ledger, outside: Path, image: Callable[[int], bytes]
) -> None:
    """io/lot7 leads elsewhere: nothing is written there, nothing is lost, others are judged; it is filed in the end."""
    data = image(1) if label == "io" else b"no image"
    (ledger.data / label / sub).parent.mkdir(parents=True)
    (ledger.data / label / sub).symlink_to(outside)
    ledger.drop(f"{sub}/a.png", data)
    ledger.drop(f"{sub}/sub/new.png", data + b"\0")
    daemon = nursery.start(ledger.folder, fault=Fault(settings=IMPATIENT))
    ledger.drop("neighbour.png", image(2))
    daemon.wait_for("decision")
    time.sleep(0.6)
    ledger.check()
    (ledger.data / label / sub).unlink()
    wait_until(lambda: emptied(ledger), 15)
    assert daemon.stop() == 0
    ledger.check_filed()


def test_links_in_place_of_names_are_not_followed(
    nursery: Nursery, ledger: Ledger, outside: Path, image: Callable[[int], bytes]
) -> None:
    """io/a.png and its sidecars' names are links to files outside, or to none: the image gets another name."""
    for label in ("io", "nio", "quarantine"):
        (ledger.data / label).mkdir()
        for name in ("a.png", "b.png.json", "c.png.cam.png", "d.png.error.json", "a~2.png"):
            (ledger.data / label / name).symlink_to(outside / "a.png")
        (ledger.data / label / "e.png").symlink_to(outside / "not-there.png")
    for number, name in enumerate("abcde"):
        ledger.drop(f"{name}.png", image(number))
        ledger.drop(f"bad/{name}.png", b"no image %d" % number)
    assert nursery.once(ledger.folder) == 0
    assert not (outside / "not-there.png").exists()
    for label in ("io", "nio", "quarantine"):
        links = [path for path in (ledger.data / label).iterdir() if path.is_symlink()]
        assert len(links) == 6
        for path in links:
            path.unlink()
    ledger.check_filed()


def test_nothing_is_given_back_through_a_link(
    nursery: Nursery, ledger: Ledger, outside: Path, image: Callable[[int], bytes]
) -> None:
    """The sub-folder an image came from is a link now: it is given back, if at all, inside of the inbox."""
    claim = ledger.data / "work" / "20260101T000000-aaaaaaaaaaaa"
    claim.mkdir(parents=True)
    (claim / "cut.png").write_bytes(image(1)[:500])
    ledger.expect("cut.png", image(1)[:500])
    content = {"source": "lot7/cut.png", "claimed": "2026-01-01T00:00:00.000Z", "attempts": 1, "settled": False}
    (claim / "claim.json").write_text(json.dumps(content | {"marker": None}))
    (ledger.data / "inbox" / "lot7").symlink_to(outside)
    ledger.drop("neighbour.png", image(2))
    daemon = nursery.start(ledger.folder, fault=Fault(settings=IMPATIENT))
    daemon.wait_for("decision")
    time.sleep(0.5)
    (ledger.data / "inbox" / "lot7").unlink()
    wait_until(lambda: emptied(ledger), 15)
    assert daemon.stop() == 0
    ledger.check_filed()


@pytest.mark.parametrize(
    "source",
    ["../../outside/new.png", "/outside/new.png", "lot/../../../outside/new.png", "..", "", ".", "a/../../x.png"],
)
def test_a_forged_claim_writes_nothing_outside(
    source: str, nursery: Nursery, ledger: Ledger, outside: Path, image: Callable[[int], bytes]
) -> None:
    """What claim.json says is no path to follow out of the folders; the image is filed under some name, or kept."""
    claim = ledger.data / "work" / "20260101T000000-aaaaaaaaaaaa"
    claim.mkdir(parents=True)
    source = source.replace("/outside", str(outside)) if source.startswith("/") else source
    name = Path(source).name or "x.png"
    data = image(1)
    (claim / (name if name not in {"..", "."} else "x.png")).write_bytes(data)
    ledger.expect(name, data)
    (claim / "claim.json").write_text(json.dumps({"source": source, "claimed": "", "attempts": 1, "settled": True}))
    ledger.drop("neighbour.png", image(2))
    daemon = nursery.start(ledger.folder, fault=Fault(settings=IMPATIENT))
    wait_until(lambda: "neighbour.png" in {event["file"] for event in daemon.events("decision")}, 15)
    assert daemon.stop() == 0
    ledger.check()


def test_a_marker_is_not_removed_through_a_link(
    nursery: Nursery, ledger: Ledger, outside: Path, image: Callable[[int], bytes]
) -> None:
    """The sub-folder becomes a link while its images are in hand: what is called like their markers outside stays."""
    configure(ledger.folder, inbox={"quiet_s": 0.3, "scan_s": 0.2, "done_marker": ".done"})
    lot = ledger.data / "inbox" / "lot7"
    for number in range(7):
        ledger.drop(f"lot7/{number}.png", image(number))
        (lot / f"{number}.png.done").touch()
    ledger.drop("lot7/a.png", image(8))
    (lot / "a.png.done").touch()
    daemon = nursery.start(ledger.folder, fault=Fault(settings=IMPATIENT))
    wait_until(lambda: not list(lot.glob("*.png")), every_s=0.0005)
    lot.rename(ledger.data / "inbox" / ".lot7")
    lot.symlink_to(outside)
    daemon.wait_for("decision", 8)
    wait_until(lambda: emptied(ledger), 15)
    assert daemon.stop() == 0
    shutil.rmtree(ledger.data / "inbox" / ".lot7")
    ledger.check_filed()


def test_files_that_change_their_nature_while_they_are_read(
    nursery: Nursery, ledger: Ledger, outside: Path, image: Callable[[int], bytes], long: bool
) -> None:
    """Names that are now a file, now a link, a FIFO, a folder, and folders that are now links: nothing outside moves.

    The daemon neither hangs nor ends, and judges what comes after.
    """
    inbox = ledger.data / "inbox"
    configure(ledger.folder, inbox={"quiet_s": 0.2, "scan_s": 0.05})
    daemon = nursery.start(ledger.folder, fault=Fault(settings=IMPATIENT))
    daemon.wait_for("watching")
    swapping = Swapping(inbox, outside, image, time.monotonic() + (40 if long else 2))
    threads = [threading.Thread(target=swapping.files, args=(seed,)) for seed in range(2)]
    threads.append(threading.Thread(target=swapping.folders))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for path in inbox.iterdir():
        if path.is_symlink() or not path.is_dir():
            path.unlink(missing_ok=True)
        else:
            shutil.rmtree(path)
    for number in range(10):
        ledger.drop(f"after{number}.png", image(number))
    wait_until(lambda: emptied(ledger) and _names(daemon, "after") == 10, 30)
    assert daemon.stop() == 0
    ledger.check_filed()
    check_log(ledger.folder)


class Swapping:
    """Replaces files and folders in an inbox by other things of the same names, until it is time to end."""

    def __init__(self, inbox: Path, outside: Path, image: Callable[[int], bytes], end: float) -> None:
        self._inbox, self._outside, self._image, self._end = inbox, outside, image, end
        self._numbers = iter(range(10_000, 10_000_000))

    def _goes_on(self) -> bool:
        return time.monotonic() < self._end

    def files(self, seed: int) -> None:
        """Files become links, FIFOs, folders, halves, nothing."""
        rng = random.Random(seed)  # noqa: S311
        new = self._inbox / f".new{seed}"
        while self._goes_on():
            path = self._inbox / f"{rng.randrange(4)}.png"
            with contextlib.suppress(OSError):
                self._make(new, rng.choice(["file", "file", "half", "link", "fifo", "folder"]))
                if new.is_dir() and not new.is_symlink():
                    path.unlink()
                new.rename(path)
                time.sleep(rng.uniform(0, 0.01))
                if path.is_dir() and not path.is_symlink():
                    path.rmdir()
            new.unlink(missing_ok=True) if not new.is_dir() or new.is_symlink() else new.rmdir()

    def _make(self, new: Path, kind: str) -> None:
        data = self._image(next(self._numbers))
        match kind:
            case "link":
                new.symlink_to(self._outside / "a.png")
            case "fifo":
                os.mkfifo(new)
            case "folder":
                new.mkdir()
            case _:
                new.write_bytes(data if kind == "file" else data[:300])

    def folders(self) -> None:
        """A sub-folder with images becomes a link to another one, where images have the same names."""
        rng = random.Random(0)  # noqa: S311
        lot, kept = self._inbox / "lot", self._inbox / ".kept"
        lot.mkdir()
        while self._goes_on():
            for name in ("a.png", "b.png"):
                (lot / name).write_bytes(self._image(next(self._numbers)))
            time.sleep(rng.uniform(0, 0.02))
            lot.rename(kept)
            lot.symlink_to(self._outside)
            time.sleep(rng.uniform(0, 0.01))
            lot.unlink()
            kept.rename(lot)


def _names(daemon: Daemon, start: str) -> int:
    return len({event["file"] for event in daemon.events("decision") if event["file"].startswith(start)})


def test_deep_folders(nursery: Nursery, ledger: Ledger, outside: Path, image: Callable[[int], bytes]) -> None:
    """64 folders deep, up to the longest path that there is, images are found, judged and filed in the same folders."""
    assert outside
    room = 4095 - len(os.fsencode(ledger.data / "quarantine")) - len("/image.png.error.json") - 40
    for name in ("/".join(["d"] * 64), "/".join(["e" * (room // 64 - 1)] * 64)):
        ledger.drop(f"{name}/image.png", image(len(name)))
        ledger.drop(f"{name}/bad.png", b"no image" + name.encode())
    assert nursery.once(ledger.folder) == 0
    assert ledger.check_filed()["quarantine"] == 2
    check_log(ledger.folder)


def test_folders_too_deep_for_a_path(
    nursery: Nursery, ledger: Ledger, outside: Path, image: Callable[[int], bytes]
) -> None:
    """A path that fits into the inbox, but not into io: it is filed somewhere, and the others are judged meanwhile."""
    assert outside
    inbox = ledger.data / "inbox"
    room = 4095 - len(os.fsencode(inbox)) - len("/image.png") - 2
    deep = "/".join(["f" * 99] * (room // 100))
    deep += "/" + "g" * (room - len(deep) - 1)
    (inbox / deep).mkdir(parents=True)
    (inbox / deep / "image.png").write_bytes(image(1))
    daemon = nursery.start(ledger.folder, fault=Fault(settings=IMPATIENT))
    daemon.wait_for("watching")
    for number in range(2, 6):
        ledger.drop(f"{number}.png", image(number))
    wait_until(lambda: _names(daemon, "") == 5, 15)
    wait_until(lambda: emptied(ledger), 15)
    assert daemon.stop() == 0
    found = []
    for label in ("io", "nio"):
        for _, _, names, folder in os.fwalk(ledger.data / label):
            for name in names:
                with os.fdopen(os.open(name, os.O_RDONLY, dir_fd=folder), "rb") as file:
                    found.append(file.read())
    assert found.count(image(1)) == 1
    assert {image(number) for number in range(2, 6)} < set(found)
    shutil.rmtree(inbox)


def test_modes_that_forbid(nursery: Nursery, ledger: Ledger, outside: Path, image: Callable[[int], bytes]) -> None:
    """Mode 000, unwritable and unreadable folders: put away with the mend, or let lie; the others are judged."""
    assert outside
    ledger.drop("closed.png", image(1))
    (ledger.data / "inbox" / "closed.png").chmod(0)
    folders = {"unreadable": 0, "unlisted": 0o311, "unwritable": 0o555, "blind": 0o444}
    for number, (name, mode) in enumerate(folders.items(), start=2):
        ledger.drop(f"{name}/image.png", image(number))
        (ledger.data / "inbox" / name).chmod(mode)
    daemon = nursery.start(ledger.folder, fault=Fault(settings=IMPATIENT, modes_bind=True))
    try:
        (event,) = daemon.wait_for("quarantine", seconds=15)
        assert event["file"] == "closed.png"
        assert "may not read" in event["error"]
        ledger.drop("open.png", image(100))
        wait_until(lambda: "open.png" in {found["file"] for found in daemon.events("decision")}, 15)
    finally:
        for path in (ledger.data / "inbox").iterdir():
            path.chmod(0o755)
    wait_until(lambda: emptied(ledger), 15)
    assert daemon.stop() == 0
    (ledger.data / "quarantine" / "closed.png").chmod(0o644)
    assert ledger.check_filed()["quarantine"] == 1
    check_log(ledger.folder)
