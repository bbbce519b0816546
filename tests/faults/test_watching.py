"""What comes while nobody looks: events lost, inbox renamed, deleted, unmounted; nothing missed, nothing misplaced."""

from __future__ import annotations

import hashlib
import json
import shutil
import signal
import socket
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Self

import pytest
from harness import IMPATIENT, Daemon, Fault, Ledger, Nursery, wait_until
from lines import Mounts, configure, in_memory, new_line

SCAN_S = 0.2
SLACK_S = 3.0
"""For a busy machine, and the judging itself."""


def configured(line: Path, **sections: object) -> Path:
    """The line, with a scan interval that can be measured."""
    return configure(line, inbox={"quiet_s": 0.2, "scan_s": SCAN_S}, **sections)


def judged(daemon: Daemon) -> set[str]:
    """The files that have got a verdict."""
    return {event["file"] for event in daemon.events("decision")}


def drop(inbox: Path, name: str, data: bytes) -> None:
    """Put a whole image somewhere in one step."""
    (inbox / f"{name}.part").write_bytes(data)
    (inbox / f"{name}.part").rename(inbox / name)


@pytest.fixture
def mounts() -> Iterator[Mounts]:
    """A place where file systems can be mounted without root."""
    with Mounts() as made:
        yield made


def test_files_that_came_while_it_was_stopped(
    nursery: Nursery, trained: Path, tmp_path: Path, image: Callable[[int], bytes], long: bool
) -> None:
    """More new files than events fit into the kernel's queue, made while the daemon is stopped (SIGSTOP): all filed."""
    queue = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text(encoding="ascii"))
    count, images = (20_000, 2_000) if long else (250, 125)
    with in_memory(other_than=tmp_path) as memory:
        ledger = Ledger(new_line(memory, trained, inbox={"quiet_s": 0.2, "scan_s": SCAN_S}))
        daemon = nursery.start(ledger.folder)
        try:
            daemon.wait_for("watching")
            daemon.send(signal.SIGSTOP)
            for number in range(count):
                # Images take their time; what is none is filed faster.
                data = image(number) if number % (count // images) == 0 else b"no image %d" % number
                ledger.drop(f"{number:05d}.png", data)
            inbox = ledger.data / "inbox"
            for _ in range(0, queue, 2):
                (inbox / "spare.txt").touch()
                (inbox / "spare.txt").rename(inbox / "other.txt")
            daemon.send(signal.SIGCONT)
            wait_until(lambda: not list(inbox.glob("*.png")), 280, every_s=0.2)
            wait_until(lambda: not any(map(Path.is_dir, (ledger.data / "work").iterdir())))
            assert daemon.stop() == 0
        finally:
            daemon.kill()
        (inbox / "other.txt").unlink()
        counts = ledger.check_filed()
        assert (counts["io"] + counts["nio"], counts["quarantine"]) == (images, count - images)
        assert not daemon.events("trouble", "no_events", "away")


def test_without_inotify(nursery: Nursery, ledger: Ledger, mounts: Mounts, image: Callable[[int], bytes]) -> None:
    """No inotify instance is left: it says so and finds files by its scan; with them back it goes on, also reloaded."""
    configured(ledger.folder)
    mounts.allow_inotify(0)
    daemon = nursery.start(ledger.folder, fault=Fault(inside=mounts.process))
    wait_until((ledger.data / "inbox").exists)
    for number in range(5):
        ledger.drop(f"{number}.png", image(number))
    started = time.monotonic()
    daemon.wait_for("decision", 5, seconds=15)
    assert time.monotonic() - started < SCAN_S + SLACK_S
    (event,) = daemon.wait_for("no_events")
    assert "inotify" in event["error"]
    open_files = len(list(Path(f"/proc/{daemon.pid}/fd").iterdir()))
    time.sleep(5 * SCAN_S)
    assert len(list(Path(f"/proc/{daemon.pid}/fd").iterdir())) <= open_files + 1
    assert len(daemon.events("no_events")) == 1
    assert not daemon.events("trouble")
    mounts.allow_inotify(100)
    ledger.drop("released.png", image(10))
    daemon.wait_for("decision", 6)
    daemon.send(signal.SIGHUP)
    daemon.wait_for("watching")
    ledger.drop("reloaded.png", image(11))
    daemon.wait_for("decision", 7)
    assert daemon.stop() == 0
    ledger.check_filed()


def test_a_watch_that_dies_is_armed_again(nursery: Nursery, ledger: Ledger, image: Callable[[int], bytes]) -> None:
    """The thread that waits for events dies of each: the log tells it as JSON, and no file is missed."""
    configured(ledger.folder)
    daemon = nursery.start(ledger.folder, fault=Fault(settings={"daemon.intake.watch._Ringer.on_event": None}))
    daemon.wait_for("watching")

    def died(times: int) -> bool:
        (ledger.inbox / ".stir").touch()
        (ledger.inbox / ".stir").rename(ledger.inbox / ".stirred")
        return len(daemon.events("thread_died")) >= times

    for number in range(1, 4):
        # A file that comes before it is armed again makes no event, and is found all the same.
        ledger.drop(f"{number}.png", image(number))
        wait_until(partial(died, number))
        daemon.wait_for("decision", number)
    assert daemon.stop() == 0
    assert all(json.loads(line) for line in daemon.output().splitlines())
    assert "TypeError" in daemon.events("thread_died")[0]["exception"]
    ledger.check_filed()


@pytest.mark.parametrize("how", ["renamed", "deleted", "replaced", "a-file"])
def test_an_inbox_that_goes_and_comes_back(
    how: str, nursery: Nursery, ledger: Ledger, image: Callable[[int], bytes]
) -> None:
    """Taken away, it is away, not empty; another in its place is looked at within one scan interval."""
    configured(ledger.folder)
    inbox, old = ledger.data / "inbox", ledger.folder / "old"
    daemon = nursery.start(ledger.folder)
    daemon.wait_for("watching")
    ledger.drop("before.png", image(1))
    daemon.wait_for("decision", 1)
    if how == "deleted":
        shutil.rmtree(inbox)
    else:
        inbox.rename(old)
    if how == "replaced":
        inbox.mkdir()
    else:
        if how == "a-file":
            inbox.write_bytes(image(5))
        daemon.wait_for("away")
        if how == "renamed":
            drop(old, "into-the-old.png", image(2))
        time.sleep(2 * SCAN_S)
        assert judged(daemon) == {"before.png"}
        if how == "a-file":
            inbox.unlink()
        inbox.mkdir()
    started = time.monotonic()
    ledger.drop("after.png", image(3))
    daemon.wait_for("decision", 2)
    assert time.monotonic() - started < SCAN_S + SLACK_S
    if how != "replaced":
        daemon.wait_for("back")
    ledger.drop("later.png", image(4))
    daemon.wait_for("decision", 3)
    assert judged(daemon) == {"before.png", "after.png", "later.png"}
    assert not daemon.events("quarantine")
    assert len(daemon.events("away")) == (how != "replaced")
    assert daemon.stop() == 0


def test_the_old_inbox_comes_back(nursery: Nursery, ledger: Ledger, image: Callable[[int], bytes]) -> None:
    """Renamed away and back again, with what was put into it meanwhile: judged within one scan interval."""
    configured(ledger.folder)
    inbox, old = ledger.data / "inbox", ledger.folder / "old"
    daemon = nursery.start(ledger.folder)
    daemon.wait_for("watching")
    for number in range(5):
        inbox.rename(old)
        ledger.expect(f"{number}.png", image(number))
        drop(old, f"{number}.png", image(number))
        time.sleep(0.15 * number)
        old.rename(inbox)
        started = time.monotonic()
        daemon.wait_for("decision", number + 1)
        assert time.monotonic() - started < SCAN_S + SLACK_S
    assert daemon.stop() == 0
    ledger.check_filed()


class Share:
    """A line whose inbox, or other folder, is a mount that comes and goes."""

    def __init__(self, nursery: Nursery, line: Path, mounts: Mounts, folder: str) -> None:
        self.line = configured(line)
        self.mounts = mounts
        self.place = line / "data" / folder
        self.place.mkdir(parents=True)
        self._nursery = nursery
        mounts.mount(self.place)

    @property
    def seen(self) -> Path:
        """The folder as the daemon sees it."""
        return self.mounts.seen(self.place)

    def start(self, **environment: str) -> Daemon:
        """A daemon that sees the mount."""
        fault = Fault(inside=self.mounts.process, settings=IMPATIENT)
        daemon = self._nursery.start(self.line, fault=fault, environment=environment)
        daemon.wait_for("watching")
        return daemon


def test_an_unmounted_share_is_away(
    nursery: Nursery, line: Path, mounts: Mounts, image: Callable[[int], bytes]
) -> None:
    """The empty, or not so empty, folder below a mount is not the inbox; other content on its return is judged."""
    share = Share(nursery, line, mounts, "inbox")
    daemon = share.start()
    drop(share.seen, "first.png", image(1))
    daemon.wait_for("decision", 1)
    mounts.unmount(share.place)
    daemon.wait_for("away")
    drop(share.place, "below.png", image(2))
    (share.place / "lot").mkdir()
    drop(share.place / "lot", "below.png", image(3))
    time.sleep(4 * SCAN_S)
    assert judged(daemon) == {"first.png"}
    mounts.mount(share.place, name="another")
    started = time.monotonic()
    drop(share.seen, "other.png", image(4))
    daemon.wait_for("decision", 2)
    assert time.monotonic() - started < SCAN_S + SLACK_S
    assert judged(daemon) == {"first.png", "other.png"}
    assert len(daemon.events("away")) == 1
    assert len(daemon.events("back")) == 1
    drop(share.seen, "again.png", image(5))
    daemon.wait_for("decision", 3)
    assert daemon.stop() == 0
    assert {path.name for path in share.place.rglob("*.png")} == {"below.png"}
    assert not [path for path in (line / "data" / "work").iterdir() if path.is_dir()]


def test_a_share_that_goes_in_the_middle_of_a_backlog(
    nursery: Nursery, line: Path, mounts: Mounts, image: Callable[[int], bytes], long: bool
) -> None:
    """Unmounted while images are claimed across file systems, and mounted again: each is judged once, none twice."""
    share = Share(nursery, line, mounts, "inbox")
    behind = line / "server"
    behind.mkdir()
    mounts.bind(behind, share.place)
    ledger = Ledger(line, behind)
    count = 400 if long else 40
    for number in range(count):
        ledger.expect(f"{number}.png", image(number))
        drop(behind, f"{number}.png", image(number))
    daemon = share.start()
    for done in range(5, count, count // 4):
        daemon.wait_for("decision", done)
        mounts.unmount(share.place)
        mounts.unmount(share.place)
        daemon.wait_for("away", len(daemon.events("back")) + 1)
        mounts.mount(share.place)
        mounts.bind(behind, share.place)
        daemon.wait_for("back", len(daemon.events("away")))
    daemon.wait_for("decision", count)
    wait_until(lambda: not any(map(Path.is_dir, (line / "data" / "work").iterdir())))
    assert daemon.stop() == 0
    ledger.check_filed()


@pytest.mark.parametrize("folder", ["io", "nio", "quarantine", "work"])
def test_an_output_share_that_is_away(
    folder: str, nursery: Nursery, line: Path, mounts: Mounts, image: Callable[[int], bytes]
) -> None:
    """Nothing is written into the folder below its mount; images wait, whole, and are filed when it is back."""
    share = Share(nursery, line, mounts, folder)
    back = line / "server"
    back.mkdir()
    mounts.unmount(share.place)
    mounts.mount(share.place, name="outer")
    mounts.bind(back, share.place)
    ledger = Ledger(line, back)
    daemon = share.start()
    ledger.drop("first.png", image(1))
    daemon.wait_for("decision", 1)
    mounts.unmount(share.place)
    mounts.unmount(share.place)
    for number in (5, 6, 7, 10):
        ledger.drop(f"lot7/{number}.png", image(number))
        ledger.drop(f"lot7/bad{number}.png", b"no image %d" % number)
    daemon.wait_for("away")
    time.sleep(3 * SCAN_S)
    assert list(share.place.iterdir()) == [], "written below the mount point"
    mounts.mount(share.place, name="outer")
    mounts.bind(back, share.place)
    daemon.wait_for("back")
    daemon.wait_for("decision", 5)
    daemon.wait_for("quarantine", 4)
    assert daemon.stop() == 0
    assert list(share.place.iterdir()) == [], "written below the mount point"
    decided = {event["file"]: event for event in daemon.events("decision", "quarantine")}
    assert len(decided) == 9
    for name, event in decided.items():
        place = mounts.seen(line / "data" / event["outcome"] / event["filed_as"])
        assert ledger.arrived[_digest(place)] == name
        if event["outcome"] != "quarantine":
            assert place.with_name(f"{place.name}.cam.png").exists()


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


class Notifications:
    """What the daemon tells systemd; use as a context."""

    def __init__(self, folder: Path) -> None:
        self.address = str(folder / "notify")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.address)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def keepalives(self, seconds: float) -> int:
        """How many come in so many seconds; those from before do not count."""
        self._heard()
        time.sleep(seconds)
        return sum("WATCHDOG=1" in text for text in self._heard())

    def _heard(self) -> list[str]:
        self._socket.setblocking(False)
        heard = []
        while True:
            try:
                heard.append(self._socket.recv(4096).decode())
            except BlockingIOError:
                return heard


@pytest.mark.parametrize("how", ["deleted", "unmounted", "unreadable"])
def test_no_keepalive_while_blind(
    how: str, nursery: Nursery, line: Path, mounts: Mounts, tmp_path_factory: pytest.TempPathFactory,
    image: Callable[[int], bytes],
) -> None:  # fmt: skip
    """Systemd hears of a healthy daemon only while it can look into its inbox, and again as soon as it can."""
    share = Share(nursery, line, mounts, "inbox")
    if how != "unmounted":
        mounts.unmount(share.place)
    inside = mounts.process if how == "unmounted" else 0
    with Notifications(tmp_path_factory.mktemp("n")) as systemd:
        fault = Fault(inside=inside, modes_bind=how == "unreadable")
        daemon = nursery.start(line, fault=fault, environment={"NOTIFY_SOCKET": systemd.address})
        daemon.wait_for("watching")
        assert systemd.keepalives(3 * SCAN_S)
        if how == "deleted":
            share.place.rmdir()
        elif how == "unmounted":
            mounts.unmount(share.place)
        else:
            share.place.chmod(0)
        daemon.wait_for("trouble" if how == "unreadable" else "away")
        assert not systemd.keepalives(6 * SCAN_S)
        if how == "deleted":
            share.place.mkdir()
        elif how == "unmounted":
            mounts.mount(share.place)
        else:
            share.place.chmod(0o755)
        drop(share.seen if how == "unmounted" else share.place, "a.png", image(1))
        daemon.wait_for("decision")
        assert systemd.keepalives(3 * SCAN_S)
        assert daemon.stop() == 0
