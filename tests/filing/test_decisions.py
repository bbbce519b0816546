from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import pytest

from daemon.intake.claims import Claims, GoneError, UnfinishedError
from daemon.intake.inbox import Candidate
from filing import durable
from filing.claim import Claim
from filing.decisions import Decision, Filing, Outcome
from filing.folders import AwayError, Folders
from inspection.errors import ImageError
from inspection.files import readable

RECORD = {"file": "a.png", "verdict": "nio"}


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, Path]:
    """The five folders of a line."""
    made = {name: tmp_path / name for name in ("inbox", "work", "io", "nio", "quarantine")}
    for path in made.values():
        path.mkdir()
    return made


class _Alone:
    """Filing one image at a time, where every error counts."""

    def __init__(self, folders: dict[str, Path]) -> None:
        looked_at = Folders(folders)
        looked_at.look()
        self.claims = Claims(looked_at)
        self.filing = Filing(looked_at)

    def commit(self, claim: Claim, outcome: Outcome, record: dict[str, Any], picture: bytes | None) -> None:
        """Decide."""
        assert len(self.filing.commit([Decision(claim, outcome, record, picture)], _nothing_passes)) == 1

    def publish(self, claim: Claim) -> dict[str, Any]:
        """Roll a decision forward; the record as it stands in the sidecar."""
        (done,) = self.filing.publish([self.filing.decided(claim)], _nothing_passes)
        return done.told


def _nothing_passes(_: Claim) -> AbstractContextManager[None]:
    return nullcontext()


def _claim(folders: dict[str, Path], relative: str = "a.png", data: bytes = b"image") -> tuple[_Alone, Claim]:
    path = folders["inbox"] / relative
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    filing = _Alone(folders)
    claim = _take(filing, path, relative)
    assert claim is not None
    return filing, claim


def _take(filing: _Alone, path: Path, relative: str, marker: Path | None = None) -> Claim | None:
    (claim,) = filing.claims.begin([Candidate(path, Path(relative), settled=False, marker=marker)])
    return filing.claims.take(claim)


def _files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_claimed_image_is_in_work_alone(folders: dict[str, Path]) -> None:
    """A claim moves the image under its own name into a folder of work, with where it came from beside it."""
    _, claim = _claim(folders, "lot7/a.png")
    assert _files(folders["inbox"]) == []
    assert claim.image.read_bytes() == b"image"
    assert json.loads((claim.folder / "claim.json").read_text())["source"] == "lot7/a.png"


def test_a_claim_has_one_winner(folders: dict[str, Path]) -> None:
    """When somebody else was faster, there is no claim and nothing is left behind."""
    gone = Candidate(folders["inbox"] / "a.png", Path("a.png"), settled=False)
    claims = _Alone(folders).claims
    assert claims.take(*claims.begin([gone])) is None
    assert _files(folders["work"]) == []


def test_a_work_folder_that_is_gone_is_no_trouble_with_the_image(folders: dict[str, Path]) -> None:
    """An unmounted work folder is told as such, so that the line waits instead of trying each image."""
    (folders["inbox"] / "a.png").write_bytes(b"x")
    filing = _Alone(folders)
    folders["work"].rmdir()
    with pytest.raises(AwayError, match="no such folder"):
        _take(filing, folders["inbox"] / "a.png", "a.png")
    assert _files(folders["inbox"]) == ["a.png"]


def test_the_done_marker_goes_with_its_image(folders: dict[str, Path]) -> None:
    """The marker neither stays to mark the next image of that name, nor is the next one's taken; it comes back too."""
    image, marker = folders["inbox"] / "a.png", folders["inbox"] / "a.png.done"
    image.write_bytes(b"x")
    marker.touch()
    _take(_Alone(folders), image, "a.png", marker)
    assert _files(folders["inbox"]) == []
    marker.touch()
    (claim,) = _Alone(folders).claims.recover(interrupted=True)
    assert _files(folders["inbox"]) == []
    image.write_bytes(b"next")
    marker.touch()
    (claim,) = _Alone(folders).claims.recover(interrupted=True)
    assert _files(folders["inbox"]) == ["a.png", "a.png.done"]
    place = _Alone(folders).claims.give_back(claim)
    assert _files(folders["inbox"]) == ["a.png", "a.png.done", "a~2.png", "a~2.png.done"]
    assert place.name == "a~2.png"


@pytest.fixture
def apart(folders: dict[str, Path]) -> Iterator[dict[str, Path]]:
    """The five folders of a line, the inbox on another file system."""
    shm = Path("/dev/shm")  # noqa: S108 - it is another file system, which is the point
    if not os.access(shm, os.W_OK) or shm.stat().st_dev == folders["work"].stat().st_dev:
        pytest.skip("no second file system to write to")
    with tempfile.TemporaryDirectory(dir=shm) as inbox:
        yield folders | {"inbox": Path(inbox)}


def test_a_claim_across_file_systems_is_a_rename_too(apart: dict[str, Path]) -> None:
    """The original stays in the inbox under a claimed name, so that one of several daemons wins, until the decision."""
    filing, claim = _claim(apart, "lot7/a.png")
    assert _files(apart["inbox"]) == [f"lot7/a.png.{claim.folder.name}.claimed"]
    assert _take(_Alone(apart), apart["inbox"] / "lot7/a.png", "lot7/a.png") is None
    assert filing.claims.read(claim, 1000) == b"image"
    assert claim.image.read_bytes() == b"image"
    assert len(_files(apart["inbox"])) == 1
    filing.commit(claim, "io", RECORD, b"map")
    filing.publish(claim)
    filing.claims.forget(claim)
    assert _files(apart["inbox"]) == _files(apart["work"]) == []
    assert (apart["io"] / "lot7" / "a.png").read_bytes() == b"image"


@pytest.mark.parametrize("copied", [False, True])
def test_a_claim_across_file_systems_is_recovered_once(apart: dict[str, Path], copied: bool) -> None:
    """Whether the process died before the copy or after it: one claim; given back, one image in the inbox alone."""
    filing, claim = _claim(apart)
    if copied:
        filing.claims.read(claim, 1000)
    later = _Alone(apart)
    (found,) = later.claims.recover(interrupted=True)
    assert later.claims.read(found, 1000) == b"image"
    assert later.claims.give_back(found) == apart["inbox"] / "a.png"
    assert _files(apart["inbox"]) == ["a.png"]
    assert _files(apart["work"]) == []


def test_a_writer_across_file_systems_is_noticed(apart: dict[str, Path]) -> None:
    """A writer that holds the original while it is claimed keeps its file: it is not copied half written."""
    filing = _Alone(apart)
    path = apart["inbox"] / "a.png"
    with path.open("wb") as writer:
        writer.write(b"half")
        writer.flush()
        claim = _take(filing, path, "a.png")
        assert claim
        with pytest.raises(UnfinishedError):
            filing.claims.read(claim, 1000)
        assert filing.claims.give_back(claim) == path
        writer.write(b", whole")
    assert path.read_bytes() == b"half, whole"


def test_what_is_too_large_to_copy_is_filed_from_where_it_is(apart: dict[str, Path]) -> None:
    """An absurdly large original across file systems goes to quarantine without having been in work."""
    filing, claim = _claim(apart, data=b"x" * 2000)
    with pytest.raises(ImageError, match="max_file_mb"):
        filing.claims.read(claim, 1000)
    filing.commit(claim, "quarantine", {"file": "a.png", "error": "too large"}, None)
    filing.publish(claim)
    filing.claims.forget(claim)
    assert (apart["quarantine"] / "a.png").stat().st_size == 2000
    assert _files(apart["inbox"]) == []


def test_an_image_that_was_taken_away_is_gone(folders: dict[str, Path]) -> None:
    """An image that somebody deleted from work is no trouble that ever ends: its claim can be forgotten."""
    filing, claim = _claim(folders)
    claim.image.unlink()
    with pytest.raises(GoneError):
        filing.claims.read(claim, 1000)


def test_what_was_swapped_after_the_scan_is_put_back(folders: dict[str, Path]) -> None:
    """A link or a FIFO that took an image's place between scan and claim is not followed, nor read, and goes back."""
    (folders["inbox"] / "a.png").symlink_to("/etc/hostname")
    os.mkfifo(folders["inbox"] / "b.png")
    for name in ("a.png", "b.png"):
        filing = _Alone(folders)
        claim = _take(filing, folders["inbox"] / name, name)
        assert claim
        with pytest.raises(UnfinishedError, match="no file"):
            filing.claims.read(claim, 1000)
        filing.claims.give_back(claim)
    assert sorted(path.name for path in folders["inbox"].iterdir()) == ["a.png", "b.png"]
    assert _files(folders["work"]) == []


def test_a_linked_sub_folder_leads_nowhere(folders: dict[str, Path], tmp_path: Path) -> None:
    """Neither is an image taken through a link in the inbox, nor is one filed through a link in an output folder."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "a.png").write_bytes(b"theirs")
    (folders["inbox"] / "lot8").symlink_to(elsewhere)
    assert _take(_Alone(folders), elsewhere, "lot8/a.png") is None
    (folders["io"] / "lot7").symlink_to(elsewhere)
    filing, claim = _claim(folders, "lot7/b.png")
    filing.commit(claim, "io", RECORD, b"map")
    assert filing.publish(claim)["filed_as"] == "lot7_b.png"
    assert _files(elsewhere) == ["a.png"]
    assert (folders["io"] / "lot7_b.png").read_bytes() == b"image"


def test_a_sub_folder_named_like_a_filed_image_is_left_out(folders: dict[str, Path]) -> None:
    """A folder x.png in the inbox, after an image x.png was filed: the image in it is filed beside the other."""
    (folders["nio"] / "x.png").write_bytes(b"older")
    filing, claim = _claim(folders, "x.png/a.png")
    filing.commit(claim, "nio", RECORD, b"map")
    assert filing.publish(claim)["filed_as"] == "x.png_a.png"


def test_a_rename_that_was_done_but_reported_as_failed_is_a_claim(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network share may lose its answer: what lies in work is in hand, whatever was said."""
    (folders["inbox"] / "a.png").write_bytes(b"image")
    rename = Path.rename

    def losing(path: Path, target: Path) -> None:
        rename(path, target)
        if path.name == "a.png":
            raise FileNotFoundError(2, "lost", str(path))

    monkeypatch.setattr(Path, "rename", losing)
    claim = _take(_Alone(folders), folders["inbox"] / "a.png", "a.png")
    assert claim
    assert claim.image.read_bytes() == b"image"


def test_a_claim_across_file_systems_survives_a_lost_answer(
    apart: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same where the claim is a rename in the inbox."""
    (apart["inbox"] / "a.png").write_bytes(b"image")
    rename = Path.rename

    def losing(path: Path, target: Path) -> None:
        rename(path, target)
        if target.name.endswith(".claimed"):
            raise OSError(5, "lost", str(path))

    monkeypatch.setattr(Path, "rename", losing)
    filing = _Alone(apart)
    claim = _take(filing, apart["inbox"] / "a.png", "a.png")
    assert claim
    assert filing.claims.read(claim, 1000) == b"image"


def test_a_folder_that_became_a_link_costs_no_image_across_file_systems(apart: dict[str, Path]) -> None:
    """Whoever may write to the inbox swaps the sub-folder of an image in hand: it is filed once, all the same."""
    filing, claim = _claim(apart, "lot7/a.png")
    filing.claims.read(claim, 1000)
    filing.commit(claim, "io", RECORD, b"map")
    (apart["inbox"] / "lot7").rename(apart["inbox"] / "moved")
    (apart["inbox"] / "lot7").symlink_to("moved")
    assert filing.publish(claim)["filed_as"] == "lot7/a.png"
    assert _files(apart["io"]) == ["lot7/a.png", "lot7/a.png.cam.png", "lot7/a.png.json"]


def test_a_decision_that_is_damaged_is_made_again(folders: dict[str, Path]) -> None:
    """A fault of the disk in decision.json stops no start: the image is judged again."""
    filing, claim = _claim(folders)
    filing.commit(claim, "io", RECORD, b"map")
    (claim.folder / "decision.json").write_bytes(b"")
    (found,) = _Alone(folders).claims.recover(interrupted=False)
    assert not found.decided


def test_what_is_no_claim_in_work_is_left_alone(folders: dict[str, Path]) -> None:
    """A file system of its own brings lost+found, a desktop its bin: neither is claimed, emptied or removed."""
    for name in ("lost+found", ".Trash-0"):
        (folders["work"] / name).mkdir()
    (folders["work"] / ".Trash-0" / "files").mkdir()
    assert list(_Alone(folders).claims.recover(interrupted=True)) == []
    assert len(list(folders["work"].iterdir())) == 2


@pytest.mark.parametrize("source", ["../../etc/passwd", "/etc/passwd", ""])
def test_a_claim_that_leads_out_is_not_believed(folders: dict[str, Path], source: str) -> None:
    """Whatever claim.json says, images go nowhere but into the line's own folders."""
    folder = folders["work"] / "20260101T000000-abc"
    folder.mkdir()
    (folder / "a.png").write_bytes(b"image")
    (folder / "claim.json").write_text(json.dumps({"source": source, "claimed": "", "attempts": 1}))
    (claim,) = _Alone(folders).claims.recover(interrupted=True)
    assert claim.source == Path("a.png")


def test_a_decided_image_appears_with_both_sidecars(folders: dict[str, Path]) -> None:
    """Image, map and record appear in the folder of the verdict, sub-folder kept; work is empty again."""
    filing, claim = _claim(folders, "lot7/a.png")
    filing.commit(claim, "nio", RECORD, b"map")
    record = filing.publish(claim)
    filing.claims.forget(claim)
    assert _files(folders["nio"]) == ["lot7/a.png", "lot7/a.png.cam.png", "lot7/a.png.json"]
    assert json.loads((folders["nio"] / "lot7" / "a.png.json").read_text()) == record
    assert record["filed_as"] == "lot7/a.png"
    assert _files(folders["work"]) == []


def test_quarantine_says_why(folders: dict[str, Path]) -> None:
    """A quarantined file lies beside an .error.json with the reason."""
    filing, claim = _claim(folders)
    filing.commit(claim, "quarantine", {"file": "a.png", "error": "no image"}, None)
    filing.publish(claim)
    filing.claims.forget(claim)
    assert _files(folders["quarantine"]) == ["a.png", "a.png.error.json"]
    assert json.loads((folders["quarantine"] / "a.png.error.json").read_text())["error"] == "no image"


@pytest.mark.parametrize("taken", ["a.png", "a.png.cam.png", "a.png.json"])
def test_nothing_is_ever_overwritten(folders: dict[str, Path], taken: str) -> None:
    """When the name of the image or of a sidecar is taken, all three get the next free name."""
    (folders["nio"] / taken).write_bytes(b"older")
    filing, claim = _claim(folders)
    filing.commit(claim, "nio", RECORD, b"map")
    assert filing.publish(claim)["filed_as"] == "a~2.png"
    assert (folders["nio"] / taken).read_bytes() == b"older"
    assert (folders["nio"] / "a~2.png").read_bytes() == b"image"
    assert _files(folders["nio"]) == sorted([taken, "a~2.png", "a~2.png.cam.png", "a~2.png.json"])


@pytest.mark.parametrize("taken", ["a.png", "a.png.cam.png", "a.png.json"])
def test_a_name_taken_after_the_decision_is_left_alone(folders: dict[str, Path], taken: str) -> None:
    """When somebody takes the name between decision and publishing, ours moves on to the next, whole."""
    filing, claim = _claim(folders)
    filing.commit(claim, "nio", RECORD, b"map")
    (folders["nio"] / taken).write_bytes(b"theirs")
    record = filing.publish(claim)
    assert record["filed_as"] == "a~2.png"
    assert json.loads((folders["nio"] / "a~2.png.json").read_text())["filed_as"] == "a~2.png"
    assert (folders["nio"] / taken).read_bytes() == b"theirs"
    assert _files(folders["nio"]) == sorted([taken, "a~2.png", "a~2.png.cam.png", "a~2.png.json"])


class _Crash(BaseException):
    """The process dies here."""


@pytest.mark.parametrize("moves", range(4))
def test_publishing_is_rolled_forward_after_a_crash(
    folders: dict[str, Path], moves: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever move of publishing a crash follows, the next start completes it with the same decision."""
    filing, claim = _claim(folders)
    filing.commit(claim, "nio", RECORD, b"map")
    decision = json.loads((claim.folder / "decision.json").read_text())["decision_id"]
    move = durable.move
    done: list[Path] = []

    def dying(source: Path, target: Path) -> None:
        if len(done) == moves:
            raise _Crash
        done.append(target)
        move(source, target)

    monkeypatch.setattr(durable, "move", dying)
    try:
        filing.publish(claim)
    except _Crash:
        assert not (folders["nio"] / "a.png").exists()
    monkeypatch.undo()
    later = _Alone(folders)
    (found,) = later.claims.recover(interrupted=True)
    assert found.decided
    assert later.publish(found)["decision_id"] == decision
    later.claims.forget(found)
    assert _files(folders["nio"]) == ["a.png", "a.png.cam.png", "a.png.json"]
    assert _files(folders["work"]) == []


def test_an_undecided_image_counts_its_attempts_durably(folders: dict[str, Path]) -> None:
    """Each attempt after a crash is counted on disk before anybody judges again."""
    _claim(folders)
    for attempts in (2, 3, 4):
        filing = _Alone(folders)
        (claim,) = filing.claims.recover(interrupted=True)
        assert claim.attempts == attempts - 1
        claim = filing.claims.begin_again(claim)
        assert json.loads((claim.folder / "claim.json").read_text())["attempts"] == attempts


def test_what_a_crash_left_without_an_image_is_cleared(folders: dict[str, Path]) -> None:
    """A folder whose image never arrived is removed at the next start."""
    folder = folders["work"] / "20260101T000000-abc"
    folder.mkdir()
    (folder / "claim.json").write_text('{"source": "a.png", "claimed": "", "attempts": 1}')
    (folders["work"] / "20260101T000000-ghi").mkdir()
    (folders["work"] / "20260101T000000-ghi" / "claim.json.new").write_text('{"source')
    (folders["work"] / "20260101T000000-def").mkdir()
    assert list(_Alone(folders).claims.recover(interrupted=True)) == []
    assert list(folders["work"].iterdir()) == []


def test_an_image_goes_back_beside_one_that_took_its_name(folders: dict[str, Path]) -> None:
    """Giving back never overwrites what arrived meanwhile."""
    filing, claim = _claim(folders)
    (folders["inbox"] / "a.png").write_bytes(b"newer")
    assert filing.claims.give_back(claim) == folders["inbox"] / "a~2.png"
    assert (folders["inbox"] / "a.png").read_bytes() == b"newer"
    assert (folders["inbox"] / "a~2.png").read_bytes() == b"image"
    assert _files(folders["work"]) == []


def test_a_writer_that_followed_the_file_is_noticed(folders: dict[str, Path]) -> None:
    """A descriptor that was opened in the inbox still writes after the claim: the image is not judged half written."""
    filing = _Alone(folders)
    path = folders["inbox"] / "a.png"
    with path.open("wb") as writer:
        writer.write(b"half")
        writer.flush()
        claim = _take(filing, path, "a.png")
        assert claim
        with claim.image.open("rb") as reader:
            if durable.has_writer(reader.fileno()) is None:
                pytest.skip("no leases on this file system")
        with pytest.raises(UnfinishedError):
            filing.claims.read(claim, 1000)
    assert filing.claims.read(claim, 1000) == b"half"


def test_an_absurd_file_is_refused(folders: dict[str, Path]) -> None:
    """Too large a file is a permanent error."""
    filing, claim = _claim(folders, data=b"x" * 2000)
    with pytest.raises(ImageError, match="max_file_mb"):
        filing.claims.read(claim, 1000)


@pytest.mark.parametrize("name", ["x" * 251 + ".png", "\udcff" * 120 + ".png", "a\nb.png", "-rf.png", "ü.png", "~.png"])
def test_any_name_can_be_filed(folders: dict[str, Path], name: str) -> None:
    """Names of 255 bytes, that are no UTF-8, with line breaks or leading dashes get their sidecars too."""
    filing, claim = _claim(folders, name)
    filing.commit(claim, "io", {"file": name}, b"map")
    record = filing.publish(claim)
    filing.claims.forget(claim)
    found = _files(folders["io"])
    assert len(found) == 3
    assert all(len(os.fsencode(path)) <= 255 for path in found)
    assert record["file"].isprintable()
    json.dumps(record).encode()


def test_file_names_become_one_line_of_text() -> None:
    """Control characters and bytes that are no UTF-8 are written as escapes, the rest as it is."""
    assert readable("a\nb\udcff\x1b[31m.png") == r"a\nb\xff\x1b[31m.png"
    assert readable("Prüfling 7.png") == "Prüfling 7.png"


def test_a_claim_is_never_removed_with_an_image_in_it(folders: dict[str, Path]) -> None:
    """Whatever goes wrong: removing a claim deletes only what the daemon itself wrote there."""
    filing, claim = _claim(folders)
    with pytest.raises(OSError, match="not empty"):
        filing.claims.forget(claim)
    assert claim.image.read_bytes() == b"image"


def test_nothing_is_visible_before_what_it_rests_on_is_durable(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a group each image has its own order of syncs and renames; the folders are synced once for all of them."""
    calls: list[tuple[str, str]] = []
    fsync, rename, replace = os.fsync, durable.rename_noreplace, Path.replace

    def synced(descriptor: int) -> None:
        fsync(descriptor)
        calls.append(("sync", os.readlink(f"/proc/self/fd/{descriptor}")))  # noqa: PTH115 - a name, not a path

    def renamed(source: Path, target: Path) -> None:
        rename(source, target)
        calls.append(("appears", os.path.realpath(target)))

    def decided(source: Path, target: Path) -> None:
        replace(source, target)
        calls.append(("decided", str(target)))

    alone = _Alone(folders)
    for name in ("a.png", "b.png", "c.png"):
        (folders["inbox"] / name).write_bytes(b"image")
    candidates = [Candidate(path, Path(path.name), settled=True) for path in sorted(folders["inbox"].iterdir())]
    claims = [found for claim in alone.claims.begin(candidates) if (found := alone.claims.take(claim))]
    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(durable, "rename_noreplace", renamed)
    monkeypatch.setattr(Path, "replace", decided)
    decisions = [Decision(claim, "io", RECORD, b"map") for claim in claims]
    assert len(alone.filing.publish(alone.filing.commit(decisions, _nothing_passes), _nothing_passes)) == 3
    io = str(folders["io"])
    for claim in claims:
        decision = calls.index(("decided", f"{claim.folder}/decision.json"))
        for name in (claim.image.name, "cam.part", "sidecar.part", "decision.json.new"):
            assert calls.index(("sync", f"{claim.folder}/{name}")) < decision
        durable_at = calls.index(("sync", str(claim.folder)))
        sidecars = [calls.index(("appears", f"{io}/{claim.image.name}{end}")) for end in (".cam.png", ".json")]
        image = calls.index(("appears", f"{io}/{claim.image.name}"))
        assert decision < durable_at < min(sidecars)
        assert max(sidecars) < calls.index(("sync", io)) < image < len(calls) - 1 - calls[::-1].index(("sync", io))
    assert calls.count(("sync", io)) == 2


def test_a_name_that_two_of_a_group_want(folders: dict[str, Path]) -> None:
    """Two images that come to the same name are both filed, each whole, with its own sidecars."""
    for name in ("lot/a.png", "lot_a.png"):
        (folders["inbox"] / name).parent.mkdir(exist_ok=True)
        (folders["inbox"] / name).write_bytes(name.encode())
    (folders["io"] / "lot").write_bytes(b"a file where the folder should be")
    alone = _Alone(folders)
    begun = alone.claims.begin(
        [Candidate(folders["inbox"] / name, Path(name), settled=True) for name in ("lot/a.png", "lot_a.png")]
    )
    claims = [found for claim in begun if (found := alone.claims.take(claim))]
    decisions = [Decision(claim, "io", {"file": str(claim.source)}, b"map") for claim in claims]
    published = alone.filing.publish(alone.filing.commit(decisions, _nothing_passes), _nothing_passes)
    assert {done.record["filed_as"] for done in published} == {"lot_a.png", "lot_a~2.png"}
    for done in published:
        place = folders["io"] / done.record["filed_as"]
        assert place.read_bytes() == done.record["file"].encode()
        assert json.loads(Path(f"{place}.json").read_bytes()) == done.told
