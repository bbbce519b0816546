"""The ledger with millions of images: how long its answers take, and what it costs to put an image down.

`python -m benchmarks.ledger --images 5_000_000` fills a ledger with made-up images in a temporary folder (about
0.5 KB each, a quarter of an hour), asks each question some hundred times with other values, then puts down real
records in groups. Everything is removed at the end.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from filing.ledger import Ledger, Outcome, Place, reindex
from filing.ledger.records import Facts, Record, Word, milliseconds
from filing.ledger.store import Store
from filing.ledger.sweep import record_folders, update
from settings import Settings, load

PRODUCTS = ("amber", "birch", "cedar")
JOINTS, VIEWS = 60, 2
START = datetime(2025, 7, 1, tzinfo=UTC)
YEAR_S = 365 * 86400
ASKED = 300
LIMIT_MS = 50.0


def main() -> None:
    """Fill, ask, write, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=5_000_000, help="how many images the ledger has")
    parser.add_argument("--folder", help="where to work; by default where temporary files go")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-ledger-", dir=arguments.folder) as folder:
        settings = _settings(Path(folder))
        boards = arguments.images // (JOINTS * VIEWS)
        _fill(settings.paths.ledger, boards)
        with Store(settings.paths.ledger) as store:
            started = time.perf_counter()
            store.check()
            print(f"read the whole file for damage: {time.perf_counter() - started:.1f} s", flush=True)
            _ask(settings.paths.ledger, boards)
            _write(store, settings)
    with tempfile.TemporaryDirectory(prefix="bench-ledger-", dir=arguments.folder) as folder:
        _reindex(_settings(Path(folder)))


def _settings(home: Path) -> Settings:
    (home / "config.yaml").touch()
    settings = load(home / "config.yaml")
    for outcome in ("io", "nio", "quarantine"):
        settings.paths.line[outcome].mkdir(parents=True)
    return settings


def _fill(path: Path, boards: int) -> None:
    draw = random.Random(0)  # noqa: S311
    started = time.perf_counter()
    with Store(path) as store:
        for board in range(boards):
            with store.transaction():
                for outcome, name, record in _images_of(board, boards, draw):
                    store.put(outcome, store.folder(outcome, f"S{board:07d}".encode()), name.encode(), record)
            if board % 2000 == 0:
                print(f"\r{100 * board // boards} % filled", end="", flush=True)
        store.completed()
    took = time.perf_counter() - started
    images = boards * JOINTS * VIEWS
    size = path.stat().st_size
    print(f"\r{images} images in {took:.0f} s ({1e6 * took / images:.0f} us each), {size / 2**20:.0f} MB", flush=True)


def _images_of(board: int, boards: int, draw: random.Random) -> Iterator[tuple[Outcome, str, Record]]:
    """A board's images; 3 % are nio, and six of ten of those have a word."""
    at = milliseconds(START + timedelta(seconds=YEAR_S * board / boards))
    for joint in range(JOINTS):
        for view in range(VIEWS):
            outcome: Outcome = "nio" if draw.random() < 0.03 else "io"
            reason = "clear" if outcome == "io" else draw.choice(["defect", "defect", "unidentified"])
            p = draw.random() * 0.09 if outcome == "io" else 0.09 + 0.91 * draw.random()
            name = f"r{joint // 10:02d}c{joint % 10:02d}"
            worded = outcome == "nio" and draw.random() < 0.6
            words = (Word(at + 3_600_000, draw.choice(["io", "nio"]), "Eve"),) if worded else ()
            facts = Facts(
                at + 50 * (joint * VIEWS + view), outcome, reason, p, 0.09, draw.random(), "20260701-120000-3f9a",
                PRODUCTS[board % 3], f"S{board:07d}", name, str(view + 1), 1, 1, words[-1].label if words else "",
            )  # fmt: skip
            yield outcome, f"S{board:07d}_{name}_view{view + 1}.png", Record(facts, words, (at * 10**6, joint + 1))


def _ask(path: Path, boards: int) -> None:
    draw = random.Random(1)  # noqa: S311

    def serial() -> str:
        return f"S{draw.randrange(boards):07d}"

    def joint() -> str:
        return f"r{draw.randrange(6):02d}c{draw.randrange(10):02d}"

    def moment() -> datetime:
        return START + timedelta(seconds=draw.randrange(YEAR_S))

    def day() -> date:
        return moment().date()

    def range_of(ledger: Ledger) -> object:
        since = moment()
        return sum(1 for _ in ledger.images(draw.choice(PRODUCTS), since, since + timedelta(hours=2)))

    with Ledger(path) as ledger:
        some = ledger.to_review(count=5000)[-1]
    questions: dict[str, Callable[[Ledger], object]] = {
        "status: counts, last image, rate": lambda ledger: ledger.summary(now=moment()),
        "a board's images": lambda ledger: ledger.board(serial()),
        "search for a serial number": lambda ledger: ledger.boards(serial()[:6]),
        "next 50 to review": lambda ledger: ledger.to_review(),
        "50 more": lambda ledger: ledger.to_review(after=some),
        "next 50 to review of a product": lambda ledger: ledger.to_review(draw.choice(PRODUCTS)),
        "next 50 to review of a board": lambda ledger: ledger.to_review(board=serial()),
        "boards to review of a product": lambda ledger: ledger.boards_to_review(draw.choice(PRODUCTS)),
        "two hours of a product": range_of,
        "last words on a joint": lambda ledger: ledger.words(joint(), draw.choice(PRODUCTS)),
        "last words on a joint of a board": lambda ledger: ledger.words(joint(), draw.choice(PRODUCTS), serial()),
        "30 days of a product": lambda ledger: ledger.days(day(), day() + timedelta(30), draw.choice(PRODUCTS)),
        "one image by its path": lambda ledger: ledger.find("io", Path(serial(), f"{serial()}_{joint()}_view1.png")),
    }
    for name, question in questions.items():
        times, busy = [], []
        for _ in range(ASKED):
            started, cpu = time.perf_counter(), time.thread_time()
            with Ledger(path) as ledger:
                question(ledger)
            times.append(1000 * (time.perf_counter() - started))
            busy.append(1000 * (time.thread_time() - cpu))
        told = f"median {statistics.median(times):6.2f} ms, worst {max(times):6.2f} ms"
        told += f"; of the processor {statistics.median(busy):6.2f} and {max(busy):6.2f} ms"
        print(f"{name:<36} {told}{'' if max(times) < LIMIT_MS else '  TOO LONG'}", flush=True)


def _write(store: Store, settings: Settings) -> None:
    """What an image costs the ledger's thread, its record read and the transaction included."""
    folders = record_folders(settings)
    folders.look()
    for group in (1, 32):
        places = list(_real_records(settings, f"group{group}", 3200))
        times, cpu = [], time.thread_time()
        for first in range(0, len(places), group):
            started = time.perf_counter()
            update(store, folders, places[first : first + group])
            times.append(1e6 * (time.perf_counter() - started) / group)
        busy = 1e6 * (time.thread_time() - cpu) / len(places)
        told = f"put down in groups of {group}: mean {statistics.mean(times):.0f} us an image"
        told += f", median {statistics.median(times):.0f}; of the processor {busy:.0f}"
        print(f"{told}; worst group {max(times) * group / 1000:.1f} ms", flush=True)


def _reindex(settings: Settings) -> None:
    count = len(list(_real_records(settings, "lot", 20_000)))
    for what in ("new", "unchanged"):
        started, cpu = time.perf_counter(), time.thread_time()
        reindex(settings)
        took, busy = time.perf_counter() - started, time.thread_time() - cpu
        told = f"{1e6 * took / count:.0f} us a record; of the processor {1e6 * busy / count:.0f}"
        print(f"reindex, {what}: {told}", flush=True)


def _real_records(settings: Settings, folder: str, count: int) -> Iterator[Place]:
    """Records as the daemon writes them."""
    draw = random.Random(2)  # noqa: S311
    (settings.paths.nio / folder).mkdir()
    for number in range(count):
        path = Path(folder, f"{number}.png")
        board, joint = f"S{9_000_000 + number // 120:07d}", f"r{number % 60 // 10:02d}c{number % 10:02d}"
        moment = (START + timedelta(seconds=YEAR_S + number)).isoformat(timespec="milliseconds")
        record = {
            "decision_id": f"{draw.getrandbits(128):032x}", "time": moment, "file": str(path),
            "verdict": "nio", "reason": "defect", "nio_probability": draw.random(), "threshold": 0.09, "novelty": 0.5,
            "model": "20260701-120000-3f9a", "device": "cpu", "runtime": "torch",
            "cam": {"method": "ExcessCAM", "only_last_conv": True, "peak": 0.5},
            "sha256": f"{draw.getrandbits(256):064x}",
            "bytes": 100_000, "format": "PNG", "width": 512, "height": 512, "bits": 8, "notes": [],
            "claimed": moment, "attempts": 1,
            "milliseconds": {"decode": 2.0, "judge": 9.0, "draw": 3.0},
            "outcome": "nio", "filed_as": str(path), "product": PRODUCTS[number // 120 % 3], "board": board,
            "joint": joint,
            "view": "1", "pages": 1, "page": 1,
        }  # fmt: skip
        (settings.paths.nio / f"{path}.json").write_text(json.dumps(record, indent=2))
        yield "nio", path


if __name__ == "__main__":
    main()
