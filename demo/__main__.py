"""Simulates a line of two products, trains a model for each, lets the daemon judge three boards, and shows the result.

Uses the programs as a user would: the same commands, files and logs. Leaves demo-run/, where one can go on.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from demo.line import CONFIG, MARKER, Board, Image, labelled, train, unseen
from demo.shown import by_board, by_kind, contact_sheet, short
from filing.console import Console

RUN = Path("demo-run")
PATIENCE_S = 120
BEGINNING = f"""\
A line of two products, from nothing to judged boards: images are simulated, models trained, boards judged and shown.
At most four minutes on two idle cores, nearly all of it training. Everything lies in {RUN}/; Ctrl-C ends it."""


def main() -> int:
    """Run the demo; 0 when every image was judged."""
    begun = time.monotonic()
    if RUN.exists():
        kept = RUN.with_name(f"{RUN.name}.{int(RUN.stat().st_mtime)}")
        RUN.rename(kept)
        print(f"the last demo's folder is now {kept}/")
    print(BEGINNING, flush=True)
    RUN.mkdir()
    (RUN / "config.yaml").write_text(CONFIG, encoding="utf-8")
    _step("1/4 simulate X-ray images: labelled ones of two products to learn from, and three unseen boards")
    labelled(RUN)
    boards = unseen(RUN)
    _step("2/4 train a model for each product (solderwatch-train)")
    train(RUN)
    _step("3/4 run the daemon (solderwatch run) and drop the boards' images into its inbox, one by one")
    records = _judge(boards)
    _step("4/4 what it made of them")
    images = [image for own in boards.values() for image in own]
    sheet = contact_sheet(RUN, images, records)
    print(by_kind(images, records))
    print(f"\n{by_board(RUN, boards)}")
    print(f"\nThe whole demo took {time.monotonic() - begun:.0f} s. It left:")
    print(f"  {sheet}   images and maps side by side")
    print(f"  {RUN}/data/io, {RUN}/data/nio   the judged images, each with .cam.png and .json")
    print(f"  {RUN}/data/boards   the answer for each board")
    print(f"  {RUN}/models/*/current/report/index.html   the trainings' reports")
    more = f"{_program('solderwatch')} run --config {RUN}/config.yaml"
    print(f"  {RUN}/data/inbox   where more images are judged, while this runs: {more}")
    print("\nNow look at what it judged, and decide, on http://127.0.0.1:8417 once this runs:")
    print(f"  {_program('solderwatch-review')} --config {RUN}/config.yaml")
    return 0


def _program(name: str) -> Path:
    """One of our programs, as it can be typed here."""
    path = Path(sys.executable).with_name(name)
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _step(text: str) -> None:
    print(f"\n=== {text}", flush=True)


def _judge(boards: Mapping[Board, Sequence[Image]]) -> dict[str, dict[str, Any]]:
    """Drop each image when the one before is judged; returns the daemon's decisions by file name."""
    truth = {image.name: image for images in boards.values() for image in images}
    records: dict[str, dict[str, Any]] = {}
    deliveries, console = _deliver(boards), Console.on(sys.stdout)
    daemon = subprocess.Popen([sys.executable, "-m", "daemon", "run"], cwd=RUN, stdout=subprocess.PIPE, text=True)
    assert daemon.stdout is not None
    # Whatever goes wrong, the demo ends: without the daemon's lines the loop below would wait for ever.
    signal.signal(signal.SIGALRM, lambda *_: daemon.kill())
    signal.alarm(PATIENCE_S)
    try:
        for line in daemon.stdout:
            event = json.loads(line)
            if event["event"] == "decision":
                records[event["file"]] = event
                if len(records) == 1:
                    print("  a log line, whole:\n  " + line, flush=True)
                print(short(event, truth[event["file"]]), flush=True)
            elif event["event"] == "board":
                if event["complete"]:
                    print(f"  board {event['board']}: {event['verdict']}, {event['reason']}", flush=True)
                continue
            elif event["event"] != "watching":
                print(console(None, "info", event), flush=True)
                continue
            if next(deliveries, None) is None:
                break
    finally:
        signal.alarm(0)
        daemon.send_signal(signal.SIGTERM)
        daemon.wait(30)
    if len(records) < len(truth):
        raise SystemExit(f"demo: only {len(records)} of {len(truth)} images were judged; see above")
    return records


def _deliver(boards: Mapping[Board, Sequence[Image]]) -> Iterator[Image]:
    """Drop one image after the other, behind a board's last one the marker; what is late comes when all is over."""
    late: list[Image] = []
    for board, images in boards.items():
        in_time = images[:-1] if board.late else images
        late += images[len(in_time) :]
        for image in in_time:
            _drop(image)
            if image is in_time[-1]:
                (RUN / "data" / "inbox" / f"{board.serial}{MARKER}").touch()
            yield image
    for image in late:
        _drop(image)
        yield image


def _drop(image: Image) -> None:
    """As a machine should: first under a name that is not taken up, then renamed."""
    part = RUN / "data" / "inbox" / f"{image.name}.part"
    part.write_bytes(image.path.read_bytes())
    part.rename(part.with_name(image.name))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(f"demo: ended; {RUN}/ holds what there is so far")
