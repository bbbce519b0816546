"""What a line PC must have installed, and what answers before torch is imported."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

needs_openvino = pytest.mark.skipif(find_spec("openvino") is None, reason="OpenVINO is not installed")
TRAINING_ONLY = [
    "training", "simulator", "sklearn", "scipy", "matplotlib", "jinja2", "tqdm", "replay", "ray", "pyarrow",
]  # fmt: skip


def _python(code: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], cwd=cwd, capture_output=True, text=True, check=False)


def test_the_daemon_runs_where_training_packages_are_not_installed(line: Path) -> None:
    """The daemon judges an image although every training-only module refuses to be imported."""
    image = next((line / "models" / "current" / "golden").iterdir())
    inbox = line / "data" / "inbox"
    inbox.mkdir(parents=True)
    (inbox / "joint.png").write_bytes(image.read_bytes())
    code = f"""
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition('.')[0] in {TRAINING_ONLY}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Absent())
from daemon.__main__ import main
assert main(["check"]) == 0
assert main(["run", "--once"]) == 0
"""
    done = _python(code, line)
    assert done.returncode == 0, done.stderr
    assert len(list((line / "data").glob("*io/joint.png"))) == 1


def test_importing_the_whole_daemon_imports_no_training_module(tmp_path: Path) -> None:
    """All modules of the daemon together pull in nothing that only training needs, beyond what torch does by itself."""
    code = """
import sys, torch, torchcam.methods
before = set(sys.modules)
import pkgutil, importlib, daemon
for module in pkgutil.walk_packages(daemon.__path__, "daemon."):
    importlib.import_module(module.name)
print(*sorted({name.partition(".")[0] for name in set(sys.modules) - before}))
"""
    done = _python(code, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "daemon" in done.stdout.split()
    assert set(TRAINING_ONLY).isdisjoint(done.stdout.split())


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(["--help"], 0), (["--version"], 0), (["run", "--help"], 0), (["run", "--config", "wrong.yaml"], 2), ([], 2)],
)
def test_help_and_configuration_errors_do_not_wait_for_torch(arguments: list[str], code: int, tmp_path: Path) -> None:
    """Help, version, and a wrong configuration are answered without importing anything that takes long."""
    (tmp_path / "wrong.yaml").write_text("inbox: {scan: 3}\n", encoding="utf-8")
    done = _python(
        f"import sys\nfrom daemon.__main__ import main\n"
        f"try: code = main({arguments})\nexcept SystemExit as end: code = end.code\n"
        f"assert not {{'torch', 'openvino', 'numpy', 'PIL'}} & set(sys.modules)\nsys.exit(code)",
        tmp_path,
    )
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("runtime", ["torch", pytest.param("openvino", marks=needs_openvino)])
def test_only_what_judges_is_imported(runtime: str, line: Path) -> None:
    """With the default map no torchcam, torchvision or compiler is waited for, and OpenVINO only where it judges."""
    (line / "config.yaml").write_text(f"device: cpu\nruntime: {runtime}\n", encoding="utf-8")
    inbox = line / "data" / "inbox"
    inbox.mkdir(parents=True)
    image = next((line / "models" / "current" / "golden").iterdir())
    (inbox / "joint.png").write_bytes(image.read_bytes())
    code = f"""
import sys
from daemon.__main__ import main
assert main(["run", "--once"]) == 0
assert not {{"torchcam", "torchvision", "torch._dynamo", "triton"}} & set(sys.modules)
assert ("openvino" in sys.modules) == {runtime == "openvino"}
"""
    done = _python(code, line)
    assert done.returncode == 0, done.stderr
    log = [json.loads(line) for line in (line / "logs" / "decisions.jsonl").read_text(encoding="utf-8").splitlines()]
    (loaded,) = [event for event in log if event["event"] == "model_loaded"]
    assert (loaded["runtime"], loaded["why"]) == (runtime, "asked for")
    (decision,) = [event for event in log if event["event"] == "decision"]
    assert decision["runtime"] == runtime


def test_a_runtime_that_is_not_there_is_told_at_once(line: Path) -> None:
    """With `runtime: openvino` where it is not installed the daemon does not start: one line, exit code 2."""
    (line / "config.yaml").write_text("device: cpu\nruntime: openvino\n", encoding="utf-8")
    code = """
import sys
from inspection import runtime
runtime._installed = lambda: False
from daemon.__main__ import main
sys.exit(main(["run", "--once"]))
"""
    done = _python(code, line)
    assert done.returncode == 2, done.stderr
    assert "runtime: openvino: not installed" in done.stderr
    assert "Traceback" not in done.stderr
