"""The units and the installer, staged into a scratch folder: no root, no network, no service."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

REPO = Path(__file__).parents[2]
INSTALLER = REPO / "systemd" / "install.sh"
UNITS = Path("usr/local/lib/systemd/system")
CONFIG = Path("etc/solderwatch/config.yaml")
SERVICES = ["solderwatch.service", "solderwatch-train.service"]
REVIEW = "solderwatch-review.service"
VARIANTS = pytest.mark.parametrize(
    "options", [["--training", "--review"], ["--training", "--review", "--gpu"]], ids=["cpu", "gpu"]
)

needs_systemd_analyze = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed"
)

Install = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Where the installer puts its files instead of /."""
    return tmp_path / "root"


@pytest.fixture
def install(root: Path, tmp_path: Path) -> Install:
    """Run the installer as `install(*options)`, by default on a PC with systemd 252."""
    programs = tmp_path / "programs"
    programs.mkdir()

    def pretend(program: str, output: str) -> None:
        (programs / program).write_text(f"#!/bin/sh\necho '{output}'\n", encoding="utf-8")
        (programs / program).chmod(0o755)

    def run(*options: str, systemd: str = "252", destdir: str = str(root)) -> subprocess.CompletedProcess[str]:
        pretend("systemctl", f"systemd {systemd} ({systemd}.1-1)")
        pretend("id", "1000")
        environment = {**os.environ, "DESTDIR": destdir, "PATH": f"{programs}:{os.environ['PATH']}"}
        return subprocess.run(
            [INSTALLER, *options], env=environment, check=False, capture_output=True, text=True, timeout=60
        )

    return run


def files(root: Path) -> set[str]:
    """Every file below root, relative to it."""
    return {str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir()}


def startable(root: Path) -> Path:
    """The staged units, starting a program that exists on this PC."""
    for service in (root / UNITS).glob("*.service"):
        text = service.read_text(encoding="utf-8")
        text, replaced = re.subn("/opt/solderwatch/venv/bin/solderwatch(-train|-review)?", "/bin/true", text)
        assert replaced >= 1
        service.write_text(text, encoding="utf-8")
    return root / UNITS


def directives(unit: Path) -> dict[str, list[str]]:
    """Each setting of a unit with all its values, in order."""
    pairs = [line.split("=", 1) for line in unit.read_text(encoding="utf-8").splitlines() if line[:1].isupper()]
    return {key: [value for other, value in pairs if other == key] for key, _ in pairs}


@needs_systemd_analyze
@VARIANTS
def test_systemd_understands_every_line(install: Install, root: Path, options: list[str]) -> None:
    """No line of any unit makes systemd complain, with and without a GPU."""
    install(*options)
    folder = startable(root)
    units = [str(folder / name) for name in [*SERVICES, REVIEW, "solderwatch-train.timer"]]
    command = ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", *units]
    result = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    assert "solderwatch" not in result.stderr


@needs_systemd_analyze
@VARIANTS
@pytest.mark.parametrize("service", [*SERVICES, REVIEW])
def test_services_are_sandboxed(install: Install, root: Path, options: list[str], service: str) -> None:
    """The exposure score that systemd gives is at most 1.0 of 10, with and without a GPU."""
    install(*options)
    unit = startable(root) / service
    command = ["systemd-analyze", "security", "--no-pager", "--offline=true", "--threshold=10", str(unit)]
    result = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "Overall exposure level" in result.stdout


def test_training_has_no_right_that_the_daemon_lacks() -> None:
    """Both services live in the same sandbox; only the daemon's one capability differs."""
    daemon, training = (directives(REPO / "systemd" / name) for name in SERVICES)
    first, last = "DevicePolicy", "SystemCallFilter"
    sandbox = list(daemon)[list(daemon).index(first) : list(daemon).index(last) + 1]
    assert len(sandbox) > 20
    assert {key: daemon[key] for key in sandbox} == {key: training.get(key) for key in sandbox}
    assert daemon["CapabilityBoundingSet"] == daemon["AmbientCapabilities"] == ["CAP_LEASE"]
    assert training["CapabilityBoundingSet"] == [""]
    assert "AmbientCapabilities" not in training


@pytest.mark.parametrize("service", SERVICES)
def test_sandbox_leaves_torch_its_speed_and_its_scores(service: str) -> None:
    """The sandbox lets torch compile kernels, read which vector code to use, and compute on every core."""
    unit = directives(REPO / "systemd" / service)
    assert "MemoryDenyWriteExecute" not in unit
    assert "ProcSubset" not in unit
    assert unit["SystemCallFilter"][-1] == "sched_setaffinity"


def test_installs_what_the_daemon_needs(install: Install, root: Path) -> None:
    """A plain installation is the service, its user, folders, configuration and log rotation; no more."""
    result = install()
    assert result.returncode == 0, result.stderr
    assert files(root) == {
        str(CONFIG),
        "etc/logrotate.d/solderwatch",
        "usr/local/lib/systemd/system/solderwatch.service",
        "usr/local/lib/sysusers.d/solderwatch.conf",
        "usr/local/lib/tmpfiles.d/solderwatch.conf",
    }


def test_options_come_and_go(install: Install, root: Path) -> None:
    """--gpu, --training and --review add their files; a later run without them takes those away again."""
    install()
    plain = files(root)
    install("--gpu", "--training", "--review")
    assert files(root) - plain == {
        str(UNITS / name)
        for name in [
            "solderwatch.service.d/gpu.conf",
            "solderwatch-train.service.d/gpu.conf",
            "solderwatch-train.service",
            "solderwatch-train.timer",
            REVIEW,
        ]
    } | {f"usr/local/lib/{kind}.d/solderwatch-review.conf" for kind in ("sysusers", "tmpfiles")}
    install()
    assert files(root) == plain


@pytest.mark.parametrize(("systemd", "there"), [("252", False), ("253", True), ("257", True)])
def test_reload_is_waited_for_where_systemd_can(install: Install, root: Path, systemd: str, there: bool) -> None:
    """Type=notify-reload is installed from systemd 253 on; older ones do not know it."""
    install(systemd=systemd)
    assert (root / UNITS / "solderwatch.service.d/notify-reload.conf").exists() is there


def test_configuration_points_at_the_service_folders(install: Install, root: Path) -> None:
    """The installed configuration is the shipped one, with the service's folders and every comment kept."""
    install()
    shipped_text = (REPO / "config.yaml").read_text(encoding="utf-8")
    installed_text = (root / CONFIG).read_text(encoding="utf-8")
    shipped, installed = yaml.safe_load(shipped_text), yaml.safe_load(installed_text)
    names = ["inbox", "io", "nio", "quarantine", "work", "dataset", "models", "boards"]
    folders = {name: f"/var/lib/solderwatch/{name}" for name in names}
    assert installed.pop("paths") == {**folders, "ledger": "/var/lib/solderwatch/ledger.db"}
    assert installed["logs"].pop("file") == "/var/log/solderwatch/decisions.jsonl"
    assert installed["review"].pop("folder") == "/var/lib/solderwatch/review"
    del shipped["paths"], shipped["logs"]["file"], shipped["review"]["folder"]
    assert installed == shipped
    assert [line.partition("#")[2] for line in installed_text.splitlines()] == [
        line.partition("#")[2] for line in shipped_text.splitlines()
    ]


def test_folders_of_the_configuration_are_made(install: Install, root: Path) -> None:
    """Every folder that the installed configuration names is created at boot."""
    install()
    tmpfiles = (root / "usr/local/lib/tmpfiles.d/solderwatch.conf").read_text(encoding="utf-8")
    made = {line.split()[1] for line in tmpfiles.splitlines() if line.startswith("d ")}
    configured = yaml.safe_load((root / CONFIG).read_text(encoding="utf-8"))["paths"]
    assert {folder for name, folder in configured.items() if name != "ledger"} <= made
    assert str(Path(configured["ledger"]).parent) in made
    assert {f"{configured['dataset']}/io", f"{configured['dataset']}/nio"} <= made


def test_what_one_member_of_the_group_makes_another_can_use(install: Install, root: Path) -> None:
    """Where others than the daemon make files and folders, a default ACL gives the group its rights, whatever umask."""
    install()
    tmpfiles = (root / "usr/local/lib/tmpfiles.d/solderwatch.conf").read_text(encoding="utf-8")
    rows = [line.split() for line in tmpfiles.splitlines() if line[:2] in {"d ", "a "}]
    shared = {row[1] for row in rows if row[0] == "d" and row[2] == "2770" and not row[1].endswith("/quarantine")}
    assert {row[1] for row in rows if row[0] == "a" and "d:g::rwx" in row[-1]} == shared


def test_an_edited_configuration_is_kept(install: Install, root: Path) -> None:
    """What the plant wrote stays as it is; the newer file is put beside it, and said so."""
    install()
    (root / CONFIG).write_text("device: cpu\n", encoding="utf-8")
    result = install()
    assert (root / CONFIG).read_text(encoding="utf-8") == "device: cpu\n"
    assert "/var/lib/solderwatch/inbox" in (root / CONFIG).with_suffix(".yaml.new").read_text(encoding="utf-8")
    assert "config.yaml.new" in result.stdout


def test_installing_twice_changes_nothing(install: Install, root: Path) -> None:
    """A second run with the same options leaves the same files with the same content."""
    install("--gpu", "--training")
    once = {name: (root / name).read_bytes() for name in files(root)}
    result = install("--gpu", "--training")
    assert result.returncode == 0, result.stderr
    assert {name: (root / name).read_bytes() for name in files(root)} == once


def test_remove_keeps_what_is_yours(install: Install, root: Path) -> None:
    """--remove takes the program and its units away; configuration, images, logs and own drop-ins stay."""
    install("--gpu", "--training", "--review", systemd="253")
    program = root / "opt/solderwatch/venv/bin/solderwatch"
    own = {
        "var/lib/solderwatch/inbox/a.png",
        "var/log/solderwatch/decisions.jsonl",
        "etc/systemd/system/solderwatch.service.d/override.conf",
    }
    for path in [program, *(root / name for name in own)]:
        path.parent.mkdir(parents=True)
        path.write_text("x", encoding="utf-8")
    result = install("--remove")
    assert result.returncode == 0, result.stderr
    assert files(root) == own | {str(CONFIG), "etc/logrotate.d/solderwatch"}


def test_purge_leaves_nothing(install: Install, root: Path) -> None:
    """--remove --purge deletes the configuration and the data too, and nothing that belongs to others."""
    install("--gpu", "--training", systemd="253")
    image = root / "var/lib/solderwatch/inbox/a.png"
    neighbour = root / "var/lib/other/kept"
    for path in (image, neighbour):
        path.parent.mkdir(parents=True)
        path.write_text("x", encoding="utf-8")
    result = install("--remove", "--purge")
    assert result.returncode == 0, result.stderr
    assert files(root) == {"var/lib/other/kept"}


def test_removing_twice_is_fine(install: Install, root: Path) -> None:
    """Where nothing is installed, --remove has nothing to do and succeeds."""
    assert install("--remove").returncode == 0
    assert not root.exists()


@pytest.mark.parametrize(
    "options",
    [["--bogus"], ["gpu"], ["--wheels"], ["--wheels", "/nowhere"], ["--purge"], ["--remove", "--gpu"]],
    ids=" ".join,
)
def test_a_wrong_command_line_is_one_line(install: Install, root: Path, options: list[str]) -> None:
    """A mistake on the command line exits 2 with one line, and nothing is installed."""
    result = install(*options)
    assert result.returncode == 2
    assert result.stderr.startswith("install.sh: ")
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""
    assert not root.exists()


def test_without_root_it_says_so(install: Install) -> None:
    """Somebody who forgot sudo is told in one line."""
    result = install(destdir="")
    assert result.returncode == 1
    assert "needs root" in result.stderr
    assert result.stderr.count("\n") == 1


def test_help_names_every_option(install: Install, root: Path) -> None:
    """--help tells each option and changes nothing."""
    result = install("--help")
    assert result.returncode == 0
    options = ["--gpu", "--training", "--review", "--wheels", "--remove", "--purge"]
    for word in [*options, "PYTHON", "DESTDIR", "Exit codes"]:
        assert word in result.stdout
    assert not root.exists()


@pytest.mark.parametrize("lock", ["line.txt", "training.txt"])
def test_locks_hold_what_builds_the_project(lock: str) -> None:
    """The installer builds the project with the lock's setuptools: nothing is fetched unhashed."""
    lines = (REPO / "requirements" / lock).read_text(encoding="utf-8").splitlines()
    assert any(line.startswith("setuptools==") for line in lines)


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
def test_installer_passes_shellcheck() -> None:
    """The installer has no known shell mistake."""
    result = subprocess.run(["shellcheck", INSTALLER], check=False, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stdout
