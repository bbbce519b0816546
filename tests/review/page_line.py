"""A line with judged images for the operator's page, and the page as a process of its own."""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from filing.folders import Folders
from filing.ledger import Ledger, reindex
from inspection.overlay import BANNER, LONG_SIDE, OPACITY, overlay_size
from settings import Settings, load

START = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=8)
NO_CHECKS = "review: {check_io: 0, repeat: 0}\n"
"""For tests in which each image is to be what the queue says."""


def ball(number: int, side: int = 64) -> NDArray[np.uint16]:
    """A 16-bit image `[side, side]` of a joint, unlike any other."""
    draw = np.random.default_rng(number)
    y, x = np.mgrid[:side, :side] - side / 2 + draw.uniform(-3, 3)
    grey = np.where(np.hypot(x, y) < side / 3, 14_000, 40_000) + draw.normal(0, 900, (side, side))
    return np.clip(grey, 0, 65535).astype(np.uint16)


def png(pixels: NDArray[Any]) -> bytes:
    """An image as PNG at its own depth."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def sidecar(pixels: NDArray[Any], evidence: NDArray[np.float32]) -> bytes:
    """The picture of a map, put together as the daemon does, without torch."""
    size = overlay_size(pixels.shape[1], pixels.shape[0], LONG_SIDE - BANNER)
    grey = np.asarray(Image.fromarray((pixels / pixels.max() * 255).astype(np.uint8)).resize(size), np.float32)
    heat = np.asarray(Image.fromarray(evidence).resize(size), np.float32)
    share = (heat * OPACITY)[..., None]
    colour = np.stack([np.full_like(heat, 255), 214 * (1 - heat), np.zeros_like(heat)], -1)
    canvas = np.zeros((size[1] + BANNER, max(size[0], 300), 3), np.uint8)
    left = (canvas.shape[1] - size[0]) // 2
    canvas[BANNER:, left : left + size[0]] = np.rint(grey[..., None] * (1 - share) + colour * share)
    return png(canvas)


def hot_corner(side: int = 64) -> NDArray[np.float32]:
    """A map `[side, side]` that is hot in its upper left quarter, and nowhere else."""
    evidence = np.zeros((side, side), np.float32)
    evidence[: side // 2, : side // 2] = 1
    return evidence


class PageLine:
    """The folders of a line.

    Attributes:
        folder: Where config.yaml is.
    """

    def __init__(self, folder: Path, config: str = NO_CHECKS) -> None:
        self.folder, self.config = folder, folder / "config.yaml"
        folder.mkdir(exist_ok=True)
        self.config.write_text(config, encoding="utf-8")
        Folders(self.settings.paths.line).make()
        self._count = 0

    @property
    def settings(self) -> Settings:
        """As config.yaml says now."""
        return load(self.config)

    def file(self, place: str, data: bytes | None = None, picture: bytes | None = None, **facts: Any) -> Path:
        """File a judged image away, such as `nio/lot/a.png`; returns where it lies."""
        label, _, name = place.partition("/")
        self._count += 1
        image = self.folder / "data" / place
        data = png(ball(self._count)) if data is None else data
        record = {
            "decision_id": f"decision {self._count:06d}",
            "file": os.fsencode(name).decode("utf-8", "backslashreplace"),
            "verdict": label,
            "reason": "clear" if label == "io" else "defect",
            "model": "m1-indicative",
            "time": (START + timedelta(seconds=self._count)).isoformat(timespec="milliseconds"),
            "nio_probability": 0.02 if label == "io" else 0.5 + self._count / 1_000_000,
            "threshold": 0.09,
            "novelty": 0.4,
            "sha256": hashlib.sha256(data).hexdigest(),
            "outcome": label,
            "filed_as": name,
            "width": 64,
            "height": 64,
            "bits": 16,
            "pages": 1,
            "page": 1,
        } | facts
        image.parent.mkdir(parents=True, exist_ok=True)
        Path(f"{image}.cam.png").write_bytes(picture or sidecar(ball(self._count), hot_corner()))
        Path(f"{image}.json").write_text(json.dumps(record), encoding="utf-8")
        image.write_bytes(data)
        return image

    def index(self) -> None:
        """Bring the ledger up to date, as the daemon does."""
        reindex(self.settings)

    def record(self, place: str) -> dict[str, Any]:
        """The record beside an image."""
        found: dict[str, Any] = json.loads((self.folder / "data" / f"{place}.json").read_bytes())
        return found

    def words(self) -> dict[str, str]:
        """The last word on each image, by its file."""
        self.index()
        with Ledger(self.settings.paths.ledger) as ledger:
            return {image.path.as_posix(): image.word for image in ledger.images() if image.word}

    def book(self) -> list[dict[str, Any]]:
        """What was written of words."""
        path = self.folder / "dataset" / "relabelled.jsonl"
        return [json.loads(line) for line in path.read_bytes().splitlines()] if path.exists() else []


class Page:
    """`solderwatch-review` as a process.

    Args:
        line: Whose.
        arguments: Of the command line.
        scheme: How it is asked.
    """

    def __init__(self, line: PageLine, *arguments: str, scheme: str = "http") -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._line, self._arguments, self._scheme = line, arguments, scheme
        self.process = self._start()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"{self._scheme}://127.0.0.1:{self.port}"

    def _start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "review", "--config", str(self._line.config), "--port", str(self.port)]
        process = subprocess.Popen([*command, *self._arguments], stdout=subprocess.DEVNULL)
        for _ in range(600):
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=1):
                    return process
            except OSError:
                assert process.poll() is None, "it ended"
                time.sleep(0.1)
        raise AssertionError("it does not start")

    def kill(self) -> None:
        """Let it die at once."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def restart(self) -> None:
        """Start it again, at the same port."""
        self.process = self._start()

    def get(self, path: str, **headers: str) -> tuple[int, bytes]:
        """Ask without a browser."""
        request = urllib.request.Request(self.url + path, headers=headers)  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(30)
