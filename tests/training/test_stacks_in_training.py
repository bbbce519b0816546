"""What training promises of stacks: a file is one image, its label holds for all of it, and the worst page decides."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from inspection.inspector import Inspector
from inspection.model import Model, read_card
from inspection.model import load as load_model
from inspection.network import SupervisedAutoencoder
from inspection.preprocess import Preprocessing, resize
from inspection.verdict import Label
from settings import Settings
from settings.schema import TrainingSettings
from training.data.dataset import LabelledImage, read, split
from training.fitting.balance import BalancedImages
from training.fitting.fit import fit
from training.fitting.folds import score
from training.fitting.worst import PageDealer, worst_pages
from training.proof.evaluate import judge_files, verdicts
from training.refresh import refresh

pytestmark = pytest.mark.usefixtures("one_thread")

SIDE, PAGES = 32, 3
CPU = torch.device("cpu")
PREPROCESSING = Preprocessing(SIDE, 0.55, 0.2)
Disc = Callable[..., NDArray[np.uint8]]
Pages = list[NDArray[np.uint8]]
Stacks = tuple[list[Tensor], Tensor, list[int]]


def store(path: Path, pages: Pages, **options: str) -> Path:
    """A multi-page TIFF."""
    path.parent.mkdir(parents=True, exist_ok=True)
    first, *others = (Image.fromarray(np.ascontiguousarray(page)) for page in pages)
    first.save(path, save_all=True, append_images=others, **options)
    return path


def draw_stack(draw: Disc, rng: np.random.Generator, void: int | None, pages: int = PAGES) -> Pages:
    """A disc in several noisy pages; where `void` says so there is a bright spot in one of them."""
    return [draw(rng, void=page == void, side=SIDE) for page in range(pages)]


def grey(pages: Pages) -> Tensor:
    """As the training keeps a stack."""
    return torch.cat([resize(page.astype(np.float32) / np.float32(255), SIDE) for page in pages])


def settings_for(folder: Path, **training: object) -> Settings:
    """Settings whose data set is `folder/dataset`."""
    options = {"image_size": SIDE, "unseen": {"io": 0, "nio": 0}, **training}
    return Settings.model_validate({"device": "cpu", "training": options}, context={"base": folder})


@pytest.fixture
def stacks(draw_disc: Disc) -> Stacks:
    """24 io and 24 nio stacks, their classes, and in which page of each nio one the spot is."""
    rng = np.random.default_rng(0)
    places = [number % PAGES for number in range(24)]
    io = [grey(draw_stack(draw_disc, rng, None)) for _ in range(24)]
    nio = [grey(draw_stack(draw_disc, rng, place)) for place in places]
    return io + nio, torch.tensor([0] * 24 + [1] * 24), places


class TestRead:
    """A stack is one image of the data set."""

    @pytest.fixture
    def folder(self, tmp_path: Path, draw_disc: Disc) -> Path:
        """Eleven io and eleven nio stacks: too few to look for what gives the label away."""
        rng = np.random.default_rng(1)
        for number in range(11):
            store(tmp_path / "dataset" / "io" / f"i{number:02d}.tif", draw_stack(draw_disc, rng, None))
            store(tmp_path / "dataset" / "nio" / f"n{number:02d}.tif", draw_stack(draw_disc, rng, 1))
        return tmp_path

    def test_all_pages_of_one_image(self, folder: Path) -> None:
        """All pages are read, in their order, and they are one image of one part, so that no split divides them."""
        found = read(settings_for(folder))
        assert len(found.images) == 22
        assert {tuple(image.grey.shape) for image in found.images} == {(PAGES, SIDE, SIDE)}
        with Image.open(found.images[0].path) as file:
            for page, seen in enumerate(found.images[0].grey):
                file.seek(page)
                assert torch.equal(seen[None], resize(np.asarray(file).astype(np.float32) / np.float32(255), SIDE))
        parts = split(found.images, settings_for(folder, test_share=0.4, validation_share=0.5).training)
        assert sum(len(images) for images in parts.values()) == 22

    def test_pages_are_no_copies_of_one_another(self, folder: Path) -> None:
        """Pages may be alike, even equal: neither is a stack a copy of itself, nor are two that share a blank page."""
        blank = np.full((SIDE, SIDE), 90, np.uint8)
        for path in sorted((folder / "dataset").rglob("*.tif")):
            with Image.open(path) as file:
                joint = np.asarray(file)
            store(path, [blank, joint, joint, joint])
        found = read(settings_for(folder))
        assert len(found.images) == 22
        assert len({image.group for image in found.images}) == 22
        assert found.duplicates == []
        assert found.leaks.copies == ()

    def test_the_same_stack_twice(self, folder: Path) -> None:
        """The same pages in another file are left out, whatever the compression; in another order they are not."""
        first = folder / "dataset" / "io" / "i00.tif"
        with Image.open(first) as file:
            pages = []
            for page in range(PAGES):
                file.seek(page)
                pages.append(np.asarray(file).copy())
        again = store(folder / "dataset" / "io" / "j.tif", pages, compression="tiff_lzw")
        turned = store(folder / "dataset" / "io" / "k.tif", pages[::-1])
        found = read(settings_for(folder))
        assert found.duplicates == [(first, again)]
        assert turned in {image.path for image in found.images}

    def test_a_copy_of_a_stack(self, tmp_path: Path) -> None:
        """A mirrored copy of a stack is kept together with it."""
        rng = np.random.default_rng(2)
        scenes = [rng.integers(0, 256, (5, 8, 8), dtype=np.uint8) for _ in range(24)]
        enlarged = [[np.asarray(Image.fromarray(page).resize((96, 96))) for page in scene] for scene in scenes]
        for number, pages in enumerate(enlarged):
            store(tmp_path / "dataset" / ("io", "nio")[number % 2] / f"m{number:02d}.tif", pages)
        mirrored = store(tmp_path / "dataset" / "io" / "m00_mirrored.tif", [page[:, ::-1] for page in enlarged[0]])
        found = read(settings_for(tmp_path))
        assert found.leaks.copies == ((tmp_path / "dataset" / "io" / "m00.tif", mirrored),)

    def test_a_damaged_page(self, folder: Path) -> None:
        """A stack of which a page is damaged is skipped whole, and told with the reason."""
        path = folder / "dataset" / "io" / "i03.tif"
        with Image.open(path) as file:
            pages = [np.asarray(file).copy()] * PAGES
        store(path, pages, compression="tiff_lzw")
        with Image.open(path) as file:
            file.seek(1)
            place, size = file.tag_v2[273][0], file.tag_v2[279][0]  # type: ignore[attr-defined]
        data = bytearray(path.read_bytes())
        data[place : place + size] = bytes([255]) * size
        path.write_bytes(data)
        found = read(settings_for(folder))
        assert [skipped for skipped, reason in found.unreadable if reason] == [path]
        assert len(found.images) == 21

    def test_the_number_of_pages_gives_the_label_away(self, folder: Path, draw_disc: Disc) -> None:
        """Where nio stacks have more pages than io ones this is told: more pages look worse by chance alone."""
        rng = np.random.default_rng(3)
        for number in range(12):
            store(folder / "dataset" / "io" / f"i{number:02d}.tif", draw_stack(draw_disc, rng, None))
            store(folder / "dataset" / "nio" / f"n{number:02d}.tif", draw_stack(draw_disc, rng, 1, pages=5))
        giveaways = read(settings_for(folder)).leaks.giveaways
        assert "the number of pages" in {giveaway.most_by for giveaway in giveaways}


class TestDraw:
    """What an epoch learns from."""

    OPTIONS = TrainingSettings(image_size=SIDE, augment_io=False)

    def drawn(self, train: BalancedImages) -> list[Tensor]:
        """What an epoch draws, io first."""
        greys, _ = train.__getitems__(list(range(len(train))))
        return [one[0] for one in greys]

    def test_any_page_at_first(self, stacks: Stacks) -> None:
        """As long as nobody says which is worst an epoch draws any page of each stack, over some epochs all of them."""
        greys, classes, _ = stacks
        train = BalancedImages(greys, classes, self.OPTIONS.model_copy(update={"augment_io": False}))
        seen = set()
        for seed in range(20):
            train.deal_pages(None, torch.Generator().manual_seed(seed))
            assert len(train) == 48
            seen |= {
                (index, page)
                for index, shown in enumerate(self.drawn(train)[:24])
                for page in range(PAGES)
                if torch.equal(shown, greys[index][page])
            }
        assert seen == {(index, page) for index in range(24) for page in range(PAGES)}

    def test_then_the_worst(self, stacks: Stacks) -> None:
        """Once it is known which page of each stack looks worst it is drawn: of nio always, of io half of the time."""
        greys, classes, places = stacks
        # No augmentation moves the mean over the picture as far as from one page to the next.
        levels = torch.tensor([0.1, 0.5, 0.9])[:, None, None].expand(PAGES, SIDE, SIDE)
        train = BalancedImages([levels] * len(greys), classes, self.OPTIONS)
        drawn = []
        for seed in range(20):
            train.deal_pages(torch.tensor([1] * 24 + places), torch.Generator().manual_seed(seed))
            drawn.append([round((float(shown.mean()) - 0.1) / 0.4) for shown in self.drawn(train)])
        assert all(pages[24:] == places for pages in drawn)
        io = torch.bincount(torch.tensor([page for pages in drawn for page in pages[:24]])) / (20 * 24)
        assert torch.allclose(io, torch.tensor([1 / 6, 2 / 3, 1 / 6]), atol=0.07)  # three standard errors

    def test_nobody_looks_more_than_he_learns(self) -> None:
        """However many pages stacks have, to look at them costs less than to learn, but for the first time."""
        greys = [torch.zeros(1, 8, 8)] * 10 + [torch.zeros(40, 8, 8)] * 10
        train = BalancedImages(greys, torch.tensor([0] * 10 + [1] * 10), self.OPTIONS)
        dealer, looks = PageDealer(train, 100), []

        def look(shown: Sequence[Tensor] | Tensor) -> Tensor:
            looks.append(sum(len(pages) for pages in shown if len(pages) > 1))
            return torch.zeros(len(shown), dtype=torch.long)

        for epoch in range(100):
            dealer.deal(epoch, look, epoch)
            assert epoch >= 20 or not looks
        assert 0 < sum(looks) <= 3 * 80 * len(train) + 400

    def test_single_images_need_no_look(self) -> None:
        """Where no file has several pages no network is asked, and nothing is drawn at random."""
        greys = torch.rand(6, 1, SIDE, SIDE)
        train = BalancedImages(greys, torch.tensor([0, 0, 0, 0, 1, 1]), self.OPTIONS)
        network = SupervisedAutoencoder("residual")
        network.encoder.register_forward_hook(lambda *_: pytest.fail("asked"))
        assert worst_pages(network, greys, PREPROCESSING, CPU).tolist() == [0] * 6
        PageDealer(train, 1).deal(0, lambda _: pytest.fail("asked"), 0)
        assert train.order.tolist() == [0, 1, 2, 3, 4, 5, 4, 5]


def test_the_page_with_the_defect_is_learnt(stacks: Stacks, draw_disc: Disc) -> None:
    """Told only that a stack is nio, the network finds out which page shows why, in fresh stacks too."""
    greys, classes, places = stacks
    options = TrainingSettings(image_size=SIDE, epochs=14, batch_size=16, learning_rate=0.005)
    torch.manual_seed(0)
    network = SupervisedAutoencoder("residual")
    history = fit(network, BalancedImages(greys, classes, options), None, PREPROCESSING, options, CPU)
    assert len(history.train_loss) == 14
    fresh_places = [number % PAGES for number in range(30)]
    rng = np.random.default_rng(9)
    fresh = [grey(draw_stack(draw_disc, rng, place)) for place in fresh_places]
    for shown, right in ((greys[24:], places), (fresh, fresh_places)):
        worst = worst_pages(network, shown, PREPROCESSING, CPU).tolist()
        assert sum(one == other for one, other in zip(worst, right, strict=True)) >= 0.9 * len(right)


def test_validated_is_the_worst_page(stacks: Stacks) -> None:
    """The validation loss is that of each stack's worst page, nothing else."""
    greys, classes, _ = stacks
    options = TrainingSettings(image_size=SIDE, epochs=2, batch_size=16)
    torch.manual_seed(0)
    network = SupervisedAutoencoder("residual")
    train = BalancedImages(greys, classes, options)
    watched = greys[::5], classes[::5]
    history = fit(network, train, watched, PREPROCESSING, options, CPU)
    worst = worst_pages(network, watched[0], PREPROCESSING, CPU).tolist()
    images = torch.stack([one[page][None] for one, page in zip(watched[0], worst, strict=True)])
    with torch.inference_mode():
        logits, rebuilt = network(PREPROCESSING.normalise(images))
    loss = torch.nn.functional.cross_entropy(logits, watched[1], train.class_weights())
    loss += options.reconstruction_weight * torch.nn.functional.mse_loss(rebuilt, images)
    assert float(loss) == pytest.approx(history.validation_loss[history.best], rel=1e-4)


def labelled(label: Label, pages: Tensor) -> LabelledImage:
    """An image of the data set."""
    name = str(float(pages.sum()))
    return LabelledImage(Path(name), label, name, name, pages)


def test_a_stack_scores_as_its_worst_page(trained: Path, draw_disc: Disc) -> None:
    """What limits are chosen on and verdicts are the deciding page's, and agree with those of its pages one by one."""
    model: Model = load_model(trained / "models" / "current", CPU)
    rng = np.random.default_rng(4)
    size = model.preprocessing.image_size
    pages = [
        torch.cat(
            [
                resize(draw_disc(rng, void=page == place).astype(np.float32) / np.float32(255), size)
                for page in range(count)
            ]
        )
        for place, count in ((None, 3), (2, 4), (0, 1), (1, 2))
    ]
    images = [labelled("io", pages[0]), *(labelled("nio", one) for one in pages[1:])]
    found, scored = judge_files(model, images), score(model, images)
    for index, image in enumerate(images):
        alone = [replace(image, grey=image.grey[page : page + 1]) for page in range(len(image.grey))]
        each = score(model, alone)
        assert scored.log_odds[index] == pytest.approx(float(each.log_odds.max()), abs=1e-4)
        assert scored.distances[index] == pytest.approx(float(each.distances.max()), rel=1e-4)
        assert scored.oddness[index] == pytest.approx(float(each.oddness.max()), abs=1e-4)
        assert scored.pages[index] == each.log_odds.argmax()
        assert [one.label for one in found[index].pages] == [one.label for one in verdicts(model, image.grey[:, None])]
    assert [one.page for one in found[1:]] == [2, 0, 1]
    assert [one.verdict.label for one in found] == ["io", "nio", "nio", "nio"]


@pytest.fixture(scope="module")
def refreshed(tmp_path_factory: pytest.TempPathFactory, draw_disc: Disc) -> Path:
    """What a refresh makes of stacks: a folder with dataset and models."""
    folder = tmp_path_factory.mktemp("refreshed")
    rng = np.random.default_rng(5)
    for number in range(36):
        store(folder / "dataset" / "io" / f"i{number:02d}.tif", draw_stack(draw_disc, rng, None))
        store(folder / "dataset" / "nio" / f"n{number:02d}.tif", draw_stack(draw_disc, rng, number % PAGES))
    training = {"epochs": 12, "batch_size": 16, "learning_rate": 0.005, "folds": 0, "unseen": {"io": 3, "nio": 3}}
    torch.set_num_threads(1)
    refresh(settings_for(folder, **training))
    return folder


def test_files_are_counted(refreshed: Path) -> None:
    """Parts, test and certificate count stacks, not their pages, and nothing is lost."""
    card = read_card(refreshed / "models" / "current")
    parts = card.training_data["parts"]
    assert {label: sum(part[label] for part in parts.values()) for label in ("io", "nio")} == {"io": 36, "nio": 36}
    assert card.metrics["test"]["counts"] == parts["test"]
    assert card.certificate is not None
    assert (card.certificate.proof.nio, card.certificate.proof.images) == (parts["test"]["nio"], parts["test"]["nio"])


def test_golden_samples_are_pages(refreshed: Path) -> None:
    """A golden sample is the page that decides, kept so that it scores the same again: loading the model checks it."""
    model = load_model(refreshed / "models" / "current", CPU)
    assert model.card.golden
    inspector = Inspector(model, "XGradCAM", only_last_conv=True)
    for sample in model.card.golden:
        path = refreshed / "models" / "current" / "golden" / sample.file
        with Image.open(path) as file:
            pixels = np.asarray(file).astype(np.float32) / np.float32(65535)
        assert inspector.inspect([pixels])[0].verdict.label == sample.label


def test_the_report_says_which_page(refreshed: Path) -> None:
    """Beside each picture of a stack and each image set aside stands which page of how many it is."""
    report = refreshed / "models" / "current" / "report"
    page = (report / "index.html").read_text(encoding="utf-8")
    numbers = json.loads((report / "metrics.json").read_text(encoding="utf-8"))
    assert len(numbers["unseen"]) == 6
    for one in numbers["unseen"]:
        assert one["where"] in {f"page {number} of {PAGES}" for number in range(1, PAGES + 1)}
        assert f"{one['file']}, {one['where']}" in page
        if one["label"] == one["judged"] == "nio":
            number = int(Path(one["file"]).stem.rsplit("n", 1)[1])
            assert one["where"] == f"page {number % PAGES + 1} of {PAGES}"
    assert f"<span>page 1 of {PAGES}</span>" in page
    assert "A stack counts as one image" in page


def test_single_images_have_no_pages(trained: Path) -> None:
    """A report on single images says nothing of pages."""
    page = (trained / "models" / "current" / "report" / "index.html").read_text(encoding="utf-8")
    assert "page 1 of" not in page
    assert "stack" not in page
