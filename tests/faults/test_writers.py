"""Writers of every kind and pace: what they have not finished is never judged, and what they have is, once."""

from __future__ import annotations

import contextlib
import hashlib
import mmap
import os
import random
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from harness import Daemon, Nursery, wait_until
from lines import encode, in_memory, new_line

QUIET_S = 0.4
SUFFIXES = (".png", ".jpg", ".tif", ".bmp")
PIECES = 8
OLD = 500_000_000


@dataclass(frozen=True)
class Pace:
    """How slow a writer is.

    Attributes:
        step_s: Between two pieces; shorter than the quiet time.
        hold_s: In the middle of the file, while its descriptor is open: where leases tell of it, longer than that.
    """

    step_s: float
    hold_s: float


@dataclass(frozen=True)
class Running:
    """A line with its daemon."""

    name: str
    inbox: Path
    daemon: Daemon

    @property
    def leases(self) -> bool:
        """Whether the kernel's word on writers counts."""
        return self.name != "quiet"


@pytest.fixture(scope="module")
def lines(_nursery: Nursery, trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Running]]:
    """Three lines: with leases, with the quiet time, and with the inbox on another file system."""
    root = tmp_path_factory.mktemp("writers")
    made = {}
    with in_memory(other_than=root) as memory:
        for name, inbox, admission in (
            ("lease", root / "lease" / "data" / "inbox", "lease"),
            ("quiet", root / "quiet" / "data" / "inbox", "quiet"),
            ("elsewhere", memory / "inbox", "lease"),
        ):
            waits = {"quiet_s": QUIET_S, "scan_s": 0.1, "admission": admission}
            folder = new_line(root / name, trained, paths={"inbox": str(inbox)}, inbox=waits)
            daemon = _nursery.start(folder)
            daemon.wait_for("watching")
            made[name] = Running(name, inbox, daemon)
        yield made
        assert {line.daemon.stop() for line in made.values()} == {0}


def pieces(data: bytes) -> list[tuple[int, bytes]]:
    """A file's bytes in a few pieces, each with its place."""
    size = -(-len(data) // PIECES)
    return [(start, data[start : start + size]) for start in range(0, len(data), size)]


def fill(descriptor: int, data: bytes, pace: Pace) -> None:
    """Write piece by piece, with a long pause in the middle."""
    for number, (start, piece) in enumerate(pieces(data)):
        time.sleep(pace.hold_s if number == PIECES // 2 else pace.step_s)
        os.pwrite(descriptor, piece, start)


def open_again(path: Path) -> int:
    """For writing, what must be there; patiently, as the daemon may just be looking at it."""
    end = time.monotonic() + 5
    while True:
        try:
            return os.open(path, os.O_WRONLY)
        except FileNotFoundError:
            if time.monotonic() > end:
                raise
            time.sleep(0.001)


@contextlib.contextmanager
def opened(path: Path, flags: int = os.O_WRONLY | os.O_CREAT | os.O_EXCL) -> Iterator[int]:
    """A descriptor, closed at the end."""
    descriptor = os.open(path, flags, 0o644)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def dribbled(path: Path, data: bytes, pace: Pace) -> None:
    """Piece after piece through one descriptor."""
    with opened(path) as file:
        fill(file, data, pace)


def preallocated(path: Path, data: bytes, pace: Pace) -> None:
    """Full size first, then filled."""
    with opened(path) as file:
        os.posix_fallocate(file, 0, len(data))
        fill(file, data, pace)


def sparse(path: Path, data: bytes, pace: Pace) -> None:
    """Full size first by truncation, then filled from its end."""
    with opened(path) as file:
        os.ftruncate(file, len(data))
        for start, piece in reversed(pieces(data)):
            time.sleep(pace.hold_s if start == 0 else pace.step_s)
            os.pwrite(file, piece, start)


def preallocated_and_opened_again(path: Path, data: bytes, pace: Pace) -> None:
    """Full size first, closed, opened again and filled."""
    with opened(path) as file:
        os.posix_fallocate(file, 0, len(data))
    time.sleep(pace.step_s)
    file = open_again(path)
    fill(file, data, pace)
    os.close(file)


def half_filled_and_opened_again(path: Path, data: bytes, pace: Pace) -> None:
    """Full size first and half of it filled; closed, opened again and filled."""
    half = len(data) // 2
    with opened(path) as file:
        os.ftruncate(file, len(data))
        os.pwrite(file, data[:half], 0)
    time.sleep(pace.step_s)
    file = open_again(path)
    fill(file, data, pace)
    os.close(file)


def preallocated_and_opened_for_each_piece(path: Path, data: bytes, pace: Pace) -> None:
    """Full size first; closed, and opened again for every piece."""
    with opened(path) as file:
        os.ftruncate(file, len(data))
    for start, piece in pieces(data):
        time.sleep(pace.step_s)
        file = open_again(path)
        os.pwrite(file, piece, start)
        os.close(file)


def appended(path: Path, data: bytes, pace: Pace) -> None:
    """Created empty; closed, and opened again for every piece."""
    path.touch()
    for start, piece in pieces(data):
        time.sleep(pace.step_s)
        file = open_again(path)
        os.pwrite(file, piece, start)
        os.close(file)


def copied_with_its_times(path: Path, data: bytes, pace: Pace) -> None:
    """`cp -p` of an old file from a slow disk."""
    slow = path.parent / f".{path.name}.fifo"
    os.mkfifo(slow)
    os.utime(slow, (OLD, OLD))
    with subprocess.Popen(["cp", "-p", slow, path]) as copy:
        with slow.open("wb", buffering=0) as pipe:
            for number, (_, piece) in enumerate(pieces(data)):
                time.sleep(pace.hold_s if number == PIECES // 2 else pace.step_s)
                pipe.write(piece)
        assert copy.wait() == 0
    slow.unlink()


def times_faked_all_along(path: Path, data: bytes, pace: Pace) -> None:
    """Size and times are those of an old file after each piece; only ctime tells."""
    with opened(path) as file:
        os.posix_fallocate(file, 0, len(data))
        for number, (start, piece) in enumerate(pieces(data)):
            time.sleep(pace.hold_s if number == PIECES // 2 else pace.step_s)
            os.pwrite(file, piece, start)
            os.utime(file, (OLD, OLD))


def renamed(path: Path, data: bytes, pace: Pace) -> None:
    """As rsync does: under a hidden name, closed, then renamed."""
    hidden = path.with_name(f".{path.name}.aB3xYz")
    dribbled(hidden, data, pace)
    os.utime(hidden, (OLD, OLD))
    hidden.rename(path)


def renamed_while_open(path: Path, data: bytes, pace: Pace) -> None:
    """Renamed to its name when half of it is written."""
    part = path.with_name(f"{path.name}.part")
    with opened(part) as file:
        half = pieces(data)[: PIECES // 2]
        for start, piece in half:
            time.sleep(pace.step_s)
            os.pwrite(file, piece, start)
        part.rename(path)
        fill(file, data, pace)


def linked(path: Path, data: bytes, pace: Pace) -> None:
    """A file without a name (O_TMPFILE) that is linked into the inbox once it is whole, and closed later."""
    with opened(path.parent, os.O_TMPFILE | os.O_WRONLY) as file:
        fill(file, data, pace)
        os.link(f"/proc/self/fd/{file}", path, src_dir_fd=file)  # which makes Python follow the link
        time.sleep(pace.step_s)


def linked_too_early(path: Path, data: bytes, pace: Pace) -> None:
    """A file without a name that is linked into the inbox before anything is in it."""
    with opened(path.parent, os.O_TMPFILE | os.O_WRONLY) as file:
        os.ftruncate(file, len(data))
        os.link(f"/proc/self/fd/{file}", path, src_dir_fd=file)  # which makes Python follow the link
        fill(file, data, pace)


def mapped(path: Path, data: bytes, pace: Pace) -> None:
    """Through a memory map, whose descriptor is closed at once."""
    with opened(path, os.O_RDWR | os.O_CREAT | os.O_EXCL) as file:
        os.ftruncate(file, len(data))
        view = mmap.mmap(file, len(data))
    for number, (start, piece) in enumerate(pieces(data)):
        time.sleep(pace.hold_s if number == PIECES // 2 else pace.step_s)
        view[start : start + len(piece)] = piece
        view.flush()
    view.close()


WRITERS = (
    dribbled, preallocated, sparse, preallocated_and_opened_again, half_filled_and_opened_again,
    preallocated_and_opened_for_each_piece, appended,
    copied_with_its_times, times_faked_all_along, renamed, renamed_while_open, linked, linked_too_early, mapped,
)  # fmt: skip


def check_verdicts(line: Running, folder: str, expected: dict[str, str]) -> None:
    """In a sub-folder each final content (name by digest) got one verdict; nothing else did, nothing was put away."""
    data = line.daemon.folder / "data"
    wait_until(lambda: not _files(line.inbox / folder) and not any(map(Path.is_dir, (data / "work").iterdir())), 30)
    found = [event for event in line.daemon.events("decision") if event["file"].startswith(f"{folder}/")]
    put_away = [event for event in line.daemon.events("quarantine") if event["file"].startswith(f"{folder}/")]
    judged = Counter(event["sha256"] for event in found)
    wrong = {
        "judged half written": [event["file"] for event in found if event["sha256"] not in expected],
        "in quarantine": [(event["file"], event["error"]) for event in put_away],
        "never judged": [name for digest, name in expected.items() if not judged[digest]],
        "judged more than once": [name for digest, name in expected.items() if judged[digest] > 1],
        "changed after its verdict": [
            event["file"]
            for event in found
            if hashlib.sha256((data / event["outcome"] / event["filed_as"]).read_bytes()).hexdigest() != event["sha256"]
        ],
    }
    assert wrong == {name: [] for name in wrong}, f"line {line.name}"


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()] if folder.exists() else []


@pytest.mark.parametrize("writer", WRITERS, ids=lambda writer: writer.__name__)
def test_a_file_is_judged_only_when_its_writer_is_done(
    writer: Callable[[Path, bytes, Pace], None], lines: dict[str, Running], draw_disc: Callable[..., Any], long: bool
) -> None:
    """However a file comes to be, it is judged once, as it is in the end: with leases, without, across file systems."""
    rng = np.random.default_rng(WRITERS.index(writer))
    expected: dict[str, dict[str, str]] = {name: {} for name in lines}
    jobs = []
    for name, line in lines.items():
        (line.inbox / writer.__name__).mkdir()
        for number in range(12 if long else 1):
            step_s = rng.uniform(0.002, 0.04)
            pace = Pace(step_s, 1.3 * QUIET_S if line.leases else step_s)
            for suffix in SUFFIXES:
                data = encode(draw_disc(rng, void=number % 2 == 1), suffix)
                path = line.inbox / writer.__name__ / f"{number}{suffix}"
                expected[name][hashlib.sha256(data).hexdigest()] = path.name
                jobs.append((path, data, pace))
    with ThreadPoolExecutor(len(jobs)) as pool:
        for done in [pool.submit(writer, *job) for job in jobs]:
            done.result()
    for name, line in lines.items():
        check_verdicts(line, writer.__name__, expected[name])


@pytest.mark.parametrize("name", ["lease", "quiet", "elsewhere"])
def test_a_file_opened_while_it_is_claimed_is_judged_as_it_is_in_the_end(
    name: str, lines: dict[str, Running], draw_disc: Callable[..., Any], long: bool
) -> None:
    """A writer that opens a whole file at the moment of its claim and changes it: judged after that, or just before.

    Half old and half new is a picture too; no verdict may be one on such a mixture.
    """
    line, rng = lines[name], np.random.default_rng(99)
    folder = f"claimed-{name}"
    (line.inbox / folder).mkdir()
    expected: dict[str, str] = {}
    count = 400 if long else 24
    lock = threading.Lock()

    def write(number: int, old: bytes, new: bytes) -> None:
        path = line.inbox / folder / f"{number}.bmp"
        path.with_suffix(".part").write_bytes(old)
        path.with_suffix(".part").rename(path)
        time.sleep((0 if line.leases else QUIET_S) + random.Random(number).uniform(0, 0.08))  # noqa: S311
        final = old
        with contextlib.suppress(FileNotFoundError), opened(path, os.O_WRONLY) as file:
            fill(file, new, Pace(0.005, 0.005))
            final = new
        with lock:
            expected[hashlib.sha256(final).hexdigest()] = path.name

    with ThreadPoolExecutor(8) as pool:
        pictures = [[encode(draw_disc(rng, void=void), ".bmp") for void in (False, True)] for _ in range(count)]
        for done in [pool.submit(write, number, *pair) for number, pair in enumerate(pictures)]:
            done.result()
    check_verdicts(line, folder, expected)


@pytest.mark.parametrize("name", ["lease", "quiet", "elsewhere"])
def test_a_file_that_its_writer_opens_again_is_still_there(
    name: str, lines: dict[str, Running], draw_disc: Callable[..., Any], long: bool
) -> None:
    """Header, close, and soon `open(path, "ab")`: the writer finds its file, not an empty one beside a taken half."""
    line, rng = lines[name], np.random.default_rng(7)
    folder = f"again-{name}"
    (line.inbox / folder).mkdir()
    expected: dict[str, str] = {}

    def write(path: Path, data: bytes, pause_s: float) -> None:
        for _, piece in pieces(data):
            with path.open("ab") as file:
                file.write(piece)
            time.sleep(pause_s)

    jobs = []
    for number in range(40 if long else 4):
        for suffix in SUFFIXES:
            data = encode(draw_disc(rng, void=False), suffix)
            path = line.inbox / folder / f"{number}{suffix}"
            expected[hashlib.sha256(data).hexdigest()] = path.name
            jobs.append((path, data, rng.uniform(0, 0.03)))
    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(write, *job) for job in jobs]:
            done.result()
    check_verdicts(line, folder, expected)


@pytest.mark.parametrize("suffix", [".bmp", ".tif"])
def test_a_picture_that_ends_in_black_is_judged(
    suffix: str, lines: dict[str, Running], draw_disc: Callable[..., Any]
) -> None:
    """Zeros at the end of a file may be its picture: it is judged all the same, on every line."""
    pixels = draw_disc(np.random.default_rng(5), void=False)
    pixels[:8] = pixels[-8:] = 0
    data = encode(pixels, suffix)
    assert data[-40:] == bytes(40)
    for line in lines.values():
        (line.inbox / f"black{suffix}.part").write_bytes(data)
        (line.inbox / f"black{suffix}.part").rename(line.inbox / f"black{suffix}")
    for line in lines.values():
        wait_until(lambda found=line.daemon: f"black{suffix}" in {e["file"] for e in found.events("decision")}, 20)  # type: ignore[misc]
