"""What computes the scores: torch, or OpenVINO where it is installed and found to agree with torch.

Torch in eager mode is the reference. Shapes: N images, S pixels a side.
"""

from __future__ import annotations

import functools
import os
import sys
import warnings
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from inspection.errors import ConfigError, ModelError
from inspection.model import Model, check_scores, golden_samples
from inspection.network import Architecture, SupervisedAutoencoder
from inspection.novelty import DESCRIPTION, Novelty
from inspection.scorer import Findings, Look, Scorer

# Of a place's share of the margin of the logits, and of an activation. Float32 on either runtime is a thousand times
# closer than this; half precision is not, and neither is an operation that was translated wrongly.
_PLACE_TOLERANCE = 1e-3


class Compiled:
    """A model's scorer as OpenVINO runs it on a CPU, in float32; threads share it, each with its own request.

    An image is computed by one thread alone: images side by side keep the cores busy without waiting for each other.

    Args:
        model: Loaded on the CPU; no map extractor has hooked into it yet.
    """

    def __init__(self, model: Model) -> None:
        cores = len(os.sched_getaffinity(0))
        self._compiled: Any = (
            _import_openvino()
            .Core()
            .compile_model(
                _with_weights(model),
                "CPU",
                {
                    "INFERENCE_PRECISION_HINT": "f32",
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
        refused: Why OpenVINO is there and not used; None: nothing was refused.
    """

    compiled: Compiled | None
    why: str
    refused: str | None = None


def check_runtime(wanted: str, device: torch.device) -> None:
    """Answer at once a wish that nothing here can fulfil.

    Args:
        wanted: `auto`, `torch` or `openvino`.
        device: The one that judges.

    Raises:
        ConfigError: `openvino` was asked for, and is not installed or has no CPU to run on.
    """
    if wanted == "openvino" and device.type != "cpu":
        raise ConfigError(f"runtime: openvino: runs on the CPU, and the device is {device}; set device: cpu")
    if wanted == "openvino" and not _installed():
        raise ConfigError(
            "runtime: openvino: not installed; set runtime: auto or torch, or pip install 'solderwatch[openvino]'"
        )


def choose_runtime(wanted: str, model: Model, folder: Path) -> Choice:
    """Choose what computes a model's scores.

    Args:
        wanted: `auto`, `torch` or `openvino`.
        model: Loaded from the folder.
        folder: Where its golden samples lie.

    Raises:
        ConfigError: `openvino` was asked for, and cannot be had here at all.
        ModelError: It was asked for, and does not agree with torch or the golden samples.
    """
    check_runtime(wanted, model.device)
    if wanted == "torch":
        return Choice(None, "asked for")
    if model.device.type != "cpu":
        return Choice(None, f"on {model.device}")
    if not _installed():
        return Choice(None, "OpenVINO is not installed")
    try:
        compiled = Compiled(model)
        check_agreement(model, folder, compiled.request(model))
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        if wanted == "openvino":
            raise ModelError(f"runtime: openvino: {reason}; set runtime: auto or torch") from error
        return Choice(None, "OpenVINO was refused", refused=reason)
    return Choice(compiled, "asked for" if wanted == "openvino" else "it agrees with torch on the golden samples")


def check_agreement(model: Model, folder: Path, look: Look) -> None:
    """Compare a runtime with the golden samples' scores, and one of each label with what torch sees place by place.

    Raises:
        ModelError: They differ by more than the last digits.
    """
    compared = set()
    for path, sample, grey_11SS in golden_samples(model, folder):
        batch_11SS = model.normalised(grey_11SS)
        found = look(batch_11SS)
        check_scores(model, path, sample, found)
        if sample.label in compared:
            continue
        compared.add(sample.label)
        expected = model.look(batch_11SS)
        for name in ("evidence", "features"):
            one, other = getattr(found, name), getattr(expected, name)
            if not torch.allclose(one, other, rtol=_PLACE_TOLERANCE, atol=_PLACE_TOLERANCE):
                raise ModelError(f"{path}: {name} differs from torch's by {float((one - other).abs().max()):.2g}")


def _installed() -> bool:
    return find_spec("openvino") is not None


def _import_openvino() -> Any:
    # It would report its use over the network; without this package it does not.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino  # noqa: PLC0415 - only where it is used

    return openvino
