"""What a model on disk promises: it is whole, it is itself, it computes as it did, and it runs no code."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import re
import shutil
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from cards import plain_card
from PIL import Image

from inspection.errors import ModelError, NoModelError
from inspection.model import (
    Certificate,
    Model,
    ModelCard,
    PreprocessingCard,
    Proof,
    RuntimeProof,
    _holder,
    _sha256,
    library_versions,
    load,
    read_card,
    save,
)
from inspection.network import Architecture, SupervisedAutoencoder
from inspection.novelty import DESCRIPTION, Novelty
from inspection.verdict import Label

CPU = torch.device("cpu")
IMAGES = [np.random.default_rng(seed).random((40, 50), dtype=np.float32) for seed in range(3)]
GOLDEN: list[tuple[Any, Label]] = [(IMAGES[0], "io"), (IMAGES[1], "nio")]
Edit = Callable[[dict[str, Any]], object]


def made(seed: int = 0, architecture: Architecture = "residual", **changes: Any) -> Model:
    """A model with random weights, and what is said of it."""
    torch.manual_seed(seed)
    network = SupervisedAutoencoder(architecture).eval()
    novelty = Novelty(DESCRIPTION)
    novelty.farthest.fill_(50.0)
    novelty.oddest.fill_(5.0)
    return Model(plain_card(architecture=architecture, **changes), network, novelty, CPU)


def certificate(*, missed: int = 0) -> Certificate:
    """Of 300 parts: certified where none was missed."""
    bound = 0.5 if missed else 0.990064
    proof = Proof(nio=300, missed=missed, images=600, recall_bound=bound)
    return Certificate(
        required_recall=0.99,
        confidence=0.95,
        certified=not missed,
        further_nio=173 if missed else 0,
        proof=proof,
        by_part={"PCBA1": proof},
        data_fingerprint="f" * 64,
    )


def refusal(folder: Path) -> str:
    """Why a model folder is refused, in one line."""
    with pytest.raises(ModelError) as caught:
        load(folder, CPU)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def edit_card(folder: Path, edit: Edit, *, renamed: bool = False) -> None:
    """Change model.json; `renamed`: with a model id that fits, as somebody who knows the format would."""
    path = folder / "model.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    edit(content)
    if renamed:
        content["model_id"] = ModelCard.model_validate(content).content_id()
    path.write_text(json.dumps(content), encoding="utf-8")


def weights(model: Model) -> bytes:
    """What the weights file of a model holds."""
    return safetensors.torch.save(_holder(model).state_dict())


def replace_weights(folder: Path, data: bytes) -> None:
    """Other weights, with the hash and the id that fit them."""
    (folder / "weights.safetensors").write_bytes(data)
    edit_card(folder, lambda card: card.update(weights_sha256=_sha256(data)), renamed=True)


class TestRoundTrip:
    """Saved and loaded again."""

    @pytest.mark.parametrize("architecture", ["residual", "plain"])
    def test_the_same_scores(self, architecture: Architecture, tmp_path: Path) -> None:
        """A loaded model scores as the network that was saved."""
        model = made(architecture=architecture)
        before = model.scores(model.batch(IMAGES))
        loaded = load(save(tmp_path, model, GOLDEN), CPU)
        after = loaded.scores(loaded.batch(IMAGES))
        assert torch.allclose(after.logits, before.logits, atol=1e-6)
        assert torch.allclose(after.novelty, before.novelty, rtol=1e-5)
        assert (after.novelty > 0).all()
        assert loaded.card.architecture == architecture
        assert not loaded.network.training
        assert not any(weight.requires_grad for weight in loaded.network.parameters())

    def test_a_network_in_training_is_saved_in_evaluation_mode(self, tmp_path: Path) -> None:
        """Golden scores are those of the finished network, also when the training forgot to finish it."""
        model = made(dropout=0.5)
        model.network.train()
        assert load(save(tmp_path, model, GOLDEN), CPU)

    def test_the_folder_tells_its_name(self, tmp_path: Path) -> None:
        """It is called after its time and its id, and holds weights, card and golden images, no more."""
        folder = save(tmp_path, made(), GOLDEN)
        assert folder.name == f"20260102T030405Z-{read_card(folder).model_id}"
        files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
        assert files == {"weights.safetensors", "model.json", "golden/00_io.png", "golden/01_nio.png"}
        assert [path.name for path in tmp_path.iterdir()] == [folder.name]

    def test_golden_images_keep_sixteen_bits(self, tmp_path: Path) -> None:
        """The golden images are the images, to 1/65535."""
        folder = save(tmp_path, made(), GOLDEN)
        kept = np.asarray(Image.open(folder / "golden" / "00_io.png"))
        assert kept.dtype == np.uint16
        assert np.abs(kept / 65535 - IMAGES[0]).max() < 1e-5

    def test_current_is_a_model(self, trained: Path) -> None:
        """The link in the models folder loads as the folder that it names."""
        current = trained / "models" / "current"
        assert current.is_symlink()
        assert load(current, CPU).card == read_card(current.resolve())


class TestIdentity:
    """The id is the content."""

    def test_the_same_content_is_the_same_model(self, tmp_path: Path) -> None:
        """Made again at another time, elsewhere, a model has the same id."""
        first = save(tmp_path / "a", made(), GOLDEN)
        second = save(tmp_path / "b", made(created="2027-01-01T00:00:00Z"), GOLDEN)
        assert read_card(first).model_id == read_card(second).model_id

    @pytest.mark.parametrize(
        "changes",
        [
            {"seed": 1},
            {"threshold": 0.25},
            {"preprocessing": PreprocessingCard(image_size=32, mean=0.5, std=0.26)},
            {"training_data": {"nio": 3}},
            {"temperature": 2.0},
            {"certificate": certificate()},
        ],
        ids=["weights", "threshold", "preprocessing", "training-data", "temperature", "certificate"],
    )
    def test_other_content_is_another_model(self, changes: dict[str, Any], tmp_path: Path) -> None:
        """Whatever a verdict may depend on changes the id."""
        ids = [
            read_card(save(tmp_path / name, made(**more), GOLDEN)).model_id
            for name, more in (("a", {}), ("b", changes))
        ]
        assert ids[0] != ids[1]

    @pytest.mark.parametrize("limit", ["farthest", "oddest"])
    def test_another_novelty_limit_is_another_model(self, limit: str, tmp_path: Path) -> None:
        """What is unidentified is a matter of the model too."""
        other = made()
        getattr(other.novelty, limit).fill_(4.5)
        first, second = save(tmp_path / "a", made(), GOLDEN), save(tmp_path / "b", other, GOLDEN)
        assert read_card(first).model_id != read_card(second).model_id

    @pytest.mark.parametrize(
        ("proven", "word"),
        [(certificate(), "certified"), (certificate(missed=1), "indicative"), (None, "indicative")],
        ids=["certified", "indicative", "none"],
    )
    def test_the_id_says_whether_it_is_certified(self, proven: Certificate | None, word: str, tmp_path: Path) -> None:
        """Twelve digits and one word, in every decision: certified only with a certificate that says so."""
        folder = save(tmp_path, made(certificate=proven), GOLDEN)
        model_id = load(folder, CPU).card.model_id
        assert re.fullmatch(rf"[0-9a-f]{{12}}-{word}", model_id)
        assert folder.name.endswith(f"-{model_id}")
        assert read_card(folder).certificate == proven

    @pytest.mark.parametrize("proven", [certificate(), None], ids=["certified", "none"])
    def test_the_certificate_names_other_libraries(self, proven: Certificate | None) -> None:
        """One line says what is proven, and which of this machine's libraries it was not proven with."""
        here = library_versions()
        line = made(certificate=proven).card.certificate_here()
        assert line == (str(proven) if proven else "none: nothing is proven about this model")
        elsewhere = made(certificate=proven, versions=here | {"torch": "1.0", "numpy": "0.9"}).card.certificate_here()
        assert elsewhere == f"{line}; given with torch 1.0, here {here['torch']}; numpy 0.9, here {here['numpy']}"
        del here["pillow"]
        assert "; given with pillow unknown, here" in made(certificate=proven, versions=here).card.certificate_here()

    def test_the_certificate_names_the_runtimes(self) -> None:
        """Those that judged as torch did, and no others; a model without a certificate has nothing to share."""
        proof = RuntimeProof(version="1.0", images=100, changed=0, log_odds=0.02, way=0.3)
        proofs = {"openvino": proof, "openvino-bf16": proof.model_copy(update={"changed": 2})}
        line = made(certificate=certificate(), runtimes=proofs).card.certificate_here()
        assert line == f"{certificate()}; by torch, and by openvino, which judged alike"
        assert "openvino" not in made(runtimes=proofs).card.certificate_here()

    def test_a_model_from_before_the_proofs_is_the_same(self, tmp_path: Path) -> None:
        """What had no word of runtimes in its card has the id that it had."""
        folder = save(tmp_path, made(), GOLDEN)
        card = json.loads((folder / "model.json").read_text())
        del card["runtimes"]
        (folder / "model.json").write_text(json.dumps(card))
        assert load(folder, CPU).card.model_id == card["model_id"]

    def test_an_update_under_a_running_process_is_not_noticed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The daemon tells its certificate every other second, also while an update has taken a package away."""
        before = made(certificate=certificate()).card.certificate_here()
        monkeypatch.setattr("inspection.model.version", lambda name: (_ for _ in ()).throw(PackageNotFoundError(name)))
        assert made(certificate=certificate()).card.certificate_here() == before

    def test_other_golden_images_are_another_model(self, tmp_path: Path) -> None:
        """The self-test is a part of the model."""
        ids = {read_card(save(tmp_path / str(n), made(), GOLDEN[:n])).model_id for n in (1, 2)}
        assert len(ids) == 2


class TestDamaged:
    """A folder that is not what it was is refused, with the file and the mend."""

    @pytest.mark.parametrize("name", ["weights.safetensors", "model.json", "golden/00_io.png", "golden/01_nio.png"])
    def test_a_missing_file(self, name: str, untrained_model: Path) -> None:
        """The missing file is named."""
        path = next(untrained_model.glob(name.replace("00_io", "00_*").replace("01_nio", "01_*")))
        path.unlink()
        assert f"{path}: missing" in (said := refusal(untrained_model))
        assert "copy it anew" in said

    @pytest.mark.parametrize("name", ["weights.safetensors", "model.json", "golden"])
    def test_a_folder_in_place_of_a_file(self, name: str, untrained_model: Path) -> None:
        """Something else where a file, or the folder of golden images, belongs is told, not thrown."""
        path = untrained_model / name
        if path.is_dir():
            shutil.rmtree(path)
            path.touch()
        else:
            path.unlink()
            path.mkdir()
        assert str(path) in refusal(untrained_model)

    @pytest.mark.parametrize("name", ["weights.safetensors", "model.json", "golden/00"])
    @pytest.mark.parametrize("share", [0.0, 0.5, 0.999])
    def test_a_truncated_file(self, name: str, share: float, untrained_model: Path) -> None:
        """A file that was cut short is refused by its name."""
        path = next(untrained_model.glob(f"{name}*"))
        data = path.read_bytes()
        path.write_bytes(data[: int(len(data) * share)])
        assert str(path) in refusal(untrained_model)

    @pytest.mark.parametrize("name", ["weights.safetensors", "golden/00"])
    @pytest.mark.parametrize("place", [0.0, 0.3, 0.7, 0.99])
    def test_a_flipped_bit(self, name: str, place: float, untrained_model: Path) -> None:
        """One bit of a weight or of a golden image is enough."""
        path = next(untrained_model.glob(f"{name}*"))
        data = bytearray(path.read_bytes())
        data[int(len(data) * place)] ^= 1
        path.write_bytes(data)
        assert f"{path}: damaged" in refusal(untrained_model)

    def test_swapped_weights(self, untrained_model: Path, tmp_path: Path) -> None:
        """The sound weights of another model are refused by their hash."""
        other = save(tmp_path / "other", made(seed=5), GOLDEN)
        shutil.copy(other / "weights.safetensors", untrained_model)
        assert "its hash is not the one in model.json" in refusal(untrained_model)

    @pytest.mark.parametrize(
        "edit",
        [
            lambda card: card.update(threshold=0.9),
            lambda card: card["preprocessing"].update(mean=0.51),
            lambda card: card.update(metrics={"recall": 1.0}),
            lambda card: card.update(dropout=0.1),
            lambda card: card.update(temperature=2.0),
            lambda card: card.update(model_id="0" * 12),
            lambda card: card.update(model_id=card["model_id"].replace("indicative", "certified")),
            lambda card: card["golden"].pop(),
            lambda card: card.update(golden=[]),
        ],
        ids=["threshold", "mean", "metrics", "dropout", "temperature", "id", "word", "golden-less", "golden-none"],
    )
    def test_an_edited_card(self, edit: Edit, untrained_model: Path) -> None:
        """A number changed by hand in model.json is noticed."""
        edit_card(untrained_model, edit)
        assert "damaged or edited" in refusal(untrained_model)

    @pytest.mark.parametrize(
        "edit",
        [
            lambda proven: proven.update(certified=True),
            lambda proven: proven["proof"].update(missed=0),
            lambda proven: proven["proof"].update(recall_bound=0.995),
            lambda proven: proven.update(required_recall=0.4),
            lambda proven: proven["by_part"].update(PCBA2=proven["proof"]),
            lambda proven: proven.update(data_fingerprint="0" * 64),
        ],
        ids=["word", "missed", "bound", "required", "part", "data"],
    )
    def test_an_edited_certificate(self, edit: Edit, tmp_path: Path) -> None:
        """Nobody certifies a model by hand, nor with what was proven about other data."""
        folder = save(tmp_path, made(certificate=certificate(missed=1)), GOLDEN)
        edit_card(folder, lambda card: edit(card["certificate"]))
        assert "damaged or edited" in refusal(folder)

    @pytest.mark.parametrize(
        ("edit", "said"),
        [
            (lambda card: card.update(classes=["nio", "io"]), "classes"),
            (lambda card: card.update(classes=["io"]), "classes"),
            (lambda card: card.update(threshold=1.5), "threshold"),
            (lambda card: card.update(threshold="0.5"), "threshold"),
            (lambda card: card.update(temperature=0.0), "temperature"),
            (lambda card: card.update(certificate={"certified": True}), "certificate."),
            (lambda card: card["golden"][0].pop("novelty"), "golden.0.novelty"),
            (lambda card: card.update(architecture="transformer"), "architecture"),
            (lambda card: card.update(surprise=1), "surprise"),
            (lambda card: card.pop("weights_sha256"), "damaged or edited"),
            (lambda card: card["preprocessing"].update(image_size=100), "preprocessing.image_size"),
            (lambda card: card["preprocessing"].update(std=0), "preprocessing.std"),
            (lambda card: card["golden"][0].update(file="../../../etc/passwd.png"), "golden.0.file"),
            (lambda card: card["golden"][0].update(file="/etc/passwd.png"), "golden.0.file"),
            (lambda card: card["golden"][0].update(file="sub/00.png"), "golden.0.file"),
            (lambda card: card["golden"][0].update(logits=[1.0]), "golden.0.logits"),
            pytest.param(lambda card: card.update(threshold=float("nan")), "threshold", id="threshold-nan"),
            pytest.param(lambda card: card["preprocessing"].update(mean=float("nan")), "mean", id="nan"),
            pytest.param(lambda card: card["preprocessing"].update(std=float("inf")), "std", id="inf"),
        ],
    )
    def test_an_impossible_card(self, edit: Edit, said: str, untrained_model: Path) -> None:
        """What model.json must not say is refused by its key, whatever its id; no golden name leaves the folder."""
        edit_card(untrained_model, edit)
        assert said in refusal(untrained_model)

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "{",
            "[]",
            "null",
            "{}",
            '{"format": "onnx"}',
            '{"a": 1}',
            '"solderwatch-model"',
            pytest.param("[" * 100_000, id="deep"),
        ],
    )
    def test_a_foreign_card(self, text: str, untrained_model: Path) -> None:
        """Another program's JSON, or none, is refused as what it is."""
        (untrained_model / "model.json").write_text(text, encoding="utf-8")
        assert f"{untrained_model / 'model.json'}: " in refusal(untrained_model)

    def test_bytes_are_no_card(self, untrained_model: Path) -> None:
        """Neither are bytes that are no text."""
        (untrained_model / "model.json").write_bytes(b"\xff\xfe\x00\x80")
        assert "not JSON" in refusal(untrained_model)

    def test_a_newer_format(self, untrained_model: Path) -> None:
        """A model of a later version says that the program must be updated, whatever else is new in it."""
        edit_card(untrained_model, lambda card: card.update(format_version=3, novelty={"kind": "new"}))
        assert "update Solderwatch" in refusal(untrained_model)

    def test_an_older_format(self, untrained_model: Path) -> None:
        """A model from before there was a novelty cannot judge any more, and says what to do."""
        edit_card(untrained_model, lambda card: card.update(format_version=1))
        assert "train anew" in refusal(untrained_model)

    @pytest.mark.parametrize("name", ["nothing", "current"])
    def test_no_model(self, name: str, tmp_path: Path) -> None:
        """No folder, or a link to none, is told apart: there is no model yet, and how to get one."""
        (tmp_path / "current").symlink_to("gone")
        with pytest.raises(NoModelError, match="train one with solderwatch-train"):
            load(tmp_path / name, CPU)


class TestSelfTest:
    """A model that computes otherwise than when it was made is refused, however well its hashes fit."""

    def test_an_honest_edit_passes(self, untrained_model: Path) -> None:
        """The way in which these tests edit a card is itself sound."""
        edit_card(untrained_model, lambda card: card.update(metrics={"note": "looked at"}), renamed=True)
        assert load(untrained_model, CPU).card.metrics == {"note": "looked at"}

    @pytest.mark.parametrize("shift", [0.05, -0.05, 3.0])
    def test_other_golden_scores(self, shift: float, untrained_model: Path) -> None:
        """Scores that are not found again are told with both numbers."""

        def move(card: dict[str, Any]) -> None:
            card["golden"][1]["logits"][1] += shift

        edit_card(untrained_model, move, renamed=True)
        assert "self-test failed" in refusal(untrained_model)

    @pytest.mark.parametrize("factor", [0.9, 1.1, 0.0, -1.0])
    def test_another_golden_novelty(self, factor: float, untrained_model: Path) -> None:
        """Nor does a model pass that finds its golden images more or less strange than it did."""
        content = json.loads((untrained_model / "model.json").read_text(encoding="utf-8"))
        novelty = content["golden"][0]["novelty"] * factor
        edit_card(untrained_model, lambda card: card["golden"][0].update(novelty=novelty), renamed=True)
        assert "self-test failed" in refusal(untrained_model)

    @pytest.mark.parametrize(
        ("name", "value"),
        [("farthest", 25.0), ("farthest", torch.nan), ("oddest", -5.0), ("oddest", torch.nan), ("centre", 0.1)],
    )
    def test_another_novelty(self, name: str, value: float, tmp_path: Path) -> None:
        """A limit or a centre of other good images is noticed as other weights are."""
        model = made()
        folder = save(tmp_path, model, GOLDEN)
        getattr(model.novelty, name).fill_(value)
        replace_weights(folder, weights(model))
        assert "self-test failed" in refusal(folder)

    @pytest.mark.parametrize("change", [{"mean": 0.9}, {"std": 0.05}, {"image_size": 64}])
    def test_another_preprocessing(self, change: dict[str, Any], trained: Path, tmp_path: Path) -> None:
        """The preprocessing is part of what is tested."""
        folder = tmp_path / "model"
        shutil.copytree((trained / "models" / "current").resolve(), folder)
        edit_card(folder, lambda card: card["preprocessing"].update(change), renamed=True)
        assert "self-test failed" in refusal(folder)

    def test_another_golden_image(self, untrained_model: Path) -> None:
        """Neither does an exchanged image pass with its hash exchanged."""
        path = next(untrained_model.glob("golden/00*"))
        Image.fromarray(np.full((40, 40), 65535, np.uint16)).save(path)
        digest = _sha256(path.read_bytes())
        edit_card(untrained_model, lambda card: card["golden"][0].update(sha256=digest), renamed=True)
        assert "self-test failed" in refusal(untrained_model)

    def test_a_golden_image_that_is_none(self, untrained_model: Path) -> None:
        """A golden image that cannot be decoded is an error of the model."""
        path = next(untrained_model.glob("golden/00*"))
        path.write_bytes(b"no image")
        edit_card(untrained_model, lambda card: card["golden"][0].update(sha256=_sha256(b"no image")), renamed=True)
        assert str(path) in refusal(untrained_model)

    def test_other_weights(self, untrained_model: Path) -> None:
        """Other weights with fitting hash and id do not score as the golden samples say."""
        replace_weights(untrained_model, weights(made(seed=5)))
        assert "self-test failed" in refusal(untrained_model)

    @pytest.mark.parametrize("value", [float("nan"), float("inf")])
    def test_weights_that_are_no_numbers(self, value: float, untrained_model: Path) -> None:
        """A weight that is no number makes no verdict."""
        model = made()
        model.network.head.linear.weight.data[0, 0] = value
        replace_weights(untrained_model, weights(model))
        assert "self-test failed" in refusal(untrained_model)

    def test_weights_of_another_architecture(self, untrained_model: Path) -> None:
        """They do not fit, and are told so in one line."""
        replace_weights(untrained_model, weights(made(architecture="plain")))
        assert "not the weights of a residual network" in refusal(untrained_model)

    def test_no_golden_samples(self, untrained_model: Path) -> None:
        """A model that brings nothing to test it with is refused: each carries golden samples."""
        edit_card(untrained_model, lambda card: card.update(golden=[]), renamed=True)
        assert refusal(untrained_model)

    def test_an_impossible_dropout(self, untrained_model: Path) -> None:
        """A number that no network can be built with is an error of the model."""
        edit_card(untrained_model, lambda card: card.update(dropout=5.0))
        assert "dropout" in refusal(untrained_model)


class Touch:
    """Pickled, a call that makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str, int]]:
        return os.open, (str(self.path), os.O_CREAT | os.O_WRONLY)


class TestSafety:
    """Loading reads numbers, and runs nothing."""

    @pytest.mark.parametrize("wrapped", [False, True], ids=["pickle", "torch"])
    def test_a_pickle_is_not_executed(self, wrapped: bool, untrained_model: Path, tmp_path: Path) -> None:
        """A pickle in place of the weights, with fitting hash and id, is refused before it can act."""
        marker = tmp_path / "executed"
        file = tmp_path / "weights.pt"
        if wrapped:
            torch.save(Touch(marker), file)
        else:
            file.write_bytes(pickle.dumps(Touch(marker)))
        replace_weights(untrained_model, file.read_bytes())
        assert "not the weights" in refusal(untrained_model)
        assert not marker.exists()


class TestWholeOrNot:
    """`save` leaves no half model."""

    def broken(self) -> Model:
        """A model whose golden scores are no numbers, so that saving fails late."""
        model = made()
        model.network.head.linear.weight.data[0, 0] = torch.nan
        return model

    def test_a_failure_leaves_no_model(self, tmp_path: Path) -> None:
        """A save that fails leaves nothing that could be taken for a model, and the next one works."""
        with pytest.raises(ValueError):
            save(tmp_path, self.broken(), GOLDEN)
        assert [path for path in tmp_path.iterdir() if not path.name.startswith(".")] == []
        folder = save(tmp_path, made(), GOLDEN)
        assert [path.name for path in tmp_path.iterdir()] == [folder.name]

    def test_a_failure_leaves_nothing(self, tmp_path: Path) -> None:
        """Nor does it leave what it had begun: disks fill up."""
        with pytest.raises(ValueError):
            save(tmp_path, self.broken(), GOLDEN)
        assert list(tmp_path.iterdir()) == []

    def test_a_model_that_is_there_stays(self, tmp_path: Path) -> None:
        """Saving the same model a second time, refused or not, never damages the first."""
        folder = save(tmp_path, made(), GOLDEN)
        before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        with contextlib.suppress(OSError):
            save(tmp_path, made(), GOLDEN)
        assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
        assert load(folder, CPU)
