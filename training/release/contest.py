"""Lets champion and challenger judge the same test images, each as the daemon would.

That is: from the files, with its own preprocessing and threshold, one page at a time, with the map.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from inspection.errors import ModelError
from inspection.image import Limits, open_stack
from inspection.inspector import Inspector
from inspection.model import GOLDEN, GOLDEN_MAX_PIXELS, Model, load, now
from inspection.verdict import LABELS, Label, Verdict
from settings.schema import Settings
from training.data.dataset import LabelledImage, bytes_of, pages_of
from training.proof.evaluate import Judgement
from training.release.gate import Check, Contest, GateRecord, apply_rule, first_model, too_few
from training.release.seen import read_seen

_SEEN, _CHANGED = "that the champion was trained on", "whose file changed since it was read"


@dataclass(frozen=True)
class _Comparison:
    """What came of comparing two models; without objections the new one replaces the old one."""

    objections: list[str]
    compared: dict[str, int] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)
    checks: list[Check] = field(default_factory=list)


def hold_gate(
    settings: Settings,
    champion: Path | None,
    challenger: Path,
    test: Sequence[LabelledImage],
    everything: Sequence[LabelledImage],
    *,
    device: torch.device,
    force: bool,
) -> GateRecord:
    """Compare the champion with the challenger, and say whether that one is to be promoted.

    Args:
        settings: The configuration.
        champion: The folder of the model in use; None if there is none.
        challenger: The folder of the new model.
        test: The test images of this training.
        everything: The whole data set, by which groups are known.
        device: Where both judge.
        force: Promote in any case.

    Raises:
        ModelError: The challenger does not pass its self-test.
    """
    new = load(challenger, device)
    old, why = _load_champion(champion, device)
    if champion is None or old is None:
        return first_model(new.card, why, settings.training.gate.most_false_calls, force=force)
    found = _compare(settings, old, champion, new, test, everything)
    return GateRecord(
        time=now(),
        challenger=new.card.model_id,
        champion=old.card.model_id,
        compared=found.compared,
        left_out=found.left_out,
        checks=found.checks,
        passed=not found.objections,
        forced=force and bool(found.objections),
        reasons=found.objections or ["no worse than the champion"],
    )


def _load_champion(folder: Path | None, device: torch.device) -> tuple[Model | None, str]:
    """The champion; or why there is none."""
    if folder is None:
        return None, "the first model"
    try:
        return load(folder, device), ""
    except ModelError as error:
        return None, f"counts as the first model, for the one in use cannot be loaded: {error}"


def _compare(
    settings: Settings,
    old: Model,
    old_folder: Path,
    new: Model,
    test: Sequence[LabelledImage],
    everything: Sequence[LabelledImage],
) -> _Comparison:
    if old.card.model_id == new.card.model_id:
        return _Comparison(["the very model that is in use came out again"])
    seen = read_seen(old_folder, old.card)
    if seen is None:
        return _Comparison(["cannot be compared: the champion does not say what it was trained on"])
    fresh = seen.unseen(test, everything)
    images = [image for image in fresh if bytes_of(image) is not None]
    compared = {str(label): sum(image.label == label for image in images) for label in LABELS}
    left_out = {_SEEN: len(test) - len(fresh), _CHANGED: len(fresh) - len(images)}
    objections = too_few(compared, left_out)
    if objections:
        return _Comparison(objections, compared, left_out)
    checks, objections = apply_rule(hold_contest(settings, old, old_folder, new, images), settings.training.gate)
    return _Comparison(objections, compared, left_out, checks)


def hold_contest(
    settings: Settings, old: Model, old_folder: Path, new: Model, images: Sequence[LabelledImage]
) -> Contest:
    """Let two models judge images in turns."""
    # Before there are inspectors, whose hooks would keep what they see.
    old_mb, new_mb = (_megabytes(model, settings.judge.batch_size) for model in (old, new))
    champion, challenger = (
        Inspector(model, settings.cam.method, only_last_conv=settings.cam.only_last_conv) for model in (old, new)
    )
    golden = list(_golden_verdicts(old_folder, champion, challenger))
    judged: dict[Inspector, list[Label]] = {champion: [], challenger: []}
    times: dict[Inspector, list[float]] = {champion: [], challenger: []}
    turns = [champion, challenger]
    for image in images:
        verdicts: dict[Inspector, list[Verdict]] = {champion: [], challenger: []}
        spent = dict.fromkeys(turns, 0.0)
        for pixels in pages_of(image, Limits.of(settings.inbox)):
            for inspector in turns:
                started = time.perf_counter()
                verdicts[inspector].append(inspector.inspect([pixels])[0].verdict)
                spent[inspector] += 1000 * (time.perf_counter() - started)
            # Whoever comes second finds the page in the processor's caches.
            turns.reverse()
        for inspector in turns:
            judged[inspector].append(Judgement(verdicts[inspector]).verdict.label)
            times[inspector].append(spent[inspector])
    return Contest(
        labels=[image.label for image in images],
        champion=judged[champion],
        challenger=judged[challenger],
        champion_ms=times[champion],
        challenger_ms=times[challenger],
        champion_mb=old_mb,
        challenger_mb=new_mb,
        golden=len(golden),
        flipped=[said for said in golden if said],
    )


def _golden_verdicts(folder: Path, champion: Inspector, challenger: Inspector) -> Iterator[str]:
    """For each golden sample of the champion how the challenger judges it otherwise, or nothing; warms both up."""
    for sample in champion.model.card.golden:
        pixels = open_stack((folder / GOLDEN / sample.file).read_bytes(), Limits(GOLDEN_MAX_PIXELS))[0].pixels
        before, after = (inspector.inspect([pixels])[0].verdict.label for inspector in (champion, challenger))
        yield "" if before == after else f"{sample.file}: {before} -> {after}, is {sample.label}"


def _megabytes(model: Model, batch_size: int) -> float:
    """Weights, and the largest layer's output for a batch."""
    outputs = [0]
    hooks = [
        module.register_forward_hook(lambda _, __, output: outputs.append(getattr(output, "nbytes", 0)))
        for module in model.network.modules()
    ]
    side = model.card.preprocessing.image_size
    model.scores(torch.zeros(1, 1, side, side))
    for hook in hooks:
        hook.remove()
    weights: int = sum(
        tensor.nbytes for module in (model.network, model.novelty) for tensor in module.state_dict().values()
    )
    return float(weights + batch_size * max(outputs)) / 1e6
