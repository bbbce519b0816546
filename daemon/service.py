"""Runs the line as a service: one daemon per work folder, signals, reload, and what systemd wants to hear."""

from __future__ import annotations

import faulthandler
import gc
import os
import signal
import socket
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from daemon.judging.current_model import CurrentModel
from daemon.line import Line
from daemon.reporting.drift import DriftWatch
from daemon.reporting.metrics import MetricsFile
from daemon.reporting.status import STATUS
from daemon.reporting.tally import Tally
from filing import durable
from filing.folders import Folders
from filing.lock import Lock, only_daemon
from filing.logs import open_log
from filing.names import utc
from inspection.device import choose_device
from inspection.errors import ConfigError, NoModelError, SolderwatchError
from inspection.runtime import check_runtime
from settings import Settings, load

_STATUS_EVERY_S = 2.0
_BEAT_S = 20.0
_STARTS_WITHIN_US = 120_000_000


class Service:
    """The daemon's life: start, signals, reload, stop.

    Args:
        config: The configuration file, read again on SIGHUP.
        settings: What it says now.
        folders: The line's, made.
    """

    def __init__(self, config: Path, settings: Settings, folders: Folders) -> None:
        self._config = config
        self._settings = settings
        self._folders = folders
        self._stop, self._wake, self._reload = threading.Event(), threading.Event(), threading.Event()
        self._ended = False
        self._ready = False
        self._line: Line | None = None
        self._tally = Tally()
        self._started = utc(datetime.now(UTC))
        self._model: CurrentModel | None = None
        self._drift: DriftWatch | None = None
        self._log = open_log(settings.logs, count=self._tally.metrics.logged)
        self._status_written = 0.0
        self._metrics = MetricsFile(self._tally.metrics)

    def run(self, *, once: bool = False) -> None:
        """Judge until SIGTERM or SIGINT; with `once`, until the inbox is empty.

        Raises:
            ConfigError: Another daemon works in the same work folder.
            DeviceError: The device that the configuration asks for is not there.
            NoModelError: With `once`, there is no model to judge with.
        """
        self._catch_signals()
        # Whatever hangs: the watchdog's SIGABRT leaves a trace of where it was. And whatever dies is told as JSON.
        faulthandler.enable()
        threading.excepthook = self._tell_death
        with only_daemon(self._settings.paths.work) as lock:
            self._log.info("starting", version=version("solderwatch"), pid=os.getpid(), config=str(self._config))
            self._judge(lock, once=once)
            notify("STOPPING=1")
            if self._drift:
                self._drift.save(now=True)
            self._write_status("stopped")
            self._write_metrics(running=False)
            self._log.info("stopped", **self._tally.counts)

    def _judge(self, lock: Lock, *, once: bool) -> None:
        while True:
            self._stop.clear()
            # In this order: a signal that comes just now is not forgotten.
            if self._ended:
                return
            if self._reload.is_set():
                self._reload.clear()
                self._read_configuration()
            reloaded = self._line is not None
            self._model, line = self._build()
            self._line = line
            if reloaded:
                gc.unfreeze()
                gc.collect()
            # To look through torch's 200,000 objects for garbage would stop all threads for a tenth of a second.
            gc.freeze()
            line.recover(interrupted=lock.died)
            if once and self._model.inspector is None:
                raise NoModelError(
                    f"{self._settings.paths.models}: no model to judge with; see above, or run solderwatch-train"
                )
            try:
                line.run(once=once)
            finally:
                # Whoever has not even counted that death yet leaves that to the next one.
                lock.died = line.has_uncounted
            if once and not self._reload.is_set():
                return

    def _build(self) -> tuple[CurrentModel, Line]:
        """Make model and line from the settings; a model that is in use already stays until a better one loads."""
        settings = self._settings
        device, why = choose_device(settings.device)
        self._log.info("device", device=str(device), why=why)
        check_runtime(settings.runtime, device)
        kept = self._model.inspector if self._model else None
        if kept and kept.model.device != device:
            kept = None
        model = CurrentModel(settings.paths.models, settings.cam, device, settings.runtime, self._log, kept)
        model.refresh()
        if self._drift:
            self._drift.save(now=True)
        self._drift = DriftWatch(settings.drift, self._folders, self._log)
        line = Line(
            settings,
            self._folders,
            model,
            self._log,
            stop=self._stop,
            wake=self._wake,
            tally=self._tally,
            drift=self._drift,
            beat=self._beat,
            beat_s=_beat_s(),
        )
        return model, line

    def _read_configuration(self) -> None:
        """Take the new configuration if it is right and needs no restart; else say so and go on with the old one."""
        if self._ready:
            notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")
            self._ready = False
        try:
            settings = load(self._config)
            if settings.paths.work != self._settings.paths.work:
                raise ConfigError(f"{self._config}: paths.work: changed; restart the daemon for that")
            device, _ = choose_device(settings.device)
            check_runtime(settings.runtime, device)
            folders = Folders(settings.paths.line, settings.inbox.admission, before=self._folders)
            folders.make()
        except SolderwatchError as error:
            self._log.error("reload_refused", error=str(error))
            return
        self._settings, self._folders = settings, folders
        self._log = open_log(settings.logs, count=self._tally.metrics.logged)
        self._log.info("reloaded", config=str(self._config))

    def _catch_signals(self) -> None:
        """Let a thread obey signals: a handler would interrupt the main thread in the locks that it has to take."""
        reader, writer = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(writer, False)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda *_: None)
        # With SIGIO the kernel asks for a lease back; unhandled it would end the process.
        signal.signal(signal.SIGIO, signal.SIG_IGN)
        threading.Thread(target=self._obey, args=(reader,), name="signals", daemon=True).start()

    def _tell_death(self, died: threading.ExceptHookArgs) -> None:
        name = died.thread.name if died.thread else None
        self._log.error("thread_died", thread=name, exc_info=(died.exc_type, died.exc_value, died.exc_traceback))

    def _obey(self, reader: int) -> None:
        while numbers := os.read(reader, 4096):
            if signal.SIGTERM in numbers or signal.SIGINT in numbers:
                self._ended = True
            if signal.SIGHUP in numbers:
                self._reload.set()
            self._stop.set()
            self._wake.set()

    def _beat(self, state: str, sees: bool) -> None:
        """The line is alive: tell systemd and whoever asks for the status.

        Ready is who has a model and has filed what an earlier run had decided. Who cannot look at the inbox lets the
        watchdog run out: a fresh process may see again, with its folders and mounts made anew.
        """
        told = [f"STATUS={self._summary(state)}"]
        if sees:
            told += ["WATCHDOG=1"]
        if not self._ready:
            self._ready = bool(self._line and self._line.recovered and self._model and self._model.inspector)
            told += ["READY=1"] if self._ready else [f"EXTEND_TIMEOUT_USEC={_STARTS_WITHIN_US}"]
        notify("\n".join(told))
        now = time.monotonic()
        if now - self._status_written >= _STATUS_EVERY_S:
            self._status_written = now
            self._write_status(state)
            if self._drift:
                self._drift.save()
        if self._metrics.due:
            self._write_metrics(running=True)

    def _summary(self, state: str) -> str:
        counts = ", ".join(f"{count} {name}" for name, count in self._tally.counts.items())
        return f"{state}; {counts}"

    def _write_status(self, state: str) -> None:
        inspector = self._model.inspector if self._model else None
        card = inspector.model.card if inspector else None
        if card and self._drift:
            self._drift.use(card)
        content = {
            "pid": os.getpid(),
            "started": self._started,
            "updated": utc(datetime.now(UTC)),
            "state": state,
            "model": card.model_id if card else None,
            "threshold": card.threshold if card else None,
            "certificate": card.certificate_here() if card else None,
            "device": str(inspector.model.device) if inspector else None,
            "since_start": self._tally.counts,
            "per_minute": round(self._tally.per_minute(), 1),
            "last": self._tally.last,
            "drift": self._drift.report() if self._drift else None,
        }
        # Not worth a sync, and never worth a verdict.
        with suppress(OSError), self._folders.beneath("work") as work:
            new = work / f"{STATUS}.new"
            new.write_bytes(durable.to_json(content))
            new.replace(work / STATUS)

    def _write_metrics(self, *, running: bool) -> None:
        inspector = self._model.inspector if self._model else None
        self._metrics.write(
            self._settings,
            self._folders,
            self._log,
            running=running,
            sees=bool(self._line and self._line.inbox.sees),
            model=inspector.model if inspector else None,
            drift=self._drift.readings() if self._drift else [],
        )


def _beat_s() -> float:
    """How often to say that all is well: twice as often as systemd's watchdog wants to hear it."""
    return min(_BEAT_S, int(os.environ.get("WATCHDOG_USEC", _BEAT_S * 2e6)) / 2e6)


def notify(state: str) -> None:
    """Tell systemd, if it started us; see sd_notify(3)."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
        channel.connect("\0" + address[1:] if address.startswith("@") else address)
        channel.sendall(state.encode())
