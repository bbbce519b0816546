from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from harness import Ledger, Nursery
from ledger_line import Records

from daemon.__main__ import main
from filing.folders import Folders
from filing.ledger import reindex
from settings import load


@pytest.fixture
def quarantine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two quarantined files, each with what says why, and a file that the daemon did not put there."""
    (tmp_path / "config.yaml").touch()
    monkeypatch.chdir(tmp_path)
    Folders(load(tmp_path / "config.yaml").paths.line).make()
    folder = tmp_path / "data" / "quarantine"
    for name in ("a.png", "lot7/b.png"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(name)
        (folder / f"{name}.error.json").write_text("{}")
    (folder / "note.txt").touch()
    return folder


def _files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_all_quarantined_files_go_back(quarantine: Path) -> None:
    """Without names all go back to where they came from; what said why goes with it, other files stay."""
    assert main(["requeue"]) == 0
    assert _files(quarantine) == ["note.txt"]
    assert _files(quarantine.parent / "inbox") == ["a.png", "lot7/b.png"]


@pytest.mark.parametrize("name", ["lot7/b.png", "lot7/b.png.error.json", "{}/lot7/b.png"])
def test_a_named_file_goes_back(quarantine: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A file is named by its path in quarantine, by its sidecar, or whole; nothing in the inbox is overwritten."""
    (quarantine.parent / "inbox" / "lot7").mkdir()
    (quarantine.parent / "inbox" / "lot7" / "b.png").write_text("newer")
    assert main(["requeue", name.format(quarantine)]) == 0
    assert _files(quarantine) == ["a.png", "a.png.error.json", "note.txt"]
    assert (quarantine.parent / "inbox" / "lot7" / "b.png").read_text() == "newer"
    assert (quarantine.parent / "inbox" / "lot7" / "b~2.png").read_text() == "lot7/b.png"
    assert "inbox/lot7/b~2.png" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["c.png", "../io/x.png", "/etc/hostname", "lot7"])
def test_a_wrong_name_moves_nothing(quarantine: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What is no quarantined file is told in one line, and none of the others is moved."""
    before = _files(quarantine)
    (quarantine.parent / "io" / "x.png").touch()
    assert main(["requeue", "a.png", name]) == 1
    assert _files(quarantine) == before
    assert capsys.readouterr().err.count("\n") == 1


def test_a_mended_file_is_judged_after_all(nursery: Nursery, ledger: Ledger, image: Callable[[int], bytes]) -> None:
    """A file that was mended in quarantine and requeued gets its verdict from a running daemon."""
    daemon = nursery.start(ledger.folder)
    inbox = ledger.data / "inbox"
    daemon.wait_for("watching")
    (inbox / "a.png").write_bytes(image(1)[:300])
    daemon.wait_for("quarantine")
    (ledger.data / "quarantine" / "a.png").write_bytes(image(1))
    assert main(["requeue", "--config", str(ledger.folder / "config.yaml")]) == 0
    (event,) = daemon.wait_for("decision")
    assert event["filed_as"] == "a.png"
    assert daemon.stop() == 0


def test_the_ledger_is_told(records: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    """What goes back is not in the ledger any more, without a sweep; what stays is."""
    for name in ("lot7/a.png", "b.png"):
        (records.folder("quarantine") / name).parent.mkdir(exist_ok=True)
        (records.folder("quarantine") / name).touch()
        records.file("quarantine", name)
    records.settings.paths.inbox.mkdir()
    reindex(records.settings)
    monkeypatch.chdir(records.home)
    assert main(["requeue", "lot7/a.png"]) == 0
    assert records.known().keys() == {("quarantine", Path("b.png"))}
