"""What `solderwatch-replay` promises on the command line: quick answers, honest exit codes, no tracebacks."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("ray", reason="Ray is not installed")

from replay.__main__ import main

HEAVY = {"torch", "numpy", "pyarrow", "ray", "scipy", "PIL"}
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}


def run(folder: Path, *arguments: str) -> tuple[int, str, set[str]]:
    """Run the command in a folder until it ends; its exit code, what it said, and what it imported."""
    command = [sys.executable, "-X", "importtime", "-m", "replay", *arguments]
    ended = subprocess.run(
        command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, timeout=120, check=False
    )
    imported = {name.split(".")[0] for name in re.findall(r"^import time:.*\| +(\S+)$", ended.stderr, re.MULTILINE)}
    return ended.returncode, ended.stdout + re.sub(r"^import time:.*\n", "", ended.stderr, flags=re.MULTILINE), imported


def test_answers_without_torch(tmp_path: Path) -> None:
    """Help and mistakes are answered before anything heavy loads."""
    for arguments, expected, told in (
        (["--help"], 0, "exit codes"),
        (["--out", "out"], 2, r"config\.yaml: no such file"),
    ):
        code, said, imported = run(tmp_path, *arguments)
        assert code == expected
        assert re.search(told, said)
        assert "argparse" in imported
        assert not imported & HEAVY


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["a", "--since", "2026-01-01"], "--since: asks the ledger"),
        (["a", "--product", "QFN"], "no product 'QFN'; the products are BGA"),
        (["nowhere", "--product", "BGA"], "no model there"),
    ],
)
def test_what_cannot_be_done_is_told(
    line: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], told: str
) -> None:
    """Each with exit code 2, and nothing is begun."""
    (line / "config.yaml").write_text("device: cpu\nproducts: {BGA: {match: x}}\n", "utf-8")
    (line / "models" / "current").unlink()
    out = line / "out"
    assert main([*arguments, "--out", str(out), "--config", str(line / "config.yaml")]) == 2
    assert told in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize(
    ("option", "value"), [("--since", "last week"), ("--actors", "0"), ("--gpus", "half"), ("--pick", "best")]
)
def test_a_wrong_value_is_told(capsys: pytest.CaptureFixture[str], option: str, value: str) -> None:
    """With what could be written instead."""
    with pytest.raises(SystemExit) as ended:
        main(["--out", "out", option, value])
    assert ended.value.code == 2
    assert value in capsys.readouterr().err
