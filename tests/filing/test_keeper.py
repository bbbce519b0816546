from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from ledger_line import PACE, Kept, Records

from filing.ledger import OUTCOMES, Ledger, Place, keeper, reindex, tell

Keep = Callable[..., Kept]

_COUNT = 200


@pytest.fixture
def filled(records: Records) -> Records:
    """A line with some hundred images of two products in several folders; some of them have words."""
    for number in range(_COUNT):
        records.file(("io", "nio")[number % 2], f"board{number % 5}/{number}.png", product="AB"[number % 2], joint="r1")
    for number in range(1, 40, 2):
        records.relabel(f"board{number % 5}/{number}.png", "nio" if number % 4 == 1 else "io")
    records.file("quarantine", "bad.png")
    return records


def _go_on(records: Records, kept: Kept) -> None:
    """File a few more, tell, and see that the ledger has all."""
    for number in range(5):
        kept.keeper.tell([records.file("nio", f"later/{number}.png", product="B")])
    kept.keeper.tell(records.relabel("later/1.png", "io"))
    kept.settle()
    records.check()


def test_what_is_told_is_put_down(records: Records, keep: Keep) -> None:
    """Images that are filed, relabelled and removed are in the ledger as they are, without a sweep."""
    kept = keep(records)
    kept.settle()
    _go_on(records, kept)
    kept.keeper.tell([records.remove("nio", "later/0.png")])
    shutil.rmtree(records.folder("nio"))
    kept.keeper.tell([("nio", Path("later/2.png"))])
    records.folder("nio").mkdir()
    kept.keeper.tell([("nio", Path(f"later/{number}.png")) for number in range(5)])
    kept.settle()
    records.check()
    assert not kept.events("ledger_caught_up")


def test_a_line_that_had_no_ledger_gets_one(filled: Records, keep: Keep) -> None:
    """At its first start the daemon puts down what was filed before; that is told in one line."""
    kept = keep(filled)
    kept.settle()
    filled.check()
    (caught_up,) = kept.events("ledger_caught_up")
    assert caught_up["changed"] == _COUNT + 1
    assert not kept.events("ledger_failed") + kept.events("ledger_rebuilding")


def test_more_than_can_be_kept_in_mind_is_found_by_a_sweep(
    records: Records, keep: Keep, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Images that are told faster than they are put down do not pile up, and are in the ledger in the end."""
    monkeypatch.setattr(keeper, "_AT_MOST", 10)
    kept = keep(records)
    kept.settle()
    kept.keeper.tell([records.file("nio", f"{number}.png") for number in range(50)])
    assert len(kept.keeper._told) <= 10
    kept.settle()
    records.check()


def test_what_was_told_is_put_down_at_the_end(records: Records, keep: Keep) -> None:
    """Who closes the ledger loses nothing that was told before."""
    kept = keep(records)
    kept.settle()
    kept.keeper.tell([records.file("nio", f"{number}.png") for number in range(600)])
    kept.keeper.close(60)
    records.check()


def test_the_group_may_write_if_the_umask_says_so(records: Records, keep: Keep) -> None:
    """As a service an operator's command, run by another user of the group, tells the ledger too."""
    before = os.umask(0o007)
    try:
        kept = keep(records)
        kept.settle()
    finally:
        os.umask(before)
    kept.keeper.tell([records.file("nio", "a.png")])
    kept.settle()
    there = sorted(records.ledger.parent.glob("ledger.db*"))
    assert [stat.S_IMODE(path.stat().st_mode) for path in there] == [0o660] * 3


_LATER = """
import sys
from pathlib import Path
path, how, where = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])
size = path.stat().st_size
with path.open("r+b") as file:
    if how == "cut":
        file.truncate(int(size * where))
    else:
        file.seek(int(size * where) // 4096 * 4096)
        file.write(bytes(4096 * 3))
"""


def _spoil(path: Path, how: str, where: float) -> None:
    """In a process of its own: to open the file here would give up SQLite's locks."""
    subprocess.run([sys.executable, "-c", _LATER, path, how, str(where)], check=True)


@pytest.mark.parametrize("where", [0.0, 0.0005, 0.01, 0.3, 0.55, 0.8, 0.99])
@pytest.mark.parametrize("how", ["cut", "zeroed"])
def test_a_spoilt_ledger_is_built_anew_at_the_start(filled: Records, keep: Keep, how: str, where: float) -> None:
    """Cut off or zeroed anywhere while nobody looked: afterwards it says what the records say."""
    reindex(filled.settings)
    _spoil(filled.ledger, how, where)
    kept = keep(filled)
    kept.settle()
    filled.check()
    _go_on(filled, kept)


@pytest.mark.parametrize("where", [0.0, 0.0005, 0.01, 0.3, 0.55, 0.8, 0.99])
@pytest.mark.parametrize("how", ["cut", "zeroed"])
def test_reindex_mends_a_spoilt_ledger(filled: Records, how: str, where: float) -> None:
    """Without a daemon too: one command, and it says what the records say."""
    reindex(filled.settings)
    _spoil(filled.ledger, how, where)
    reindex(filled.settings)
    filled.check()


@pytest.mark.parametrize("where", [0.0, 0.3, 0.55, 0.99])
def test_a_ledger_that_is_cut_off_while_in_use_is_built_anew(filled: Records, keep: Keep, where: float) -> None:
    """What is missing of the file is noticed, and told once."""
    kept = keep(filled)
    kept.settle()
    with closing(sqlite3.connect(filled.ledger)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    size = filled.ledger.stat().st_size
    while not kept.keeper._store or kept.keeper._store._seen[""][2] < size:
        pass
    os.truncate(filled.ledger, int(size * where))
    _wait_for(kept, "ledger_rebuilding")
    kept.settle()
    filled.check()
    _go_on(filled, kept)
    assert len(kept.events("ledger_rebuilding")) == 1


def _wait_for(kept: Kept, event: str) -> None:
    waiting = threading.Event()
    for _ in range(3000):
        if kept.events(event):
            return
        waiting.wait(0.01)
    raise AssertionError(f"never told: {event}")


def test_a_ledger_that_is_zeroed_while_in_use_is_built_anew(filled: Records, keep: Keep) -> None:
    """The next look at the whole file finds it, and it says what the records say again."""
    kept = keep(filled, replace(PACE, check_s=0.0, sweep_s=0.05))
    while not kept.keeper.settled(0.01):
        pass
    with closing(sqlite3.connect(filled.ledger)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    _spoil(filled.ledger, "zeroed", 0.4)
    _wait_for(kept, "ledger_rebuilding")
    _wait_for(kept, "ledger_caught_up")
    kept.keeper.close()
    keep(filled).settle()
    filled.check()


@pytest.mark.parametrize("names", ["ledger.db", "ledger.db-wal", "ledger.db-shm", "ledger.db*"])
def test_a_ledger_that_is_deleted_while_in_use_is_built_anew(filled: Records, keep: Keep, names: str) -> None:
    """Wholly or in part: nobody has to restart anything."""
    kept = keep(filled)
    kept.settle()
    kept.keeper.tell([filled.file("io", "last.png")])
    kept.settle()
    for path in filled.ledger.parent.glob(names):
        path.unlink()
    _wait_for(kept, "ledger_rebuilding")
    kept.settle()
    filled.check()
    _go_on(filled, kept)


def _another(path: Path, kind: str) -> None:
    """Something else in the ledger's place; it appears by a rename."""
    new = path.with_name("another")
    if kind == "text":
        new.write_text("no ledger\n" * 1000)
    elif kind == "empty":
        new.touch()
    elif kind == "a ledger of nothing":
        other = Records(path.parent.parent / "other")
        reindex(other.settings)
        other.ledger.rename(new)
    else:
        with closing(sqlite3.connect(new)) as database:
            database.execute("CREATE TABLE image (name)")
            if kind == "another version":
                database.execute("PRAGMA application_id = 0x534C4457")
                database.execute("PRAGMA user_version = 1000")
    new.rename(path)


_KINDS = ["text", "empty", "a ledger of nothing", "a database", "another version"]


@pytest.mark.parametrize("kind", _KINDS)
def test_a_ledger_that_is_replaced_while_in_use_is_built_anew(filled: Records, keep: Keep, kind: str) -> None:
    """Whatever lies in its place, soon the ledger does again."""
    kept = keep(filled)
    kept.settle()
    _another(filled.ledger, kind)
    _wait_for(kept, "ledger_rebuilding")
    kept.settle()
    filled.check()
    _go_on(filled, kept)


@pytest.mark.parametrize("kind", _KINDS)
def test_something_else_in_its_place_at_the_start(filled: Records, keep: Keep, kind: str) -> None:
    """What never was a ledger is set aside, not deleted: the configuration may name the wrong file."""
    _another(filled.ledger, kind)
    before = filled.ledger.read_bytes()
    kept = keep(filled)
    kept.settle()
    filled.check()
    aside = filled.ledger.with_name("ledger.db.set-aside")
    assert aside.exists() == (kind in {"text", "a database"})
    if aside.exists():
        assert aside.read_bytes() == before


def test_another_ledger_with_files_of_its_own_is_taken_as_it_is(filled: Records, keep: Keep) -> None:
    """What `reindex` or a restore has put there whole is not built a second time."""
    kept = keep(filled)
    kept.settle()
    for path in filled.ledger.parent.glob("ledger.db*"):
        path.rename(path.with_name(f"old-{path.name}"))
    reindex(filled.settings)
    kept.keeper.tell([filled.file("io", "last.png")])
    kept.settle()
    filled.check()
    _go_on(filled, kept)


def _throw_a_spanner(records: Records, draw: random.Random) -> None:
    """Do something to the ledger that nobody should."""
    there = sorted(records.ledger.parent.glob("ledger.db*"))
    what = draw.choice(["delete", "cut", "zeroed", "replace"])
    if what == "delete":
        for path in draw.sample(there, draw.randrange(1, len(there) + 1)) if there else []:
            path.unlink(missing_ok=True)
    elif what == "replace":
        _another(records.ledger, draw.choice(_KINDS))
    elif records.ledger.exists():
        _spoil(records.ledger, what, draw.random())


@pytest.mark.parametrize("seed", range(3))
def test_whatever_befalls_the_ledger_it_says_what_the_records_say(records: Records, keep: Keep, seed: int) -> None:
    """Images come, are relabelled, moved and deleted, told or not; the ledger's file is spoilt now and then."""
    draw = random.Random(seed)  # noqa: S311
    kept = keep(records)
    nio: list[str] = []
    for number in range(150):
        places: list[Place] = []
        act = draw.randrange(12)
        if act < 6 or not nio:
            nio.append(f"lot{draw.randrange(3)}/{number}.png")
            places.append(records.file("nio", nio[-1], product=draw.choice("AB"), joint="r1"))
        elif act < 8:
            path, label = nio.pop(draw.randrange(len(nio))), OUTCOMES[draw.randrange(2)]
            places += records.relabel(path, label)
        elif act == 8:
            places.append(records.remove("nio", nio.pop()))
        elif act == 9:
            tell(records.settings, [records.file("quarantine", f"{number}.png")])
        elif act == 10 and number % 3 == 0:
            _throw_a_spanner(records, draw)
        elif number % 5 == 0:
            kept.keeper.close()
            kept = keep(records)
        if draw.random() < 0.8:
            kept.keeper.tell(places)
    kept.keeper.close()
    kept = keep(records)
    kept.settle()
    records.check()


def test_an_operator_does_not_wait_for_a_locked_ledger(filled: Records, keep: Keep) -> None:
    """What a command could not tell is found by the next sweep."""
    reindex(filled.settings)
    with closing(sqlite3.connect(filled.ledger, isolation_level=None)) as database:
        database.execute("BEGIN EXCLUSIVE")
        assert not tell(filled.settings, filled.relabel("board1/1.png", "nio"))
    keep(filled).settle()
    filled.check()


_LOCKER = """
import sqlite3, sys
database = sqlite3.connect(sys.argv[1], isolation_level=None)
database.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
sys.stdin.read()
"""


def test_a_locked_ledger_is_caught_up(filled: Records, keep: Keep) -> None:
    """Another process holds it for longer than anybody waits: nothing is held up, it is told once, and caught up."""
    kept = keep(filled)
    kept.settle()
    command = [sys.executable, "-c", _LOCKER, str(filled.ledger)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as locker:
        assert locker.stdout
        assert locker.stdin
        assert locker.stdout.readline() == b"locked\n"
        for number in range(300):
            kept.keeper.tell([filled.file("nio", f"meanwhile/{number}.png")])
        _wait_for(kept, "ledger_failed")
        assert not kept.keeper.settled(0.5)
        with Ledger(filled.ledger) as ledger:
            assert ledger.summary().counts
    kept.settle()
    filled.check()
    assert (len(kept.events("ledger_failed")), len(kept.events("ledger_recovered"))) == (1, 1)
    assert "locked" in kept.events("ledger_failed")[0]["error"]


@pytest.mark.parametrize("what", ["folder", "the folder is a file"])
def test_a_ledger_that_cannot_be_made_is_told_once(filled: Records, keep: Keep, what: str) -> None:
    """A folder of the ledger's name, or a file where its folder ought to be, cost nothing but the ledger."""
    config = filled.home / "config.yaml"
    config.write_text("paths: {ledger: index/ledger.db}\n")
    filled = Records(filled.home)
    in_the_way = filled.ledger if what == "folder" else filled.ledger.parent
    in_the_way.mkdir(parents=True) if what == "folder" else in_the_way.touch()
    kept = keep(filled)
    _wait_for(kept, "ledger_failed")
    kept.keeper.tell([filled.file("nio", "meanwhile.png")])
    assert not kept.keeper.settled(0.3)
    in_the_way.rmdir() if what == "folder" else in_the_way.unlink()
    kept.settle()
    filled.check()
    assert (len(kept.events("ledger_failed")), len(kept.events("ledger_recovered"))) == (1, 1)


_FULL = """
import resource, signal, sys
from pathlib import Path
sys.path[:0] = sys.argv[3:]
from ledger_line import PACE, Kept, Records
records = Records(Path(sys.argv[1]))
filler = records.ledger.with_name("filler")
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

def fill():
    if sys.argv[2] == "limit":
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (120_000, hard))
        return
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass

def empty():
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    filler.unlink(missing_ok=True)

kept = Kept(records, PACE)
kept.settle()
fill()
for number in range(1000):
    kept.keeper.tell([records.file("nio", f"meanwhile/{number}.png")])
assert not kept.keeper.settled(1)
assert len(kept.events("ledger_failed")) == 1, kept.events("ledger_failed")
empty()
kept.settle()
records.check()
assert not kept.events("ledger_rebuilding")
assert len(kept.events("ledger_recovered")) == 1
kept.keeper.close()
"""


@pytest.mark.parametrize("how", ["limit", "disk"])
def test_a_ledger_that_cannot_grow_is_caught_up(records: Records, how: str) -> None:
    """A limit or a full disk: nothing else is held up, it is told once, and once there is room the ledger has all."""
    (records.home / "config.yaml").write_text("paths: {ledger: disk/ledger.db}\n")
    disk = records.home / "disk"
    disk.mkdir()
    command = [sys.executable, "-c", _FULL, str(records.home), how, *sys.path]
    if how == "disk":
        mount = 'mount -t tmpfs -o size=3m none "$1" || exit 77; shift; exec "$@"'
        command = ["unshare", "-rm", "sh", "-c", mount, "sh", str(disk), *command]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if how == "disk" and (done.returncode == 77 or "unshare" in done.stderr):
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr


_KILLED = """
import os, signal, sys
from pathlib import Path
sys.path[:0] = sys.argv[3:]
from filing.ledger.store import Store
from ledger_line import PACE, Kept, Records
run, commits = Store._run, 0
def killing(store, statement, values=()):
    global commits
    deadly = False
    if statement.startswith(("COMMIT", "UPDATE", "PRAGMA journal_mode", "BEGIN")):
        commits += 1
        deadly = commits in (2 * at, 2 * at + 1)
    if deadly and commits % 2:
        os.kill(os.getpid(), signal.SIGKILL)
    found = run(store, statement, values)
    if deadly:
        os.kill(os.getpid(), signal.SIGKILL)
    return found
Store._run = killing
for at in range(1, 40, int(sys.argv[2])):
    home = Path(sys.argv[1]) / str(at)
    child = os.fork()
    if child == 0:
        records = Records(home)
        for number in range(60):
            records.file("nio", f"old{number % 3}/{number}.png")
        kept = Kept(records, PACE)
        for number in range(20):
            kept.keeper.tell([records.file("io", f"{number}.png")])
            kept.keeper.tell(records.relabel(f"old{number % 3}/{number}.png", "io"))
            kept.settle()
        kept.keeper.close()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    print(at, status, flush=True)
"""


def test_a_keeper_that_is_killed_at_any_commit_is_caught_up(tmp_path: Path, keep: Keep, long: bool) -> None:
    """Killed before or after any commit; the next keeper ends up with what the records say, without a rebuild."""
    step = 1 if long else 5
    command = [sys.executable, "-c", _KILLED, str(tmp_path), str(step), *sys.path]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    ends = [line.split() for line in done.stdout.splitlines()]
    assert sum(int(status) == signal.SIGKILL for _, status in ends) > 20 / step, done.stderr
    for number, _ in ends:
        records = Records(tmp_path / number)
        kept = keep(records)
        kept.settle()
        records.check()
        assert not kept.events("ledger_rebuilding")
        kept.keeper.close()
