"""The operator's page with a hundred thousand open images: from a key to the next image on the screen.

`python -m benchmarks.review` fills a ledger in a temporary folder, of which the first few hundred images are there to
be looked at, opens the page in Debian's chromium, and gives a word five times a second. It removes all at the end.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from filing.folders import Folders
from filing.ledger import Ledger
from filing.ledger.records import Facts, Record, milliseconds, read_record
from filing.ledger.store import Store
from settings import Settings, load

FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
    "--disable-sync",
]  # fmt: skip
SHOWN, SIDE = 260, 512
BETWEEN_MS = 200
START = datetime(2026, 7, 1, tzinfo=UTC)

WATCH = """(() => {
  window.took = [];
  let pressed = 0;
  document.addEventListener("keydown", () => { pressed = performance.now(); }, true);
  new MutationObserver(() => {
    const began = pressed;
    pressed = 0;
    if (began) requestAnimationFrame(() => window.took.push(performance.now() - began));
  }).observe(document.body, { attributes: true, attributeFilter: ["data-drawn"] });
})()"""


def main() -> None:
    """Fill, open, press keys, and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=100_000, help="open images in the ledger")
    parser.add_argument("--keys", type=int, default=200, help="words to give")
    parser.add_argument("--folder", help="where to work; by default where temporary files go")
    arguments = parser.parse_args()
    chromium = shutil.which("chromium")
    if chromium is None:
        raise SystemExit("chromium is not installed: apt-get install chromium")
    with tempfile.TemporaryDirectory(prefix="bench-review-", dir=arguments.folder) as folder:
        settings = _line(Path(folder), arguments.images)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        command = [sys.executable, "-m", "review", "--config", str(Path(folder, "config.yaml")), "--port", str(port)]
        page = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            _await(port)
            _press(chromium, f"http://127.0.0.1:{port}", arguments.keys)
        finally:
            page.terminate()
            page.wait(30)
        print(f"words in the book: {len((settings.paths.dataset / 'relabelled.jsonl').read_bytes().splitlines())}")


def _line(home: Path, images: int) -> Settings:
    (home / "config.yaml").write_text("review: {check_io: 0, repeat: 0}\n", encoding="utf-8")
    settings = load(home / "config.yaml")
    Folders(settings.paths.line).make()
    draw = np.random.default_rng(0)
    with Store(settings.paths.ledger) as store:
        folder = store.folder("nio", b"")
        for first in range(0, images, 1000):
            with store.transaction():
                for number in range(first, min(first + 1000, images)):
                    name = f"{number:06d}.png"
                    record = _real(settings, name, number, draw) if number < SHOWN else _made_up(number)
                    store.put("nio", folder, name.encode(), record)
        store.completed()
    with Ledger(settings.paths.ledger) as ledger:
        print(f"{sum(count.images for count in ledger.summary().counts):,} open images", flush=True)
    return settings


def _real(settings: Settings, name: str, number: int, draw: np.random.Generator) -> Record:
    """An image of 16 bits with its record; the nearer to the threshold, the earlier it is shown."""
    pixels = np.clip(draw.normal(30_000, 4_000, (SIDE, SIDE)), 0, 65535).astype(np.uint16)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=1)
    image = settings.paths.nio / name
    image.write_bytes(file.getvalue())
    content = {
        "decision_id": f"d{number}", "file": name, "verdict": "nio", "reason": "defect", "model": "m", "outcome": "nio",
        "filed_as": name, "time": START.isoformat(), "nio_probability": 0.09 + number * 1e-6, "threshold": 0.09,
        "novelty": 0.1, "sha256": hashlib.sha256(file.getvalue()).hexdigest(), "width": SIDE, "height": SIDE,
    }  # fmt: skip
    Path(f"{image}.json").write_text(json.dumps(content), encoding="utf-8")
    found = read_record(f"{image}.json")
    assert found is not None
    return found


def _made_up(number: int) -> Record:
    at = milliseconds(START) + number
    facts = Facts(at, "nio", "defect", 0.2 + number * 1e-7, 0.09, 0.1, "m", "", "", "", "", 1, 1, "")
    return Record(facts, (), (at, number + 1))


def _await(port: int) -> None:
    for _ in range(600):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise SystemExit("the page does not start")


def _press(chromium: str, url: str, keys: int) -> None:
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - only here

    with sync_playwright() as player:
        browser: Any = player.chromium.launch(executable_path=chromium, args=FLAGS)
        window = browser.new_page(viewport={"width": 1920, "height": 1080})
        window.goto(url)
        window.fill("#name", "Ann")
        window.keyboard.press("Enter")
        window.locator("body[data-drawn]").wait_for(state="attached")
        begun = time.perf_counter()
        window.goto(url)
        loaded = (time.perf_counter() - begun) * 1000
        window.locator("body[data-drawn]").wait_for(state="attached")
        first = (time.perf_counter() - begun) * 1000
        print(f"page loaded: {loaded:.0f} ms; first image on it: {first:.0f} ms", flush=True)
        window.evaluate(WATCH)
        for number in range(keys):
            window.keyboard.press("i" if number % 2 else "n")
            window.wait_for_timeout(BETWEEN_MS)
        took = sorted(window.evaluate("window.took"))
        cuts = statistics.quantiles(took, n=100)
        told = f"median {cuts[49]:.0f} ms, p95 {cuts[94]:.0f} ms, worst {took[-1]:.0f} ms"
        print(f"key to next image, {len(took)} of {keys} keys: {told}")
        waiting = "JSON.parse(localStorage.getItem('outbox Ann') || '[]').length"
        begun = time.perf_counter()
        while window.evaluate(waiting):
            window.wait_for_timeout(100)
        print(f"words that were still on their way: written after {time.perf_counter() - begun:.1f} s")
        browser.close()


if __name__ == "__main__":
    main()
