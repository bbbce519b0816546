"""`solderwatch doctor`: each thing that a line depends on is tried, and what is wrong says what to do."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from daemon.__main__ import main
from daemon.checking import doctor, machine, trial, unit
from daemon.checking.finding import Finding
from daemon.intake.watch import Watch
from filing import durable
from settings import Settings, load

CONFIG = "device: cpu\nruntime: torch\ninbox: {quiet_s: 0.3, scan_s: 0.2}\n"


@pytest.fixture(autouse=True)
def settings(tmp_path: Path) -> Settings:
    """Of a line without a model."""
    (tmp_path / "config.yaml").write_text(CONFIG, encoding="utf-8")
    settings = load(tmp_path / "config.yaml")
    for path in settings.paths.line.values():
        path.mkdir(parents=True)
    return settings


def about(topic: str, findings: Iterable[Finding]) -> Finding:
    """The one finding about something."""
    (found,) = [finding for finding in findings if finding.text.startswith(f"{topic}: ")]
    return found


def tree(folder: Path) -> set[str]:
    """Every file below a folder."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_a_line_that_is_well(untrained_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is found wrong, a trial image was judged, and the line's own folders hold nothing new."""
    (tmp_path / "models" / "current").symlink_to(untrained_model.name)
    before = tree(tmp_path)
    assert main(["doctor", "--config", str(tmp_path / "config.yaml")]) == 0
    out = capsys.readouterr().out
    assert tree(tmp_path) == before
    for topic in ("disk", "renames", "writers", "events", "clock", "trial", "self-test", "daemon"):
        assert f"ok       {topic}: " in out or f"warning  {topic}: " in out, topic
    assert "problem" not in out
    assert "ok       trial: a golden sample was judged" in out


def test_support_gets_json(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    """The same findings, with the versions and the machine; a line without a model is no failure."""
    config = settings.paths.models.parent / "config.yaml"
    assert main(["doctor", "--json", "--config", str(config)]) == 0
    told = json.loads(capsys.readouterr().out)
    assert set(told) == {"versions", "machine", "findings"}
    assert {"level": "ok", "text": "daemon: does not run now"} in told["findings"]


def test_a_problem_is_the_exit_code(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 1 where something must be mended, also with --json."""
    monkeypatch.setattr(doctor, "machine", lambda _: [Finding("problem", "clock: wrong")])
    config = str(settings.paths.models.parent / "config.yaml")
    assert main(["doctor", "--config", config]) == 1
    assert main(["doctor", "--json", "--config", config]) == 1


def test_a_model_that_cannot_judge(settings: Settings, untrained_model: Path) -> None:
    """Of a trial that failed the reason is told, in the words of who failed."""
    (untrained_model.parent / "current").symlink_to(untrained_model.name)
    (untrained_model / "model.json").write_text("{}", encoding="utf-8")
    found = about("trial", trial.trial(settings))
    assert found.level == "problem"
    assert "model.json" in found.text


def test_a_trial_does_not_wait_for_ever(settings: Settings, untrained_model: Path) -> None:
    """A daemon that hangs is a problem, not a doctor that hangs."""
    (untrained_model.parent / "current").symlink_to(untrained_model.name)
    assert "no image was judged within 0.01 s" in about("trial", trial.trial(settings, patience_s=0.01)).text


def test_a_wrong_clock_is_told(settings: Settings) -> None:
    """A time before the program itself was made cannot be right."""
    found = about("clock", machine.machine(settings, clock=0.0))
    assert (found.level, "set the clock" in found.text) == ("problem", True)


def test_few_open_files_are_told(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A limit that a backlog would reach is told with how to raise it."""
    monkeypatch.setattr("resource.getrlimit", lambda _: (256, 256))
    found = about("open files", machine.machine(settings))
    assert (found.level, "ulimit -n" in found.text) == ("warning", True)


def test_little_room_is_told(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that is nearly full names the folders on it."""
    full = os.statvfs_result((4096, 4096, 10**8, 10**5, 10**5, 10**6, 10**6, 10**6, 0, 255))
    monkeypatch.setattr(os, "statvfs", lambda _: full)
    found = about("disk", machine.machine(settings))
    assert found.level == "warning"
    assert "0.4 of 409.6 GB are free for inbox" in found.text


def test_a_file_system_that_may_overwrite(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where renames cannot refuse in one step, each such folder is named."""
    monkeypatch.setattr(durable, "has_noreplace", lambda one, _: one.parent != settings.paths.io)
    found = about("renames", machine.machine(settings))
    assert found.level == "warning"
    assert "paths.io (" in found.text
    assert "paths.nio" not in found.text


def test_across_file_systems_an_image_still_goes(settings: Settings, elsewhere: Path) -> None:
    """An inbox on another file system is no problem, only slower; nothing is left behind on either."""
    moved = settings.model_copy(update={"paths": settings.paths.model_copy(update={"inbox": elsewhere})})
    assert about("renames", machine.machine(moved)).level == "ok"
    assert list(elsewhere.iterdir()) == []
    assert list(settings.paths.work.iterdir()) == []


@pytest.mark.parametrize("seen", [None, False])
def test_writers_that_cannot_be_told(seen: bool | None, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the kernel grants no leases, the mend is the quiet time."""
    monkeypatch.setattr(durable, "has_writer", lambda _: seen)
    found = about("writers", machine.machine(settings))
    assert (found.level, found.text.endswith("set inbox.admission: quiet")) == ("problem", True)


def test_where_nobody_asks_for_writers(settings: Settings) -> None:
    """With the quiet time nothing depends on leases."""
    inbox = settings.inbox.model_copy(update={"admission": "quiet"})
    found = about("writers", machine.machine(settings.model_copy(update={"inbox": inbox})))
    assert (found.level, "0.3 s" in found.text) == ("ok", True)


def test_too_many_folders_to_watch(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the watch says is told, and what happens until it is mended."""
    monkeypatch.setattr(Watch, "ensure", lambda _: "/inbox: no space; raise fs.inotify.* in sysctl")
    found = about("events", machine.machine(settings))
    assert (found.level, "raise fs.inotify" in found.text) == ("warning", True)


def test_a_folder_out_of_which_nothing_can_be_taken(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine's own folder in the inbox, which this user may not write to, is named."""
    (settings.paths.inbox / "lot7").mkdir()
    monkeypatch.setattr(os, "access", lambda path, _: not str(path).endswith("lot7"))
    found = about("paths.inbox", machine.machine(settings))
    assert (found.level, "lot7" in found.text) == ("problem", True)


def test_a_folder_that_refuses_is_one_finding(settings: Settings) -> None:
    """What cannot be tried is told in words, and the rest goes on."""
    settings.paths.quarantine.rmdir()
    found = [finding for finding in machine.machine(settings) if finding.level == "problem"]
    assert len(found) == 1
    assert str(settings.paths.quarantine) in found[0].text


@pytest.fixture
def systemctl(tmp_path: Path) -> Callable[..., list[Finding]]:
    """What the doctor makes of a systemctl that says this."""

    def say(**state: str) -> list[Finding]:
        program = tmp_path / "systemctl"
        told = "\n".join(f"{name}={value}" for name, value in state.items())
        program.write_text(f"#!/bin/sh\ncat <<'END'\n{told}\nEND\n", encoding="utf-8")
        program.chmod(0o755)
        return list(unit.service(tmp_path, str(program)))

    return say


ACTIVE = {"LoadState": "loaded", "UnitFileState": "enabled", "ActiveState": "active", "NRestarts": "0"}


@pytest.mark.parametrize(
    ("state", "level", "told"),
    [
        ({}, "ok", "service: runs: watching"),
        ({"LoadState": "not-found"}, "ok", "not installed"),
        ({"ActiveState": "failed"}, "problem", "journalctl"),
        ({"ActiveState": "inactive", "SubState": "dead"}, "warning", "systemctl enable --now"),
        ({"ActiveState": "activating"}, "warning", "watching"),
        ({"UnitFileState": "disabled"}, "warning", "next boot"),
        ({"NRestarts": "7"}, "warning", "restarted 7 times"),
    ],
)
def test_the_service_is_told(
    state: dict[str, str], level: str, told: str, systemctl: Callable[..., list[Finding]]
) -> None:
    """Each state of the service has its words, and what to do."""
    (found,) = systemctl(**ACTIVE | {"StatusText": "watching"} | state)
    assert found.level == level
    assert told in found.text


def test_without_systemd_there_is_no_service(tmp_path: Path) -> None:
    """Nothing is said of what is not there; a systemctl that fails is told."""
    assert list(unit.service(tmp_path / "none")) == []
    (found,) = unit.service(tmp_path, str(tmp_path / "nothing"))
    assert found.level == "warning"
