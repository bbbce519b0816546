"""Trains on three quarters of the real solder balls and lets a running daemon judge the other quarter.

The images lie beside the checkout, in ../shared/data/bga; nobody else has them. A ball is one board, row and column;
both its views stay on one side. Half of the judged images is moved into the inbox, half is copied. Usage:

    python -m benchmarks.real_images [--seeds 0 1 2] [--image-size 128]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from inspection.verdict import LABELS
from settings.names import units_of

BGA = Path(__file__).resolve().parents[2] / "shared" / "data" / "bga"
BALL = r"^(?P<board>PCBA\d+)_(?P<joint>r\d+c\d+)"


def main() -> int:
    """Run once per seed; prints each run and the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--image-size", type=int, default=128)
    arguments = parser.parse_args()
    if not BGA.is_dir():
        print(f"benchmarks: no real images at {BGA}; nothing measured", file=sys.stderr)
        return 1
    runs = []
    for seed in arguments.seeds:
        with tempfile.TemporaryDirectory() as folder:
            run = _run(Path(folder), seed, arguments.image_size)
        runs.append(run)
        print(
            f"seed {seed}: {run['io']} io and {run['nio']} nio judged: recall {run['recall']:.2%}, "
            f"false calls {run['false_calls']:.2%}; at 99 % recall in hindsight {run['hindsight']:.2%}",
            flush=True,
        )
    for name in ("recall", "false_calls", "hindsight"):
        print(f"median {name}: {statistics.median(run[name] for run in runs):.2%}")
    return 0


def _run(folder: Path, seed: int, image_size: int) -> dict[str, Any]:
    held_out = lay_out(folder, seed, image_size)
    subprocess.run([sys.executable, "-m", "training"], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    records = _judge(folder, held_out)
    _check_filed(folder, held_out, records)
    found = {label: [records[name] for name, truth in held_out.items() if truth == label] for label in LABELS}
    scores = {label: sorted(map(_score, judged)) for label, judged in found.items()}
    in_hindsight = scores["nio"][int(0.01 * len(scores["nio"]))]
    return {
        "io": len(found["io"]),
        "nio": len(found["nio"]),
        "recall": statistics.mean(record["verdict"] == "nio" for record in found["nio"]),
        "false_calls": statistics.mean(record["verdict"] == "nio" for record in found["io"]),
        "hindsight": statistics.mean(score >= in_hindsight for score in scores["io"]),
    }


def _score(record: dict[str, Any]) -> float:
    """What the verdicts go by: the nio probability, or more where the image is unidentified."""
    return 2.0 if record["reason"] == "unidentified" else float(record["nio_probability"])


def lay_out(folder: Path, seed: int, image_size: int) -> dict[str, str]:
    """Make the training folders; returns the labels of the images held out, by name."""
    held_out: dict[str, str] = {}
    for label in LABELS:
        (folder / "dataset" / label).mkdir(parents=True)
        (folder / "held-out" / label).mkdir(parents=True)
        for path in sorted((BGA / label).iterdir()):
            apart = hashlib.sha256(f"{seed} {ball_of(path)}".encode()).digest()[0] < 64
            shutil.copyfile(path, folder / ("held-out" if apart else "dataset") / label / path.name)
            if apart:
                held_out[path.name] = label
    config = (
        f"names: {{pattern: '{BALL}'}}\n"
        f"training: {{image_size: {image_size}, seed: {seed}, unseen: {{io: 0, nio: 0}}}}\n"
    )
    (folder / "config.yaml").write_text(config, encoding="utf-8")
    return held_out


def ball_of(path: Path) -> str:
    """Which ball a view shows: board, row and column."""
    ball = units_of(Path(path.name), BALL).part
    if ball is None:
        raise SystemExit(f"benchmarks: {path.name} does not say which ball it shows")
    return ball


def _judge(folder: Path, held_out: dict[str, str]) -> dict[str, dict[str, Any]]:
    """Feed a running daemon; its decisions by file name."""
    records: dict[str, dict[str, Any]] = {}
    daemon = subprocess.Popen([sys.executable, "-m", "daemon", "run"], cwd=folder, stdout=subprocess.PIPE, text=True)
    assert daemon.stdout is not None
    for line in daemon.stdout:
        event = json.loads(line)
        if event["event"] == "watching":
            for index, (name, label) in enumerate(sorted(held_out.items())):
                source = str(folder / "held-out" / label / name)
                command = "mv" if index % 2 else "cp"
                subprocess.run([command, source, str(folder / "data" / "inbox")], check=True)
        elif event["event"] == "quarantine":
            daemon.kill()
            raise SystemExit(f"benchmarks: {event['file']} was not judged: {event['error']}")
        elif event["event"] == "decision":
            records[event["file"]] = event
            if len(records) == len(held_out):
                break
    daemon.send_signal(signal.SIGTERM)
    if daemon.wait(30) != 0:
        raise SystemExit("benchmarks: the daemon did not stop cleanly")
    return records


def _check_filed(folder: Path, held_out: dict[str, str], records: dict[str, dict[str, Any]]) -> None:
    """Every image is whole in io or nio, with both sidecars, and nothing else is there."""
    expected = set()
    for name, record in records.items():
        place = folder / "data" / record["verdict"] / record["filed_as"]
        if place.read_bytes() != (BGA / held_out[name] / name).read_bytes():
            raise SystemExit(f"benchmarks: {place} is not what was dropped")
        expected |= {place, place.with_name(place.name + ".cam.png"), place.with_name(place.name + ".json")}
    found = {path for path in (folder / "data").rglob("*") if path.is_file() and path.name[0] != "."}
    if found != expected or set(records) != set(held_out):
        raise SystemExit(f"benchmarks: not filed as it should be: {sorted(map(str, found ^ expected))}")


if __name__ == "__main__":
    sys.exit(main())
