"""Daemons as real processes, by the hundred, that die or fail at a chosen call; and what must hold afterwards.

They are forked from one process, the nursery, that has imported torch already. A fault is injected by Python's own
audit hooks, with no ptrace and no other privilege.
"""

from __future__ import annotations

import ctypes
import errno
import hashlib
import json
import os
import signal
import struct
import subprocess
import sys
import time
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NoReturn, Self

from PIL import Image

from daemon import durable

# --- in the nursery ---

_CHANGING = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.truncate"}
_CHANGING_FLAGS = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_UNHARMED = (".jsonl.out", ".status.json.new")


@dataclass(frozen=True)
class Fault:
    """What goes wrong in one daemon, in its own files only.

    Attributes:
        at: The first call concerned, counted from 1: opening for writing, write, fsync, rename, unlink, mkdir, rmdir.
        error: The name of the errno with which the calls fail; None: SIGKILL just before the call.
        times: How many calls fail.
        poison: Decoding bytes with this text in them ends the process with SIGSEGV.
        clock_s: How far the wall clock is off.
        hold: Stop (SIGSTOP) before the daemon begins, so that a tracer can be attached.
        settings: Module constants to set, such as `daemon.line._REST_S`, so that a test needs less time.
    """

    at: int = 0
    error: str | None = None
    times: int = 1
    poison: str | None = None
    clock_s: float = 0.0
    hold: bool = False
    settings: dict[str, Any] = field(default_factory=dict)


def _serve() -> None:
    """Fork a daemon for each line on standard input, and tell what became of it."""
    import torch  # noqa: PLC0415 - only the nursery pays for it

    import daemon.service  # noqa: PLC0415

    assert daemon.service
    torch.set_num_threads(1)
    for line in sys.stdin:
        request = json.loads(line)
        if "wait" in request:
            pid, status = os.waitpid(request["wait"], os.WNOHANG)
            answer = {"code": os.waitstatus_to_exitcode(status) if pid else None}
        else:
            pid = os.fork()
            if pid == 0:
                _run(**request)
            answer = {"pid": pid}
        print(json.dumps(answer), flush=True)


def _run(
    folder: str, arguments: list[str], output: str, environment: dict[str, str], fault: dict[str, Any]
) -> NoReturn:
    code = 70
    try:
        os.environ.update(environment)
        os.chdir(folder)
        out = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        os.dup2(out, 1)
        os.dup2(out, 2)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        _inject(Fault(**fault), folder)
        from daemon.__main__ import main  # noqa: PLC0415

        code = main(arguments)
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    except BaseException:  # noqa: BLE001 - nothing may get back into the nursery
        import traceback  # noqa: PLC0415

        traceback.print_exc()
    finally:
        sys.stdout and sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _inject(fault: Fault, folder: str) -> None:
    for name, value in fault.settings.items():
        module, _, constant = name.rpartition(".")
        setattr(sys.modules[module], constant, value)
    if fault.clock_s:
        _shift_clock(fault.clock_s)
    if fault.poison:
        _poison(fault.poison.encode())
    if fault.at:
        _Injector(fault, folder)
    if fault.hold:
        os.kill(os.getpid(), signal.SIGSTOP)


def _shift_clock(seconds: float) -> None:
    class Shifted(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Shifted:
            return super().now(tz) + timedelta(seconds=seconds)

    for name, module in list(sys.modules.items()):
        if name.startswith("daemon.") and hasattr(module, "datetime"):
            setattr(module, "datetime", Shifted)  # noqa: B010 - mypy knows no such name in modules
    real = time.time
    time.time = lambda: real() + seconds


def _poison(text: bytes) -> None:
    module: Any = sys.modules["daemon.line"]
    real = module.decode

    def decode(data: bytes, **limits: Any) -> Any:
        if text in data:
            os.kill(os.getpid(), signal.SIGSEGV)
        return real(data, **limits)

    module.decode = decode


class _Injector:
    """Counts every call that changes a file of the daemon's, and lets the chosen ones fail; `calls` tells them all."""

    def __init__(self, fault: Fault, folder: str) -> None:
        self._fault = fault
        self._root = f"{folder}/"
        self._count = 0
        self._write = os.write
        self._calls = os.open(f"{folder}/calls", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
        self._libc = durable._LIBC
        durable._LIBC = self  # type: ignore[assignment]
        for name in ("fsync", "fdatasync", "write", "sendfile", "ftruncate"):
            self._wrap(name)
        sys.addaudithook(self._audit)

    def _reached(self, call: str, path: str) -> None:
        if not path.startswith(self._root) or path.endswith(_UNHARMED):
            return
        self._count += 1
        self._write(self._calls, f"{call} {Path(path).name}\n".encode(errors="replace"))
        if self._fault.at <= self._count < self._fault.at + self._fault.times:
            if self._fault.error is None:
                os.kill(os.getpid(), signal.SIGKILL)
            code = getattr(errno, self._fault.error or "")
            raise OSError(code, os.strerror(code), path)

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            if isinstance(arguments[0], str | bytes) and int(arguments[2] or 0) & _CHANGING_FLAGS:
                self._reached("open", _real(arguments[0]))
        elif event in _CHANGING:
            self._reached(event, _real(arguments[0], arguments[-1]))

    def _wrap(self, name: str) -> None:
        real = getattr(os, name)

        def call(descriptor: int, *rest: Any) -> Any:
            self._reached(name, _real(descriptor))
            return real(descriptor, *rest)

        setattr(os, name, call)

    def renameat2(self, *arguments: Any) -> int:
        try:
            self._reached("renameat2", _real(arguments[1]))
        except OSError as error:
            ctypes.set_errno(error.errno or 0)
            return -1
        return int(self._libc.renameat2(*arguments))


def _real(path: Any, dir_fd: Any = None) -> str:
    """Where a call's path leads, whether it is given as a name, relative to a folder, or as a descriptor."""
    if isinstance(path, int):
        return str(Path(f"/proc/self/fd/{path}").readlink())
    text = os.fsdecode(path)
    if not text.startswith("/"):
        base = Path(f"/proc/self/fd/{dir_fd}").readlink() if isinstance(dir_fd, int) and dir_fd >= 0 else Path.cwd()
        return f"{base}/{text}"
    if text.startswith("/proc/self/fd/"):
        number, _, rest = text.removeprefix("/proc/self/fd/").partition("/")
        return f"{Path(f'/proc/self/fd/{number}').readlink()}/{rest}"
    return text


# --- in the test ---


def wait_until(what: Callable[[], bool], seconds: float = 60, every_s: float = 0.02) -> None:
    """Wait for something to become true."""
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(every_s)


class Nursery:
    """Starts daemons in no time; use as a context."""

    def __init__(self) -> None:
        environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        self._started: list[Daemon] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end_all()
        self._process.communicate()

    def end_all(self) -> None:
        """Kill whatever a test left running."""
        for daemon in self._started:
            daemon.kill()
        self._started = []

    def start(
        self, folder: Path, *arguments: str, fault: Fault | None = None, environment: dict[str, str] | None = None
    ) -> Daemon:
        """`solderwatch run` in a folder with a configuration; its output goes to `stdout.jsonl.out` in there."""
        output = folder / "stdout.jsonl.out"
        answer = self.ask(
            folder=str(folder),
            arguments=["run", *arguments],
            output=str(output),
            environment=environment or {},
            fault=asdict(fault or Fault()),
        )
        daemon = Daemon(self, folder, answer["pid"], output)
        self._started.append(daemon)
        return daemon

    def once(self, folder: Path, fault: Fault | None = None, seconds: float = 60) -> int:
        """Empty the inbox; returns the exit code, negative for a signal."""
        return self.start(folder, "--once", fault=fault).wait(seconds)

    def ask(self, **request: Any) -> dict[str, Any]:
        """One request to the nursery."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin
        assert stdout
        print(json.dumps(request), file=stdin, flush=True)
        answer: dict[str, Any] = json.loads(stdout.readline())
        return answer


class Daemon:
    """One running daemon."""

    def __init__(self, nursery: Nursery, folder: Path, pid: int, output: Path) -> None:
        self.folder = folder
        self.pid = pid
        self._nursery = nursery
        self._output = output
        self._code: int | None = None

    def poll(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        if self._code is None:
            self._code = self._nursery.ask(wait=self.pid)["code"]
        return self._code

    def wait(self, seconds: float = 60) -> int:
        """Wait until it ends; the exit code."""
        wait_until(lambda: self.poll() is not None, seconds)
        assert self._code is not None
        return self._code

    def send(self, number: signal.Signals) -> None:
        """Send a signal, if it still runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def stop(self, seconds: float = 30) -> int:
        """SIGTERM; the exit code."""
        self.send(signal.SIGTERM)
        return self.wait(seconds)

    def kill(self) -> None:
        """SIGKILL."""
        self.send(signal.SIGKILL)
        self.wait()

    def events(self, *names: str) -> list[dict[str, Any]]:
        """What all daemons in this folder have logged so far."""
        return read_events(self._output, *names)

    def wait_for(self, name: str, count: int = 1, seconds: float = 60) -> list[dict[str, Any]]:
        """Wait until an event was logged so often."""
        wait_until(lambda: len(self.events(name)) >= count or self.poll() is not None, seconds)
        found = self.events(name)
        assert len(found) >= count, f"ended with {self._code}: {self._output.read_text()[-2000:]}"
        return found


def read_events(path: Path, *names: str) -> list[dict[str, Any]]:
    """The log lines of a file, or those of some kinds; a line that a kill cut off counts as none."""
    found = []
    for line in path.read_bytes().splitlines() if path.exists() else []:
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if not names or event.get("event") in names:
            found.append(event)
    return found


def stamped(png: bytes, number: int) -> bytes:
    """The same picture as a file of its own: a comment makes its bytes unlike any other's."""
    text = b"Comment\x00" + str(number).encode()
    chunk = struct.pack(">I", len(text)) + b"tEXt" + text + struct.pack(">I", zlib.crc32(b"tEXt" + text))
    return png[:-12] + chunk + png[-12:]


class Ledger:
    """What arrived in the inbox of a line, and the promise that each image is whole in exactly one place.

    Args:
        folder: Of the line.
        more_work: Where else images may be, such as in the work folder of a second daemon.
    """

    def __init__(self, folder: Path, *more_work: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        self._more_work = more_work
        self.arrived: dict[str, str] = {}
        """The name of each image that arrived, by the digest of its content."""

    def drop(self, name: str, data: bytes) -> None:
        """Put a whole image into the inbox in one step."""
        target = self.data / "inbox" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f"{hashlib.sha256(os.fsencode(name)).hexdigest()[:20]}.part")
        part.write_bytes(data)
        self.expect(name, data)
        part.rename(target)

    def expect(self, name: str, data: bytes) -> None:
        """An image that somebody else puts into the inbox."""
        self.arrived[hashlib.sha256(data).hexdigest()] = name

    def places(self) -> dict[str, list[Path]]:
        """Where the arrived images are, by their digest."""
        found: dict[str, list[Path]] = {}
        for root in (self.data, *self._more_work):
            for path in root.rglob("*"):
                if path.name.endswith(".cam.png") or not path.is_file() or path.is_symlink():
                    continue
                digest = hashlib.sha256(path.read_bytes()).hexdigest()
                if digest in self.arrived:
                    found.setdefault(digest, []).append(path)
        return found

    def check(self, *, copies: bool = False) -> None:
        """Whatever just died: each image is whole in exactly one place, and what is visible is complete.

        Args:
            copies: Inbox and work are on different file systems: after the copy, and before its source goes, are two.
        """
        places = self.places()
        for digest, name in self.arrived.items():
            there = places.get(digest, [])
            assert there, f"{name} is lost"
            assert copies or len(there) == 1, f"{name} is in {there}"
        for label in ("io", "nio"):
            for image in (self.data / label).rglob("*"):
                if image.is_file() and not image.name.endswith((".cam.png", ".json")):
                    self._check_sidecars(image)

    def _check_sidecars(self, image: Path) -> None:
        record = json.loads(image.with_name(image.name + ".json").read_bytes())
        assert record["sha256"] == hashlib.sha256(image.read_bytes()).hexdigest(), image
        assert record["outcome"] == record["verdict"] == image.relative_to(self.data).parts[0]
        with Image.open(image.with_name(image.name + ".cam.png")) as picture:
            picture.load()

    def check_filed(self, *logs: Path) -> Counter[str]:
        """In the end: all are filed, none twice, each with one verdict, however often that was logged.

        Args:
            logs: Files of log lines; by default the log of the line.

        Returns:
            How many are in io, nio and quarantine.
        """
        self.check()
        counts: Counter[str] = Counter()
        for digest, (place,) in self.places().items():
            folder = place.relative_to(self.data).parts[0]
            assert folder in {"io", "nio", "quarantine"}, f"{self.arrived[digest]} was not filed: {place}"
            counts[folder] += 1
        assert sum(counts.values()) == len(self.arrived)
        assert [path for path in (self.data / "work").iterdir() if path.is_dir()] == []
        decided: dict[str, set[str]] = {}
        for log in logs or (self.folder / "logs" / "decisions.jsonl",):
            for event in read_events(log, "decision"):
                decided.setdefault(event["sha256"], set()).add(event["decision_id"])
        judged = {digest for digest, (place,) in self.places().items() if "quarantine" not in place.parts}
        assert judged <= set(decided), "an image has no log line"
        for digest in judged:
            assert len(decided[digest]) == 1, f"{self.arrived[digest]} was judged {len(decided[digest])} times"
        # What is in the output folders beside our images is their sidecars, and nothing half done.
        for label in ("io", "nio", "quarantine"):
            assert not list((self.data / label).rglob("*.part"))
        return counts


if __name__ == "__main__":
    _serve()
