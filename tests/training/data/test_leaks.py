"""What the guards against leaks promise: copies stay together, giveaways are told, and nobody cries wolf."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from inspection.errors import DatasetError
from inspection.verdict import LABELS, Label
from settings import Settings
from simulator.simulate import simulate_image
from training.data.copies import find_copies, thumbnail
from training.data.dataset import read, split
from training.data.giveaways import Outside, find_giveaways
from training.data.leaks import Leaks

pytestmark = pytest.mark.usefixtures("one_thread")

Pixels = NDArray[np.uint8]
Make = Callable[[int, Label, np.random.Generator], Outside]


@pytest.fixture(scope="module")
def joints() -> list[Pixels]:
    """Simulated joints, no two alike."""
    rng = np.random.default_rng(5)
    return [simulate_image(rng, None).pixels.astype(np.uint8) for _ in range(48)]


def thumbnails(images: Sequence[Pixels]) -> list[NDArray[np.float16]]:
    """What is compared."""
    return [thumbnail(image.astype(np.float32) / np.float32(255)) for image in images]


def turned(image: Pixels, degrees: float) -> Pixels:
    """By a small angle, black where nothing was."""
    return np.asarray(Image.fromarray(image).rotate(degrees, Image.Resampling.BICUBIC))


def encoded(image: Pixels, quality: int) -> Pixels:
    """As it comes out of a JPEG file."""
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG", quality=quality)
    return np.asarray(Image.open(stream))


def resized(image: Pixels, factor: float) -> Pixels:
    """Scaled."""
    height, width = (round(factor * side) for side in image.shape)
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.LANCZOS))


CHANGES: dict[str, Callable[[Pixels], Pixels]] = {
    "flipped across": lambda image: image[:, ::-1],
    "flipped down": lambda image: image[::-1],
    "turned by 90": np.rot90,
    "turned by 180": lambda image: np.rot90(image, 2),
    "turned by 270": lambda image: np.rot90(image, 3),
    "turned by 2": lambda image: turned(image, 2),
    "JPEG 60": lambda image: encoded(image, 60),
    "resized": lambda image: resized(image, 0.9),
    "cropped": lambda image: image[:-3, 3:],
    "brighter": lambda image: (image * 0.95 + 10).astype(np.uint8),
    "all at once": lambda image: encoded(np.rot90(turned(image, -1.5))[2:, :-2].copy(), 75),
}


@pytest.mark.parametrize("change", CHANGES)
def test_changed_copies_are_found(joints: list[Pixels], change: str) -> None:
    """A changed copy of each of some images is found, and nothing else is called one."""
    copied = range(0, len(joints), 4)
    copies = [np.ascontiguousarray(CHANGES[change](joints[index])) for index in copied]
    expected = [(index, len(joints) + number) for number, index in enumerate(copied)]
    assert find_copies(thumbnails(joints + copies)) == expected


def test_alike_is_no_copy(real_data: Path) -> None:
    """Real solder balls of one kind look alike and are no copies; two views of one ball may pass for such."""
    paths = sorted((real_data / "bga" / "io").iterdir())[:120]
    images = [np.asarray(Image.open(path).convert("L")) for path in paths]
    pairs = find_copies(thumbnails(images))
    assert all(paths[one].name.split("_view")[0] == paths[other].name.split("_view")[0] for one, other in pairs)


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_few_images(joints: list[Pixels], count: int) -> None:
    """A handful of images is no mistake, nor are plain grey ones."""
    plain = [np.full((40, 40), level, np.uint8) for level in (0, 90, 255)]
    assert find_copies(thumbnails(joints[:count])) == []
    assert find_copies(thumbnails(plain[:count])) == []


def settings_for(folder: Path, **training: object) -> Settings:
    """Settings whose data set is `folder/dataset`."""
    options = {"image_size": 32, "unseen": {"io": 0, "nio": 0}, **training}
    return Settings.model_validate({"training": options}, context={"base": folder})


def store(path: Path, image: Pixels) -> Path:
    """Write an image file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.ascontiguousarray(image)).save(path)
    return path


@pytest.fixture
def folder(tmp_path: Path, joints: list[Pixels]) -> Path:
    """A data set of 24 io and 24 nio images."""
    for index, image in enumerate(joints):
        store(tmp_path / "dataset" / LABELS[index % 2] / f"m{index:02d}.png", image)
    return tmp_path


def groups_of(folder: Path, **training: object) -> dict[str, str]:
    """The group of each file, by its name."""
    return {image.path.name: image.group for image in read(settings_for(folder, **training)).images}


def test_copies_are_one_group(folder: Path, joints: list[Pixels]) -> None:
    """Near copies get one group, told in the report with their paths; all other images keep their own."""
    before = groups_of(folder)
    first = store(folder / "dataset" / "io" / "m00_mirrored.png", joints[0][:, ::-1])
    second = store(folder / "dataset" / "io" / "m00_turned.jpg", np.rot90(joints[0]))
    dataset = read(settings_for(folder))
    after = {image.path.name: image.group for image in dataset.images}
    assert after == before | dict.fromkeys((first.name, second.name), before["m00.png"])
    assert dataset.leaks.copies == ((folder / "dataset" / "io" / "m00.png", second, first),)
    assert any("m00_mirrored.png" in line for line in dataset.leaks.lines())
    assert dataset.leaks.contradictions == ()


def test_copies_join_parts(folder: Path, joints: list[Pixels]) -> None:
    """A copy under the name of another part makes the two parts one group, with all their images."""
    store(folder / "dataset" / "io" / "m01_copy_of_m04.png", joints[4][::-1])
    pattern = r"^(m\d+)"
    groups = groups_of(folder, group_pattern=pattern)
    assert {name for name, group in groups.items() if group == "m01"} == {"m01.png", "m01_copy_of_m04.png", "m04.png"}
    assert groups["m05.png"] == "m05"


def test_exact_copies_join_parts(folder: Path, joints: list[Pixels]) -> None:
    """So does an exact copy, though it is left out: other images of its part still show what the copied one shows."""
    store(folder / "dataset" / "io" / "m04_exact.png", joints[2])
    groups = groups_of(folder, group_pattern=r"^(m\d+)")
    assert "m04_exact.png" not in groups
    assert groups["m02.png"] == groups["m04.png"] == "m02"
    assert groups["m06.png"] == "m06"


def test_what_was_test_stays_test(folder: Path, joints: list[Pixels]) -> None:
    """Copies under longer or later names go where the image is that they are copies of."""
    settings = settings_for(folder)
    before = split(read(settings).images, settings.training)
    for index, image in enumerate(joints[:16]):
        later = f"m{index:02d} (2).png" if index % 3 else f"x{index:02d}.png"
        store(folder / "dataset" / LABELS[index % 2] / later, image[:, ::-1])
    after = split(read(settings).images, settings.training)
    assert sum(map(len, after.values())) == len(joints) + 16
    for part, images in before.items():
        assert {image.path for image in images} <= {image.path for image in after[part]}
    home = {image.group: part for part, images in after.items() for image in images}
    assert all(home[image.group] == part for part, images in after.items() for image in images)


def test_the_same_grey_levels_in_another_format(folder: Path, joints: list[Pixels]) -> None:
    """A lossless copy in another format or depth is a duplicate, left out, and moves nothing in the split."""
    before = groups_of(folder)
    io_folder = folder / "dataset" / "io"
    bitmap = store(io_folder / "a.bmp", joints[0])
    deep = io_folder / "b.tif"
    Image.fromarray(joints[2].astype(np.uint16) * 257).save(deep)
    dataset = read(settings_for(folder))
    assert set(dataset.duplicates) == {(bitmap, io_folder / "m00.png"), (deep, io_folder / "m02.png")}
    assert {image.group for image in dataset.images} == set(before.values())


def test_one_image_under_both_labels(folder: Path, joints: list[Pixels]) -> None:
    """The same grey levels as io and as nio are an error; a near copy under the other label is a loud warning."""
    near = store(folder / "dataset" / "nio" / "near.png", joints[0][::-1])
    leaks = read(settings_for(folder)).leaks
    assert leaks.contradictions == ((folder / "dataset" / "io" / "m00.png", near),)
    assert any(line.startswith("WARNING") and "both labels" in line for line in leaks.lines())
    store(folder / "dataset" / "nio" / "same.bmp", joints[2])
    with pytest.raises(DatasetError, match="under both labels"):
        read(settings_for(folder))


def test_a_long_list_is_cut() -> None:
    """However many copies there are, a person is shown a few and the count."""
    leaks = Leaks(copies=tuple((Path(f"a{index}"), Path(f"b{index}")) for index in range(200)))
    lines = leaks.lines()
    assert len(lines) < 15
    assert "400 images" in lines[0]
    assert "190 more" in lines[-1]
    assert Leaks().lines() == []


def outside(name: str, **known: object) -> Outside:
    """An image of which nothing is remarkable but what is given."""
    usual = {"width": 64, "height": 64, "bits": 8, "format": "PNG", "border": (0.5, 0.5, 0.5, 0.5)}
    return Outside(name, **{**usual, **known})  # type: ignore[arg-type]


def told(make: Make, count: int = 60, views: int = 1) -> list[str]:
    """What is found of `count` io and as many nio parts, each in so many views."""
    rng = np.random.default_rng(1)
    labels: list[Label] = [label for label in LABELS for _ in range(count * views)]
    groups = [f"{label}{index // views}" for label in LABELS for index in range(count * views)]
    outsides = [make(int(rng.integers(10**6)), label, rng) for label in labels]
    return [giveaway.what for giveaway in find_giveaways(outsides, labels, groups)]


GIVEAWAYS: dict[str, tuple[str, Make]] = {
    # Most of the io are of a board of which there are no nio, as in real life.
    "board": (
        "the file's name",
        lambda number, label, rng: outside(f"B{1 if label == 'io' and rng.random() < 0.6 else 2}_{number:06d}.png"),
    ),
    "number": (
        "the file's name",
        lambda number, label, _: outside(f"{number + 10**6 * (label == 'nio'):08d}.png"),
    ),
    "width": (
        "the image's size",
        lambda number, label, rng: outside(f"{number}", width=60 + rng.integers(9) + 4 * (label == "nio")),
    ),
    "format": (
        "the file's format",
        lambda number, label, rng: outside(
            f"{number}", format="JPEG" if label == "nio" or rng.random() < 0.4 else "PNG"
        ),
    ),
    "bits": (
        "the file's format",
        lambda number, label, _: outside(f"{number}", bits=16 if label == "nio" else 8),
    ),
    "black border": (
        "the grey level of the border",
        lambda number, label, _: outside(f"{number}", border=(0.5, 0.5, 0.0 if label == "nio" else 0.5, 0.5)),
    ),
}


class TestGiveaways:
    """What should not tell io from nio."""

    @pytest.mark.parametrize(("what", "make"), GIVEAWAYS.values(), ids=GIVEAWAYS)
    def test_found(self, what: str, make: Make) -> None:
        """Each is told, and nothing else with it."""
        assert told(make) == [what]

    @pytest.mark.parametrize("seed", range(5))
    def test_chance_is_no_giveaway(self, seed: int) -> None:
        """What varies without regard to the label is not told, in small sets neither."""
        chance = np.random.default_rng(seed)

        def make(number: int, _label: Label, _rng: np.random.Generator) -> Outside:
            border = tuple(chance.random(4).tolist())
            return outside(f"b{chance.integers(4)}_{number}.png", width=int(chance.integers(40, 90)), border=border)

        assert told(make, count=15) == []

    def test_called_after_the_label(self) -> None:
        """Names that are just label and number say nothing about where an image came from."""
        numbers = {label: iter(range(1000)) for label in LABELS}
        assert told(lambda _n, label, _r: outside(f"{label}{next(numbers[label]):03d}.png")) == []

    def test_few_nio_among_many_io(self) -> None:
        """However many io images there are, what tells the few nio from them is told."""
        outsides = [outside("x", bits=16 if index < 30 else 8) for index in range(3000)]
        labels: list[Label] = ["nio" if index < 30 else "io" for index in range(3000)]
        found = find_giveaways(outsides, labels, [str(index) for index in range(3000)])
        assert [giveaway.what for giveaway in found] == ["the file's format"]

    def test_views_of_a_part_count_once(self) -> None:
        """Eight views of each of a few parts are no more evidence than the parts are."""
        assert told(lambda _n, label, _r: outside("x", bits=16 if label == "nio" else 8), count=6, views=8) == []

    def test_what_it_says(self) -> None:
        """A warning says what, by what, how well, and what to do, in one line."""
        outsides = [outside(f"{'PCBA1' if index < 40 else 'PCBA2'}_{37 * index % 80}.png") for index in range(80)]
        labels: list[Label] = ["io" if index < 40 else "nio" for index in range(80)]
        (found,) = find_giveaways(outsides, labels, [str(index) for index in range(80)])
        line = str(found)
        assert "file's name" in line
        assert "by 'PCBA" in line
        assert "AUC 1.00" in line
        assert "add io and nio of each" in line
        assert "\n" not in line
