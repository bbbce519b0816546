"""A trial image through the real daemon, in a folder of its own: the line's folders see nothing of it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from daemon.checking.finding import Finding
from inspection.device import choose_device
from inspection.errors import SolderwatchError
from inspection.files import readable
from inspection.model import GOLDEN, load
from inspection.runtime import choose_runtime
from settings import Settings
from settings.schema import CURRENT

_PATIENCE_S = 300
_NAME = "trial.png"


def trial(settings: Settings, patience_s: float = _PATIENCE_S) -> Iterator[Finding]:
    """Let a process of its own judge a golden sample of the model, as the service would.

    Args:
        settings: Of a line, or of one product of it.
        patience_s: How long it may take.
    """
    model = settings.paths.models / CURRENT
    sample = next(iter(sorted((model / GOLDEN).glob("*.png"))), None)
    if sample is None:
        return
    with tempfile.TemporaryDirectory(prefix="solderwatch-doctor-") as place:
        folder = Path(place)
        config = folder / "config.yaml"
        config.write_text(json.dumps(_elsewhere(settings, folder)), encoding="utf-8")
        (folder / "data" / "inbox").mkdir(parents=True)
        shutil.copyfile(sample, folder / "data" / "inbox" / _NAME)
        yield _judged(config, patience_s)


def _elsewhere(settings: Settings, folder: Path) -> dict[str, Any]:
    """The line's own configuration, but for where everything lies: all but the model, and nothing asked of the room."""
    told: dict[str, Any] = settings.model_dump(mode="json")
    paths = {name: str(folder / "data" / name) for name in told["paths"] if name not in {"models", "dataset"}}
    told["paths"] |= {**paths, "dataset": str(folder / "dataset")}
    told["inbox"] |= {"suffixes": [".png"], "done_marker": None}
    told["names"] = {"pattern": None}
    told["boards"]["complete"] = None
    told["disk"]["min_free_mb"] = 0
    told["review"]["folder"] = str(folder / "data" / "review")
    return told | {"logs": {"file": None, "format": "json"}, "metrics": {"file": None}}


def _judged(config: Path, patience_s: float) -> Finding:
    """What became of the image."""
    # Also where nothing is installed: from the checkout. And systemd hears nothing of it.
    path = os.pathsep.join(filter(None, (str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH"))))
    environment = {name: value for name, value in os.environ.items() if name not in {"NOTIFY_SOCKET", "WATCHDOG_USEC"}}
    try:
        done = subprocess.run(
            [sys.executable, "-m", "daemon", "run", "--once", "--config", str(config)],
            env={**environment, "PYTHONPATH": path},
            cwd=config.parent,
            capture_output=True,
            text=True,
            timeout=patience_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Finding("problem", f"trial: no image was judged within {patience_s:g} s; end what else runs here")
    events = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    decision = next((event for event in events if event["event"] == "decision"), None)
    if decision is None or done.returncode:
        return Finding("problem", f"trial: an image was not judged: {_why(done, events)}")
    filed = config.parent / "data" / decision["outcome"] / decision["filed_as"]
    if not all(filed.with_name(filed.name + end).is_file() for end in ("", ".json", ".cam.png")):
        return Finding("problem", f"trial: {filed.name} was judged, and not filed with its map and record")
    verdict, runtime, took = decision["verdict"], decision["runtime"], sum(decision["milliseconds"].values())
    return Finding("ok", f"trial: a golden sample was judged {verdict} in {took:.0f} ms by {runtime}, and filed")


def _why(done: subprocess.CompletedProcess[str], events: list[dict[str, Any]]) -> str:
    told = [event["error"] for event in events if event["level"] != "info" and "error" in event]
    if done.returncode < 0:
        return f"the process was killed by signal {-done.returncode}; dmesg may say why"
    said = told or done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
    return readable(said[0])


def runtimes(settings: Settings) -> Iterator[Finding]:
    """Whether each runtime that is here agrees with the golden samples, also one that is not asked for.

    What is asked for is checked with the model itself.
    """
    folder = settings.paths.models / CURRENT
    try:
        device, _ = choose_device(settings.device)
        if device.type != "cpu" or settings.runtime != "torch" or not folder.exists():
            return
        choice = choose_runtime("auto", load(folder, device), folder)
    except SolderwatchError:
        return  # told already
    for name, reason in choice.refused.items():
        yield Finding("warning", f"runtime: {name}, which is not asked for, does not agree: {reason}")
    if choice.compiled:
        yield Finding("ok", f"runtime: {choice.runtime} may judge too, and runtime: auto would use it: {choice.why}")
