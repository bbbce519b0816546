"""What the gate promises: no model replaces a better one, none is judged by what it was trained on, and all is told."""

from __future__ import annotations

import fcntl
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from inspection.errors import ModelError
from inspection.image import decode
from inspection.inspector import Inspector
from inspection.model import GOLDEN, Model, PreprocessingCard, save
from inspection.model import load as load_model
from inspection.network import SupervisedAutoencoder
from inspection.novelty import DESCRIPTION, Novelty
from inspection.verdict import Label, rounded
from settings import Settings, load
from settings.schema import GateSettings
from training.__main__ import main
from training.data.dataset import LabelledImage, read, split
from training.release.contest import hold_contest, hold_gate
from training.release.gate import Contest, GateRecord, apply_rule, read_record, write_record
from training.release.history import history
from training.release.seen import SEEN, SEEN_KEY, Seen, digest, read_seen, seen_lines

pytestmark = pytest.mark.usefixtures("one_thread")

CPU = torch.device("cpu")
NOTHING_IS_NOVEL = Novelty(DESCRIPTION)
DEFAULT = GateSettings()


# --- the rule ---


def contest(
    champion: tuple[int, int],
    challenger: tuple[int, int],
    *,
    io: int = 100,
    nio: int = 20,
    slower: float = 1.0,
    larger: float = 1.0,
) -> Contest:
    """Two models by their misses and false calls; the mistakes of both are on the same images as far as possible."""

    def labels(*counts: int) -> list[Label]:
        order: list[Label] = ["nio", "io", "io", "nio"]
        return [label for label, count in zip(order, counts, strict=True) for _ in range(count)]

    def judged(misses: int, false_calls: int) -> list[Label]:
        return labels(false_calls, io - false_calls, misses, nio - misses)

    rng = np.random.default_rng(0)
    times = rng.uniform(9, 11, (2, io + nio))
    return Contest(
        labels=labels(0, io, 0, nio),
        champion=judged(*champion),
        challenger=judged(*challenger),
        champion_ms=times[0].tolist(),
        challenger_ms=(slower * times[1]).tolist(),
        champion_mb=10.0,
        challenger_mb=10.0 * larger,
        golden=8,
        flipped=[],
    )


@pytest.mark.parametrize(
    ("champion", "challenger", "settings", "failed"),
    [
        ((1, 3), (1, 3), DEFAULT, []),
        ((1, 3), (0, 0), DEFAULT, []),
        ((0, 3), (1, 0), DEFAULT, ["nio images missed"]),
        ((1, 3), (0, 4), DEFAULT, ["false calls"]),
        ((0, 0), (1, 9), DEFAULT, ["nio images missed", "false calls"]),
        ((0, 3), (1, 3), GateSettings(recall_tolerance=0.05), []),
        ((0, 3), (2, 3), GateSettings(recall_tolerance=0.05), ["nio images missed"]),
        ((0, 3), (0, 5), GateSettings(false_call_tolerance=0.02), []),
        ((0, 3), (0, 6), GateSettings(false_call_tolerance=0.02), ["false calls"]),
    ],
)
def test_the_rule(
    champion: tuple[int, int], challenger: tuple[int, int], settings: GateSettings, failed: list[str]
) -> None:
    """No more misses and no more false calls than the champion, counted, within the tolerances and not one beyond."""
    _, objections = apply_rule(contest(champion, challenger), settings)
    assert [objection.partition(":")[0] for objection in objections] == failed


def test_the_default_tolerance() -> None:
    """By default one more false call in 200 is let pass, two are not; one more miss never is."""
    for more, passes in ((1, True), (2, False)):
        _, objections = apply_rule(contest((0, 0), (0, more), io=200), DEFAULT)
        assert (objections == []) == passes
    assert apply_rule(contest((0, 0), (1, 0), nio=1000), DEFAULT)[1]


@pytest.mark.parametrize(("slower", "larger", "failed"), [(1.9, 1.9, 0), (2.2, 1.0, 1), (1.0, 2.1, 1), (0.1, 0.1, 0)])
def test_cost(slower: float, larger: float, failed: int) -> None:
    """A model that takes more than twice the time or memory of the champion is refused; a cheaper one is welcome."""
    assert len(apply_rule(contest((0, 0), (0, 0), slower=slower, larger=larger), DEFAULT)[1]) == failed


def test_timing_noise() -> None:
    """Equal models do not fail by noise, even if the machine was busy during most of the challenger's turns."""
    found = contest((0, 0), (0, 0))
    busy = [ms * (5 if number % 10 else 1) for number, ms in enumerate(found.challenger_ms)]
    assert not apply_rule(Contest(**{**vars(found), "challenger_ms": busy}), DEFAULT)[1]


def test_chance_is_told() -> None:
    """A difference is told together with whether it may be chance, by the exact paired test."""
    checks, _ = apply_rule(contest((0, 0), (0, 1)), DEFAULT)
    assert "may be chance, p = 1)" in checks[1].allowed
    checks, _ = apply_rule(contest((0, 0), (0, 6)), DEFAULT)
    assert "more than chance, p = 0.031)" in checks[1].allowed
    assert contest((0, 0), (0, 6)).chance("io") == pytest.approx(2 * 0.5**6)


# --- what a model was trained on ---


def labelled(name: str, group: str | None = None, label: Label = "io") -> LabelledImage:
    """An image that exists by name only."""
    sha256 = digest(name.encode())
    return LabelledImage(Path(name), label, group or sha256, sha256, torch.zeros(1, 1, 1))


def trained_on(tmp_path: Path, images: Sequence[LabelledImage], any_model: Model) -> Seen:
    """What a model says that was trained on these images and tested on others."""
    lines = seen_lines({"train": list(images), "test": [labelled("its test")], "unseen": [labelled("its unseen")]})
    (tmp_path / SEEN).write_bytes(lines)
    card = any_model.card.model_copy(update={"training_data": {SEEN_KEY: digest(lines)}})
    found = read_seen(tmp_path, card)
    assert found
    return found


def test_what_it_was_trained_on_is_seen(tmp_path: Path, champion: Model) -> None:
    """Images that it was trained on are seen; those of its own test, and new ones, are not."""
    seen = trained_on(tmp_path, [labelled("a"), labelled("b")], champion)
    test = [labelled("a"), labelled("its test"), labelled("its unseen"), labelled("new")]
    assert seen.unseen(test, test) == test[1:]


def test_another_image_of_a_group(tmp_path: Path, champion: Model) -> None:
    """An image is seen if another one of its part was, whether the group still has its name or is known by members."""
    seen = trained_on(tmp_path, [labelled("a", "part 1"), labelled("b", "old name")], champion)
    test = [labelled("a2", "part 1"), labelled("b2", "new name"), labelled("c", "part 2")]
    assert seen.unseen(test, [*test, labelled("b", "new name")]) == [test[2]]


@pytest.mark.parametrize("damage", ["gone", "edited"])
def test_unknown_what_it_was_trained_on(models: Path, damage: str) -> None:
    """A list of training images that is gone or not the one that the card was made with counts as none."""
    folder = models / "champion"
    card = load_model(folder, CPU).card
    assert read_seen(folder, card)
    if damage == "gone":
        (folder / SEEN).unlink()
    else:
        lines = (folder / SEEN).read_bytes().splitlines(keepends=True)
        (folder / SEEN).write_bytes(b"".join(lines[1:]))
    assert read_seen(folder, card) is None


# --- two models on images ---


@pytest.fixture(scope="module")
def settings(trained: Path) -> Settings:
    """The configuration of the trained model."""
    return load(trained / "config.yaml")


@pytest.fixture(scope="module")
def images(settings: Settings) -> list[LabelledImage]:
    """Its data set."""
    return read(settings).images


@pytest.fixture(scope="module")
def test(images: list[LabelledImage], settings: Settings) -> list[LabelledImage]:
    """Its test part."""
    return split(images, settings.training)["test"]


def golden_of(folder: Path, model: Model) -> list[tuple[NDArray[np.float32], Label]]:
    """The golden samples of a model, as they were given."""
    return [
        (decode((folder / GOLDEN / sample.file).read_bytes(), max_pixels=10**6).pixels, sample.label)
        for sample in model.card.golden
    ]


@pytest.fixture(scope="module")
def good(trained: Path, test: list[LabelledImage], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the trained model with the threshold that is best on the test images: it catches all."""
    folder = (trained / "models" / "current").resolve()
    model = load_model(folder, CPU)
    greys = torch.stack([image.grey for image in test if image.label == "nio"])
    found = model.probability(model.scores(model.preprocessing.normalise(greys)).logits)
    card = model.card.model_copy(update={"threshold": rounded(found.min().item() * 0.999)})
    files = {SEEN: (folder / SEEN).read_bytes()}
    golden = golden_of(folder, model)
    return save(tmp_path_factory.mktemp("good"), Model(card, model.network, NOTHING_IS_NOVEL, CPU), golden, files)


@pytest.fixture
def models(tmp_path: Path, good: Path) -> Path:
    """A folder with a good model, called `champion` and in use."""
    folder = tmp_path / "models"
    shutil.copytree(good, folder / "champion")
    (folder / "current").symlink_to("champion")
    return folder


@pytest.fixture
def champion(models: Path) -> Model:
    """The trained model."""
    return load_model(models / "champion", CPU)


@pytest.fixture
def challenger(models: Path, champion: Model) -> Callable[..., Path]:
    """Makes challengers: the champion with another threshold, or whatever else is changed in its card."""

    def make(network: SupervisedAutoencoder | None = None, **changes: Any) -> Path:
        golden = golden_of(models / "champion", champion)
        network = network or SupervisedAutoencoder(champion.card.architecture, champion.card.dropout)
        if not changes.get("preprocessing"):
            network.load_state_dict(champion.network.state_dict())
        card = champion.card.model_copy(update=changes)
        return save(models, Model(card, network, NOTHING_IS_NOVEL, CPU), golden)

    return make


Hold = Callable[..., GateRecord]


@pytest.fixture
def hold(settings: Settings, models: Path, images: list[LabelledImage], test: list[LabelledImage]) -> Hold:
    """Holds the gate for a challenger against the champion."""

    def hold(challenger: Path, champion: Path | None = models / "champion", **changes: Any) -> GateRecord:
        given: dict[str, Any] = {"test": test, "everything": images, "force": False} | changes
        return hold_gate(settings, champion, challenger, device=CPU, **given)

    return hold


def test_each_judges_in_its_own_way(
    settings: Settings, models: Path, champion: Model, challenger: Callable[..., Path], test: list[LabelledImage]
) -> None:
    """Each model judges the files as the daemon would with it: its own image size, mean, std and threshold."""
    torch.manual_seed(1)
    other = load_model(
        challenger(
            SupervisedAutoencoder("residual", 0.0).eval(),
            preprocessing=PreprocessingCard(image_size=32, mean=0.3, std=0.1),
            threshold=0.5,
        ),
        CPU,
    )
    found = hold_contest(settings, champion, models / "champion", other, test)
    for model, judged in ((champion, found.champion), (other, found.challenger)):
        inspector = Inspector(model, "XGradCAM", only_last_conv=True)
        pixels = [decode(image.path.read_bytes(), max_pixels=10**6).pixels for image in test]
        assert [inspector.inspect([each])[0].verdict.label for each in pixels] == judged
    assert found.champion != found.challenger
    assert found.labels == [image.label for image in test]
    assert found.champion_mb > found.challenger_mb > 1
    assert min(*found.champion_ms, *found.challenger_ms) > 0


def test_a_worse_one_is_refused(hold: Hold, challenger: Callable[..., Path], test: list[LabelledImage]) -> None:
    """A challenger that calls everything nio, or everything io, is not promoted, and the record counts its mistakes."""
    io = sum(image.label == "io" for image in test)
    record = hold(challenger(threshold=0.0))
    assert not record.promoted
    assert record.compared == {"io": io, "nio": len(test) - io}
    assert record.left_out == {"that the champion was trained on": 0, "whose file changed since it was read": 0}
    assert f"false calls: {io} of {io}" in record.summary
    record = hold(challenger(threshold=1.0))
    assert not record.promoted
    assert "nio images missed" in record.summary


def test_flipped_golden_samples_are_told(hold: Hold, challenger: Callable[..., Path]) -> None:
    """Golden samples of the champion that the challenger judges otherwise are named with both verdicts and label."""
    told = next(check for check in hold(challenger(threshold=0.0)).checks if check.name == "golden samples")
    assert told.challenger == "4 judged alike"
    assert "00_io.png: io -> nio, is io" in told.allowed


def test_an_equal_one_is_promoted(hold: Hold, challenger: Callable[..., Path]) -> None:
    """A challenger that judges every test image as the champion does replaces it: it knows newer images."""
    record = hold(challenger(training_data={"newer": True}))
    assert record.promoted
    assert not record.forced
    assert record.summary == "promoted: no worse than the champion"


def test_force(hold: Hold, challenger: Callable[..., Path]) -> None:
    """Force promotes what the gate refuses, and the record keeps both; it changes nothing where the gate agrees."""
    record = hold(challenger(threshold=0.0), force=True)
    assert (record.promoted, record.passed, record.forced) == (True, False, True)
    assert record.summary.startswith("promoted by --force: false calls: ")
    assert not hold(challenger(training_data={"newer": True}), force=True).forced


def test_the_same_model_again(hold: Hold, models: Path) -> None:
    """A training that comes to the very same model promotes nothing, so that `previous` still leads to another one."""
    shutil.copytree(models / "champion", models / "again")
    assert hold(models / "again").summary == "not promoted: the very model that is in use came out again"


def test_a_champion_that_was_trained_on_the_test(
    hold: Hold, challenger: Callable[..., Path], settings: Settings, images: list[LabelledImage]
) -> None:
    """With another seed the champion knows most test images: those are left out, and too few are left to compare."""
    reseeded = settings.training.model_copy(update={"seed": 1})
    test = split(images, reseeded)["test"]
    record = hold(challenger(training_data={"newer": True}), test=test)
    assert not record.promoted
    assert sum(record.compared.values()) + record.left_out["that the champion was trained on"] == len(test)
    assert "cannot be compared" in record.summary
    assert "5 of each label are needed" in record.summary
    assert hold(challenger(training_data={"newer": True}), test=test, force=True).promoted


def test_a_champion_that_does_not_say_what_it_was_trained_on(
    hold: Hold, challenger: Callable[..., Path], models: Path
) -> None:
    """A champion without its list of training images is not compared, and stays."""
    (models / "champion" / SEEN).unlink()
    record = hold(challenger(training_data={"newer": True}))
    assert not record.promoted
    assert "does not say what it was trained on" in record.summary


def test_files_that_changed_are_left_out(
    hold: Hold, challenger: Callable[..., Path], test: list[LabelledImage], tmp_path: Path
) -> None:
    """A test image that was deleted or replaced during the training is left out, and that is told."""
    gone = labelled("gone.png")
    Image.new("L", (40, 40)).save(tmp_path / "replaced.png")
    replaced = LabelledImage(tmp_path / "replaced.png", "io", "r", digest(b"before"), torch.zeros(1, 1, 1))
    record = hold(challenger(training_data={"newer": True}), test=[*test, gone, replaced])
    assert record.left_out["whose file changed since it was read"] == 2
    assert record.promoted


def test_the_first_model(hold: Hold, challenger: Callable[..., Path]) -> None:
    """A first model is promoted even if it misses the requirement, and that is said loudly."""
    record = hold(challenger(threshold=1.0), champion=None)
    assert record.promoted
    assert record.champion is None
    assert record.summary.startswith("promoted: the first model; indicative: 0 of ")


@pytest.mark.parametrize(("false_calls", "force"), [(0.98, False), (0.98, True), (0.4, False)])
def test_a_first_model_of_no_use(
    hold: Hold, challenger: Callable[..., Path], false_calls: float, *, force: bool
) -> None:
    """A first model that calls nearly every good image nio is not promoted, unless forced, and that is said."""
    new = challenger(metrics={"test": {"recall": 1.0, "false_call_rate": false_calls}})
    record = hold(new, champion=None, force=force)
    assert record.promoted == (false_calls < 0.5 or force)
    assert record.forced == force
    assert ("calls 98% of good images nio: of no use" in record.summary) == (false_calls > 0.5)


@pytest.mark.parametrize("damage", ["weights", "gone"])
def test_a_damaged_champion(hold: Hold, challenger: Callable[..., Path], models: Path, damage: str) -> None:
    """A champion that cannot be loaded is no hurdle; that is said, and why."""
    new = challenger(threshold=1.0)
    if damage == "gone":
        shutil.rmtree(models / "champion")
    else:
        (models / "champion" / "weights.safetensors").write_bytes(b"")
    record = hold(new)
    assert record.promoted
    assert "cannot be loaded" in record.summary
    assert str(models / "champion") in record.summary


# --- the record, the history, the command ---


def test_the_record_comes_back(hold: Hold, challenger: Callable[..., Path]) -> None:
    """What was written into the model's folder is what is read; the model is as whole as before."""
    folder = challenger(threshold=0.0)
    record = hold(folder)
    write_record(folder, record)
    assert read_record(folder) == record
    load_model(folder, CPU)
    (folder / "gate.json").write_text("{}")
    with pytest.raises(ModelError, match=r"gate\.json: damaged"):
        read_record(folder)


def test_history(models: Path, hold: Hold, challenger: Callable[..., Path]) -> None:
    """Every model is a line with its test and what the gate said; what is damaged is a line too."""
    refused = challenger(threshold=0.0, created="2031-01-01T00:00:00Z")
    write_record(refused, hold(refused))
    for name in ("unwhole", "odd record", "foreign"):
        shutil.copytree(refused, models / name)
    (models / "unwhole" / "model.json").unlink()
    (models / "odd record" / "gate.json").write_text("[")
    save_foreign = challenger(metrics={"test": 3}, created="2032-01-01T00:00:00Z")
    shutil.rmtree(models / "foreign")
    (models / ".building-7").mkdir()
    (models / "previous").symlink_to("unwhole")
    heading, *lines = history(models).splitlines()
    assert " ".join(heading.split()) == "model trained nio found in its test false calls recall proven gate"
    told = {name: next(line for line in lines if f"  {name}  " in line) for name in _folders(models)}
    assert len(lines) == len(told)
    assert told["champion"].startswith("current  ")
    assert "indicative" in told["champion"]
    assert told["champion"].endswith("not asked")
    assert "not promoted: false calls" in told[refused.name]
    assert told["unwhole"].startswith("previous  ")
    assert "damaged: " in told["unwhole"]
    assert "gate.json: damaged" in told["odd record"]
    assert "-  " in told[save_foreign.name]


def _folders(models: Path) -> list[str]:
    return [path.name for path in models.iterdir() if path.is_dir() and not path.is_symlink() and path.name[0] != "."]


def test_history_of_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without models the history says where they would be."""
    (tmp_path / "config.yaml").touch()
    assert main(["history", "--config", str(tmp_path / "config.yaml")]) == 0
    assert f"no models in {tmp_path / 'models'}" in capsys.readouterr().out


def test_one_refresh_at_a_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """While one refresh is at work a second one ends at once, with one line; a rollback may come in between."""
    (tmp_path / "config.yaml").touch()
    (tmp_path / "models").mkdir()
    arguments = ["--config", str(tmp_path / "config.yaml")]
    with (tmp_path / "models" / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert main(arguments) == 1
        told = capsys.readouterr().err
        assert told.count("\n") == 1
        assert "another solderwatch-train is at work there" in told
        assert main(["rollback", *arguments]) == 1
        assert "no previous model" in capsys.readouterr().err


WORSE = """\
device: cpu
training:
  image_size: 48
  epochs: 1
  folds: 0
  escape_cost: 1000000
  nio_share: 0.9
  unseen: {io: 4, nio: 4}
"""


def test_a_refresh_that_is_not_promoted(
    trained: Path, models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A worse model exits with 3, says why, and leaves the champion in use; `--force` promotes, `rollback` undoes."""
    shutil.copytree(trained / "dataset", tmp_path / "dataset")
    config = tmp_path / "config.yaml"
    config.write_text(WORSE, encoding="utf-8")
    arguments = ["--config", str(config)]

    assert main(arguments) == 3
    said = capsys.readouterr()
    assert said.err.splitlines()[-1].startswith("solderwatch-train: trained, not promoted: ")
    assert "not promoted: false calls: " in said.out
    assert (models / "current").readlink() == Path("champion")
    (refused,) = (path for path in models.glob("2*"))
    assert json.loads((refused / "gate.json").read_text())["passed"] is False

    config.write_text(f"{WORSE}  dropout: 0.1\n", encoding="utf-8")
    assert main([*arguments, "--force"]) == 0
    assert "promoted by --force: " in capsys.readouterr().out
    forced = (models / "current").readlink()
    assert forced.name not in {"champion", refused.name}

    assert main(["rollback", *arguments]) == 0
    capsys.readouterr()
    assert main(["history", *arguments]) == 0
    lines = capsys.readouterr().out.splitlines()[1:]
    assert [line.split()[0] for line in lines] == [refused.name, "previous", "current"]
