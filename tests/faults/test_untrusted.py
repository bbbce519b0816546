"""A model folder and a configuration from somebody who wishes us ill: one clear error each, and nothing else."""

from __future__ import annotations

import contextlib
import copy
import json
import os
import random
import resource
import shutil
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from pydantic import ValidationError

from inspection.errors import ConfigError, ModelError
from inspection.model import ModelCard, _sha256, load
from settings import load as load_settings

CPU = torch.device("cpu")
VALUES: list[Any] = [
    None, True, -1, 0, 3, 10**400, -(10**19), 1e308, -1e-320, float("nan"), float("inf"), "", "x" * 100_000,
    "../../x.png", "\ud800", "\0", [], [[]], {}, {"a": {}}, [1e308, 1e308], ["io", "nio"], [None, None],
]  # fmt: skip
HUGE = 2**40


def refused_or_sound(folder: Path) -> str | None:
    """Load a model: the one line with which it is refused; None where it is a model after all."""
    try:
        model = load(folder, CPU)
    except ModelError as error:
        said = str(error)
        assert "\n" not in said
        return said
    scores = model.scores(torch.zeros(1, 1, 32, 32))
    assert torch.isfinite(scores.logits).all()
    assert torch.isfinite(scores.novelty).all()
    return None


def places(content: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path to each value in a JSON document."""
    items = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in items:
        yield (*path, key)
        yield from places(value, (*path, key))


def write_card(folder: Path, content: Any) -> None:
    """Write model.json; with a model id that fits, where that can be had."""
    with contextlib.suppress(ValidationError, ValueError, OverflowError, RecursionError):
        content["model_id"] = ModelCard.model_validate(content).content_id()
    (folder / "model.json").write_text(json.dumps(content), encoding="utf-8")


def test_every_value_of_the_card(untrained_model: Path) -> None:
    """Each value of model.json left out, or replaced by what cannot be: refused, or harmless; no other exception."""
    card = json.loads((untrained_model / "model.json").read_text(encoding="utf-8"))
    outcomes = []
    for path in places(card):
        for value in (KeyError, *VALUES):
            changed = copy.deepcopy(card)
            owner = changed
            for key in path[:-1]:
                owner = owner[key]
            if value is KeyError:
                del owner[path[-1]]
            else:
                owner[path[-1]] = value
            write_card(untrained_model, changed)
            try:
                outcomes.append(refused_or_sound(untrained_model))
            except Exception as error:
                error.add_note(f"{path} = {value!r:.100}")
                raise
    assert len(outcomes) > 500
    # What is free text may be anything; that much of it there is not.
    assert sum(outcome is None for outcome in outcomes) < len(outcomes) / 2


@pytest.mark.parametrize("depth", [500, 5_000, 200_000])
@pytest.mark.parametrize("brackets", ["[]", '{"a":}'])
def test_a_deep_card(depth: int, brackets: str, untrained_model: Path) -> None:
    """Values nested so deep that a parser, or the hash of the content, runs out of stack."""
    path = untrained_model / "model.json"
    deep = brackets[:-1] * depth + "1" + brackets[-1] * depth
    path.write_text(path.read_text().replace('"metrics": {}', f'"metrics": {{"deep": {deep}}}'))
    assert '"deep"' in path.read_text()
    assert refused_or_sound(untrained_model)


@pytest.mark.parametrize("name", ["model.json", "weights.safetensors", "golden/00"])
@pytest.mark.parametrize("size", [100_000_000, HUGE])
def test_a_huge_file(name: str, size: int, untrained_model: Path) -> None:
    """100 MB, or more than there is memory: refused in one line."""
    path = next(untrained_model.glob(f"{name}*"))
    try:
        os.truncate(path, size)
    except OSError as error:
        pytest.skip(f"no files so large here: {error}")
    assert str(path) in (refused_or_sound(untrained_model) or "")


@pytest.mark.parametrize("name", ["model.json", "weights.safetensors", "golden/00"])
def test_a_fifo_in_place_of_a_file(name: str, untrained_model: Path) -> None:
    """What would be waited for for ever is refused at once: a daemon that picks up a model must not hang."""
    path = next(untrained_model.glob(f"{name}*"))
    path.unlink()
    os.mkfifo(path)
    said: list[str | None] = []
    loading = threading.Thread(target=lambda: said.append(refused_or_sound(untrained_model)), daemon=True)
    loading.start()
    loading.join(3)
    hangs = loading.is_alive()
    if hangs:
        with path.open("wb"):
            pass
        loading.join(5)
    assert not hangs, f"waits for {path}"
    assert said
    assert said[0]


@pytest.mark.parametrize("name", ["model.json", "weights.safetensors", "golden/00", "golden"])
@pytest.mark.parametrize("target", ["/etc/passwd", "/etc", "/proc/self/mem", "loop", "/dev/full", "../elsewhere.png"])
def test_links_out_of_the_folder(name: str, target: str, untrained_model: Path) -> None:
    """A link to something else is refused, and nothing of what it leads to is told."""
    path = next(untrained_model.glob(f"{name}*"))
    (untrained_model.parent / "elsewhere.png").write_bytes(b"secret")
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    path.symlink_to(path.name if target == "loop" else target)
    if target == "/dev/full":
        path.unlink()  # as /dev/zero it never ends, so memory is what has to
        path.symlink_to("/dev/full")
        limit = resource.getrlimit(resource.RLIMIT_AS)
        used = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + 500_000_000, limit[1]))
        try:
            said = refused_or_sound(untrained_model)
        finally:
            resource.setrlimit(resource.RLIMIT_AS, limit)
    else:
        said = refused_or_sound(untrained_model)
    assert said
    assert "secret" not in said
    assert "root:" not in said


@pytest.mark.parametrize(
    "file",
    [
        "../weights.png",
        "..png",
        ".png",
        "a/b.png",
        "/x.png",
        "a.png\n",
        "a\0.png",
        "a.png ",
        "x" * 300 + ".png",
        "\uff41.png",
    ],
)
def test_golden_names(file: str, untrained_model: Path) -> None:
    """No golden name leads out of its folder, or to a name that no file can have."""
    card = json.loads((untrained_model / "model.json").read_text(encoding="utf-8"))
    card["golden"][0]["file"] = file
    write_card(untrained_model, card)
    assert refused_or_sound(untrained_model)


def with_weights(folder: Path, weights: bytes) -> str | None:
    """Other weights, with the hash and the id that fit them."""
    (folder / "weights.safetensors").write_bytes(weights)
    card = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    write_card(folder, card | {"weights_sha256": _sha256(weights)})
    return refused_or_sound(folder)


def packed(header: bytes, data: bytes = b"", length: int | None = None) -> bytes:
    """A safetensors file made by hand."""
    return struct.pack("<Q", (len(header) if length is None else length) % 2**64) + header + data


def test_cut_weights_of_a_fitting_hash(untrained_model: Path, long: bool) -> None:
    """Weights that were cut before they were hashed: refused wherever that was."""
    weights = (untrained_model / "weights.safetensors").read_bytes()
    rng = random.Random(0)  # noqa: S311
    lengths = {0, 1, 7, 8, 9, len(weights) - 1, *rng.sample(range(len(weights)), 400 if long else 20)}
    for length in sorted(lengths):
        assert with_weights(untrained_model, weights[:length]), length


def test_wrong_headers(untrained_model: Path) -> None:
    """Headers of safetensors that lie about lengths, places, types and shapes, or are none."""
    weights = (untrained_model / "weights.safetensors").read_bytes()
    size = struct.unpack("<Q", weights[:8])[0]
    header, data = json.loads(weights[8 : 8 + size]), weights[8 + size :]
    first = next(name for name in header if name != "__metadata__")
    wrong = [packed(weights[8 : 8 + size], data, length) for length in (0, 1, size - 1, size + 1, 10**9, 2**63, -1)]
    wrong += [packed(text, data) for text in (b"", b"{}", b"[]", b"null", b"\xff" * 8, b"{" * 10_000, b"[" * 200_000)]
    begin, end = header[first]["data_offsets"]
    changes: tuple[dict[str, Any], ...] = (
        {"data_offsets": [begin, end + 4]}, {"data_offsets": [end, begin]}, {"data_offsets": [-4, end]},
        {"data_offsets": [begin, 2**63]}, {"data_offsets": [0.5, end]}, {"data_offsets": []}, {"data_offsets": None},
        {"shape": [2**40, 2**40]}, {"shape": [-1]}, {"shape": [0]}, {"shape": "x"}, {"shape": [1] * 1000},
        {"shape": [[1]]}, {"dtype": "F1"}, {"dtype": None}, {"dtype": 7},
    )  # fmt: skip
    wrong += [packed(json.dumps(header | {first: header[first] | change}).encode(), data) for change in changes]
    wrong.append(packed(json.dumps({first: header[first]}).encode(), data))
    wrong.append(packed(json.dumps(header | {"more": header[first]}).encode(), data))
    wrong.append(packed(json.dumps({name + "x": value for name, value in header.items()}).encode(), data))
    for number, file in enumerate(wrong):
        assert with_weights(untrained_model, file), number


@pytest.mark.parametrize(
    "kind",
    ["BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0", "F4", "F6_E2M3", "I16", "U16", "F16", "BF16", "I32", "U32",
     "F64", "I64", "U64", "C64"],
)  # fmt: skip
def test_weights_of_other_types(kind: str, untrained_model: Path) -> None:
    """Numbers of another type than the network's are refused, whether the library knows the type or not."""
    odd = {"BOOL": 8, "F4": 4, "F6_E2M3": 6, "BF16": 16, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8}
    bits = odd.get(kind) or int(kind[1:])
    state = safetensors.torch.load((untrained_model / "weights.safetensors").read_bytes())
    header, place = {}, 0
    for name, tensor in state.items():
        size = tensor.numel() * bits // 8
        header[name] = {"dtype": kind, "shape": list(tensor.shape), "data_offsets": [place, place + size]}
        place += size
    assert with_weights(untrained_model, packed(json.dumps(header).encode(), bytes(place)))


@pytest.mark.parametrize("change", ["transposed", "longer", "scalar", "empty", "flat"])
def test_weights_of_other_shapes(change: str, untrained_model: Path) -> None:
    """Tensors that do not fit the network are refused."""
    state = safetensors.torch.load((untrained_model / "weights.safetensors").read_bytes())
    name = next(name for name, tensor in state.items() if tensor.dim() == 4 and tensor.shape[0] != tensor.shape[1])
    tensor = state[name]
    changes = {
        "transposed": tensor.transpose(0, 1), "longer": torch.cat([tensor, tensor]), "scalar": torch.tensor(1.0),
        "empty": torch.empty(0), "flat": tensor.flatten(),
    }  # fmt: skip
    assert with_weights(untrained_model, safetensors.torch.save(state | {name: changes[change].contiguous()}))


def laughs(levels: int, *, merged: bool = False) -> str:
    """A YAML file of a few lines that would be 10^levels values long, were it written out."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]" if not merged else "a0: &a0 {x: 1}"]
    for level in range(1, levels):
        many = ", ".join([f"*a{level - 1}"] * 10)
        lines.append(f"a{level}: &a{level} " + (f"[{many}]" if not merged else f"{{k{level}: [{many}], <<: [{many}]}}"))
    return "\n".join([*lines, f"device: *a{levels - 1}", f"paths: {{inbox: *a{levels - 1}}}", ""])


@pytest.mark.parametrize(
    "text",
    [
        laughs(9),
        laughs(9, merged=True),
        "!!python/object/apply:os.system ['touch executed']\n",
        "device: !!python/object/new:os.system ['touch executed']\n",
        "paths: !!python/name:os.system\n",
        'inbox: {quiet_s: !!python/object/apply:eval [\'open("executed", "w")\']}\n',
        "device: " + "x" * 5_000_000 + "\n",
        "inbox: {scan_s: " + "9" * 100_000 + "}\n",
        "inbox: {scan_s: 0x" + "f" * 100_000 + "}\n",
        "inbox: {scan_s: " + "1:" * 50_000 + "1}\n",
    ],
    ids=["laughs", "merged-laughs", "apply", "new", "name", "eval", "long", "digits", "hex", "sexagesimal"],
)
def test_a_hostile_configuration_is_one_clear_error(text: str, tmp_path: Path) -> None:
    """Bombs and calls in config.yaml: exit 2, a few lines, no traceback, little memory, and nothing was run."""
    (tmp_path / "config.yaml").write_text(text, encoding="utf-8")
    done = subprocess.run(
        ["prlimit", "--as=1500000000", sys.executable, "-m", "daemon", "status"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=15,
    )
    assert "Traceback" not in done.stderr
    assert done.returncode == 2, done.stderr[:2000]
    assert done.stderr.startswith("solderwatch: ")
    assert len(done.stderr) < 10_000
    assert not (tmp_path / "executed").exists()


TAGS = [
    "bool",
    "int",
    "float",
    "null",
    "timestamp",
    "binary",
    "omap",
    "pairs",
    "set",
    "str",
    "seq",
    "map",
    "merge",
    "value",
]


@pytest.mark.parametrize("tag", TAGS)
def test_every_yaml_tag_on_what_it_is_not_made_for(tag: str, tmp_path: Path) -> None:
    """A tag on a value that it cannot be is a mistake like any other: a ConfigError, wherever it stands."""
    path = tmp_path / "config.yaml"
    for value in (
        "''",
        "maybe",
        "'0'",
        "0x",
        "0b",
        "'-'",
        "'.'",
        "[a]",
        "[[a]]",
        "[{a: b}]",
        "{a: b}",
        "{}",
        "99-99-99",
    ):
        for form in ("device: {}", "inbox: {{scan_s: {}}}", "{}", "{}: 1", "<<: {}", "paths: {{inbox: {}}}"):
            path.write_text(form.format(f"!!{tag} {value}") + "\n", encoding="utf-8")
            try:
                load_settings(path)
            except ConfigError as error:
                assert str(path) in str(error)  # noqa: PT017 - some of them are no mistakes
            except Exception as error:
                error.add_note(path.read_text(encoding="utf-8"))
                raise
