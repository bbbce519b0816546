"""The wheel, installed where no checkout is near: what a line PC gets. The packages that it needs are this venv's."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import time
import tomllib
import urllib.request
import venv
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from socket import socket
from typing import Any

import numpy as np
import pytest
from PIL import Image

REPO = Path(__file__).parents[1]
with (REPO / "pyproject.toml").open("rb") as file:
    PROJECT: dict[str, Any] = tomllib.load(file)
SCRIPTS = sorted(PROJECT["project"]["scripts"])
PARTS = {package.split(".")[0] for package in PROJECT["tool"]["setuptools"]["packages"]}
SOURCES = {*PARTS, "systemd", "requirements", "docs", "config.yaml", "pyproject.toml", "README.md", "LICENSE"}
LOCKS = [f"requirements/{name}.txt" for name in ("line", "review", "training")]
PIP = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]


@dataclass(frozen=True)
class Installed:
    """An installed wheel."""

    wheel: Path
    programs: Path

    def run(self, program: str, *arguments: str, cwd: Path, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run one of its programs, in a folder that is not the checkout's."""
        return subprocess.run(
            [self.programs / program, *arguments], cwd=cwd, check=check, capture_output=True, text=True, timeout=120
        )


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """The wheel of this checkout, built as `make wheel` does, in a venv that has this one's packages."""
    folder = tmp_path_factory.mktemp("wheel")
    (folder / "source").mkdir()
    for name in SOURCES:
        copy: Callable[..., Any] = shutil.copytree if (REPO / name).is_dir() else shutil.copy
        copy(REPO / name, folder / "source" / name)
    options = ["--no-deps", "--no-index"]
    subprocess.run(
        [*PIP, "wheel", *options, "--no-build-isolation", "--wheel-dir", folder, folder / "source"], check=True
    )
    (wheel,) = folder.glob("*.whl")
    venv.create(folder / "venv")
    python = folder / "venv" / "bin" / "python"
    subprocess.run([*PIP, "--python", python, "install", *options, wheel], check=True)
    own = folder / "venv" / "lib" / f"python3.{sys.version_info.minor}" / "site-packages"
    # Files of its kind in there are not obeyed: the checkout's own stays out.
    (own / "others.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")
    return Installed(wheel, python.parent)


def test_all_that_is_no_code_is_in_the_wheel(installed: Installed) -> None:
    """The page, the reports, and what the installer puts on a line PC; as text, not as links that lead out of it."""
    shipped = {name: REPO / name for name in (*_below("systemd"), *LOCKS, "config.yaml")}
    shipped["board.schema.json"] = REPO / "docs" / "board.schema.json"
    with zipfile.ZipFile(installed.wheel) as wheel:
        names = wheel.namelist()
        for name, source in shipped.items():
            assert wheel.read(f"settings/shipped/{name}") == source.read_bytes(), name
    for folder in ("replay/templates", "review/page/templates", "review/page/static", "training/proof/templates"):
        assert set(_below(folder)) <= set(names)
    assert not [name for name in names if name.startswith(("tests", "demo", "benchmarks"))]


def _below(folder: str) -> list[str]:
    files = (path for path in (REPO / folder).rglob("*") if path.is_file())
    return [path.relative_to(REPO).as_posix() for path in files]


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_program_answers(installed: Installed, tmp_path: Path, script: str) -> None:
    """Each program says its help."""
    assert installed.run(script, "--help", cwd=tmp_path).stdout.startswith(f"usage: {script}")


def test_it_runs_from_the_wheel(installed: Installed, tmp_path: Path) -> None:
    """No module is the checkout's."""
    code = f"import {', '.join(sorted(PARTS))}, sys; print(*(sys.modules[name].__file__ for name in {sorted(PARTS)}))"
    found = installed.run("python", "-c", code, cwd=tmp_path).stdout.split()
    assert len(found) == len(PARTS)
    assert all(Path(path).is_relative_to(installed.programs.parent) for path in found)


def test_a_line_runs(
    installed: Installed, tmp_path: Path, untrained_model: Path, draw_disc: Callable[..., np.ndarray[Any, Any]]
) -> None:
    """It judges what is in the inbox, and puts away what is no image."""
    (tmp_path / "models" / "current").symlink_to(untrained_model.name)
    (tmp_path / "config.yaml").write_text("device: cpu\nruntime: torch\ninbox: {quiet_s: 0.2, scan_s: 0.1}\n")
    inbox = tmp_path / "data" / "inbox"
    inbox.mkdir(parents=True)
    Image.fromarray(draw_disc(np.random.default_rng(0), void=False)).save(inbox / "a.png")
    (inbox / "b.png").write_text("no image")
    assert "problem" not in installed.run("solderwatch", "check", cwd=tmp_path).stdout
    installed.run("solderwatch", "run", "--once", cwd=tmp_path)
    filed = {path.relative_to(tmp_path / "data").as_posix() for path in (tmp_path / "data").rglob("*.png")}
    assert "quarantine/b.png" in filed
    assert {"io/a.png", "nio/a.png"} & filed


def test_the_page_has_its_files(installed: Installed, tmp_path: Path) -> None:
    """The operator's page answers, and brings its scripts and styles."""
    (tmp_path / "config.yaml").touch()
    with socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(installed.programs / "solderwatch-review"), "--port", str(port)]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE) as page:
        assert page.stdout
        page.stdout.readline()
        try:
            for path in ("/", *(f"/static/{Path(name).name}" for name in _below("review/page/static"))):
                assert _asked(f"http://127.0.0.1:{port}{path}")
        finally:
            page.terminate()


def _asked(url: str) -> bytes:
    for _ in range(100):
        try:
            with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310
                content: bytes = answer.read()
                return content
        except ConnectionRefusedError:
            pass
        except urllib.error.URLError as error:
            if not isinstance(error.reason, ConnectionRefusedError):
                raise
        time.sleep(0.1)
    raise AssertionError(f"no answer: {url}")


def test_a_new_line_is_laid_out(installed: Installed, tmp_path: Path) -> None:
    """The shipped configuration is in the wheel."""
    installed.run("solderwatch", "init", "line", cwd=tmp_path)
    assert (tmp_path / "line" / "config.yaml").read_bytes() == (REPO / "config.yaml").read_bytes()


@pytest.mark.parametrize("package", ["training.proof", "replay"])
def test_reports_have_their_templates(installed: Installed, tmp_path: Path, package: str) -> None:
    """What the reports are made from is found beside the code."""
    code = f"import jinja2; print(*jinja2.PackageLoader({package!r}).list_templates())"
    assert installed.run("python", "-c", code, cwd=tmp_path).stdout.strip().endswith(".html")


def test_the_installer_needs_only_the_wheel(installed: Installed, tmp_path: Path) -> None:
    """Beside a wheel and nothing else it stages the same files as from a checkout."""
    shutil.copy(installed.wheel, tmp_path)
    shutil.copy(REPO / "systemd" / "install.sh", tmp_path)
    for installer, root in ((tmp_path / "install.sh", "wheel"), (REPO / "systemd" / "install.sh", "checkout")):
        environment = {**os.environ, "DESTDIR": str(tmp_path / root), "PYTHON": sys.executable}
        subprocess.run([installer, "--training", "--review"], env=environment, check=True, capture_output=True)
    assert _contents(tmp_path / "wheel") == _contents(tmp_path / "checkout")


def _contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_an_installer_without_anything_to_install_says_so(tmp_path: Path) -> None:
    """Copied away alone, or beside two wheels, it says in one line what is missing."""
    shutil.copy(REPO / "systemd" / "install.sh", tmp_path)

    def told() -> str:
        done = subprocess.run(
            [tmp_path / "install.sh"],
            env={**os.environ, "DESTDIR": str(tmp_path / "root")},
            check=False,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 1
        return done.stderr

    assert "no solderwatch-*.whl in" in told()
    for version in ("1", "2"):
        (tmp_path / f"solderwatch-{version}-py3-none-any.whl").touch()
    assert "several wheels" in told()
