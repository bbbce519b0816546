"""What runtimes promise: the same as torch to the last digits, or they are refused and it is said why."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from inspection import runtime
from inspection.errors import ConfigError, ModelError
from inspection.inspector import Inspection, Inspector
from inspection.model import Model, RuntimeProof, load
from inspection.runtime import Compiled, check_agreement, check_runtime, choose_runtime
from inspection.scorer import Findings, Look

CPU = torch.device("cpu")
RNG = np.random.default_rng(0)
MIXED = [RNG.random(shape, dtype=np.float32) for shape in ((40, 40), (8, 300), (300, 8), (64, 32), (512, 480))]
needs_openvino = pytest.mark.skipif(find_spec("openvino") is None, reason="OpenVINO is not installed")


@pytest.fixture
def model(untrained_model: Path) -> Model:
    """A model with random weights."""
    return load(untrained_model, CPU)


def inspectors(model: Model, method: str) -> tuple[Inspector, Inspector]:
    """One that judges with torch, and one that judges with OpenVINO."""
    compiled = Compiled(model)
    return (
        Inspector(model, method, only_last_conv=True),
        Inspector(model.twin(), method, only_last_conv=True, compiled=compiled),
    )


def assert_same(found: list[Inspection], expected: list[Inspection]) -> None:
    """The same verdicts, numbers and maps, but for the last digits."""
    for one, other in zip(found, expected, strict=True):
        assert (one.verdict.label, one.verdict.reason) == (other.verdict.label, other.verdict.reason)
        assert one.verdict.probability == pytest.approx(other.verdict.probability, rel=1e-4)
        assert one.verdict.novelty == pytest.approx(other.verdict.novelty, rel=1e-4)
        assert one.peak == pytest.approx(other.peak, rel=1e-3)
        np.testing.assert_allclose(one.evidence, other.evidence, atol=1e-3)


@needs_openvino
@pytest.mark.parametrize("method", ["ExcessCAM", "XGradCAM", "SmoothGradCAMpp"])
def test_openvino_finds_what_torch_finds(model: Model, method: str) -> None:
    """Images of all sizes, alone or in a batch, have the verdicts and maps that torch gives them."""
    with_torch, with_openvino = inspectors(model, method)
    assert (with_torch.runtime, with_openvino.runtime) == ("torch", "openvino")
    assert_same(with_openvino.inspect(MIXED), with_torch.inspect(MIXED))
    assert_same(with_openvino.inspect(MIXED[:1]), with_torch.inspect(MIXED[:1]))


@needs_openvino
def test_openvino_shows_what_is_strange(model: Model) -> None:
    """Unidentified images have the same residual: the decoder starts from the features that OpenVINO found."""
    model.network.head.linear.bias.copy_(torch.tensor([50.0, 0.0]))
    model.novelty.farthest.fill_(1e-6)
    with_torch, with_openvino = inspectors(model, "ExcessCAM")
    found = with_openvino.inspect(MIXED)
    assert {one.method for one in found} == {"residual"}
    assert_same(found, with_torch.inspect(MIXED))


@needs_openvino
@pytest.mark.parametrize("level", [np.nan, np.inf])
def test_no_number_is_nio_with_openvino(model: Model, level: float) -> None:
    """An image that is no number is never io, and its neighbours are judged as ever."""
    with_torch, with_openvino = inspectors(model, "ExcessCAM")
    images = [MIXED[0], np.full((40, 40), level, np.float32), MIXED[1]]
    found = with_openvino.inspect(images)
    assert (found[1].verdict.label, found[1].verdict.probability) == ("nio", None)
    assert_same(found[::2], with_torch.inspect(images)[::2])


@pytest.mark.parametrize("method", ["ExcessCAM", "XGradCAM", "SmoothGradCAMpp"])
@pytest.mark.parametrize("name", ["torch", pytest.param("openvino", marks=needs_openvino)])
def test_twins_judge_at_once(model: Model, method: str, name: str) -> None:
    """Threads with a twin each have the inspections that one has alone."""
    compiled = Compiled(model) if name == "openvino" else None
    inspector = Inspector(model, method, only_last_conv=True, compiled=compiled)
    expected = inspector.inspect(MIXED)
    twins = [inspector.twin() for _ in range(3)]

    def many(twin: Inspector) -> list[list[Inspection]]:
        return [[twin.inspect([image])[0] for image in MIXED] for _ in range(3)]

    with ThreadPoolExecutor(3) as pool:
        for rounds in pool.map(many, twins):
            for found in rounds:
                assert_same(found, expected)


def test_a_twin_costs_no_weights(model: Model) -> None:
    """A twin's weights are those of its model in memory, its modules are not: hooks see one thread only."""
    twin = model.twin()
    for one, other in zip(model.network.parameters(), twin.network.parameters(), strict=True):
        assert one.data_ptr() == other.data_ptr()
        assert not other.requires_grad
    assert not set(map(id, model.network.modules())) & set(map(id, twin.network.modules()))
    assert not any(module.training for module in twin.network.modules())
    images = model.batch(MIXED)
    assert torch.equal(twin.look(images).logits, model.look(images).logits)


class _Tampered:
    """Stands for a compiled model that computes something else."""

    def __init__(self, change: Callable[[Findings], Findings], name: str = "openvino") -> None:
        self._change, self.name = change, name

    def request(self, model: Model) -> Look:
        def look(images_N1SS: Tensor) -> Findings:
            return self._change(model.look(images_N1SS))

        return look


def _shifted(name: str, by: float | Tensor) -> Callable[[Findings], Findings]:
    return lambda found: found._replace(**{name: getattr(found, name) + by})


DIFFERENT = [
    pytest.param(_shifted(name, by), id=name)
    for name, by in (("logits", 0.1), ("novelty", 0.1), ("evidence", 0.01), ("features", 0.01))
]


@pytest.mark.parametrize("change", DIFFERENT)
def test_what_disagrees_is_refused(
    model: Model, untrained_model: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Findings], Findings]
) -> None:
    """Scores, maps or features that are not torch's: `auto` takes torch and says why, `openvino` is an error."""
    monkeypatch.setattr(runtime, "_installed", lambda: True)
    monkeypatch.setattr(runtime, "Compiled", lambda _model, _name: _Tampered(change))
    choice = choose_runtime("auto", model, untrained_model)
    assert choice.compiled is None
    assert "golden" in choice.refused["openvino"]
    with pytest.raises(ModelError, match=r"^runtime: openvino: .* set runtime: auto or torch$"):
        choose_runtime("openvino", model, untrained_model)


GOOD = RuntimeProof(version="1.0", images=100, changed=0, log_odds=0.02, way=0.3)
DOES_NOT_HOLD = [
    pytest.param({"changed": 1}, "1 of 100 verdicts changed", id="a verdict changed"),
    pytest.param({"way": 0.5}, "an image came at most 0.5 of its way", id="too near"),
]


def _with_proof(model: Model, proof: RuntimeProof | None, name: str = "openvino-bf16") -> Model:
    card = model.card.model_copy(update={"runtimes": {name: proof} if proof else {}})
    return replace(model, card=card)


@pytest.fixture
def half(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with bfloat16, whose log-odds are off by 0.01."""
    monkeypatch.setattr(runtime, "_installed", lambda: True)
    monkeypatch.setattr(runtime, "_has_half", lambda: True)
    monkeypatch.setattr(runtime, "library_version", lambda: "1.0")
    off = torch.tensor([0.0, 0.01])
    changes = {
        "openvino": lambda found: found,
        "openvino-bf16": lambda found: found._replace(logits=found.logits + off),
    }
    monkeypatch.setattr(runtime, "Compiled", lambda _model, name: _Tampered(changes[name], name))


@pytest.mark.usefixtures("half")
def test_half_precision_judges_where_that_is_proven(model: Model, untrained_model: Path) -> None:
    """With a proof that holds `auto` takes it and says what was proven; the golden samples may be as far off."""
    choice = choose_runtime("auto", _with_proof(model, GOOD), untrained_model)
    assert (choice.runtime, choice.refused) == ("openvino-bf16", {})
    assert choice.why == f"at the end of the training {GOOD}"
    assert choose_runtime("openvino", _with_proof(model, GOOD), untrained_model).runtime == "openvino"


@pytest.mark.usefixtures("half")
@pytest.mark.parametrize(("found", "why"), DOES_NOT_HOLD)
@pytest.mark.parametrize("name", ["openvino-bf16", "openvino"])
def test_what_did_not_judge_alike_is_refused(
    model: Model, untrained_model: Path, found: dict[str, Any], why: str, name: str
) -> None:
    """A proof that does not hold: `auto` takes another runtime and says why; asked for, it is one clear error."""
    failed = _with_proof(model, GOOD.model_copy(update=found), name)
    choice = choose_runtime("auto", failed, untrained_model)
    assert choice.runtime == ("openvino" if name == "openvino-bf16" else "torch")
    assert why in choice.refused[name]
    with pytest.raises(ModelError, match=rf"^runtime: {name}: at the end of .* training .*{why}.*set runtime"):
        choose_runtime(name, failed, untrained_model)


@pytest.mark.usefixtures("half")
@pytest.mark.parametrize("proof", [None, GOOD.model_copy(update={"version": "0.9"})], ids=["none", "another library's"])
def test_half_precision_needs_a_proof(model: Model, untrained_model: Path, proof: RuntimeProof | None) -> None:
    """Without one, or after an update of OpenVINO, float32 judges; asked for, the error says what to do."""
    unproven = _with_proof(model, proof)
    assert choose_runtime("auto", unproven, untrained_model).runtime == "openvino"
    with pytest.raises(ModelError, match=r"^runtime: openvino-bf16: nothing is .*: train anew with OpenVINO 1\.0"):
        choose_runtime("openvino-bf16", unproven, untrained_model)


@pytest.mark.usefixtures("half")
def test_half_precision_that_is_farther_off_than_proven_is_refused(model: Model, untrained_model: Path) -> None:
    """Another processor that computes worse than the training's: float32 judges, and the log has why."""
    narrow = _with_proof(model, GOOD.model_copy(update={"log_odds": 0.001}))
    choice = choose_runtime("auto", narrow, untrained_model)
    assert choice.runtime == "openvino"
    assert "log-odds differ by 0.01, at the training by at most 0.001" in choice.refused["openvino-bf16"]


def test_a_processor_without_half_precision(
    model: Model, untrained_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There `auto` does not try it, whatever was proven elsewhere; asked for, the error says what to set."""
    monkeypatch.setattr(runtime, "_installed", lambda: True)
    monkeypatch.setattr(runtime, "_has_half", lambda: False)
    monkeypatch.setattr(runtime, "Compiled", lambda _model, name: _Tampered(lambda found: found, name))
    assert choose_runtime("auto", _with_proof(model, GOOD), untrained_model).runtime == "openvino"
    with pytest.raises(ConfigError, match="no bfloat16; set runtime: auto, openvino or torch"):
        check_runtime("openvino-bf16", CPU)


def test_the_last_digits_are_no_disagreement(model: Model, untrained_model: Path) -> None:
    """What processors differ by anyway is taken."""
    for name in Findings._fields:
        check_agreement(model, untrained_model, _Tampered(_shifted(name, 1e-6)).request(model))


def test_what_fails_is_refused(model: Model, untrained_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An OpenVINO that cannot be imported or raises whatever it likes costs `auto` nothing but the speed."""

    def broken(_model: Model, _name: str) -> Compiled:
        raise RuntimeError("libtbb.so.12: cannot open\nshared object file")

    monkeypatch.setattr(runtime, "_installed", lambda: True)
    monkeypatch.setattr(runtime, "Compiled", broken)
    choice = choose_runtime("auto", model, untrained_model)
    assert (choice.compiled, choice.refused) == (None, {"openvino": "libtbb.so.12: cannot open shared object file"})


def test_an_openvino_that_cannot_be_imported_is_refused(
    model: Model, untrained_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where only the look at the processor needs it."""

    def broken() -> None:
        raise ImportError("libtbb.so.12: cannot open shared object file")

    monkeypatch.setattr(runtime, "_installed", lambda: True)
    monkeypatch.setattr(runtime, "_import_openvino", broken)
    runtime._has_half.cache_clear()
    try:
        choice = choose_runtime("auto", model, untrained_model)
    finally:
        runtime._has_half.cache_clear()
    assert (choice.compiled, choice.refused) == (None, {"openvino": "libtbb.so.12: cannot open shared object file"})


def test_without_openvino(model: Model, untrained_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it is not installed `auto` is torch and nothing was refused; asked for, it is one clear error."""
    monkeypatch.setattr(runtime, "_installed", lambda: False)
    choice = choose_runtime("auto", model, untrained_model)
    assert (choice.compiled, choice.refused) == (None, {})
    assert "not installed" in choice.why
    with pytest.raises(ConfigError, match="not installed"):
        choose_runtime("openvino", model, untrained_model)


def test_a_gpu_is_torchs(model: Model, untrained_model: Path) -> None:
    """On a GPU `auto` means torch; OpenVINO there is a mistake in the configuration."""
    on_gpu = replace(model, device=torch.device("cuda"))
    assert choose_runtime("auto", on_gpu, untrained_model).why == "on cuda"
    with pytest.raises(ConfigError, match="set device: cpu"):
        check_runtime("openvino", torch.device("cuda"))


def test_torch_when_asked_for(model: Model, untrained_model: Path) -> None:
    """`torch` is torch, whatever is installed."""
    assert choose_runtime("torch", model, untrained_model) == runtime.Choice(None, "asked for")


@needs_openvino
def test_a_trained_model_agrees(trained: Path) -> None:
    """Where it is installed `auto` takes it for a trained model."""
    folder = trained / "models" / "current"
    choice = choose_runtime("auto", load(folder, CPU), folder)
    assert choice.compiled
    assert not choice.refused


@needs_openvino
def test_nothing_calls_home(untrained_model: Path) -> None:
    """OpenVINO's package that reports its use over the network is not even imported, and no connection is tried."""
    code = f"""
import sys
sys.addaudithook(lambda event, _: event.startswith("socket.") and sys.exit(event))
import torch
from pathlib import Path
from inspection.model import load
from inspection.runtime import choose_runtime
folder = Path({str(untrained_model)!r})
assert choose_runtime("openvino", load(folder, torch.device("cpu")), folder).compiled
assert sys.modules["openvino_telemetry"] is None
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
