"""Simulates a labelled set, trains on it, lets the daemon judge unseen images, and shows what it made of them.

Uses the programs as a user would: the same commands, files and logs. Leaves demo-run/, where one can go on.
"""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

RUN = Path("demo-run")
LABELLED = {"io": 600, "nio": 400}
UNSEEN = {"io": 30, "nio": 30}
LEAST_SEVERITY = 0.5
"""Of the simulated defects: what is hard to see takes more images, and more time, than a demo has."""
SHEET = {"io": 2, "void": 2, "bridge": 1, "missing": 1, "insufficient": 1, "head-in-pillow": 1, "misalignment": 1}
PATIENCE_S = 120

# Smaller and shorter than config.yaml as shipped: the whole demo takes a few minutes on two cores.
CONFIG = """\
# The demo's configuration; everything else as in the commented config.yaml at the top of the repository.
training:
  image_size: 96
  epochs: 22
  batch_size: 32
"""


def main() -> int:
    """Run the demo; 0 when every image was judged."""
    begun = time.monotonic()
    if RUN.exists():
        kept = RUN.with_name(f"{RUN.name}.{int(RUN.stat().st_mtime)}")
        RUN.rename(kept)
        print(f"the last demo's folder is now {kept}/")
    RUN.mkdir()
    (RUN / "config.yaml").write_text(CONFIG, encoding="utf-8")
    _step("1/4 simulate X-ray images: labelled ones to learn from, and unseen ones")
    _simulate("dataset", seed=1, **LABELLED)
    _simulate("unseen", seed=2, **UNSEEN)
    _step("2/4 train (solderwatch-train)")
    _call("training")
    _step("3/4 run the daemon (solderwatch run) and drop the unseen images into its inbox, one by one")
    labels = _read_labels()
    records = _judge(labels)
    _step("4/4 what it made of them")
    sheet = _contact_sheet(labels, records)
    print(_table(labels, records))
    print(f"\nThe whole demo took {time.monotonic() - begun:.0f} s. Look at:")
    print(f"  {sheet}   images and maps side by side")
    print(f"  {RUN}/data/io, {RUN}/data/nio   the judged images, each with .cam.png and .json")
    print(f"  {RUN}/models/current/report/index.html   the training's report")
    print(f"Look at what it judged, and decide: (cd {RUN} && {sys.executable} -m review), then http://127.0.0.1:8417")
    print(f"Go on: (cd {RUN} && {sys.executable} -m daemon run), and drop images into {RUN}/data/inbox")
    return 0


def _step(text: str) -> None:
    print(f"\n=== {text}", flush=True)


def _call(module: str, *arguments: str) -> None:
    subprocess.run([sys.executable, "-m", module, *arguments], cwd=RUN, check=True)


def _simulate(folder: str, *, seed: int, io: int, nio: int) -> None:
    counts = ["--io", str(io), "--nio", str(nio), "--seed", str(seed)]
    _call("simulator.simulate", folder, *counts, "--least-severity", str(LEAST_SEVERITY))


def _read_labels() -> dict[str, dict[str, str]]:
    """What is true of each unseen image, by file name."""
    with (RUN / "unseen" / "labels.csv").open(encoding="utf-8") as file:
        return {Path(row["file"]).name: row for row in csv.DictReader(file)}


def _judge(labels: dict[str, dict[str, str]]) -> dict[str, dict[str, Any]]:
    """Drop each image when the one before is judged; returns the daemon's decisions by file name."""
    inbox = RUN / "data" / "inbox"
    records: dict[str, dict[str, Any]] = {}
    daemon = subprocess.Popen([sys.executable, "-m", "daemon", "run"], cwd=RUN, stdout=subprocess.PIPE, text=True)
    assert daemon.stdout is not None
    # Whatever goes wrong, the demo ends: without the daemon's lines the loop below would wait for ever.
    signal.signal(signal.SIGALRM, lambda *_: daemon.kill())
    signal.alarm(PATIENCE_S)
    try:
        waiting = sorted(labels)
        for line in daemon.stdout:
            event = json.loads(line)
            if event["event"] == "decision":
                records[event["file"]] = event
                if len(records) == 1:
                    print("  a log line, whole:\n  " + line, flush=True)
                print(_short(event, labels[event["file"]]), flush=True)
            elif event["event"] != "watching":
                print(f"  {line.rstrip()}", flush=True)
                continue
            if not waiting:
                break
            name = waiting.pop(0)
            # As a machine should: first under a name that is not taken up, then renamed.
            part = inbox / f"{name}.part"
            part.write_bytes((RUN / "unseen" / labels[name]["file"]).read_bytes())
            part.rename(inbox / name)
    finally:
        signal.alarm(0)
        daemon.send_signal(signal.SIGTERM)
        daemon.wait(30)
    if len(records) < len(labels):
        raise SystemExit(f"demo: only {len(records)} of {len(labels)} images were judged; see above")
    return records


def _short(event: dict[str, Any], truth: dict[str, str]) -> str:
    right = event["verdict"] == truth["label"]
    mark = "" if right else ("  <-- missed" if truth["label"] == "nio" else "  <-- false call")
    kind = truth["defect"] or "good"
    return f"  {event['file']}  {event['verdict']:<3}  p(nio) {event['nio_probability']:<9.4g} is {kind}{mark}"


def _table(labels: dict[str, dict[str, str]], records: dict[str, dict[str, Any]]) -> str:
    kinds: dict[str, list[bool]] = {}
    for name, truth in labels.items():
        right = records[name]["verdict"] == truth["label"]
        kinds.setdefault(truth["defect"] or "io (good)", []).append(right)
    lines = [f"  {'':<16}{'images':>8}{'right':>8}{'missed':>8}{'false calls':>13}"]
    for kind in sorted(kinds, key=lambda kind: (not kind.startswith("io"), kind)):
        count, right = len(kinds[kind]), sum(kinds[kind])
        wrong = count - right
        missed, false = ("", wrong) if kind.startswith("io") else (wrong, "")
        lines.append(f"  {kind:<16}{count:>8}{right:>8}{missed:>8}{false:>13}")
    good = [right for kind, found in kinds.items() if kind.startswith("io") for right in found]
    bad = [right for kind, found in kinds.items() if not kind.startswith("io") for right in found]
    right = sum(good) + sum(bad)
    missed, false = len(bad) - sum(bad), len(good) - sum(good)
    lines.append(f"  {'all':<16}{len(good) + len(bad):>8}{right:>8}{missed:>8}{false:>13}")
    return "\n".join(lines)


def _contact_sheet(labels: dict[str, dict[str, str]], records: dict[str, dict[str, Any]]) -> Path:
    """One picture: for each kind of image the image itself, and below it the map that the daemon made."""
    wanted = [
        name
        for kind, count in SHEET.items()
        for name in [name for name in sorted(labels) if (labels[name]["defect"] or "io") == kind][:count]
    ]
    cell, header = 190, 22
    sheet = Image.new("RGB", (len(wanted) * cell, header + 2 * cell), "white")
    write, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    for column, name in enumerate(wanted):
        record = records[name]
        image = RUN / "data" / record["verdict"] / record["filed_as"]
        kind = labels[name]["defect"] or "io"
        write.text((column * cell + 4, 3), kind, "black", font)
        for row, path in enumerate((image, image.with_name(image.name + ".cam.png"))):
            picture = Image.open(path).convert("RGB")
            picture.thumbnail((cell - 6, cell - 6))
            if row == 0:
                picture = picture.resize([round(side * (cell - 6) / max(picture.size)) for side in picture.size])
            left = column * cell + (cell - picture.width) // 2
            sheet.paste(picture, (left, header + row * cell + (cell - picture.height) // 2))
    path = RUN / "contact-sheet.png"
    sheet.save(path)
    return path


if __name__ == "__main__":
    sys.exit(main())
