"""The daemon as a whole program: real processes, real files, real signals."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from harness import Daemon, Nursery, read_events, wait_until
from PIL import Image

from daemon.__main__ import main
from daemon.reporting.status import as_text, read_status
from inspection.model import read_card
from inspection.workload import workload
from settings import load

Disc = Callable[..., Any]


@pytest.fixture
def daemon(nursery: Nursery, line: Path) -> Daemon:
    """A running daemon, watching."""
    running = nursery.start(line)
    running.wait_for("watching")
    return running


@pytest.fixture
def images(trained: Path) -> dict[str, list[Path]]:
    """Labelled images that the model can tell apart."""
    return {label: sorted((trained / "dataset" / label).iterdir()) for label in ("io", "nio")}


def _drop(source: Path, folder: Path, name: str) -> None:
    inbox = folder / "data" / "inbox"
    target = inbox / name
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target.with_name(target.name + ".part"))
    target.with_name(target.name + ".part").rename(target)


def _check(line: Path) -> int:
    return main(["check", "--config", str(line / "config.yaml")])


def _filed(folder: Path) -> list[str]:
    data = folder / "data"
    return sorted(str(path.relative_to(data)) for path in data.glob("*/**/*") if path.is_file() and path.name[0] != ".")


def test_every_image_ends_in_its_folder_with_sidecars_and_one_line(
    daemon: Daemon, images: dict[str, list[Path]]
) -> None:
    """Images moved or copied in, also into sub-folders, are judged right and filed whole, each with one log line."""
    for index in range(6):
        _drop(images["io"][index], daemon.folder, f"lot{index % 2}/good{index}.png")
        shutil.copyfile(images["nio"][index], daemon.folder / "data" / "inbox" / f"bad{index}.png")
    decisions = daemon.wait_for("decision", 12)
    right = [event for event in decisions if event["verdict"] == ("io" if "good" in event["file"] else "nio")]
    assert len(right) >= 11
    expected = []
    for event in decisions:
        place = f"{event['verdict']}/{event['filed_as']}"
        expected += [place, f"{place}.cam.png", f"{place}.json"]
        sidecar = json.loads((daemon.folder / "data" / f"{place}.json").read_text())
        assert {key: event[key] for key in sidecar} == sidecar
        with Image.open(daemon.folder / "data" / f"{place}.cam.png") as picture:
            picture.load()
            assert max(picture.size) <= 512
    # What was logged is forgotten a moment later.
    wait_until(lambda: _filed(daemon.folder) == sorted(expected))
    assert len({event["decision_id"] for event in decisions}) == 12
    assert daemon.stop() == 0
    assert daemon.events("stopped")[0]["io"] + daemon.events("stopped")[0]["nio"] == 12
    assert (daemon.folder / "logs" / "decisions.jsonl").read_text() == (daemon.folder / "stdout.jsonl.out").read_text()


def test_once_empties_the_inbox_and_exits(nursery: Nursery, line: Path, images: dict[str, list[Path]]) -> None:
    """With --once the daemon takes what lay there before, waits for a file still being written, and exits 0."""
    _drop(images["io"][0], line, "before.png")
    data = images["nio"][0].read_bytes()
    with (line / "data" / "inbox" / "slow.png").open("wb") as slow:
        slow.write(data[:100])
        slow.flush()
        daemon = nursery.start(line, "--once")
        daemon.wait_for("decision")
        time.sleep(0.5)
        assert daemon.poll() is None
        assert [event["file"] for event in daemon.events("decision")] == ["before.png"]
        slow.write(data[100:])
    assert daemon.wait(30) == 0
    assert sorted(event["file"] for event in daemon.events("decision")) == ["before.png", "slow.png"]


def test_once_leaves_no_bad_file_behind(nursery: Nursery, line: Path, images: dict[str, list[Path]]) -> None:
    """With --once a file that does not decode gets its quiet time, and then goes to quarantine."""
    inbox = line / "data" / "inbox"
    inbox.mkdir(parents=True)
    (inbox / "cut.png").write_bytes(images["io"][0].read_bytes()[:500])
    daemon = nursery.start(line, "--once")
    assert daemon.wait(60) == 0
    assert [event["file"] for event in daemon.events("quarantine")] == ["cut.png"]
    assert list(inbox.iterdir()) == []


def test_bad_input_is_quarantined_and_the_line_goes_on(daemon: Daemon, images: dict[str, list[Path]]) -> None:
    """Truncated, empty, foreign and absurd files end in quarantine with a reason, never in io; the next is judged."""
    inbox = daemon.folder / "data" / "inbox"
    whole = images["io"][0].read_bytes()
    (inbox / "cut.png").write_bytes(whole[: len(whole) // 2])
    (inbox / "text.png").write_text("hello")
    (inbox / "empty.png").touch()
    Image.new("1", (30_000, 30_000)).save(inbox / "huge.png")
    daemon.wait_for("quarantine", 4)
    _drop(images["io"][0], daemon.folder, "good.png")
    daemon.wait_for("decision")
    names = ["cut.png", "empty.png", "huge.png", "text.png"]
    assert sorted(path.name for path in (daemon.folder / "data" / "quarantine").glob("*.png")) == names
    for name in names:
        reason = json.loads((daemon.folder / "data" / "quarantine" / f"{name}.error.json").read_text())["error"]
        assert reason
    assert list(inbox.iterdir()) == []
    assert daemon.stop() == 0


def test_a_slow_writer_is_never_judged_half_written(daemon: Daemon, images: dict[str, list[Path]]) -> None:
    """A file that dribbles in, is closed and opened again by its writer, is judged once, whole."""
    data = images["nio"][0].read_bytes()
    path = daemon.folder / "data" / "inbox" / "slow.png"
    path.touch()
    for start in range(0, len(data), max(1, len(data) // 8)):
        with path.open("ab") as file:
            file.write(data[start : start + len(data) // 8])
            file.flush()
            time.sleep(0.1)
    (event,) = daemon.wait_for("decision")
    assert event["bytes"] == len(data)
    assert not daemon.events("quarantine")
    assert daemon.stop() == 0


@pytest.mark.parametrize("signal_", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_under_load_loses_nothing(
    nursery: Nursery, line: Path, images: dict[str, list[Path]], signal_: signal.Signals
) -> None:
    """Stopped in the middle of a backlog, the daemon exits 0; the rest is judged at the next start, each image once."""
    for index in range(60):
        _drop(images["io"][index], line, f"{index:03d}.png")
    daemon = nursery.start(line)
    daemon.wait_for("decision", 3)
    daemon.send(signal_)
    assert daemon.wait() == 0
    again = nursery.start(line, "--once")
    assert again.wait(60) == 0
    filed = [event["file"] for event in read_events(line / "stdout.jsonl.out", "decision")]
    assert sorted(filed) == [f"{index:03d}.png" for index in range(60)]


def test_a_killed_daemon_loses_nothing(nursery: Nursery, line: Path, images: dict[str, list[Path]]) -> None:
    """After SIGKILL at any moment every image is whole in one place, and the next start files the rest."""
    contents = {}
    for index in range(40):
        name = f"{index:03d}.png"
        _drop(images["io"][index], line, name)
        contents[name] = images["io"][index].read_bytes()
    for _ in range(3):
        daemon = nursery.start(line)
        count = len(daemon.events("decision"))
        daemon.wait_for("decision", count + 2)
        daemon.kill()
        found = [path for path in (line / "data").rglob("*.png") if path.name in contents]
        assert sorted(path.name for path in found) == sorted(contents)
        assert all(path.read_bytes() == contents[path.name] for path in found)
    daemon = nursery.start(line, "--once")
    assert daemon.wait(60) == 0
    filed = [path.name for path in (line / "data").glob("*io/*.png") if path.name in contents]
    assert sorted(filed) == sorted(contents)
    decided: dict[str, set[str]] = {}
    for event in read_events(line / "stdout.jsonl.out", "decision"):
        decided.setdefault(event["file"], set()).add(event["decision_id"])
    assert all(len(ids) == 1 for ids in decided.values())
    assert len(decided) == 40


def test_an_image_that_kills_the_process_is_quarantined(
    nursery: Nursery, line: Path, images: dict[str, list[Path]]
) -> None:
    """An image in hand while the process died max_attempts times is put away, and its neighbours are judged."""
    work = line / "data" / "work" / "20260101T000000-poison"
    work.mkdir(parents=True)
    shutil.copyfile(images["io"][0], work / "poison.png")
    (work / "claim.json").write_text(json.dumps({"source": "poison.png", "claimed": "", "attempts": 3}))
    (line / "data" / "work" / ".lock").write_text("running\n")
    _drop(images["io"][1], line, "good.png")
    daemon = nursery.start(line, "--once")
    assert daemon.wait(60) == 0
    assert [event["file"] for event in daemon.events("quarantine")] == ["poison.png"]
    assert [event["file"] for event in daemon.events("decision")] == ["good.png"]


def test_a_new_model_is_picked_up_and_a_bad_one_refused(daemon: Daemon, images: dict[str, list[Path]]) -> None:
    """A switched `current` is used from the next image on; a damaged one is refused, logged, and the old one stays."""
    models = daemon.folder / "models"
    old = (models / "current").resolve()
    bad = models / "bad"
    shutil.copytree(old, bad)
    (bad / "weights.safetensors").write_bytes(b"rubbish")
    link = models / "next"
    link.symlink_to("bad")
    link.replace(models / "current")
    (refused,) = daemon.wait_for("model_refused")
    assert "weights.safetensors" in refused["error"]
    _drop(images["io"][0], daemon.folder, "one.png")
    (first,) = daemon.wait_for("decision")
    assert first["model"] == refused["kept"]
    link.symlink_to(old.name)
    link.replace(models / "current")
    daemon.wait_for("model_loaded", 2)
    assert daemon.stop() == 0


def test_without_a_model_nothing_is_touched(nursery: Nursery, line: Path, images: dict[str, list[Path]]) -> None:
    """Without a model the daemon says so, keeps watching and leaves the inbox alone; it starts when one arrives."""
    (line / "models").rename(line / "elsewhere")
    _drop(images["io"][0], line, "one.png")
    daemon = nursery.start(line)
    daemon.wait_for("no_model")
    daemon.wait_for("watching")
    time.sleep(0.6)
    assert _filed(line) == ["inbox/one.png"]
    (line / "elsewhere").rename(line / "models")
    daemon.wait_for("decision")
    assert daemon.stop() == 0


def test_once_without_a_model_fails_in_one_line(nursery: Nursery, line: Path) -> None:
    """There is nothing to judge with: exit 1, and what to do about it."""
    shutil.rmtree(line / "models")
    daemon = nursery.start(line, "--once")
    assert daemon.wait() == 1
    errors = daemon.output()
    assert "solderwatch-train" in errors
    assert "Traceback" not in errors


def test_hangup_reads_the_configuration_again(daemon: Daemon, images: dict[str, list[Path]]) -> None:
    """SIGHUP takes a right configuration and refuses a wrong one, without a restart."""
    config = daemon.folder / "config.yaml"
    good = config.read_text()
    config.write_text("inbox: {scan: 1}\n")
    daemon.send(signal.SIGHUP)
    (refused,) = daemon.wait_for("reload_refused")
    assert "scan" in refused["error"]
    config.write_text(good + "cam: {method: GradCAM}\n")
    daemon.send(signal.SIGHUP)
    daemon.wait_for("reloaded")
    _drop(images["nio"][0], daemon.folder, "one.png")
    (event,) = daemon.wait_for("decision")
    assert event["cam"]["method"] == "GradCAM"
    assert daemon.stop() == 0


def test_a_reload_leaves_nothing_of_the_line_before(line: Path) -> None:
    """However often the configuration is read again: one line, with its threads and models, is in memory."""
    program = """
import os, signal, sys, threading, weakref
from daemon import line as module
from daemon.__main__ import main
lines, init = [], module.Line.__init__
def noted(self, *arguments, **options):
    lines.append(weakref.ref(self))
    init(self, *arguments, **options)
module.Line.__init__ = noted
run = module.Line.run
def short(self, **options):
    if len(lines) < 4:
        threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGHUP)).start()
        run(self)
    print(len(lines), sum(one() is not None for one in lines), file=sys.stderr)
module.Line.run = short
main(["run", "--once"])
"""
    found = subprocess.run(
        [sys.executable, "-c", program], cwd=line, capture_output=True, text=True, timeout=120, check=False
    )
    assert found.stderr.splitlines()[-1] == "4 1", found.stderr


def test_a_second_daemon_is_refused(nursery: Nursery, daemon: Daemon) -> None:
    """One daemon per work folder: the second says so in one line and exits 2."""
    second = nursery.start(daemon.folder)
    assert second.wait() == 2
    assert "another solderwatch" in second.output()


def test_status_tells_what_the_daemon_does(
    daemon: Daemon, images: dict[str, list[Path]], capsys: pytest.CaptureFixture[str]
) -> None:
    """Alive, model, counts, last verdict; and not alive once it has stopped or was killed."""
    settings = load(daemon.folder / "config.yaml")
    _drop(images["io"][0], daemon.folder, "one.png")
    (event,) = daemon.wait_for("decision")
    wait_until(lambda: bool(read_status(settings).daemon.get("last")))
    wait_until(lambda: read_status(settings).counts[event["verdict"]] == 1)
    status = read_status(settings)
    assert status.alive
    assert status.daemon["model"] == event["model"]
    assert status.daemon["last"]["file"] == "one.png"
    assert status.daemon["pid"] == daemon.pid
    card = read_card(daemon.folder / "models" / "current")
    assert status.daemon["certificate"] == card.certificate_here()
    assert status.daemon["workload"] == str(workload(card))
    assert "that means    of 10,000 images, 100 of them nio: " in as_text(status)
    assert f"certificate   indicative: {card.certificate.proof.missed} of" in as_text(status)  # type: ignore[union-attr]
    (loaded,) = daemon.events("model_loaded")
    assert loaded["certificate"] == {
        "standing": "indicative",
        "recall_bound": card.certificate.proof.recall_bound,  # type: ignore[union-attr]
    }
    daemon.kill()
    daemon.wait()
    assert not read_status(settings).alive
    assert main(["status", "--json", "--config", str(daemon.folder / "config.yaml")]) == 1
    assert json.loads(capsys.readouterr().out)["counts"][event["verdict"]] == 1


def test_systemd_hears_that_it_is_ready_alive_and_stopping(nursery: Nursery, line: Path, tmp_path: Path) -> None:
    """READY once the model is loaded, WATCHDOG while the loop is alive, RELOADING with its time, STOPPING."""
    address = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(str(address))
        channel.settimeout(60)
        daemon = nursery.start(line, environment={"NOTIFY_SOCKET": str(address)})
        heard: list[str] = []

        def listen(until: str) -> None:
            while not heard or until not in heard[-1]:
                heard.append(channel.recv(4096).decode())

        listen("READY=1")
        assert daemon.events("model_loaded")
        listen("WATCHDOG=1")
        daemon.send(signal.SIGHUP)
        listen("RELOADING=1\nMONOTONIC_USEC=")
        listen("READY=1")
        daemon.send(signal.SIGTERM)
        listen("STOPPING=1")
        assert daemon.wait(30) == 0


def test_a_short_watchdog_is_fed_often_enough(nursery: Nursery, line: Path, tmp_path: Path) -> None:
    """However short systemd's patience, it hears in time that an idle daemon is alive."""
    (line / "config.yaml").write_text("device: cpu\ninbox: {scan_s: 3600}\n")
    address = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(str(address))
        channel.settimeout(60)
        nursery.start(line, environment={"NOTIFY_SOCKET": str(address), "WATCHDOG_USEC": "1000000"})
        while "READY=1" not in channel.recv(4096).decode():
            pass
        channel.settimeout(1)
        for _ in range(4):
            assert "WATCHDOG=1" in channel.recv(4096).decode()


def test_systemd_is_told_to_wait_for_a_model(nursery: Nursery, line: Path, tmp_path: Path) -> None:
    """Without a model the service is not ready: it asks for more time, says what is missing, and waits for it."""
    address = tmp_path / "notify"
    (line / "models").rename(line / "elsewhere")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(str(address))
        channel.settimeout(60)
        daemon = nursery.start(line, environment={"NOTIFY_SOCKET": str(address)})
        said = channel.recv(4096).decode()
        assert "EXTEND_TIMEOUT_USEC=" in said
        assert "solderwatch-train" in said
        (line / "elsewhere").rename(line / "models")
        while "READY=1" not in said:
            said = channel.recv(4096).decode()
        assert daemon.events("model_loaded")


def test_status_tells_what_is_in_hand(line: Path) -> None:
    """For each image in work: which, since when, and what it waits for."""
    work = line / "data" / "work" / "20260101T000000-abc"
    work.mkdir(parents=True)
    (work / "a.png").write_bytes(b"x")
    claim = {"source": "lot7/a.png", "claimed": "2026-01-01T00:00:00Z", "attempts": 2}
    (work / "claim.json").write_text(json.dumps(claim))
    status = read_status(load(line / "config.yaml"))
    assert status.in_hand == [{"file": "lot7/a.png", "claimed": claim["claimed"], "attempts": 2, "decided": False}]
    assert "lot7/a.png  since 2026-01-01T00:00:00Z, to be judged, attempt 2" in as_text(status)


def test_a_closed_standard_output_costs_no_verdict(line: Path, images: dict[str, list[Path]]) -> None:
    """The reader of the pipe is gone: the image is judged all the same, and the file has its line."""
    _drop(images["io"][0], line, "one.png")
    process = subprocess.Popen(
        [sys.executable, "-m", "daemon", "run", "--once"], cwd=line, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout
    process.stdout.close()
    assert process.wait(60) == 0
    assert process.stderr
    assert b"Traceback" not in process.stderr.read()
    process.stderr.close()
    lines = (line / "logs" / "decisions.jsonl").read_text().splitlines()
    assert [json.loads(text)["file"] for text in lines if json.loads(text)["event"] == "decision"] == ["one.png"]


def test_check_names_each_problem_and_its_mend(line: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`check` exits 0 when all is well; else 1 with one line per problem."""
    assert _check(line) == 0
    told = capsys.readouterr().out
    assert "self-test" in told
    assert "up to 64 (inbox.max_pages)" in told
    card = read_card(line / "models" / "current")
    assert f"warning  certificate: {card.certificate_here()}\n" in told
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(line / "models")
    (line / "data" / "nio").rmdir()
    (line / "data" / "nio").write_text("a file, not a folder")
    assert _check(line) == 1
    told = capsys.readouterr().out
    assert "paths.nio" in told
    assert "solderwatch-train" in told


@pytest.mark.parametrize("name", ["inbox", "io"])
def test_a_folder_that_is_a_link_to_nothing(
    name: str, line: Path, nursery: Nursery, capsys: pytest.CaptureFixture[str]
) -> None:
    """`check` and `run` say that it is a link, where it leads, and what to do; each such folder has its line."""
    (line / "data").mkdir()
    for folder in (name, "quarantine"):
        (line / "data" / folder).symlink_to(line / "not" / folder)
    said = f"paths.{name}: {line}/data/{name}: a link to {line}/not/{name}, which is not there: make or mount that"
    assert _check(line) == 1
    told = capsys.readouterr().out
    assert said in told
    assert "paths.quarantine" in told
    daemon = nursery.start(line)
    assert daemon.wait() == 1
    assert said in daemon.output()
    assert "paths.quarantine" not in daemon.output()
    assert "Traceback" not in daemon.output()


def test_an_inbox_that_becomes_a_link_to_nothing(daemon: Daemon, images: dict[str, list[Path]]) -> None:
    """A running daemon says in `away` that it is a link and where it leads, and goes on when that is there."""
    place = daemon.folder / "data" / "inbox"
    place.rename(daemon.folder / "elsewhere")
    place.symlink_to("../drive")
    wait_until(lambda: any("a link to ../drive" in event["error"] for event in daemon.events("away")))
    assert daemon.events("away")[-1]["error"] == f"{place}: a link to ../drive, which is not there"
    (daemon.folder / "elsewhere").rename(daemon.folder / "drive")
    _drop(images["io"][0], daemon.folder, "one.png")
    daemon.wait_for("decision")
    assert daemon.events("back")


def test_real_formats_are_judged(daemon: Daemon, real_data: Path) -> None:
    """A 16-bit PNG, a 16-bit TIFF and a JPEG 2000 DICOM from real machines get a verdict at full bit depth."""
    for path in sorted((real_data / "formats").iterdir()):
        shutil.copyfile(path, daemon.folder / "data" / "inbox" / path.name)
    events = daemon.wait_for("decision", 3)
    assert {(event["format"], event["bits"]) for event in events} == {("PNG", 16), ("TIFF", 16), ("DICOM", 10)}
    assert daemon.stop() == 0


def test_a_sixteen_bit_image_keeps_its_depth(daemon: Daemon) -> None:
    """A faint 16-bit image is not judged as if it were black: its map's background shows what is in it."""
    ramp = np.linspace(0, 900, 64 * 64).astype(np.uint16).reshape(64, 64)
    Image.fromarray(ramp).save(daemon.folder / "data" / "inbox" / "faint.png")
    (event,) = daemon.wait_for("decision")
    place = daemon.folder / "data" / event["verdict"] / "faint.png"
    with Image.open(f"{place}.cam.png") as picture:
        grey = np.asarray(picture.convert("L"))[60:]
    assert np.ptp(grey) > 150
    assert daemon.stop() == 0
