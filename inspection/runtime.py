"""What computes the scores: torch, or OpenVINO where it is installed and found to agree with torch.

Torch in eager mode is the reference. In float32 OpenVINO has the same scores but for the last digits. In bfloat16, on
processors with instructions for it, it has not: it judges only with models whose training has proven that it judges
alike (`training.proof.runtimes`). Shapes: N images, S pixels a side.
"""

from __future__ import annotations

import functools
import os
import sys
import warnings
from dataclasses import dataclass, field
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from inspection.errors import ConfigError, ModelError, in_one_line
from inspection.model import GoldenSample, Model, Scores, check_scores, golden_samples
from inspection.network import Architecture, SupervisedAutoencoder, nio_log_odds
from inspection.novelty import DESCRIPTION, Novelty
from inspection.scorer import Findings, Look, Scorer
from inspection.verdict import judge

# Of a place's share of the margin of the logits, and of an activation. Float32 on either runtime is a thousand times
# closer than this; half precision is not, and neither is an operation that was translated wrongly.
_PLACE_TOLERANCE = 1e-3
_HALF_PLACE_TOLERANCE = 0.05
_HALF_ALLOWED = 2.0  # times what was found in the proof: another processor adds up in another order

Compilable = Literal["openvino", "openvino-bf16"]
Runtime = Literal["torch", "openvino", "openvino-bf16"]
_PRECISIONS: dict[Compilable, str] = {"openvino": "f32", "openvino-bf16": "bf16"}


class Compiled:
    """A model's scorer as OpenVINO runs it on a CPU; threads share it, each with its own request.

    An image is computed by one thread alone: images side by side keep the cores busy without waiting for each other.

    Args:
        model: Loaded on the CPU; no map extractor has hooked into it yet.
        name: Of the runtime, which tells the precision.
    """

    def __init__(self, model: Model, name: Compilable = "openvino") -> None:
        self.name = name
        cores = len(os.sched_getaffinity(0))
        self._compiled: Any = (
            _import_openvino()
            .Core()
            .compile_model(
                _with_weights(model),
                "CPU",
                {
                    "INFERENCE_PRECISION_HINT": _PRECISIONS[name],
                    "INFERENCE_NUM_THREADS": cores,
                    "NUM_STREAMS": cores,
                    "ENABLE_CPU_PINNING": False,  # other threads of ours have work too
                },
            )
        )

    def request(self, model: Model) -> Look:
        """What looks at images, for one thread.

        Args:
            model: The one that was compiled, or its twin for that thread.
        """
        request = self._compiled.create_infer_request()

        def one(image_1SS: Tensor) -> list[Tensor]:
            request.get_input_tensor().data[0] = image_1SS.numpy()
            request.infer()
            outputs = [request.get_output_tensor(index).data for index in range(len(Findings._fields))]
            return [torch.from_numpy(output.copy()) for output in outputs]

        def look(images_N1SS: Tensor) -> Findings:
            if not images_N1SS.sum().isfinite():
                return model.look(images_N1SS)  # OpenVINO's vector code makes numbers of what is none
            columns = zip(*map(one, images_N1SS), strict=True)
            return Findings(*(torch.cat(column) for column in columns))

        return look


class _Open(nn.Module):
    """A scorer whose weights are inputs, after the image: so its graph serves every model of its kind."""

    def __init__(self, scorer: Scorer) -> None:
        super().__init__()
        self._slots = []
        for name in scorer.state_dict():
            path, _, attribute = name.rpartition(".")
            module = scorer.get_submodule(path)
            delattr(module, attribute)
            self._slots.append((module, attribute))
        self._scorer = scorer

    def forward(self, images_N1SS: Tensor, *weights: Tensor) -> Findings:
        for (module, attribute), weight in zip(self._slots, weights, strict=True):
            # Not by setattr: the attribute is known as a parameter's or a buffer's name.
            module.__dict__[attribute] = weight
        found: Findings = self._scorer(images_N1SS)
        return found


@functools.lru_cache(maxsize=8)
def _graph_of(architecture: Architecture, side: int) -> Any:
    """OpenVINO's graph of a scorer, with all weights in the order of its state as inputs, after the image.

    Args:
        architecture: The network's.
        side: Of an image, in pixels.
    """
    with torch.device("meta"):
        network = SupervisedAutoencoder(architecture)
    scorer = Scorer(network.to_empty(device="cpu"), Novelty(DESCRIPTION)).eval().requires_grad_(requires_grad=False)
    inputs = (torch.zeros(1, 1, side, side), *scorer.state_dict().values())
    with warnings.catch_warnings(), torch.no_grad():
        # Deprecated in favour of torch.export, which takes ten times as long and 200 MB more.
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(_Open(scorer), inputs, check_trace=False)  # type: ignore[no-untyped-call]
        shapes = [list(one.shape) for one in inputs]
        return _import_openvino().convert_model(traced, example_input=inputs, input=shapes)


def _with_weights(model: Model) -> Any:
    """The graph of a model's scorer."""
    openvino = _import_openvino()
    graph = _graph_of(model.card.architecture, model.card.preprocessing.image_size).clone()
    weights = model.scorer.state_dict().values()
    for parameter, weight in zip(graph.get_parameters()[1:], weights, strict=True):
        constant = openvino.op.Constant(weight.numpy())
        for target in parameter.output(0).get_target_inputs():
            target.replace_source_output(constant.output(0))
        graph.remove_parameter(parameter)
    return graph


@dataclass(frozen=True)
class Choice:
    """What computes a model's scores.

    Attributes:
        compiled: For OpenVINO; None: torch.
        why: It is this one, in a few words.
        refused: What is there and not used, and why.
    """

    compiled: Compiled | None
    why: str
    refused: dict[str, str] = field(default_factory=dict)

    @property
    def runtime(self) -> Runtime:
        """Its name."""
        return self.compiled.name if self.compiled else "torch"


def offered(device: torch.device) -> list[Compilable]:
    """The runtimes beside torch that this machine has for a device, the fastest first."""
    if device.type != "cpu" or not _installed():
        return []
    return ["openvino-bf16", "openvino"] if _has_half() else ["openvino"]


def check_runtime(wanted: str, device: torch.device) -> None:
    """Answer at once a wish that nothing here can fulfil.

    Args:
        wanted: `auto`, `torch`, `openvino` or `openvino-bf16`.
        device: The one that judges.

    Raises:
        ConfigError: What was asked for is not installed, has no CPU to run on, or not one that computes so.
    """
    if wanted not in _PRECISIONS:
        return
    if device.type != "cpu":
        raise ConfigError(f"runtime: {wanted}: runs on the CPU, and the device is {device}; set device: cpu")
    if not _installed():
        raise ConfigError(
            f"runtime: {wanted}: not installed; set runtime: auto or torch, or pip install 'solderwatch[openvino]'"
        )
    if wanted not in offered(device):
        raise ConfigError(f"runtime: {wanted}: this processor has no bfloat16; set runtime: auto, openvino or torch")


def choose_runtime(wanted: str, model: Model, folder: Path) -> Choice:
    """Choose what computes a model's scores.

    Args:
        wanted: `auto`, `torch`, `openvino` or `openvino-bf16`.
        model: Loaded from the folder.
        folder: Where its golden samples lie.

    Raises:
        ConfigError: What was asked for cannot be had here at all.
        ModelError: It does not agree with torch or the golden samples, or this model has no proof of it that holds.
    """
    check_runtime(wanted, model.device)
    if wanted == "torch":
        return Choice(None, "asked for")
    if model.device.type != "cpu":
        return Choice(None, f"on {model.device}")
    refused: dict[str, str] = {}
    for name in offered(model.device):
        if wanted not in {"auto", name} or (wanted == "auto" and _is_never_proven(name, model)):
            continue
        try:
            _check_proof(name, model)
            compiled = Compiled(model, name)
            check_agreement(model, folder, compiled.request(model), name)
        except Exception as error:
            reason = in_one_line(error)
            if wanted == name:
                raise ModelError(f"runtime: {name}: {reason}; set runtime: auto or torch") from error
            refused[name] = reason
        else:
            return Choice(compiled, "asked for" if wanted == name else _why(name, model), refused)
    return Choice(None, "OpenVINO was refused" if refused else "OpenVINO is not installed", refused)


def _is_never_proven(name: Compilable, model: Model) -> bool:
    """In float32 the golden samples are proof enough, in bfloat16 all that the training had is needed."""
    return name == "openvino-bf16" and name not in model.card.runtimes


def _check_proof(name: Compilable, model: Model) -> None:
    """Refuse a runtime that did not judge alike at the training, or in bfloat16 none that did.

    Raises:
        ModelError: It must not judge with this model.
    """
    proof = model.card.runtimes.get(name)
    if proof and proof.version != library_version():
        proof = None  # of another library
    if proof and not proof.holds:
        raise ModelError(f"at the end of this model's training {proof}")
    if name == "openvino-bf16" and not proof:
        here = f"OpenVINO {library_version()}, on a processor with bfloat16"
        raise ModelError(f"nothing is proven of it for this model: train anew with {here}")


def _why(name: Compilable, model: Model) -> str:
    if name == "openvino-bf16":
        return f"at the end of the training {model.card.runtimes[name]}"
    return "it agrees with torch on the golden samples"


def check_agreement(model: Model, folder: Path, look: Look, runtime: str = "torch") -> None:
    """Compare a runtime with the golden samples' scores, and one of each label with what torch sees place by place.

    Args:
        model: Whose.
        folder: Where the golden samples lie.
        look: Of the runtime.
        runtime: Its name: how near it must come.

    Raises:
        ModelError: They differ by more than the last digits, or in half precision by far more than in the proof.
    """
    compared = set()
    half = runtime == "openvino-bf16"
    tolerance = _HALF_PLACE_TOLERANCE if half else _PLACE_TOLERANCE
    for path, sample, grey_11SS in golden_samples(model, folder):
        batch_11SS = model.normalised(grey_11SS)
        found = look(batch_11SS)
        (_check_half if half else check_scores)(model, path, sample, found)
        if sample.label in compared:
            continue
        compared.add(sample.label)
        expected = model.look(batch_11SS)
        for name in ("evidence", "features"):
            one, other = getattr(found, name), getattr(expected, name)
            allowed = tolerance * max(1.0, float(other.abs().max())) if half else tolerance
            if not torch.allclose(one, other, rtol=tolerance, atol=allowed):
                raise ModelError(f"{path}: {name} differs from torch's by {float((one - other).abs().max()):.2g}")


def _check_half(model: Model, path: Path, sample: GoldenSample, found: Findings) -> None:
    """Compare what was found in half precision in a golden sample with what its card says, as near as was proven."""
    scores, proven = Scores.of(found), model.card.runtimes["openvino-bf16"].log_odds
    expected = torch.tensor([sample.logits])
    apart = float((nio_log_odds(scores.logits) - nio_log_odds(expected)).abs() / model.card.temperature)
    verdict = judge(float(model.probability(expected)), model.card.threshold, sample.novelty)
    if model.verdicts(scores)[0].label != verdict.label or not apart <= _HALF_ALLOWED * max(proven, _PLACE_TOLERANCE):
        raise ModelError(f"{path}: log-odds differ by {apart:.2g}, at the training by at most {proven:.2g}")


def _installed() -> bool:
    return find_spec("openvino") is not None


@functools.cache
def _has_half() -> bool:
    """Whether the processor has instructions for bfloat16; elsewhere it would be slower than float32."""
    try:
        return "BF16" in _import_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    except Exception:  # noqa: BLE001 - whatever is wrong with it is told where it shall judge
        return False


def library_version() -> str:
    """OpenVINO's, which is installed."""
    return version("openvino")


def _import_openvino() -> Any:
    # It would report its use over the network; without this package it does not.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino  # noqa: PLC0415 - only where it is used

    return openvino
