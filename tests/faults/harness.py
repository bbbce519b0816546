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
import pkgutil
import shutil
import signal
import struct
import subprocess
import sys
import threading
import time
import traceback
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NoReturn, Self

from PIL import Image

from filing import durable
from filing.ledger import store
from inspection.files import readable

# --- in the nursery ---

_CHANGING = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.chmod", "os.utime"}
_CHANGING_FLAGS = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_UNHARMED = (".jsonl.out", ".status.json.new", ".drift.json.new")
IMPATIENT = {
    f"daemon.intake.trouble._{name}_S": 0.05
    for name in ("FIRST_BACKOFF", "LONGEST_BACKOFF", "FIRST_REST", "LONGEST_REST")
}
"""For `Fault.settings`: what is in trouble is tried again at once."""


@dataclass(frozen=True)
class Fault:
    """What goes wrong in one daemon, in its own files only.

    Attributes:
        at: The first call concerned, counted from 1: opening for writing, write, fsync, rename, unlink, mkdir, rmdir.
            Larger than any: nothing fails, but the file `calls` tells what was counted.
        only: Count only calls whose line in `calls` has this text in it.
        keeper: Count the calls of the ledger's keeper, and its statements, instead of all others: its thread has a
            rhythm of its own.
        also: A folder outside the line's, such as an inbox on another file system, whose calls count too.
        error: The name of the errno with which the calls fail; None: SIGKILL just before the call.
        times: How many calls fail.
        poison: Decoding bytes with this text in them ends the process with SIGSEGV.
        clock_s: How far the wall clock is off.
        inside: The process in whose user and mount namespaces the daemon lives; 0: in ours.
        output: Where standard output goes instead of into the file; `""`: it is closed.
        modes_bind: Root's right to read and write whatever it likes is given up, as an ordinary user has none.
        hold: Stop (SIGSTOP) before the daemon begins, so that a tracer can be attached.
        settings: Constants to set, such as `daemon.intake.trouble._FIRST_REST_S`, so that a test needs less time.
    """

    at: int = 0
    only: str = ""
    keeper: bool = False
    also: str = ""
    error: str | None = None
    times: int = 1
    poison: str | None = None
    clock_s: float = 0.0
    inside: int = 0
    output: str | None = None
    modes_bind: bool = False
    hold: bool = False
    settings: dict[str, Any] = field(default_factory=dict)


def _serve() -> None:
    """Fork a daemon for each line on standard input, and tell what became of it."""
    import torch  # noqa: PLC0415 - only the nursery pays for it

    import daemon.service  # noqa: PLC0415

    assert daemon.service
    torch.set_num_threads(1)
    warm = False
    for line in sys.stdin:
        request = json.loads(line)
        if "wait" in request:
            pid, status = os.waitpid(request["wait"], os.WNOHANG)
            answer = {"code": os.waitstatus_to_exitcode(status) if pid else None}
        else:
            if not warm:
                warm = _warm_up(Path(request["folder"], "models", "current"))
            pid = os.fork()
            if pid == 0:
                _run(**request)
            answer = {"pid": pid}
        print(json.dumps(answer), flush=True)


def _warm_up(model: Path) -> bool:
    """Judge one image, so that no daemon has to spend a tenth of a second on what is done once in a process."""
    import numpy as np  # noqa: PLC0415
    import torch  # noqa: PLC0415

    from inspection import inspector, picture  # noqa: PLC0415
    from inspection.model import load  # noqa: PLC0415

    if not model.exists():
        return False
    black = np.zeros((40, 40), np.float32)
    (found,) = inspector.Inspector(load(model, torch.device("cpu")), "XGradCAM", only_last_conv=True).inspect([black])
    picture.draw(black, found)
    return True


def _run(
    folder: str, arguments: list[str], output: str, environment: dict[str, str], fault: dict[str, Any]
) -> NoReturn:
    code = 70
    try:
        os.environ.update(environment)
        if fault["inside"]:
            _enter(fault["inside"])
        if fault["modes_bind"]:
            _bind_modes()
        os.chdir(folder)
        out = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        os.dup2(out, 1)
        os.dup2(out, 2)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        if fault["output"] is not None:
            _redirect(fault["output"])
        _inject(Fault(**fault), folder)
        from daemon.__main__ import main  # noqa: PLC0415

        code = main(arguments)
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    except BaseException:  # noqa: BLE001 - nothing may get back into the nursery
        traceback.print_exc()
    finally:
        sys.stdout and sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _inject(fault: Fault, folder: str) -> None:
    for name, value in fault.settings.items():
        place, _, constant = name.rpartition(".")
        owner = pkgutil.resolve_name(place)
        assert hasattr(owner, constant), f"there is no {name} any more"
        setattr(owner, constant, value)
    if fault.clock_s:
        _shift_clock(fault.clock_s)
    if fault.poison:
        _poison(fault.poison.encode())
    if fault.at:
        _Injector(fault, folder)
    if fault.hold:
        os.kill(os.getpid(), signal.SIGSTOP)


def _redirect(output: str) -> None:
    if output:
        os.dup2(os.open(output, os.O_WRONLY), 1)
    else:
        os.close(1)
        sys.stdout = None  # as Python starts where there is none


def _enter(process: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    for name, kind in (("user", 0x10000000), ("mnt", 0x00020000)):
        namespace = os.open(f"/proc/{process}/ns/{name}", os.O_RDONLY)
        if libc.setns(namespace, kind):
            raise OSError(ctypes.get_errno(), f"setns {name}")
        os.close(namespace)


def _bind_modes() -> None:
    libc = ctypes.CDLL(None)
    version_3 = (ctypes.c_uint32 * 2)(0x20080522, 0)
    effective_permitted_inheritable = (ctypes.c_uint32 * 6)()
    libc.capget(version_3, effective_permitted_inheritable)
    effective_permitted_inheritable[0] &= ~(1 << 1 | 1 << 2)  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
    libc.capset(version_3, effective_permitted_inheritable)


def _shift_clock(seconds: float) -> None:
    class Shifted(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Shifted:
            return super().now(tz) + timedelta(seconds=seconds)

    for name, module in list(sys.modules.items()):
        if name.startswith(("daemon.", "filing.")) and hasattr(module, "datetime"):
            setattr(module, "datetime", Shifted)  # noqa: B010 - mypy knows no such name in modules
    real = time.time
    time.time = lambda: real() + seconds


def _poison(text: bytes) -> None:
    module: Any = sys.modules["daemon.judging.workers"]
    real = module.open_stack

    def open_stack(data: bytes, limits: Any) -> Any:
        if text in data:
            os.kill(os.getpid(), signal.SIGSEGV)
        return real(data, limits)

    module.open_stack = open_stack


class _Injector:
    """Counts every call that changes a file of the daemon's, and lets the chosen ones fail; `calls` tells them all."""

    def __init__(self, fault: Fault, folder: str) -> None:
        self._fault = fault
        self._roots = tuple(f"{root}/" for root in (folder, fault.also) if root)
        self._count = 0
        self._one_by_one = threading.Lock()
        self._write = os.write
        self._calls = os.open(f"{folder}/calls", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
        self._libc = durable._LIBC
        durable._LIBC = self  # type: ignore[assignment]
        for name in ("fsync", "fdatasync", "write", "pwrite", "sendfile", "ftruncate"):
            self._wrap(name)
        if fault.keeper:
            self._wrap_statements(f"{folder}/data/ledger.db")
        sys.addaudithook(self._audit)

    def _reached(self, call: str, path: str, half: tuple[int, bytes] | None = None) -> None:
        if not path.startswith(self._roots) or path.endswith(_UNHARMED):
            return
        if (threading.current_thread().name == "ledger") != self._fault.keeper:
            return
        line = f"{call} {readable(Path(path).name)}"
        if self._fault.only not in line:
            return
        with self._one_by_one:
            self._count += 1
            self._write(self._calls, f"{line}\n".encode())
            if self._fault.at <= self._count < self._fault.at + self._fault.times:
                if half:
                    self._write(*half)
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
            # A write that fails, or in which the process dies, has written half.
            half = (descriptor, rest[0][: len(rest[0]) // 2]) if name == "write" else None
            self._reached(name, _real(descriptor), half)
            return real(descriptor, *rest)

        setattr(os, name, call)

    def _wrap_statements(self, path: str) -> None:
        real = store._run

        def run(database: Any, statement: str, values: Any = ()) -> Any:
            self._reached(statement.split(maxsplit=1)[0], path)
            return real(database, statement, values)

        store._run = run

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
    """Starts daemons in no time; use as a context.

    Args:
        launcher: The beginning of a command line that ends with the nursery's, to give it surroundings of its own.
    """

    def __init__(self, *launcher: str) -> None:
        environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
        self._process = subprocess.Popen(
            [*launcher, sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self._started: list[Daemon] = []
        self.pid = self._process.pid

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
        before = output.stat().st_size if output.exists() else 0
        answer = self.ask(
            folder=str(folder),
            arguments=["run", *arguments],
            output=str(output),
            environment=environment or {},
            fault=asdict(fault or Fault()),
        )
        daemon = Daemon(self, folder, answer["pid"], output, before)
        self._started.append(daemon)
        return daemon

    def once(self, folder: Path, fault: Fault | None = None, seconds: float = 60) -> int:
        """Empty the inbox; returns the exit code, negative for a signal."""
        daemon = self.start(folder, "--once", fault=fault)
        try:
            return daemon.wait(seconds)
        finally:
            daemon.kill()

    def dies(self, folder: Path, fault: Fault) -> bool:
        """Empty the inbox with a fault that kills; whether it came to that.

        How many calls there are depends on which images are done at the same time, for those share some.
        """
        code = self.once(folder, fault)
        if code == 0:
            assert len((folder / "calls").read_bytes().splitlines()) < fault.at, "the call passed and did not kill"
        else:
            assert code == -signal.SIGKILL
        return code != 0

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

    def __init__(self, nursery: Nursery, folder: Path, pid: int, output: Path, start: int) -> None:
        self.folder = folder
        self.pid = pid
        self._nursery = nursery
        self._output = output
        self._start = start
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

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Stopped for a while, as a context: it changes nothing meanwhile."""
        self.send(signal.SIGSTOP)
        wait_until(lambda: self.poll() is not None or self.is_stopped(), every_s=0.002)
        yield
        self.send(signal.SIGCONT)

    def is_stopped(self) -> bool:
        """Whether SIGSTOP has reached all of its threads."""
        states = [
            path.read_text().rpartition(")")[2].split()[0] for path in Path(f"/proc/{self.pid}").glob("task/*/stat")
        ]
        return set(states) <= {"T", "t"}

    def events(self, *names: str) -> list[dict[str, Any]]:
        """What it has logged so far."""
        return read_events(self._output, *names, start=self._start)

    def output(self) -> str:
        """All that it has said on standard output and standard error so far."""
        return self._output.read_bytes()[self._start :].decode()

    def wait_for(self, name: str, count: int = 1, seconds: float = 60) -> list[dict[str, Any]]:
        """Wait until an event was logged so often."""
        wait_until(lambda: len(self.events(name)) >= count or self.poll() is not None, seconds)
        found = self.events(name)
        assert len(found) >= count, f"ended with {self._code}: {self._output.read_text()[-2000:]}"
        return found


def read_events(path: Path, *names: str, start: int = 0) -> list[dict[str, Any]]:
    """The log lines of a file, or those of some kinds; a line that a kill cut off counts as none."""
    found = []
    for line in path.read_bytes()[start:].splitlines() if path.exists() else []:
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if not names or event.get("event") in names:
            found.append(event)
    return found


def stamped(png: bytes, comment: object) -> bytes:
    """The same picture as a file of its own: a comment makes its bytes unlike any other's."""
    text = f"Comment\0{comment}".encode()
    chunk = struct.pack(">I", len(text)) + b"tEXt" + text + struct.pack(">I", zlib.crc32(b"tEXt" + text))
    return png[:-12] + chunk + png[-12:]


class Trials:
    """Many faults in one test, as a context: a failed one does not keep the others from being tried."""

    def __init__(self) -> None:
        self.count = 0
        self._failed: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind:
            return
        print(f"{self.count} faults injected")
        assert self.count, "nothing was tried"
        assert not self._failed, f"{len(self._failed)} of {self.count} failed:\n" + "\n".join(self._failed)

    @contextmanager
    def __call__(self, what: str) -> Iterator[None]:
        """One fault, as a context."""
        self.count += 1
        try:
            yield
        except (AssertionError, OSError, ValueError) as error:
            why = str(error).partition("\n")[0] or traceback.extract_tb(error.__traceback__)[-1].line
            self._failed.append(f"{what}: {why}")


class Ledger:
    """What arrived in the inbox of a line, and the promise that each image is whole in exactly one place.

    Args:
        folder: Of the line.
        more: Where else images may be: the work folder of a second daemon, an inbox on another file system.
        inbox: Where images arrive.
    """

    def __init__(self, folder: Path, *more: Path, inbox: Path | None = None) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.inbox = inbox or self.data / "inbox"
        self.arrived: dict[str, str] = {}
        """The name of each image that arrived, by the digest of its content."""
        self._roots = (self.data, *more)
        self._known: dict[tuple[int, ...], str] = {}
        self._complete: set[tuple[int, ...]] = set()
        self._saved: dict[str, str] = {}

    def drop(self, name: str, data: bytes) -> None:
        """Put a whole image into the inbox in one step."""
        target = self.inbox / name
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f"{hashlib.sha256(os.fsencode(name)).hexdigest()[:20]}.part")
        part.write_bytes(data)
        self.expect(name, data)
        part.rename(target)

    def expect(self, name: str, data: bytes) -> None:
        """An image that somebody else puts into the inbox."""
        self.arrived[hashlib.sha256(data).hexdigest()] = name

    def save(self) -> None:
        """Remember what is where, so that many faults can start from it."""
        self._saved = dict(self.arrived)
        for number, root in enumerate(self._state()):
            saved = self.folder / "saved" / str(number)
            shutil.rmtree(saved, ignore_errors=True)
            if root.exists():
                shutil.copytree(root, saved, symlinks=True)

    def restore(self) -> None:
        """Put everything back to where it was."""
        self.arrived = dict(self._saved)
        self._known.clear()
        self._complete.clear()
        (self.folder / "stdout.jsonl.out").unlink(missing_ok=True)
        for number, root in enumerate(self._state()):
            shutil.rmtree(root, ignore_errors=True)
            if (saved := self.folder / "saved" / str(number)).exists():
                shutil.copytree(saved, root, symlinks=True)

    def _state(self) -> tuple[Path, ...]:
        return (*self._roots, self.folder / "logs")

    def places(self) -> dict[str, list[Path]]:
        """Where the arrived images are, by their digest."""
        found: dict[str, list[Path]] = {}
        for root in self._roots:
            for folder, _, names in os.walk(root):
                for name in names:
                    path = Path(folder, name)
                    if path.is_symlink() or not path.is_file():
                        continue
                    digest = self._digest(path)
                    if digest in self.arrived:
                        found.setdefault(digest, []).append(path)
        return found

    def _digest(self, path: Path) -> str:
        """The digest of a file; asked again only after its size or time changed, since that is done after each kill."""
        try:
            identity = _identity(path)
            if identity not in self._known:
                self._known[identity] = hashlib.sha256(path.read_bytes()).hexdigest()
        except FileNotFoundError:
            # A writer's temporary file: no daemon runs while places are looked up.
            return ""
        return self._known[identity]

    def check(self, *, copies: bool = False) -> None:
        """Whatever just died: each image is whole in exactly one place, and what is visible is complete.

        Args:
            copies: Inbox and work are on different file systems: after the copy, and before its source goes, are two.
        """
        expected = list(self.arrived.items())
        places = self.places()
        for digest, name in expected:
            there = places.get(digest, [])
            assert there, f"{name} is lost"
            assert len(there) <= (2 if copies else 1), f"{name} is in {there}"
        for label in ("io", "nio", "quarantine"):
            for image in _files(self.data / label):
                if not image.is_symlink() and not image.name.endswith((".cam.png", ".json", ".part")):
                    self._check_sidecars(image)

    def _check_sidecars(self, image: Path) -> None:
        label = image.relative_to(self.data).parts[0]
        record_path = image.with_name(image.name + (".error.json" if label == "quarantine" else ".json"))
        assert record_path.exists(), f"{image} is visible without {record_path.name}"
        identity = _identity(image) + _identity(record_path)
        if identity in self._complete:
            return
        record = json.loads(record_path.read_bytes())
        assert record["outcome"] == label, image
        if label == "quarantine":
            assert record["error"], image
        else:
            assert record["verdict"] == label, image
            assert record["sha256"] == hashlib.sha256(image.read_bytes()).hexdigest(), image
            with Image.open(image.with_name(image.name + ".cam.png")) as picture:
                picture.load()
        self._complete.add(identity)

    def check_filed(self, *logs: Path) -> Counter[str]:
        """In the end: all are filed, none twice, each with one verdict, however often that was logged.

        Args:
            logs: Files of log lines; by default the log of the line.

        Returns:
            How many are in io, nio and quarantine.
        """
        self._known.clear()
        self._complete.clear()
        self.check()
        counts: Counter[str] = Counter()
        places = self.places()
        for digest, (place,) in places.items():
            folder = place.relative_to(self.data).parts[0] if place.is_relative_to(self.data) else "elsewhere"
            assert folder in {"io", "nio", "quarantine"}, f"{self.arrived[digest]} was not filed: {place}"
            counts[folder] += 1
        assert sum(counts.values()) == len(self.arrived)
        self._check_leftovers()
        self._check_logs(logs or (self.folder / "logs" / "decisions.jsonl",), places)
        return counts

    def _check_leftovers(self) -> None:
        """What is beside our images is their sidecars, and nothing half done."""
        for root in (self.data / "inbox", self.data / "work", *self._roots[1:]):
            left = [path for path in _files(root) if path.parent != root or path.name[0] != "."]
            assert left == [], f"left over: {left}"
        assert [path for path in (self.data / "work").iterdir() if path.is_dir()] == []
        for label in ("io", "nio", "quarantine"):
            files = set(_files(self.data / label))
            images = {path for path in files if files & {Path(f"{path}.json"), Path(f"{path}.error.json")}}
            sidecars = {Path(f"{image}{end}") for image in images for end in (".json", ".cam.png", ".error.json")}
            assert files <= images | sidecars, f"left over: {files - images - sidecars}"
            assert not [path for path in images if path.suffix == ".part"], f"half done: {images}"

    def _check_logs(self, logs: Sequence[Path], places: dict[str, list[Path]]) -> None:
        """Each image that was filed has log lines, and all of them tell the same decision."""
        filed_as: dict[str, set[str]] = {}
        judged: dict[str, set[str]] = {}
        for log in logs:
            for event in read_events(log, "decision", "quarantine"):
                filed_as.setdefault(f"{event['outcome']}/{event['filed_as']}", set()).add(event["decision_id"])
                judged.setdefault(event.get("sha256", ""), set()).add(event["decision_id"])
        for digest, (place,) in places.items():
            ids = filed_as.get(readable(str(place.relative_to(self.data))), set())
            assert ids, f"{self.arrived[digest]} has no log line"
            assert len(ids | judged.get(digest, set())) == 1, f"{self.arrived[digest]} was judged more than once"


def _identity(path: Path) -> tuple[int, ...]:
    found = path.lstat()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _files(folder: Path) -> list[Path]:
    return [Path(place, name) for place, _, names in os.walk(folder) for name in names]


if __name__ == "__main__":
    _serve()
