"""Tells while the daemon lives how it is: systemd, the status file in work/, and the metrics."""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from daemon.reporting.drift import DriftWatch
from daemon.reporting.metrics import MetricsFile
from daemon.reporting.status import STATUS
from daemon.reporting.tally import Tally
from filing import durable
from filing.folders import Folders
from filing.logs import Log
from filing.names import utc
from inspection.inspector import Inspector
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
        inspector: Who judges; None without a model.
        drift: Watches what is found; None before the first line.
        recovered: All that an earlier run left is in hand.
        ledger_in_step: The ledger is equal to the records, but for what was filed this moment.
        sees: The inbox can be looked at.
    """

    settings: Settings
    folders: Folders
    log: Log
    inspector: Inspector | None
    drift: DriftWatch | None
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
            self._ready = now.recovered and now.inspector is not None
            told += ["READY=1"] if self._ready else [f"EXTEND_TIMEOUT_USEC={_STARTS_WITHIN_US}"]
        _notify("\n".join(told))
        moment = time.monotonic()
        if moment - self._status_written >= _STATUS_EVERY_S:
            self._status_written = moment
            self._write_status(now, state)
            if now.drift:
                now.drift.save()
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
        if now.drift:
            now.drift.save(now=True)
        self._write_status(now, "stopped")
        self._write_metrics(now, running=False)

    def _summary(self, state: str) -> str:
        counts = ", ".join(f"{count} {name}" for name, count in self._tally.counts.items())
        return f"{state}; {counts}"

    def _write_status(self, now: Present, state: str) -> None:
        card = now.inspector.model.card if now.inspector else None
        if card and now.drift:
            now.drift.use(card)
        content = {
            "pid": os.getpid(),
            "started": self._started,
            "updated": utc(datetime.now(UTC)),
            "state": state,
            "model": card.model_id if card else None,
            "threshold": card.threshold if card else None,
            "certificate": card.certificate_here() if card else None,
            "device": str(now.inspector.model.device) if now.inspector else None,
            "since_start": self._tally.counts,
            "per_minute": round(self._tally.per_minute(), 1),
            "last": self._tally.last,
            "ledger_in_step": now.ledger_in_step,
            "drift": now.drift.report() if now.drift else None,
        }
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
            model=now.inspector.model if now.inspector else None,
            drift=now.drift.readings() if now.drift else [],
        )


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
