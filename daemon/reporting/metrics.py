"""What Prometheus is told of the line: a text file for node_exporter's textfile collector; no port is opened.

Counters and histograms are of this process, as Prometheus expects: they begin anew with each start. The rest is what is
so at the moment of writing.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from time import monotonic
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.metrics_core import GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from daemon.intake.survey import MENDS, Survey, survey
from daemon.reporting.drift import Reading
from filing.claim import claim_folders
from filing.folders import Folders
from filing.logs import Log
from inspection.files import readable
from inspection.model import Model
from settings import Settings

# The text format has no place for the time at which a counter began, and would make a series of each.
disable_created_metrics()  # type: ignore[no-untyped-call]

OUTCOMES = (("io", "clear"), ("nio", "defect"), ("nio", "unidentified"), ("quarantine", "error"))
STAGES = ("decode", "judge", "draw", "file")
_LEVELS = ("info", "warning", "error")
_BUCKETS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
_EVERY_S = 3.0
_SHARE_OF_TIME = 0.02


@dataclass(frozen=True)
class State:
    """What holds at this moment.

    Attributes:
        running: The daemon goes on; False at its stop.
        inbox: What is in the inbox; None while it cannot be looked at.
        in_hand: Images in work; None while it cannot be looked at.
        model: In use; None without one.
        drift: Where each control chart stands.
    """

    running: bool
    inbox: Survey | None
    in_hand: int | None
    model: Model | None
    drift: Sequence[Reading]


class Metrics:
    """Counts what the daemon does, in a registry of its own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._images = self._counter("images", "Images filed, by folder and reason.", "outcome", "reason")
        self._retries = self._counter("retries", "Times that judging an image had to be begun again.")
        self._troubles = self._counter("troubles", "Transient troubles, of one file or of the line.")
        self._lines = self._counter("log_lines", "Lines in the log, by level.", "level")
        self._stages = Histogram(
            "solderwatch_stage_seconds",
            "Time per file of each stage, all pages; judge is its share of its batches', the map included.",
            ["stage"],
            buckets=_BUCKETS_S,
            registry=self._registry,
        )
        # A series that begins with its first event hides that event from rate() and increase().
        for outcome, reason in OUTCOMES:
            self._images.labels(outcome, reason)
        for level in _LEVELS:
            self._lines.labels(level)
        for stage in STAGES:
            self._stages.labels(stage)
        ProcessCollector("solderwatch", registry=self._registry)
        self._now = _Now()
        self._registry.register(self._now)

    def _counter(self, name: str, help_: str, *labels: str) -> Counter:
        return Counter(f"solderwatch_{name}", help_, labels, registry=self._registry)

    def filed(self, record: dict[str, Any]) -> None:
        """An image reached its folder.

        Args:
            record: Its decision, or why it is in quarantine.
        """
        self._images.labels(record["outcome"], record.get("reason", "error")).inc()
        self._retries.inc(record["attempts"] - 1)
        for stage, milliseconds in record.get("milliseconds", {}).items():
            self.took(stage, milliseconds / 1000)
        self._now.last_decision = datetime.fromisoformat(record["time"]).timestamp()

    def took(self, stage: str, seconds: float) -> None:
        """A stage worked on an image for so long."""
        self._stages.labels(stage).observe(seconds)

    def logged(self, level: str, event: str) -> None:
        """A line was logged."""
        self._lines.labels(level).inc()
        if event == "trouble":
            self._troubles.inc()

    def text(self, state: State) -> bytes:
        """All of it, in Prometheus' text format."""
        self._now.state = state
        return generate_latest(self._registry)


class _Now(Collector):
    """What is so at the moment of writing; what is not known has no series."""

    def __init__(self) -> None:
        self.state: State | None = None
        self.last_decision: float | None = None

    def collect(self) -> Iterator[Metric]:
        yield InfoMetricFamily("solderwatch_build", "The program.", {"version": version("solderwatch")})
        if self.last_decision is not None:
            yield _gauge("last_decision_timestamp_seconds", "Time of the last image's decision.", self.last_decision)
        if self.state is None:
            return
        yield _gauge("up", "Whether the daemon was running when this was written.", self.state.running)
        if self.state.inbox is not None:
            yield from _inbox(self.state.inbox)
        if self.state.in_hand is not None:
            yield _gauge(
                "work_images", "Images in hand: taken out of the inbox, and not filed yet.", self.state.in_hand
            )
        yield from _model(self.state)
        yield from _drift(self.state.drift)


def _inbox(inbox: Survey) -> Iterator[Metric]:
    yield _gauge("inbox_images", "Images in the inbox, whole or still being written.", inbox.waiting)
    passed_over = GaugeMetricFamily(
        "solderwatch_passed_over_files", "What in the inbox is never taken, by reason.", labels=["reason"]
    )
    for reason in MENDS:
        found = inbox.passed_over.get(reason)
        passed_over.add_metric([reason], found.count if found else 0)
    yield passed_over


def _model(state: State) -> Iterator[Metric]:
    yield _gauge("model_loaded", "Whether there is a model to judge with.", state.model is not None)
    if state.model is None:
        return
    card = state.model.card
    certificate = card.certificate
    standing = certificate.standing if certificate else "indicative"
    said = {"model": card.model_id, "standing": standing, "created": card.created, "device": str(state.model.device)}
    yield InfoMetricFamily("solderwatch_model", "The model in use, and whether its recall is certified.", said)
    yield _gauge("model_threshold", "The probability of nio from which an image is a defect.", card.threshold)
    if certificate:
        proven = certificate.proof.recall_bound
        yield _gauge("model_recall_bound_ratio", "The recall on nio that its test proves.", proven)


def _drift(readings: Sequence[Reading]) -> Iterator[Metric]:
    moved = GaugeMetricFamily(
        "solderwatch_drift_moved", "Whether the line is unlike the model's training in this.", labels=["signal"]
    )
    by_std = GaugeMetricFamily(
        "solderwatch_drift_standard_deviations",
        "How far it is off, in standard deviations of the training's io images, 3 for more.",
        labels=["signal"],
    )
    for reading in readings:
        moved.add_metric([reading.signal], reading.moved is not None)
        if reading.by_std is not None:
            by_std.add_metric([reading.signal], reading.by_std)
    yield moved
    yield by_std


def _gauge(name: str, help_: str, value: float) -> Metric:
    return GaugeMetricFamily(f"solderwatch_{name}", help_, value)


class MetricsFile:
    """Writes the metrics every few seconds; a file that cannot be written is told once and costs no verdict.

    Args:
        metrics: What is written.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._next = 0.0
        self._failed = False

    @property
    def due(self) -> bool:
        """Whether it is time again."""
        return monotonic() >= self._next

    def write(
        self,
        settings: Settings,
        folders: Folders,
        log: Log,
        *,
        running: bool,
        sees: bool,
        model: Model | None,
        drift: Sequence[Reading],
    ) -> None:
        """Replace the file, if there is to be one; readers see the old content or the new one, whole.

        Args:
            settings: Which file.
            folders: The line's, where images wait.
            log: Told when it cannot be written, and when it can be again.
            running: Whether the daemon goes on.
            sees: Whether the inbox can be looked at.
            model: In use.
            drift: Where each control chart stands.
        """
        path = settings.metrics.file
        if path is None:
            return
        began = monotonic()
        inbox = survey(settings.paths.inbox, settings.inbox) if sees else None
        state = State(running, inbox, _in_hand(folders), model, drift)
        try:
            _replace(path, self._metrics.text(state))
        except OSError as error:
            if not self._failed:
                log.warning("metrics_unwritten", error=readable(str(error)))
            self._failed = True
        else:
            if self._failed:
                log.info("metrics_written", file=str(path))
            self._failed = False
        now = monotonic()
        # Counting the files of a large inbox on a slow share takes long.
        self._next = now + max(_EVERY_S, (now - began) / _SHARE_OF_TIME)


def _in_hand(folders: Folders) -> int | None:
    with contextlib.suppress(OSError), folders.beneath("work") as work:
        return len(claim_folders(work))
    return None


def _replace(path: Path, text: bytes) -> None:
    # Not prometheus_client's write_to_textfile: with the service's umask node_exporter could not read what it writes.
    new = path.with_name(path.name + ".new")
    try:
        with new.open("wb") as file:
            os.fchmod(file.fileno(), 0o644)
            file.write(text)
        new.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            new.unlink()
        raise
