"""What promotion promises: one pointer, switched in one step, and a way back."""

from __future__ import annotations

import os
import shutil
import threading
from pathlib import Path

import pytest

from inspection.errors import ModelError, NoModelError
from training.release import promote as module
from training.release.promote import only_refresh, promote, rollback


@pytest.fixture
def models(tmp_path: Path, untrained_model: Path) -> Path:
    """A folder with the models a, b and c; none is in use yet."""
    folder = tmp_path / "line"
    for name in "abc":
        shutil.copytree(untrained_model, folder / name)
    return folder


def links(models: Path) -> tuple[str | None, str | None]:
    """Where `current` and `previous` lead."""
    found = [models / name for name in ("current", "previous")]
    current, previous = (str(link.readlink()) if link.is_symlink() else None for link in found)
    return current, previous


def test_first_model(models: Path) -> None:
    """The first model is in use at once; there is none before it."""
    promote(models / "a")
    assert links(models) == ("a", None)
    assert (models / "current" / "model.json").is_file()


def test_the_one_before_is_remembered(models: Path) -> None:
    """Each promotion makes the model before it the previous one, and no folder is touched."""
    for name in "abc":
        promote(models / name)
    assert links(models) == ("c", "b")
    assert sorted(path.name for path in models.iterdir()) == ["a", "b", "c", "current", "previous"]


def test_the_links_may_be_moved_with_their_folder(models: Path, tmp_path: Path) -> None:
    """The links are relative: a copied or moved models folder still works."""
    promote(models / "a")
    promote(models / "b")
    moved = models.rename(tmp_path / "elsewhere")
    assert (moved / "current" / "model.json").is_file()
    assert (moved / "previous" / "model.json").is_file()


def test_promoting_the_current_model_again(models: Path) -> None:
    """The model in use, promoted once more, changes nothing; the way back stays."""
    promote(models / "a")
    promote(models / "b")
    promote(models / "b")
    assert links(models) == ("b", "a")


def test_rollback(models: Path) -> None:
    """A rollback puts the previous model to use and says which; a second one undoes it."""
    promote(models / "a")
    promote(models / "b")
    assert rollback(models) == models / "a"
    assert links(models) == ("a", "b")
    assert rollback(models) == models / "b"
    assert links(models) == ("b", "a")


@pytest.mark.parametrize("first", [True, False], ids=["one model", "no model"])
def test_rollback_without_a_previous_model(models: Path, first: bool) -> None:
    """Without a model to go back to, that is what the error says, and nothing changes."""
    if first:
        promote(models / "a")
    before = links(models)
    with pytest.raises(NoModelError, match="no previous model"):
        rollback(models)
    assert links(models) == before


@pytest.mark.parametrize("damage", ["gone", "not whole", "edited"])
def test_rollback_to_a_bad_model(models: Path, damage: str) -> None:
    """A previous model that is gone, not whole or edited is refused; the current one stays in use."""
    promote(models / "a")
    promote(models / "b")
    card = models / "a" / "model.json"
    if damage == "gone":
        shutil.rmtree(models / "a")
    elif damage == "not whole":
        card.unlink()
    else:
        card.write_text(card.read_text("utf-8").replace('"threshold": 0.5', '"threshold": 0.6'), "utf-8")
    with pytest.raises(ModelError, match=r"model\.json"):
        rollback(models)
    assert links(models) == ("b", "a")


def test_a_reader_always_sees_a_whole_model(models: Path) -> None:
    """Whoever follows `current` while it is switched, again and again, finds the old model or the new one."""
    for name in "ab":
        (models / name / "name").write_text(name, encoding="utf-8")
    promote(models / "a")
    stop, seen, trouble = threading.Event(), set[str](), list[OSError]()

    def read() -> None:
        while not stop.is_set():
            try:
                seen.add((models / "current" / "name").read_text(encoding="utf-8"))
            except OSError as error:
                trouble.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for _ in range(150):
            promote(models / "b")
            promote(models / "a")
    finally:
        stop.set()
        reader.join()
    assert trouble == []
    assert seen == {"a", "b"}


@pytest.mark.parametrize("content", ["folder", "file"])
def test_current_that_is_no_link(models: Path, content: str) -> None:
    """A real folder or file called `current` is left alone, and the error says what to do with it."""
    if content == "folder":
        shutil.copytree(models / "a", models / "current")
    else:
        (models / "current").write_text("a", encoding="utf-8")
    with pytest.raises(ModelError, match="not a link; move that folder to another name"):
        promote(models / "b")
    assert not (models / "current").is_symlink()
    assert not (models / "previous").exists()


def test_previous_that_is_no_link(models: Path) -> None:
    """A real folder called `previous` is refused as one called `current` is."""
    promote(models / "a")
    shutil.copytree(models / "a", models / "previous")
    with pytest.raises(ModelError, match="not a link"):
        promote(models / "b")


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    """Where no model could be written a refresh ends before it began, in one line with the key and what to do."""
    (tmp_path / "file").touch()
    models = tmp_path / "file" / "models"
    with (
        pytest.raises(
            ModelError, match=rf"^paths\.models: {models}: no model can be written there: .*; give this user "
        ),
        only_refresh(models),
    ):
        pass


def test_what_a_killed_promotion_left(models: Path) -> None:
    """A link that a killed promotion left half-way, even of a process with this number, is no obstacle."""
    promote(models / "a")
    for name in ("current", "previous"):
        (models / f".{name}-{os.getpid()}").symlink_to("nowhere")
    promote(models / "b")
    assert links(models) == ("b", "a")


def kill_at(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the promotion die before its n-th link is switched."""
    switched = iter(range(step))
    real = module._link

    def link(path: Path, target: str) -> None:
        if next(switched, None) is None:
            raise SystemExit
        real(path, target)

    monkeypatch.setattr(module, "_link", link)


@pytest.mark.parametrize(("step", "in_use"), [(0, "b"), (1, "c")])
def test_killed_between_the_links(models: Path, monkeypatch: pytest.MonkeyPatch, step: int, in_use: str) -> None:
    """A promotion killed before a step leaves the old model or the new one in use; the next one works."""
    promote(models / "a")
    promote(models / "b")
    with monkeypatch.context() as patch:
        kill_at(step, patch)
        with pytest.raises(SystemExit):
            promote(models / "c")
    assert links(models)[0] == in_use
    promote(models / "a")
    assert links(models) == ("a", in_use)


def test_the_way_back_survives_a_kill(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a killed promotion, a rollback still leads to another model than the one in use."""
    promote(models / "a")
    promote(models / "b")
    with monkeypatch.context() as patch:
        kill_at(1, patch)
        with pytest.raises(SystemExit):
            promote(models / "c")
    assert rollback(models) == models / "a"
