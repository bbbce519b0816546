"""The line's boards: when their records are written, when they are complete, and what trouble makes of them."""

from __future__ import annotations

import io
import json
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from harness import Fault, Ledger, Nursery, read_events
from lines import configure

from daemon.__main__ import main
from daemon.reporting import boards as module
from daemon.reporting.boards import Boards
from filing.claim import Claim
from filing.decisions import Decision
from filing.folders import Folders
from filing.logs import open_log
from filing.names import utc
from inspection.errors import ConfigError
from settings import load
from settings.schema import LogSettings

PATTERN = r"(?:(?P<product>\w+)/)?(?P<board>B\d+)_(?P<joint>j\d+)_v(?P<view>\d)"


@dataclass
class Bench:
    """Boards of a line in which no image is ever judged: decisions are made up."""

    folder: Path
    complete: dict[str, Any] | None
    again_after_h: float = 72
    now: float = 0.0
    log: io.StringIO = field(default_factory=io.StringIO)

    def __post_init__(self) -> None:
        boards = {"complete": self.complete, "again_after_h": self.again_after_h}
        configure(self.folder, names={"pattern": PATTERN}, boards=boards)
        self.settings = load(self.folder / "config.yaml")
        self.folders = Folders(self.settings.paths.line)
        self.folders.make()
        self.folders.look()
        self.start()

    def start(self) -> None:
        """A new process; the one before is not asked."""
        log = open_log(LogSettings(file=None, format="json"), self.log)
        self.boards = Boards(self.settings, self.folders, log, clock=lambda: self.now)

    def decision(self, name: str, outcome: str = "io", when: datetime | None = None) -> Decision:
        """What becomes of an image; each decision is another one."""
        units = self.settings.names.units(Path(name))
        when = when or datetime.now(UTC)
        told = {"product": units.product, "board": units.board, "joint": units.joint, "view": units.view}
        record = {"time": utc(when), "file": name, **{key: value for key, value in told.items() if value}}
        found = {"error": "no image"} if outcome == "quarantine" else {"verdict": outcome, "reason": "threshold"}
        record |= {**found, "model": "m1", "outcome": outcome, "filed_as": name, "decision_id": f"{name} {utc(when)}"}
        return Decision(self.claim(name), outcome, record)  # type: ignore[arg-type]

    def claim(self, name: str) -> Claim:
        """An image in hand."""
        return Claim(self.folders["work"] / "claim", Path(name), 1, "", settled=True)

    def file(self, *names: str, outcome: str = "io") -> None:
        """Images are filed together."""
        self.boards.filed([self.decision(name, outcome) for name in names])

    def later(self, seconds: float = 10.0, in_hand: Sequence[str] = ()) -> None:
        """Time goes by, and the line does its round."""
        self.now += seconds
        self.boards.work([self.claim(name) for name in in_hand])

    def drop(self, name: str) -> Path:
        """A file comes into the inbox."""
        path = self.folders["inbox"] / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        return path

    def record(self, name: str) -> dict[str, Any]:
        """A board's."""
        found: dict[str, Any] = json.loads((self.settings.paths.boards / f"{name}.json").read_bytes())
        return found

    def events(self, *names: str) -> list[dict[str, Any]]:
        """What was logged of some kinds."""
        found = [json.loads(line) for line in self.log.getvalue().splitlines()]
        return [event for event in found if event["event"] in names]


Make = Callable[..., Bench]


@pytest.fixture
def bench(tmp_path: Path) -> Make:
    """A line with what it says of complete boards."""
    return lambda **complete: Bench(tmp_path, complete or None)


def test_off_writes_nothing(bench: Make, tmp_path: Path) -> None:
    """As shipped there are no boards, no journal, no lines, whatever images are called."""
    line = bench()
    before = sorted(tmp_path.rglob("*"))
    line.file("B1_j1_v1.png")
    line.later()
    line.boards.work([], all_of_it=True)
    assert sorted(tmp_path.rglob("*")) == before
    assert line.log.getvalue() == ""
    assert line.boards.due_s == float("inf")


def test_images_of_no_board_cost_nothing(bench: Make) -> None:
    """They are judged as ever, and nothing is written of them."""
    line = bench(joints=2)
    line.file("reference.png")
    assert not (line.folders["work"] / ".boards.jsonl").exists()
    line.later()
    assert not line.settings.paths.boards.exists()
    assert line.log.getvalue() == ""


def test_a_second_is_one_revision(bench: Make) -> None:
    """Whatever comes within a second of a board's first image is in one revision; nothing is written before."""
    line = bench(joints=9)
    line.later()
    line.file("B1_j1_v1.png", "B1_j2_v1.png")
    assert 0 < line.boards.due_s <= 1
    line.later(0.5)
    line.file("B1_j3_v1.png")
    assert line.events("board") == []
    line.later(0.6)
    (event,) = line.events("board")
    assert (event["images"], event["revision"]) == (3, 1)
    assert line.boards.due_s == float("inf")


def test_what_was_heard_outlives_the_process(bench: Make) -> None:
    """Killed before a record was written, or after, without a word to anybody: both are told of again."""
    line = bench(joints=1)
    line.file("B1_j1_v1.png")
    line.start()
    line.later()
    assert line.record("B1")["verdict"] == "io"
    line.start()
    line.later()
    assert line.record("B1")["revision"] == 1


def test_marker(bench: Make) -> None:
    """It ends its board, and is removed."""
    line = bench(marker=".done")
    line.later()
    line.file("B1_j1_v1.png")
    marker = line.drop("lot/B1.DONE")
    line.later()
    assert not marker.exists()
    record = line.record("B1")
    assert (record["complete"]["by"], record["verdict"]) == ("marker", "io")


@pytest.mark.parametrize("step_s", [0.01, 0.2, 0.99])
@pytest.mark.parametrize("rule", [{"marker": ".done"}, {"quiet_s": 0.001}], ids=["marker", "quiet"])
def test_the_end_is_seen_though_the_line_never_rests(bench: Make, rule: dict[str, Any], step_s: float) -> None:
    """A line that does its round several times a second looks for boards that are complete as one that does so rarely.

    It once looked only after a second without a round: never on a busy line, nor with a short `inbox.scan_s`.
    """
    line = bench(**rule)
    line.later(step_s)
    line.boards.filed([line.decision("B1_j1_v1.png", when=datetime.now(UTC) - timedelta(seconds=1))])
    line.drop("B1.done")
    for _ in range(round(3 / step_s)):
        line.later(step_s)
    assert line.record("B1")["complete"]


@pytest.mark.parametrize("where", ["inbox", "in hand"])
def test_marker_waits_for_images(bench: Make, where: str) -> None:
    """The producer wrote it after the last image, which is not judged yet."""
    line = bench(marker=".done")
    line.file("B1_j1_v1.png")
    marker = line.drop("B1.done")
    waiting = line.drop("lot/B1_j2_v1.png") if where == "inbox" else None
    for _ in range(3):
        line.later(in_hand=[] if waiting else ["B1_j2_v1.png"])
        assert marker.exists()
        assert line.record("B1")["verdict"] == "open"
    if waiting:
        waiting.unlink()
    line.file("B1_j2_v1.png", outcome="nio")
    line.later()
    assert not marker.exists()
    assert (line.record("B1")["verdict"], line.record("B1")["complete"]["by"]) == ("nio", "marker")


def test_marker_of_nobody_waits(bench: Make) -> None:
    """No image of that board was ever seen: it may come yet. Other files that end so are others'."""
    line = bench(marker=".done")
    line.file("B1_j1_v1.png")
    marker = line.drop("B7.done")
    line.later()
    assert marker.exists()
    assert line.record("B1")["complete"] is None


def test_marker_after_a_restart(bench: Make) -> None:
    """The board is known by its record alone, as it was open for a day."""
    line = bench(marker=".done")
    line.file("top/B1_j1_v1.png")
    line.boards.work([], all_of_it=True)
    (line.folders["work"] / ".boards.jsonl").unlink()
    line.start()
    line.drop("top/B1.done")
    line.later()
    assert line.record("top/B1")["verdict"] == "io"


def _backdated(line: Bench, name: str, seconds: float) -> None:
    line.boards.filed([line.decision(name, when=datetime.now(UTC) - timedelta(seconds=seconds))])


def test_quiet(bench: Make) -> None:
    """So long after the last image was judged no more are waited for; also after a restart."""
    line = bench(quiet_s=60)
    _backdated(line, "B1_j1_v1.png", 300)
    _backdated(line, "B1_j2_v1.png", 20)
    _backdated(line, "B2_j1_v1.png", 61)
    line.start()
    line.later()
    line.later()
    line.later()
    assert line.record("B1")["complete"] is None
    assert (line.record("B2")["complete"]["by"], line.record("B2")["verdict"]) == ("quiet", "io")


def test_quiet_waits_for_images(bench: Make) -> None:
    """In a long backlog it is not the board that is quiet. And an inbox that is away is not an empty one."""
    line = bench(quiet_s=60)
    line.later()
    _backdated(line, "B1_j1_v1.png", 300)
    waiting = line.drop("B1_j2_v1.png")
    line.later()
    line.later()
    assert line.record("B1")["complete"] is None
    inbox = line.folders["inbox"]
    waiting.unlink()
    inbox.rename(inbox.with_name("away"))
    line.later()
    line.later()
    assert line.record("B1")["complete"] is None
    inbox.with_name("away").rename(inbox)
    line.later()
    line.later()
    line.later()
    assert line.record("B1")["complete"]["by"] == "quiet"


def test_trouble_is_told_once_and_over(bench: Make) -> None:
    """Nothing is lost meanwhile, and no error reaches the line."""
    line = bench(joints=2)
    line.settings.paths.boards.write_text("no folder")
    line.file("B1_j1_v1.png")
    for _ in range(3):
        line.later()
    line.file("B1_j2_v1.png")
    line.boards.work([], all_of_it=True)
    assert len(line.events("boards_failed")) == 1
    line.settings.paths.boards.unlink()
    line.later()
    line.later()
    assert len(line.events("boards_recovered")) == 1
    assert line.record("B1")["verdict"] == "io"


def test_memory_is_bounded(bench: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is too much to remember is read from the journal."""
    monkeypatch.setattr(module, "_IN_MEMORY", 10)
    line = bench(joints=30)
    line.later()
    for number in range(30):
        line.file(f"B1_j{number}_v1.png")
    line.boards.work([], all_of_it=True)
    assert line.record("B1")["verdict"] == "io"


@pytest.mark.parametrize(
    ("boards", "pattern", "said"),
    [
        ("{complete: {joints: 2}}", "null", "needs a group 'board'"),
        ("{complete: {joints: 2}}", "'(?P<board>B)'", "needs a group 'joint'"),
        ("{complete: {}}", "'(?P<board>B)'", "marker, joints or quiet_s"),
        ("{complete: {marker: .png}}", "'(?P<board>B)'", "inbox.suffixes"),
    ],
)
def test_settings_that_make_no_sense(tmp_path: Path, boards: str, pattern: str, said: str) -> None:
    """They are answered with what is missing."""
    (tmp_path / "config.yaml").write_text(f"boards: {boards}\nnames: {{pattern: {pattern}}}\n")
    with pytest.raises(ConfigError, match=said):
        load(tmp_path / "config.yaml")


# --- 40 boards, 60 joints, 2 views ---

OUTCOMES = ("io", "nio", "quarantine")


def _plan(rng: random.Random) -> list[tuple[str, str]]:
    """Names and outcomes in the order in which they come: shuffled, 5 % late, 1 % never."""
    images = [
        (f"B{board}_j{joint}_v{view}.png", rng.choices(OUTCOMES, (9990, 6, 4))[0])
        for board in range(40)
        for joint in range(60)
        for view in (1, 2)
    ]
    rng.shuffle(images)
    images = images[len(images) // 100 :]
    late = len(images) // 20
    return images[late:] + images[:late]


def _counted(images: Sequence[tuple[str, str]]) -> dict[str, tuple[str, Counter[str], bool]]:
    """By hand: the verdict of each board, its outcomes, and whether it is complete."""
    found = {}
    for board in {name.split("_")[0] for name, _ in images}:
        own = [(name, outcome) for name, outcome in images if name.startswith(f"{board}_")]
        outcomes = Counter(outcome for _, outcome in own)
        verdict = "nio" if outcomes["nio"] else "io" if outcomes["io"] == 120 else "open"
        found[board] = verdict, outcomes, len(own) == 120
    return found


def _check(line: Bench, images: Sequence[tuple[str, str]]) -> Counter[str]:
    verdicts: Counter[str] = Counter()
    for board, (verdict, outcomes, complete) in _counted(images).items():
        record = line.record(board)
        assert record["verdict"] == verdict, board
        assert {name: record["counts"][name] for name in OUTCOMES} == {name: outcomes[name] for name in OUTCOMES}
        assert record["counts"]["missing"] == 120 - outcomes.total()
        assert bool(record["complete"]) == complete, board
        assert sum(len(joint["images"]) for joint in record["joints"]) == outcomes.total()
        verdicts[verdict] += 1
    return verdicts


@pytest.mark.parametrize("killed", [False, True])
def test_forty_boards_of_sixty_joints_of_two_views(bench: Make, *, killed: bool) -> None:
    """Every record is right against an independent count, before and after the late ones; also if it often dies."""
    rng = random.Random(5)  # noqa: S311 - it only shuffles
    images = _plan(rng)
    line = bench(joints=60, views=2)
    late = len(images) // 20
    done: list[tuple[str, str]] = []
    for part in (images[:-late], images[-late:]):
        for start in range(0, len(part), 32):
            line.boards.filed([line.decision(name, outcome) for name, outcome in part[start : start + 32]])
            if killed and rng.random() < 0.2:
                line.start()
            line.later(rng.random() / 5)
        line.boards.work([], all_of_it=True)
        done += part
        verdicts = _check(line, done)
    assert set(verdicts) == {"io", "nio", "open"}
    assert verdicts.total() == 40
    line.start()
    line.boards.work([], all_of_it=True)
    assert _check(line, done) == verdicts


# --- the whole program ---


def _records(line: Path) -> dict[str, dict[str, Any]]:
    return {path.name: json.loads(path.read_bytes()) for path in (line / "data" / "boards").glob("*.json")}


def _solderwatch(line: Path, *arguments: str) -> None:
    assert main([*arguments, "--config", str(line / "config.yaml")]) == 0


def test_a_board_through_the_whole_program(
    ledger: Ledger, nursery: Nursery, image: Callable[[int], bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    """Its images come, one late, one is rubbish, one a false call, and a month later it comes again."""
    line = configure(
        ledger.folder,
        names={"pattern": PATTERN},
        boards={"complete": {"joints": 3, "marker": ".done"}},
        inbox={"quiet_s": 0.05, "scan_s": 0.05},
    )
    ledger.drop("B1_j1_v1.png", image(1))
    ledger.drop("B1_j2_v1.png", b"no picture")
    (ledger.inbox / "B1.done").touch()
    assert nursery.once(line) == 0
    board = _records(line)["B1.json"]
    assert (board["verdict"], board["reason"]) == ("open", "1 images missing, 1 in quarantine")
    assert list(ledger.inbox.iterdir()) == []

    ledger.drop("B1_j3_v1.png", image(5))
    assert nursery.once(line) == 0
    board = _records(line)["B1.json"]
    assert (board["verdict"], board["revision"], board["complete"]["by"]) == ("nio", 2, "marker")

    _solderwatch(line, "relabel", str(line / "data/nio/B1_j3_v1.png"), "io", "--by", "ann")
    board = _records(line)["B1.json"]
    assert (board["verdict"], board["revision"]) == ("open", 3)
    assert (line / "data" / board["joints"][2]["images"][0]["record"]).exists()

    (line / "data/quarantine/B1_j2_v1.png").write_bytes(image(2))
    _solderwatch(line, "requeue")
    assert _records(line)["B1.json"]["reason"] == "1 to be judged again"
    assert nursery.once(line) == 0
    first = _records(line)["B1.json"]
    assert (first["verdict"], first["revision"], first["counts"]["images"]) == ("io", 5, 3)

    ledger.drop("B1_j1_v1.png", image(3))
    assert nursery.once(line, Fault(clock_s=30 * 86400)) == 0
    assert _records(line) == {"B1.json": first, "B1~2.json": _records(line)["B1~2.json"]}
    told = read_events(line / "logs" / "decisions.jsonl", "board")
    assert [(event["run"], event["revision"]) for event in told] == [(1, 1), (1, 2), (1, 3), (1, 4), (1, 5), (2, 1)]
    capsys.readouterr()


def test_a_running_daemon_tells_of_boards(ledger: Ledger, nursery: Nursery, image: Callable[[int], bytes]) -> None:
    """Within seconds, while it waits for more; a marker that comes later is seen with the next scan, and no image."""
    line = configure(
        ledger.folder,
        names={"pattern": PATTERN},
        boards={"complete": {"marker": ".done"}},
        inbox={"quiet_s": 0.05, "scan_s": 0.2},
    )
    daemon = nursery.start(line)
    daemon.wait_for("watching")
    ledger.drop("B1_j1_v1.png", image(1))
    (open_,) = daemon.wait_for("board")
    assert (open_["verdict"], open_["complete"]) == ("open", None)
    (ledger.inbox / "B1.done").touch()
    done = daemon.wait_for("board", 2)[1]
    assert (done["verdict"], done["complete"], done["revision"]) == ("io", "marker", 2)
    assert daemon.stop() == 0
    assert daemon.events("passed_over", "boards_failed") == []


def test_a_line_without_boards_is_as_before(ledger: Ledger, nursery: Nursery, image: Callable[[int], bytes]) -> None:
    """Nothing of them is written, logged, or left in work."""
    configure(ledger.folder, names={"pattern": PATTERN}, inbox={"quiet_s": 0.05, "scan_s": 0.05})
    ledger.drop("B1_j1_v1.png", image(1))
    assert nursery.once(ledger.folder) == 0
    ledger.check_filed()
    assert not (ledger.data / "boards").exists()
    assert not (ledger.data / "work" / ".boards.jsonl").exists()
    assert read_events(ledger.folder / "logs" / "decisions.jsonl", "board") == []
