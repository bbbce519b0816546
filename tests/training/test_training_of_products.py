"""What training promises a line with products: each has its own model, and none waits for another one's mistakes."""

from __future__ import annotations

import fcntl
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from training.__main__ import main

CONFIG = """\
device: cpu
training: {image_size: 32, epochs: 2, folds: 2, unseen: {io: 2, nio: 2}}
products:
  BGA64: {match: ^bga/}
  BROKEN: {match: ^broken/}
  QFN48: {match: ^qfn/, training: {required_recall: 0.9}}
"""


class Told(NamedTuple):
    """What a run of the command came to."""

    code: int
    out: str
    err: str

    def table(self) -> dict[str, list[str]]:
        """The cells that a product has in the table at the end."""
        rows = [re.split(r"  +", line) for line in self.out.split("==> products\n")[1].splitlines()]
        return {product: cells for product, *cells in rows}


Train = Callable[..., Told]


@pytest.fixture
def train(line: Path, capsys: pytest.CaptureFixture[str]) -> Train:
    """`train(arguments)`: `solderwatch-train` on the line."""

    def run(*arguments: str) -> Told:
        capsys.readouterr()
        code = main([*arguments, "--config", str(line / "config.yaml")])
        return Told(code, *capsys.readouterr())

    return run


@pytest.fixture
def line(tmp_path: Path) -> Path:
    """A folder with three products, of which none has images or a model yet."""
    (tmp_path / "config.yaml").write_text(CONFIG, encoding="utf-8")
    return tmp_path


def models(line: Path, product: str) -> list[str]:
    """The model folders of a product, the oldest first."""
    return sorted(path.name for path in (line / "models" / product).iterdir() if path.name[0].isdigit())


def card(line: Path, product: str) -> dict[str, Any]:
    """The card of the model in use."""
    content: dict[str, Any] = json.loads((line / "models" / product / "current" / "model.json").read_bytes())
    return content


def test_refresh_of_a_line(line: Path, train: Train, write_labelled: Callable[..., None]) -> None:
    """Each product gets a model from its own images; one that fails is told; only what changed is trained again."""
    write_labelled(line / "dataset" / "BGA64", io=24, nio=24)
    write_labelled(line / "dataset" / "QFN48", io=24, nio=24, seed=1)
    (line / "dataset" / "BROKEN" / "io").mkdir(parents=True)

    first = train()
    assert first.code == 1
    assert {product: cells[0] for product, cells in first.table().items() if product != "product"} == {
        "BGA64": "promoted",
        "BROKEN": "failed",
        "QFN48": "promoted",
    }
    assert first.table()["BROKEN"][1:] == ["none", "-", "-", "-"]
    assert first.err.count("solderwatch-train: ") == 1
    assert f"solderwatch-train: BROKEN: {line / 'dataset' / 'BROKEN' / 'io'}: no images" in first.err
    assert [models(line, "BGA64"), models(line, "BROKEN")] == [[card_folder(line, "BGA64")], []]
    assert first.table()["QFN48"][1] == card_folder(line, "QFN48")
    assert float(first.table()["QFN48"][2]) == pytest.approx(card(line, "QFN48")["threshold"], rel=1e-3)
    assert card(line, "QFN48")["certificate"]["required_recall"] == 0.9
    assert card(line, "BGA64")["certificate"]["required_recall"] == 0.99
    assert sorted(path.name for path in (line / "models").iterdir()) == ["BGA64", "BROKEN", "QFN48"]

    shutil.rmtree(line / "dataset" / "BROKEN")
    (line / "config.yaml").write_text(CONFIG.replace("  BROKEN: {match: ^broken/}\n", ""), encoding="utf-8")
    before = models(line, "BGA64")
    write_labelled(line / "dataset" / "QFN48" / "io", io=8, nio=0, seed=2)
    second = train("--force")
    assert second.code == 0
    assert second.table()["BGA64"] == ["unchanged", *first.table()["BGA64"][1:]]
    assert second.table()["QFN48"][0] == "promoted"
    assert models(line, "BGA64") == before
    assert len(models(line, "QFN48")) == 2

    back = train("rollback", "--product", "QFN48")
    assert (back.code, back.out) == (0, f"in use now: {line / 'models' / 'QFN48' / models(line, 'QFN48')[0]}\n")
    third = train()
    assert [cells[0] for cells in third.table().values()][1:] == ["unchanged", "unchanged"]
    assert third.table()["QFN48"][1] == models(line, "QFN48")[0]

    listed = train("history").out
    assert listed.index("BGA64:\n") < listed.index(before[0]) < listed.index("QFN48:\n")
    assert "BGA64" not in train("history", "--product", "QFN48").out


def card_folder(line: Path, product: str) -> str:
    """Where `current` leads."""
    return str((line / "models" / product / "current").readlink())


def test_named_products(line: Path, train: Train, write_labelled: Callable[..., None]) -> None:
    """A product that is named is trained though nothing changed, and no other is; a refusal by the gate is exit code 3.

    The newest model is what the images gave, whatever the gate said of it; not one that the gate never saw.
    """
    write_labelled(line / "dataset" / "QFN48", io=24, nio=24)
    first = train("--product", "QFN48", "--product", "QFN48")
    assert first.code == 0
    assert list(first.table()) == ["product", "QFN48"]
    used, weights = card_folder(line, "QFN48"), card(line, "QFN48")["weights_sha256"]

    # With another split the model in use has seen nearly all test images: the two cannot be compared.
    config = (line / "config.yaml").read_text(encoding="utf-8")
    (line / "config.yaml").write_text(config.replace("epochs: 2", "epochs: 1, seed: 1"), encoding="utf-8")
    refused = train("--product", "QFN48")
    assert refused.code == 3
    assert refused.table()["QFN48"][:2] == ["not promoted", used]
    assert "solderwatch-train: QFN48: trained, not promoted" in refused.err

    (line / "config.yaml").write_text(config, encoding="utf-8")
    unchanged = train()
    assert unchanged.table()["QFN48"][:2] == ["unchanged", used]
    assert unchanged.table()["BGA64"][0] == "failed"
    assert unchanged.code == 1

    (line / "models" / "QFN48" / models(line, "QFN48")[-1] / "gate.json").unlink()
    (line / "models" / "QFN48" / used / "gate.json").unlink()
    again = train("--force")
    assert again.table()["QFN48"][0] == "promoted"
    assert card(line, "QFN48")["weights_sha256"] == weights


def test_a_product_in_training_elsewhere(line: Path, train: Train) -> None:
    """Two trainings may be at work on one line, on two products: the lock is the product's."""
    (line / "models" / "QFN48").mkdir(parents=True)
    with (line / "models" / "QFN48" / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        told = train()
    assert told.code == 1
    assert re.search("QFN48: .*another solderwatch-train is at work there", told.err)
    assert re.search("BGA64: .*no such folder", told.err)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--product", "SOT23"], "no product 'SOT23'; the products are BGA64, BROKEN, QFN48"),
        (["rollback"], "rollback: say of which product, with --product: BGA64, BROKEN, QFN48"),
    ],
)
def test_which_product(train: Train, arguments: list[str], told: str) -> None:
    """A product that is not there, or one too few, is answered at once with those that there are."""
    ended = train(*arguments)
    assert (ended.code, ended.err.count("\n")) == (2, 1)
    assert told in ended.err


def test_without_products(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On a line without products nobody can name one."""
    (tmp_path / "config.yaml").touch()
    assert main(["--product", "QFN48", "--config", str(tmp_path / "config.yaml")]) == 2
    assert "there are no products" in capsys.readouterr().err
