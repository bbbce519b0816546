"""What `solderwatch-train` promises on the command line: quick answers, honest exit codes, no tracebacks."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from training.__main__ import main

HEAVY = {"torch", "torchvision", "torchcam", "numpy", "matplotlib", "sklearn", "scipy", "PIL"}
COMMAND = [sys.executable, "-m", "training"]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).resolve().parents[2])}


def run(folder: Path, *arguments: str, options: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """Run the command in a folder until it ends."""
    command = [sys.executable, *options, "-m", "training", *arguments]
    return subprocess.run(
        command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.mark.parametrize(
    ("arguments", "config", "code", "told"),
    [
        (["--help"], None, 0, r"rollback"),
        (["--version"], None, 0, r"^solderwatch-train \d+\.\d+"),
        ([], None, 2, r"config\.yaml: no such file; .*--config"),
        (["--config", "other.yaml"], None, 2, r"other\.yaml: no such file"),
        ([], "training: {epoch: 3}\n", 2, r"config\.yaml: training\.epoch: .*'epochs'"),
        ([], "training: [\n", 2, r"not valid YAML"),
        (["rollback"], "training: {epochs: 0}\n", 2, r"training\.epochs: 0"),
        (["retrain"], "", 2, r"invalid choice: 'retrain'"),
        (["history", "--force"], "", 2, r"--force goes with refresh"),
    ],
    ids=[
        *("help", "version", "no config", "no such config", "misspelt", "no yaml", "bad value", "no such command"),
        "misplaced force",
    ],
)
def test_answers_without_torch(tmp_path: Path, arguments: list[str], config: str | None, code: int, told: str) -> None:
    """Help, version and every mistake in command line or configuration are answered before anything heavy loads."""
    if config is not None:
        (tmp_path / "config.yaml").write_text(config, encoding="utf-8")
    ended = run(tmp_path, *arguments, options=("-X", "importtime"))
    imported = {name.split(".")[0] for name in re.findall(r"^import time:.*\| +(\S+)$", ended.stderr, re.MULTILINE)}
    said = ended.stdout + re.sub(r"^import time:.*\n", "", ended.stderr, flags=re.MULTILINE)
    assert ended.returncode == code
    assert re.search(told, said, re.MULTILINE)
    assert "Traceback" not in said
    assert "argparse" in imported
    assert not imported & HEAVY


def test_every_mistake_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All mistakes of a configuration are told in one go."""
    config = tmp_path / "config.yaml"
    config.write_text("training: {epochs: 0, unseen: {io: -1}}\ndevices: cpu\n", encoding="utf-8")
    assert main(["--config", str(config)]) == 2
    told = capsys.readouterr().err
    assert all(key in told for key in ("training.epochs", "training.unseen.io", "devices"))


def test_missing_dataset(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without labelled folders it exits with 1 and one line that says where they belong; no model is made."""
    config = tmp_path / "config.yaml"
    config.write_text("device: cpu\n", encoding="utf-8")
    assert main(["--config", str(config)]) == 1
    told = capsys.readouterr().err
    assert len(told.splitlines()) == 1
    assert str(tmp_path / "dataset" / "io") in told
    assert not list(tmp_path.glob("models/*/"))


def test_rollback(tmp_path: Path, untrained_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`rollback` says in one line which model is in use now; a second one undoes it."""
    line = tmp_path / "line"
    for name in ("old", "new"):
        shutil.copytree(untrained_model, line / "models" / name)
    (line / "models" / "current").symlink_to("new")
    (line / "models" / "previous").symlink_to("old")
    (line / "config.yaml").touch()
    ended = run(line, "rollback")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout == f"in use now: {line / 'models' / 'old'}\n"
    assert (line / "models" / "current").readlink() == Path("old")
    assert main(["rollback", "--config", str(line / "config.yaml")]) == 0
    assert capsys.readouterr().out == f"in use now: {line / 'models' / 'new'}\n"


def test_rollback_without_a_previous_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With nothing to go back to, `rollback` exits with 1 and one line."""
    config = tmp_path / "config.yaml"
    config.touch()
    assert main(["rollback", "--config", str(config)]) == 1
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "no previous model" in told


def test_stopped_before_the_first_epoch(tmp_path: Path, write_labelled: Callable[..., None]) -> None:
    """Ctrl-C before there is anything to keep exits with 1, says so in one line, and writes no model."""
    # Large images: an epoch takes seconds.
    options = "image_size: 256, unseen: {io: 0, nio: 0}"
    (tmp_path / "config.yaml").write_text(f"device: cpu\ntraining: {{{options}}}\n", encoding="utf-8")
    write_labelled(tmp_path / "dataset", io=40, nio=40)
    pipe = subprocess.PIPE
    with subprocess.Popen(COMMAND, cwd=tmp_path, env=ENVIRONMENT, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdout
        assert process.stderr
        for line in process.stdout:
            if line.startswith("==> fit"):
                process.send_signal(signal.SIGINT)
                break
        process.stdout.read()
        told = process.stderr.read()
    assert process.returncode == 1
    last = "stopped by hand; models/current is as it was; the next run goes on after the last epoch"
    assert told.splitlines()[-1] == f"solderwatch-train: {last}"
    assert "Traceback" not in told
    assert not list(tmp_path.glob("models/*/"))
