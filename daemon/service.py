"""Runs the line as a service: one daemon per work folder, signals, reload."""

from __future__ import annotations

import faulthandler
import gc
import os
import signal
import threading
from importlib.metadata import version
from pathlib import Path

from daemon.judging.models import Models
from daemon.line import Line
from daemon.reporting.drifts import Drifts
from daemon.reporting.heartbeat import Heartbeat, Present, beat_s
from daemon.reporting.standing import Standing
from daemon.reporting.tally import Tally
from filing.folders import Folders
from filing.ledger import Keeper
from filing.lock import Lock, only_daemon
from filing.logs import open_log
from inspection.device import choose_device
from inspection.errors import ConfigError, NoModelError, SolderwatchError
from inspection.runtime import check_runtime
from settings import Settings, load


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
        self._line: Line | None = None
        self._tally = Tally()
        self._models: Models | None = None
        self._drifts: Drifts | None = None
        self._keeper: Keeper | None = None
        self._log = open_log(settings.logs, count=self._tally.metrics.logged)
        self._heartbeat = Heartbeat(self._tally)

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
            try:
                self._judge(lock, once=once)
            finally:
                if self._keeper:
                    self._keeper.close()
            self._heartbeat.stop(self._present(sees=bool(self._line and self._line.inbox.sees)))
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
            self._models, line = self._build()
            self._line = line
            if reloaded:
                gc.unfreeze()
                gc.collect()
            # To look through torch's 200,000 objects for garbage would stop all threads for a tenth of a second.
            gc.freeze()
            line.recover(interrupted=lock.died)
            if once and not self._models.there:
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

    def _build(self) -> tuple[Models, Line]:
        """Make models and line from the settings; a model that is in use already stays until a better one loads."""
        settings = self._settings
        if self._keeper:
            self._keeper.close()
        self._keeper = Keeper(settings, self._log)
        device, why = choose_device(settings.device)
        self._log.info("device", device=str(device), why=why)
        check_runtime(settings.runtime, device)
        models = Models(settings, device, self._log, self._models)
        models.refresh()
        if self._drifts:
            self._drifts.save(now=True)
        self._drifts = Drifts(settings, self._folders, self._log)
        self._tally.metrics.of(settings.products)
        line = Line(
            settings,
            self._folders,
            models,
            self._log,
            stop=self._stop,
            wake=self._wake,
            tally=self._tally,
            drifts=self._drifts,
            tell=self._keeper.tell,
            beat=self._beat,
            beat_s=beat_s(),
        )
        return models, line

    def _read_configuration(self) -> None:
        """Take the new configuration if it is right and needs no restart; else say so and go on with the old one."""
        self._heartbeat.reloading()
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
        self._heartbeat.beat(self._present(sees=sees), state)

    def _present(self, *, sees: bool) -> Present:
        models, standing = self._models, None
        if models:
            standing = Standing(str(models.device), models.there, frozenset(models.loaded), models.cards)
        return Present(
            self._settings,
            self._folders,
            self._log,
            models=standing,
            drifts=self._drifts,
            recovered=bool(self._line and self._line.recovered),
            ledger_in_step=bool(self._keeper and self._keeper.in_step),
            sees=sees,
        )
