"""Tells while the daemon lives how it is: systemd, the status file in work/, and the metrics."""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from daemon.reporting.drifts import Drifts
from daemon.reporting.metrics import MetricsFile
from daemon.reporting.standing import Product, Standing
from daemon.reporting.status import STATUS
from daemon.reporting.tally import Tally
from filing import durable
from filing.folders import Folders
from filing.logs import Log
from filing.names import utc
from inspection.workload import workload
from settings import Settings

_STATUS_EVERY_S = 2.0
_BEAT_S = 20.0
_STARTS_WITHIN_US = 120_000_000


@dataclass(frozen=True)
class Present:
    """The daemon as it is now; a reload changes all of it.

    Attributes:
        settings: The configuration.
        folders: Of the line.
        log: Told when the metrics cannot be written.
        models: Who judges; None before the first line.
        drifts: Watch what is found; None before the first line.
        recovered: All that an earlier run left is in hand.
        ledger_in_step: The ledger is equal to the records, but for what was filed this moment.
        sees: The inbox can be looked at.
    """

    settings: Settings
    folders: Folders
    log: Log
    models: Standing | None
    drifts: Drifts | None
    recovered: bool
    ledger_in_step: bool
    sees: bool


class Heartbeat:
    """What is heard of the daemon outside its log.

    Args:
        tally: What was done.
    """

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._metrics = MetricsFile(tally.metrics)
        self._started = utc(datetime.now(UTC))
        self._ready = False
        self._status_written = 0.0

    def beat(self, now: Present, state: str) -> None:
        """The line is alive: tell systemd and whoever asks for the status.

        Ready is who has a model and has filed what an earlier run had decided. Who cannot look at the inbox lets the
        watchdog run out: a fresh process may see again, with its folders and mounts made anew.

        Args:
            now: The daemon.
            state: In a few words.
        """
        told = [f"STATUS={self._summary(state)}"]
        if now.sees:
            told += ["WATCHDOG=1"]
        if not self._ready:
            self._ready = now.recovered and bool(now.models and now.models.there)
            told += ["READY=1"] if self._ready else [f"EXTEND_TIMEOUT_USEC={_STARTS_WITHIN_US}"]
        _notify("\n".join(told))
        moment = time.monotonic()
        if moment - self._status_written >= _STATUS_EVERY_S:
            self._status_written = moment
            self._write_status(now, state)
            if now.drifts:
                now.drifts.save()
        if self._metrics.due:
            self._write_metrics(now, running=True)

    def reloading(self) -> None:
        """The configuration is read again; who was ready is so again with the next beat."""
        if self._ready:
            _notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")
            self._ready = False

    def stop(self, now: Present) -> None:
        """The last that is heard."""
        _notify("STOPPING=1")
        if now.drifts:
            now.drifts.save(now=True)
        self._write_status(now, "stopped")
        self._write_metrics(now, running=False)

    def _summary(self, state: str) -> str:
        counts = ", ".join(f"{count} {name}" for name, count in self._tally.counts.items())
        return f"{state}; {counts}"

    def _write_status(self, now: Present, state: str) -> None:
        content = {
            "pid": os.getpid(),
            "started": self._started,
            "updated": utc(datetime.now(UTC)),
            "state": state,
            **_model_of(now, None),
            "since_start": self._tally.counts,
            "per_minute": round(self._tally.per_minute(), 1),
            "last": self._tally.last,
            "ledger_in_step": now.ledger_in_step,
            "drift": now.drifts.report(None) if now.drifts and not now.settings.products else None,
        }
        if now.settings.products:
            content["products"] = {name: _model_of(now, name) | _drift_of(now, name) for name in now.settings.products}
        # Not worth a sync, and never worth a verdict.
        with suppress(OSError), now.folders.beneath("work") as work:
            new = work / f"{STATUS}.new"
            new.write_bytes(durable.to_json(content))
            new.replace(work / STATUS)

    def _write_metrics(self, now: Present, *, running: bool) -> None:
        self._metrics.write(
            now.settings,
            now.folders,
            now.log,
            running=running,
            sees=now.sees,
            models=now.models,
            drift=now.drifts.readings() if now.drifts else {},
        )


def _model_of(now: Present, product: Product) -> dict[str, Any]:
    """What the status says of a model."""
    card = now.models.cards.get(product) if now.models else None
    if card and now.drifts:
        now.drifts.of(product).use(card)
    return {
        "model": card.model_id if card else None,
        "threshold": card.threshold if card else None,
        "certificate": card.certificate_here() if card else None,
        "workload": str(meant) if card and (meant := workload(card)) else None,
        "device": now.models.device if now.models and card else None,
    }


def _drift_of(now: Present, product: Product) -> dict[str, Any]:
    in_memory = bool(now.models and product in now.models.loaded)
    return {"in_memory": in_memory, "drift": now.drifts.report(product) if now.drifts else None}


def beat_s() -> float:
    """How often to say that all is well: twice as often as systemd's watchdog wants to hear it."""
    return min(_BEAT_S, int(os.environ.get("WATCHDOG_USEC", _BEAT_S * 2e6)) / 2e6)


def _notify(state: str) -> None:
    """Tell systemd, if it started us; see sd_notify(3)."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
        channel.connect("\0" + address[1:] if address.startswith("@") else address)
        channel.sendall(state.encode())
