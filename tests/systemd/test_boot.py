"""The service under a real systemd: a machine of its own, booted with systemd-nspawn, installed by the real installer.

The machine has this computer's /usr and the packages that this test runs on, all read-only; the rest of it is memory.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

REPO = Path(__file__).parents[2]
CONFIG = "etc/solderwatch/config.yaml"
DATA = "var/lib/solderwatch"
OVERRIDE = "etc/systemd/system/{}.service.d/override.conf"
TINY_TRAINING = {
    "image_size": 48,
    "epochs": 2,
    "learning_rate": 0.005,
    "batch_size": 16,
    "unseen": {"io": 4, "nio": 4},
}
START_TIMEOUT_S = 12
CAP_LEASE = 1 << 28

PYTHON = """\
#!/bin/sh
# A Python whose venvs come with the pip below.
set -e
if [ "$1 $2" != "-m venv" ]; then exec /srv/python/bin/python3.11 "$@"; fi
/srv/python/bin/python3.11 -m venv --without-pip "$3"
cp /srv/stand-in/pip.py "$3/lib/python3.11/site-packages/"
echo /srv/packages >"$3/lib/python3.11/site-packages/packages.pth"
"""
PIP = '''\
"""Installs the project as pip does, without a network; the packages that it needs are there already."""

import shutil
import sys
import sysconfig
import tomllib
from pathlib import Path

if "--requirement" not in sys.argv:
    project = Path(sys.argv[-1])
    for package in project.glob("*/"):
        shutil.copytree(package, Path(sysconfig.get_path("purelib"), package.name))
    scripts = tomllib.loads((project / "pyproject.toml").read_text())["project"]["scripts"]
    for name, entry in scripts.items():
        module, function = entry.split(":")
        script = Path(sysconfig.get_path("scripts"), name)
        code = f"import sys\\nfrom {module} import {function}\\nsys.exit({function}())\\n"
        script.write_text(f"#!{sys.executable}\\n{code}")
        script.chmod(0o755)
'''


def _missing() -> str:
    """Why no machine can be booted here; empty where one can."""
    if os.geteuid() != 0:
        return "booting a machine needs root"
    if sys.version_info[:2] != (3, 11):
        return "the installer wants Python 3.11"
    missing = [program for program in ("systemd-nspawn", "nsenter", "setpriv", "runuser") if not shutil.which(program)]
    return f"{', '.join(missing)} not installed" if missing else ""


pytestmark = pytest.mark.skipif(bool(_missing()), reason=_missing())


class Machine:
    """A booted machine, seen from outside.

    Args:
        leader: The process id that its first process has out here.
    """

    def __init__(self, leader: int) -> None:
        self.leader = leader
        self.root = Path(f"/proc/{leader}/root")

    def run(self, *command: str, data: bytes = b"", check: bool = True) -> str:
        """Run a command in there, as root; what it printed."""
        namespaces = ["--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--root", "--wd"]
        done = subprocess.run(
            ["nsenter", "--target", str(self.leader), *namespaces, "--", *command],
            input=data,
            env={"PATH": "/usr/sbin:/usr/bin", "PYTHON": "/srv/stand-in/python3.11"},
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=120,
        )
        output = done.stdout.decode(errors="replace")
        if check and done.returncode:
            raise AssertionError(f"{' '.join(command)}: {done.returncode}\n{output}\n{self.told()}")
        return output

    def install(self, *options: str) -> str:
        """Run the real installer in there; what it said."""
        return self.run("/srv/checkout/systemd/install.sh", *options)

    def show(self, name: str) -> str:
        """One property of the service."""
        return self.run("systemctl", "show", "--value", f"--property={name}", "solderwatch.service").strip()

    def counted(self) -> int:
        """How many images the status line counts; the service must be watching."""
        counts = re.fullmatch(r"watching; (\d+) io, (\d+) nio, (\d+) quarantine", self.show("StatusText"))
        assert counts, self.show("StatusText")
        return sum(map(int, counts.groups()))

    def told(self) -> str:
        """The end of the services' journal."""
        return self.run("journalctl", "--no-pager", "--lines=200", "--unit=solderwatch*", check=False)

    def lines(self) -> list[str]:
        """What the service itself has written to the journal so far."""
        text = self.run("journalctl", "--output=json", "_SYSTEMD_UNIT=solderwatch.service", "_TRANSPORT=stdout")
        return [json.loads(line)["MESSAGE"] for line in text.splitlines() if line.startswith("{")]

    def events(self, name: str) -> list[dict[str, Any]]:
        """The service's JSON lines of one kind, from the journal."""
        found = [json.loads(line) for line in self.lines() if line.startswith("{")]
        return [event for event in found if event["event"] == name]

    def wait(self, what: Callable[[], bool], seconds: float = 60) -> None:
        """Wait until something is so."""
        end = time.monotonic() + seconds
        while not what():
            assert time.monotonic() < end, self.told()
            time.sleep(0.1)

    def write(self, path: str, text: str) -> None:
        """Write a file in there."""
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text, encoding="utf-8")

    def configure(self, **changes: Any) -> None:
        """Change sections of the installed configuration."""
        config = yaml.safe_load((self.root / CONFIG).read_text(encoding="utf-8"))
        for section, values in changes.items():
            config[section] = config[section] | values if isinstance(values, dict) else values
        self.write(CONFIG, yaml.safe_dump(config))

    def override(self, unit: str, *settings: str) -> None:
        """Change a unit as `systemctl edit` does."""
        self.write(OVERRIDE.format(unit), "\n".join(["[Service]", "Environment=OMP_NUM_THREADS=1", *settings, ""]))
        self.run("systemctl", "daemon-reload")

    def drop(self, image: Path, name: str) -> None:
        """Write an image into the inbox as the X-ray machine does: its own user, of the group, with a strict umask."""
        group = str((self.root / DATA / "inbox").stat().st_gid)
        write = 'umask 077; mkdir -p "$(dirname "$1")"; cat >"$1"'
        user = ["setpriv", "--reuid=4711", "--regid=4711", f"--groups={group}", "--"]
        self.run(*user, "sh", "-c", write, "sh", f"/{DATA}/inbox/{name}", data=image.read_bytes())

    def decision(self, file: str) -> dict[str, Any]:
        """The decision about an image, once it is in the journal."""
        self.wait(lambda: any(event["file"] == file for event in self.events("decision")))
        return next(event for event in self.events("decision") if event["file"] == file)


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A booted machine on which nothing is installed yet."""
    folder = tmp_path_factory.mktemp("machine")
    (folder / "python3.11").write_text(PYTHON, encoding="utf-8")
    (folder / "python3.11").chmod(0o755)
    (folder / "pip.py").write_text(PIP, encoding="utf-8")
    name = f"solderwatch-{os.getpid()}"
    mounts = {
        "/srv/checkout": REPO,
        "/srv/packages": Path(np.__file__).parents[1],
        "/srv/python": Path(sys.base_prefix),
        "/srv/stand-in": folder,
        "/etc/alternatives": Path("/etc/alternatives"),
    }
    command = [
        *["setpriv", "--pdeathsig=TERM", "--"],
        *["systemd-nspawn", "--quiet", "--register=no", "--keep-unit", f"--machine={name}", "--directory=/"],
        *["--volatile=yes", "--tmpfs=/usr/local", "--private-network", "--console=pipe", "--notify-ready=yes"],
        *[f"--bind-ro={source}:{target}" for target, source in mounts.items() if source.exists()],
        *["--boot", "systemd.unit=basic.target", "systemd.condition_first_boot=no"],
    ]
    console = folder / "console"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel, console.open("wb") as output:
        channel.bind(str(folder / "notify"))
        channel.settimeout(1)
        nspawn = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=os.environ | {"NOTIFY_SOCKET": str(folder / "notify")},
        )
        try:
            booted = Machine(_leader(channel, nspawn, console))
            booted.write("etc/pam.d/runuser", "auth sufficient pam_rootok.so\nsession required pam_permit.so\n")
            booted.write("etc/ld.so.conf", "/srv/python/lib\n")
            booted.run("ldconfig")
            yield booted
        finally:
            nspawn.terminate()
            try:
                nspawn.wait(30)
            except subprocess.TimeoutExpired:
                nspawn.kill()
                nspawn.wait()
            # nspawn leaves this behind where /run is no tmpfs.
            with suppress(OSError):
                Path("/run/systemd/nspawn/propagate", name).rmdir()


def _leader(channel: socket.socket, nspawn: subprocess.Popen[bytes], console: Path) -> int:
    """Wait until the machine is up; the process id of its first process."""
    heard = ""
    end = time.monotonic() + 60
    # A channel left open and unread would fill up and stop nspawn.
    with channel:
        while "READY=1" not in heard:
            with suppress(TimeoutError):
                heard += channel.recv(4096).decode() + "\n"
            if nspawn.poll() is not None:
                pytest.skip(f"systemd-nspawn cannot boot a machine here: {console.read_text(errors='replace').strip()}")
            assert time.monotonic() < end, console.read_text(errors="replace")
    return int(heard.partition("X_NSPAWN_LEADER_PID=")[2].split()[0])


@pytest.fixture(scope="module")
def installed(machine: Machine, trained: Path) -> Machine:
    """The machine with a model, and with the service set to be quick."""
    if machine.show("LoadState") != "loaded":
        machine.install("--training")
    models = machine.root / DATA / "models"
    shutil.rmtree(models)
    shutil.copytree(trained / "models", models, symlinks=True)
    machine.run("chown", "-R", "solderwatch:solderwatch", f"/{DATA}/models")
    machine.configure(device="cpu", inbox={"scan_s": 0.3, "quiet_s": 0.5})
    machine.override("solderwatch", "RestartSec=100ms", "WatchdogSec=5s")
    machine.run("systemctl", "restart", "solderwatch.service")
    return machine


@pytest.fixture
def service(installed: Machine) -> Machine:
    """The machine with the service running."""
    installed.run("systemctl", "start", "solderwatch.service")
    return installed


@pytest.fixture
def config(service: Machine) -> Iterator[Path]:
    """The configuration file, put back as it was afterwards."""
    path = service.root / CONFIG
    text = path.read_text(encoding="utf-8")
    yield path
    path.write_text(text, encoding="utf-8")


@pytest.fixture
def images(trained: Path) -> dict[str, list[Path]]:
    """Labelled images that the model can tell apart."""
    return {label: sorted((trained / "dataset" / label).iterdir()) for label in ("io", "nio")}


def test_a_first_installation_waits_for_its_first_model(
    machine: Machine, images: dict[str, list[Path]], write_labelled: Callable[..., None]
) -> None:
    """Without a model the service is neither READY nor given up, and says why; the first training makes it READY."""
    machine.override("solderwatch-train")
    machine.override("solderwatch", f"TimeoutStartSec={START_TIMEOUT_S}")
    said = machine.install("--training")
    assert "systemctl start solderwatch-train" in said
    assert "is running" not in said
    assert machine.run("systemctl", "is-enabled", "solderwatch.service").strip() == "enabled"
    machine.drop(images["nio"][0], "early.png")
    machine.wait(lambda: "no model" in machine.show("StatusText"))
    process = machine.show("MainPID")
    started = int(machine.show("ExecMainStartTimestampMonotonic")) / 1e6
    machine.wait(lambda: time.monotonic() > started + START_TIMEOUT_S + 1)
    assert machine.show("ActiveState") == "activating"
    assert (machine.root / DATA / "inbox" / "early.png").exists()

    write_labelled(machine.root / DATA / "dataset", io=60, nio=40)
    machine.configure(device="cpu", training=TINY_TRAINING)
    machine.run("systemctl", "start", "solderwatch-train.service")
    machine.wait(lambda: machine.show("ActiveState") == "active")
    assert machine.show("MainPID") == process
    card = json.loads((machine.root / DATA / "models" / "current" / "model.json").read_text(encoding="utf-8"))
    assert machine.decision("early.png")["model"] == card["model_id"]


def test_the_running_daemon_is_confined(service: Machine) -> None:
    """The READY process has its own user, one capability, a system call filter, no network, and only its folders."""
    assert service.show("ActiveState") == "active"
    assert service.show("SubState") == "running"
    process = service.show("MainPID")
    fields = [line.split(":", 1) for line in service.run("cat", f"/proc/{process}/status").splitlines()]
    status = {key: value.strip() for key, value in fields}
    assert status["Uid"].split()[0] == str((service.root / DATA).stat().st_uid) != "0"
    assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == CAP_LEASE
    assert (status["Seccomp"], status["NoNewPrivs"]) == ("2", "1")
    assert service.run("readlink", f"/proc/{process}/ns/net") != service.run("readlink", "/proc/1/ns/net")
    inside = ["nsenter", f"--target={process}", "--mount", "--"]
    for folder in ("/opt/solderwatch", "/var/lib", "/srv"):
        assert "Read-only file system" in service.run(*inside, "touch", f"{folder}/x", check=False)
    service.run(*inside, "test", "-w", f"/{DATA}/inbox")


@pytest.mark.parametrize(
    ("name", "escaped"),
    [("joint.png", "joint.png"), ("lot 7/new\nline \x1b[31m.png", r"lot 7/new\nline \x1b[31m.png")],
    ids=["plain", "hostile"],
)
def test_an_image_is_judged_in_the_sandbox(
    service: Machine, images: dict[str, list[Path]], name: str, escaped: str
) -> None:
    """What the machine's own user drops, by whatever name, is filed whole with its sidecars, for the group to take."""
    before = service.counted()
    service.drop(images["nio"][1], name)
    decision = service.decision(escaped)
    place = service.root / DATA / decision["verdict"] / name
    assert place.read_bytes() == images["nio"][1].read_bytes()
    sidecar = json.loads(place.with_name(place.name + ".json").read_text(encoding="utf-8"))
    assert {key: decision[key] for key in sidecar} == sidecar
    for suffix in ("", ".json", ".cam.png"):
        found = place.with_name(place.name + suffix).stat()
        assert found.st_mode & 0o777 == 0o660
        assert found.st_gid == place.parent.stat().st_gid
    log = (service.root / "var/log/solderwatch/decisions.jsonl").read_text(encoding="utf-8")
    assert decision in [json.loads(line) for line in log.splitlines()]
    service.wait(lambda: service.counted() == before + 1)


def test_a_reload_takes_a_right_configuration_and_refuses_a_wrong_one(
    service: Machine, images: dict[str, list[Path]], config: Path
) -> None:
    """After `systemctl reload` the next image is judged as the new file says; a mistake in it stops nothing."""
    process = service.show("MainPID")
    service.configure(cam={"method": "GradCAM"})
    service.run("systemctl", "reload", "solderwatch.service")
    service.wait(lambda: bool(service.events("reloaded")))
    config.write_text("inbox: {scan: 1}\n", encoding="utf-8")
    service.run("systemctl", "reload", "solderwatch.service")
    service.wait(lambda: bool(service.events("reload_refused")))
    service.drop(images["nio"][2], "reloaded.png")
    assert service.decision("reloaded.png")["cam"]["method"] == "GradCAM"
    assert service.show("MainPID") == process


@pytest.mark.parametrize(
    ("signal", "verdict"), [("STOP", "Watchdog timeout"), ("KILL", "status=9/KILL")], ids=["hung", "killed"]
)
def test_a_daemon_that_hangs_or_dies_is_replaced(
    service: Machine, images: dict[str, list[Path]], signal: str, verdict: str
) -> None:
    """It is noticed without anybody's help, and a new one is started, which judges what arrived meanwhile."""
    process, restarts = service.show("MainPID"), int(service.show("NRestarts"))
    service.run("kill", f"-{signal}", process)
    service.drop(images["io"][0], f"{signal}.png")
    service.decision(f"{signal}.png")
    assert int(service.show("NRestarts")) == restarts + 1
    assert service.show("MainPID") != process
    assert verdict in service.told()


def test_a_stop_is_quick_and_the_rest_is_judged_after_the_next_start(
    service: Machine, images: dict[str, list[Path]]
) -> None:
    """With hundreds of images waiting, a stop takes at most ten seconds and succeeds; later each is filed once."""
    names = [f"backlog{index:03d}.png" for index in range(300)]

    def filed() -> list[str]:
        return sorted(path.name for path in (service.root / DATA).glob("*io/backlog???.png"))

    for index, name in enumerate(names):
        shutil.copyfile(images["io"][index % 60], service.root / DATA / "inbox" / name)
    service.wait(lambda: bool(filed()))
    asked = time.monotonic()
    service.run("systemctl", "stop", "solderwatch.service")
    assert time.monotonic() - asked < 10
    assert (service.show("Result"), service.show("ExecMainStatus")) == ("success", "0")
    assert len(filed()) < 250
    service.run("systemctl", "start", "solderwatch.service")
    service.wait(lambda: filed() == names)
    decided = [event["file"] for event in service.events("decision") if event["file"].startswith("backlog")]
    assert sorted(decided) == names


def test_a_wrong_configuration_is_said_once(service: Machine, config: Path) -> None:
    """The service ends with 2 and one clear line, is not started over and over, and is there to be seen as failed."""
    before = len(service.lines())
    config.write_text("inbox: {scan: 1}\n", encoding="utf-8")
    service.run("systemctl", "restart", "solderwatch.service", check=False)
    time.sleep(1)
    found = [service.show(name) for name in ("ActiveState", "Result", "ExecMainStatus", "NRestarts")]
    assert found == ["failed", "exit-code", "2", "0"]
    (line,) = [line for line in service.lines()[before:] if not line.startswith("{")]
    assert line.startswith("solderwatch: /etc/solderwatch/config.yaml: inbox.scan")


def test_an_upgrade_keeps_what_is_yours(service: Machine, images: dict[str, list[Path]]) -> None:
    """Installing again starts the service anew and keeps configuration, own settings of the unit, and images."""
    process = service.show("MainPID")
    mine = {path: (service.root / path).read_bytes() for path in (CONFIG, OVERRIDE.format("solderwatch"))}
    service.drop(images["io"][1], "upgrade.png")
    said = service.install("--training")
    assert "solderwatch is running" in said
    assert service.show("ActiveState") == "active"
    assert service.show("MainPID") != process
    assert {path: (service.root / path).read_bytes() for path in mine} == mine
    service.decision("upgrade.png")


def test_an_upgrade_that_fails_leaves_the_line_judging(
    service: Machine, images: dict[str, list[Path]], config: Path
) -> None:
    """With a mistake in the configuration the installer says so and fails; the daemon that ran goes on as before."""
    process = service.show("MainPID")
    config.write_text("inbox: {scan: 1}\n", encoding="utf-8")
    with pytest.raises(AssertionError, match="not started"):
        service.install("--training")
    service.drop(images["io"][3], "undisturbed.png")
    service.decision("undisturbed.png")
    assert service.show("MainPID") == process


def test_removing_keeps_the_images(service: Machine, images: dict[str, list[Path]]) -> None:
    """--remove ends the service, takes program and units away, leaves every image, and leaves nothing failed."""
    service.drop(images["io"][2], "last.png")
    verdict = service.decision("last.png")["verdict"]
    service.install("--remove")
    assert service.show("LoadState") == "not-found"
    assert not (service.root / "opt/solderwatch").exists()
    assert (service.root / DATA / verdict / "last.png").read_bytes() == images["io"][2].read_bytes()
    assert (service.root / CONFIG).exists()
    assert service.run("systemctl", "--failed", "--plain", "--no-legend") == ""
    assert service.run("pgrep", "--uid", "solderwatch", check=False) == ""
