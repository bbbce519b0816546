"""What Prometheus is told of the line: a text file for node_exporter's textfile collector; no port is opened.

Counters and histograms are of this process, as Prometheus expects: they begin anew with each start. The rest is what is
so at the moment of writing.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
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
from daemon.reporting.standing import Product, Standing
from filing.claim import claim_folders
from filing.folders import Folders
from filing.logs import Log
from inspection.files import readable
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
        models: In use; None before there are any.
        drift: Where each control chart stands, by product.
    """

    running: bool
    inbox: Survey | None
    in_hand: int | None
    models: Standing | None
    drift: Mapping[Product, Sequence[Reading]]


class Metrics:
    """Counts what the daemon does, in a registry of its own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._products: list[str] = []
        self._images = self._count_images()
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
        for level in _LEVELS:
            self._lines.labels(level)
        for stage in STAGES:
            self._stages.labels(stage)
        ProcessCollector("solderwatch", registry=self._registry)
        self._now = _Now()
        self._registry.register(self._now)

    def of(self, products: Iterable[str]) -> None:
        """Say of each image and model, of which product it is; what was counted otherwise begins anew."""
        products = list(products)
        if products == self._products:
            return
        self._registry.unregister(self._images)
        self._products = self._now.products = products
        self._images = self._count_images()

    def _count_images(self) -> Counter:
        labels = ("outcome", "reason", "product") if self._products else ("outcome", "reason")
        images = self._counter("images", "Images filed, by folder and reason.", *labels)
        for outcome, reason in OUTCOMES:
            for product in self._products:
                images.labels(outcome, reason, product)
            if not self._products:
                images.labels(outcome, reason)
        return images

    def _counter(self, name: str, help_: str, *labels: str) -> Counter:
        return Counter(f"solderwatch_{name}", help_, labels, registry=self._registry)

    def filed(self, record: dict[str, Any]) -> None:
        """An image reached its folder.

        Args:
            record: Its decision, or why it is in quarantine.
        """
        product = [record.get("product", "")] if self._products else []
        self._images.labels(record["outcome"], record.get("reason", "error"), *product).inc()
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
        self.products: list[str] = []

    def collect(self) -> Iterator[Metric]:
        yield InfoMetricFamily("solderwatch_build", "The program.", {"version": version("solderwatch")})
        if self.last_decision is not None:
            yield _gauge("last_decision_timestamp_seconds", "Time of the last image's decision.", self.last_decision)
        if self.state is None:
            return
        yield _gauge("up", "Whether the daemon was running when this was written.", self.state.running)
        if self.state.inbox is not None:
            yield from _inbox(self.state.inbox, self.products)
        if self.state.in_hand is not None:
            yield _gauge(
                "work_images", "Images in hand: taken out of the inbox, and not filed yet.", self.state.in_hand
            )
        yield from _models(self.state.models, self.products)
        yield from _drift(self.state.drift, self.products)


def _inbox(inbox: Survey, products: Sequence[str]) -> Iterator[Metric]:
    counts = {name: inbox.products.get(name, 0) for name in products} | {"": inbox.products.get(None, 0)}
    yield _gauges(
        "inbox_images",
        "Images in the inbox, whole or still being written.",
        [([name], count) for name, count in counts.items()] if products else [([], inbox.waiting)],
        ["product"] if products else [],
    )
    passed_over = GaugeMetricFamily(
        "solderwatch_passed_over_files", "What in the inbox is never taken, by reason.", labels=["reason"]
    )
    for reason in MENDS:
        found = inbox.passed_over.get(reason)
        passed_over.add_metric([reason], found.count if found else 0)
    yield passed_over


def _models(models: Standing | None, products: Sequence[str]) -> Iterator[Metric]:
    """The same series for one model without a label as for those of products with it."""
    names = ["product"] if products else []
    of: dict[Product, list[str]] = {name: [name] for name in products} if products else {None: []}
    there = models.there if models else frozenset[Product]()
    yield _gauges(
        "model_loaded",
        "Whether there is a model to judge with.",
        [(labels, product in there) for product, labels in of.items()],
        names,
    )
    if products and models:
        yield _gauge("models_in_memory", "How many models are in memory.", len(models.loaded))
    cards = models.cards if models else {}
    known = [(labels, card) for product, labels in of.items() if (card := cards.get(product))]
    if not known or models is None:
        return
    info = InfoMetricFamily("solderwatch_model", "The model in use, and whether its recall is certified.", labels=names)
    for labels, card in known:
        standing = card.certificate.standing if card.certificate else "indicative"
        said = {"model": card.model_id, "standing": standing, "created": card.created, "device": models.device}
        info.add_metric(labels, said)
    yield info
    thresholds = [(labels, card.threshold) for labels, card in known]
    yield _gauges("model_threshold", "The probability of nio from which an image is a defect.", thresholds, names)
    proven = [(labels, card.certificate.proof.recall_bound) for labels, card in known if card.certificate]
    if proven:
        yield _gauges("model_recall_bound_ratio", "The recall on nio that its test proves.", proven, names)


def _drift(readings: Mapping[Product, Sequence[Reading]], products: Sequence[str]) -> Iterator[Metric]:
    names = ["product", "signal"] if products else ["signal"]
    moved = GaugeMetricFamily(
        "solderwatch_drift_moved", "Whether the line is unlike the model's training in this.", labels=names
    )
    by_std = GaugeMetricFamily(
        "solderwatch_drift_standard_deviations",
        "How far it is off, in standard deviations of the training's io images, 3 for more.",
        labels=names,
    )
    for product, found in readings.items():
        for reading in found:
            labels = [product, reading.signal] if product is not None else [reading.signal]
            moved.add_metric(labels, reading.moved is not None)
            if reading.by_std is not None:
                by_std.add_metric(labels, reading.by_std)
    yield moved
    yield by_std


def _gauges(name: str, help_: str, values: Iterable[tuple[Sequence[str], float]], labels: Sequence[str]) -> Metric:
    family = GaugeMetricFamily(f"solderwatch_{name}", help_, labels=labels)
    for found, value in values:
        family.add_metric(found, value)
    return family


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
        models: Standing | None,
        drift: Mapping[Product, Sequence[Reading]],
    ) -> None:
        """Replace the file, if there is to be one; readers see the old content or the new one, whole.

        Args:
            settings: Which file.
            folders: The line's, where images wait.
            log: Told when it cannot be written, and when it can be again.
            running: Whether the daemon goes on.
            sees: Whether the inbox can be looked at.
            models: In use.
            drift: Where each control chart stands, by product.
        """
        path = settings.metrics.file
        if path is None:
            return
        began = monotonic()
        product_of = settings.product_of if settings.products else None
        inbox = survey(settings.paths.inbox, settings.inbox, product_of) if sees else None
        state = State(running, inbox, _in_hand(folders), models, drift)
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
