"""What the labelled folders promise: every image counted once, and parts that no group straddles."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from PIL import Image

from inspection.errors import DatasetError
from inspection.image import Limits
from inspection.verdict import LABELS, Label
from settings import Settings
from settings.schema import TrainingSettings, Unseen
from training.data.dataset import (
    PARTS,
    Dataset,
    LabelledImage,
    Part,
    all_pages,
    bytes_of,
    classes_of,
    group_of,
    page_of,
    read,
    split,
)

Split = dict[Part, list[LabelledImage]]


def settings_for(folder: Path, **training: object) -> Settings:
    """Settings whose data set is `folder/dataset`."""
    options = {"image_size": 32, **training}
    return Settings.model_validate({"training": options}, context={"base": folder})


def write(path: Path, seed: int) -> Path:
    """A small noise image; the seed is its content."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 256, (12, 10), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data set of two io and two nio images."""
    for seed, name in enumerate(("io/a.png", "io/b.png", "nio/c.png", "nio/d.png")):
        write(tmp_path / "dataset" / name, seed)
    return tmp_path


def names(dataset: Dataset) -> set[str]:
    """The file names that were taken for images."""
    return {image.path.name for image in dataset.images}


class TestRead:
    """Labelled folders -> images."""

    def test_sub_folders(self, folder: Path) -> None:
        """Images are found at any depth, and carry the label of the folder at the top."""
        deep = write(folder / "dataset" / "nio" / "lot 7" / "io" / "e.PNG", 5)
        found = {image.path: image.label for image in read(settings_for(folder)).images}
        assert len(found) == 5
        assert found[deep] == "nio"

    def test_pixels(self, folder: Path) -> None:
        """Every image has the same square size, grey levels in 0..1, and the hash of its bytes."""
        for image in read(settings_for(folder, image_size=48)).images:
            assert image.grey.shape == (1, 48, 48)
            assert image.grey.dtype == torch.float32
            assert image.grey.min() >= 0
            assert image.grey.max() <= 1
            assert image.sha256 == hashlib.sha256(image.path.read_bytes()).hexdigest()

    def test_what_is_no_image_of_a_part(self, folder: Path) -> None:
        """Sidecars of judged images, hidden files and other suffixes are not images, nor called unreadable."""
        beside = folder / "dataset" / "nio"
        write(beside / "c.png.cam.png", 7)
        write(beside / ".hidden.png", 8)
        (beside / "c.png.json").write_text("{}", encoding="utf-8")
        (beside / "notes.txt").write_text("from lot 7", encoding="utf-8")
        (beside / "folder.png").mkdir()
        dataset = read(settings_for(folder))
        assert names(dataset) == {"a.png", "b.png", "c.png", "d.png"}
        assert dataset.unreadable == []

    def test_a_name_that_is_not_utf8(self, folder: Path) -> None:
        """A file name is bytes: one that is no UTF-8 is read and split like any other."""
        path = folder / "dataset" / "io" / os.fsdecode(b"part\xff.png")
        write(folder / "plain.png", 9).rename(path)
        dataset = read(settings_for(folder))
        assert path in {image.path for image in dataset.images}
        assert path in {
            image.path for images in split(many(60) + dataset.images, options()).values() for image in images
        }

    def test_unreadable_files_are_listed_and_skipped(self, folder: Path) -> None:
        """What cannot be decoded is skipped, and told with its reason."""
        nio = folder / "dataset" / "nio"
        whole = (nio / "c.png").read_bytes()
        bad = {"cut.png": whole[: len(whole) // 2], "empty.png": b"", "text.png": b"no image"}
        for name, data in bad.items():
            (nio / name).write_bytes(data)
        dataset = read(settings_for(folder, max_unreadable=3))
        assert names(dataset) == {"a.png", "b.png", "c.png", "d.png"}
        assert {path.name for path, _ in dataset.unreadable} == set(bad)
        assert all(reason and "\n" not in reason for _, reason in dataset.unreadable)

    def test_too_many_unreadable_files_stop(self, folder: Path) -> None:
        """More unreadable files than max_unreadable stop the training, which names them and the key."""
        for index in range(3):
            (folder / "dataset" / "io" / f"bad{index}.png").write_bytes(b"no image")
        with pytest.raises(DatasetError) as stopped:
            read(settings_for(folder, max_unreadable=2))
        message = str(stopped.value)
        assert "max_unreadable" in message
        assert all(f"bad{index}.png" in message for index in range(3))

    @pytest.mark.parametrize("label", LABELS)
    def test_nothing_readable_under_a_label(self, folder: Path, label: Label) -> None:
        """A label of which no file can be read is one line with folder and reason, though so few are tolerated."""
        for path in (folder / "dataset" / label).iterdir():
            path.write_bytes(b"")
        with pytest.raises(DatasetError) as stopped:
            read(settings_for(folder))
        assert str(stopped.value).startswith(f"{folder / 'dataset' / label}: no readable image (")
        assert "\n" not in str(stopped.value)

    def test_one_content_under_both_labels(self, folder: Path) -> None:
        """The same bytes as io and as nio are an error that names both files."""
        twin = folder / "dataset" / "nio" / "sub" / "other name.png"
        twin.parent.mkdir()
        shutil.copyfile(folder / "dataset" / "io" / "b.png", twin)
        with pytest.raises(DatasetError) as stopped:
            read(settings_for(folder))
        assert str(twin) in str(stopped.value)
        assert str(folder / "dataset" / "io" / "b.png") in str(stopped.value)

    def test_duplicates_count_once(self, folder: Path) -> None:
        """Copies under one label count as one image, and are listed with the one that was kept."""
        nio = folder / "dataset" / "nio"
        for copy in ("e.png", "sub/c.png"):
            (nio / copy).parent.mkdir(exist_ok=True)
            shutil.copyfile(nio / "c.png", nio / copy)
        dataset = read(settings_for(folder))
        assert len(dataset.images) == 4
        kept = next(image.path for image in dataset.images if image.path.parent != folder / "dataset" / "io")
        assert {path for pair in dataset.duplicates for path in pair} == {
            nio / "c.png",
            nio / "e.png",
            nio / "sub" / "c.png",
        }
        assert all(known == kept for known, _ in dataset.duplicates)

    @pytest.mark.parametrize("label", LABELS)
    @pytest.mark.parametrize("leave_folder", [True, False])
    def test_a_label_without_images(self, folder: Path, label: Label, leave_folder: bool) -> None:
        """A missing or empty folder is one line that names it and says what to do."""
        shutil.rmtree(folder / "dataset" / label)
        if leave_folder:
            (folder / "dataset" / label).mkdir()
        with pytest.raises(DatasetError) as stopped:
            read(settings_for(folder))
        message = str(stopped.value)
        assert str(folder / "dataset" / label) in message
        assert "put labelled images" in message
        assert "\n" not in message


class TestFingerprint:
    """A hash of what was learned from."""

    def test_names_and_order_do_not_matter(self, folder: Path) -> None:
        """Renaming and moving files under their label leaves the fingerprint as it is."""
        before = read(settings_for(folder)).fingerprint()
        io = folder / "dataset" / "io"
        (io / "sub").mkdir()
        (io / "a.png").rename(io / "sub" / "zzz.png")
        assert read(settings_for(folder)).fingerprint() == before

    def test_a_copy_does_not_matter(self, folder: Path) -> None:
        """An exact duplicate adds nothing to what is learned from."""
        before = read(settings_for(folder)).fingerprint()
        shutil.copyfile(folder / "dataset" / "io" / "a.png", folder / "dataset" / "io" / "z.png")
        assert read(settings_for(folder)).fingerprint() == before

    def test_content_and_label_do(self, folder: Path) -> None:
        """Another content, another label or one image more: another fingerprint."""
        found = [read(settings_for(folder)).fingerprint()]
        dataset = folder / "dataset"
        write(dataset / "io" / "a.png", 77)
        found.append(read(settings_for(folder)).fingerprint())
        (dataset / "io" / "a.png").rename(dataset / "nio" / "a.png")
        found.append(read(settings_for(folder)).fingerprint())
        write(dataset / "io" / "more.png", 78)
        found.append(read(settings_for(folder)).fingerprint())
        assert len(set(found)) == len(found)


@pytest.mark.parametrize(
    ("name", "pattern", "group"),
    [
        ("b1_r02c03_view7.jpg", None, None),
        ("b1_r02c03_view7.jpg", r"^(b\d+)_r(\d+)c(\d+)", "b1/02/03"),
        ("b1_r02c03_view7.jpg", r"r\d+c\d+", "r02c03"),
        ("b1_r02c03_view7.jpg", r"^(b\d+)(x)?", "b1/"),
        ("b1_r02c03_view7.jpg", r"^(board\d+)", None),
    ],
    ids=["no pattern", "captures", "no captures", "optional capture", "no match"],
)
def test_group_of(name: str, pattern: str | None, group: str | None) -> None:
    """A group is what the pattern captures, else what it matches; without pattern or match there is none."""
    assert group_of(name, pattern) == group


def test_group_pattern_is_used(tmp_path: Path) -> None:
    """Images of one part, by training.group_pattern, have one group, in whatever folder they lie."""
    for seed, name in enumerate(("io/b1_top.png", "nio/b1_side.png", "nio/sub/b1_low.png", "nio/b2_top.png")):
        write(tmp_path / "dataset" / name, seed)
    dataset = read(settings_for(tmp_path, group_pattern=r"^(b\d+)_"))
    assert {image.path.name: image.group for image in dataset.images} == {
        "b1_top.png": "b1",
        "b1_side.png": "b1",
        "b1_low.png": "b1",
        "b2_top.png": "b2",
    }


def options(**training: object) -> TrainingSettings:
    """Training settings that set nothing aside unless asked to."""
    return TrainingSettings.model_validate({"unseen": Unseen(io=0, nio=0), **training})


def labelled(group: str, label: Label, number: int = 0) -> LabelledImage:
    """An image without pixels: the split looks at groups and labels only."""
    name = f"{group}-{label}-{number}.png"
    return LabelledImage(Path(name), label, group, hashlib.sha256(name.encode()).hexdigest(), torch.zeros(1, 1, 1))


def many(count: int, prefix: str = "base") -> list[LabelledImage]:
    """As many groups of one io image, and of one nio image: enough for every part."""
    return [labelled(f"{prefix}{index}{label}", label) for index in range(count) for label in LABELS]


def mixed_groups(seed: int, count: int, prefix: str = "mixed") -> list[LabelledImage]:
    """Groups of one to five images with either label."""
    rng = random.Random(seed)  # noqa: S311
    return [
        labelled(f"{prefix}{seed}-{group}", rng.choice(LABELS), number)
        for group in range(count)
        for number in range(rng.randint(1, 5))
    ]


def part_of(parts: Split) -> dict[Path, Part]:
    """In which part each image is."""
    return {image.path: part for part, images in parts.items() for image in images}


unseen_counts = st.builds(Unseen, io=st.integers(0, 12), nio=st.integers(0, 12))
seeds = st.integers(0, 2**32 - 1)


class TestSplit:
    """Every group has its part, and keeps it."""

    @given(seed=seeds, unseen=unseen_counts, data=st.integers(0, 10**6))
    @hypothesis_settings(max_examples=60, deadline=None)
    def test_whole_groups_each_image_once(self, seed: int, unseen: Unseen, data: int) -> None:
        """No image is lost or doubled, and all images of a group are in one part."""
        images = many(60) + mixed_groups(data, 30)
        parts = split(images, options(seed=seed, unseen=unseen))
        assert tuple(parts) == PARTS
        assert sorted(image.path for members in parts.values() for image in members) == sorted(i.path for i in images)
        homes: dict[str, set[Part]] = {}
        for part, members in parts.items():
            for image in members:
                homes.setdefault(image.group, set()).add(part)
        assert all(len(found) == 1 for found in homes.values())

    @given(seed=seeds, unseen=unseen_counts, data=st.integers(0, 10**6))
    @hypothesis_settings(max_examples=30, deadline=None)
    def test_order_does_not_matter(self, seed: int, unseen: Unseen, data: int) -> None:
        """The part of an image does not depend on the order in which files were found."""
        images = many(60) + mixed_groups(data, 30)
        shuffled = list(images)
        random.Random(data).shuffle(shuffled)  # noqa: S311
        chosen = options(seed=seed, unseen=unseen)
        assert part_of(split(images, chosen)) == part_of(split(shuffled, chosen))

    @given(seed=seeds, unseen=unseen_counts, data=st.integers(0, 10**6), more=st.integers(1, 80))
    @hypothesis_settings(max_examples=60, deadline=None)
    def test_what_was_test_stays_test(self, seed: int, unseen: Unseen, data: int, more: int) -> None:
        """New groups change nothing for the old: test, validation and train keep theirs.

        Only an image set aside may leave its place, when a new one takes it, for the part that its hash names.
        """
        old = many(60) + mixed_groups(data, 30)
        chosen = options(seed=seed, unseen=unseen)
        before, home = part_of(split(old, chosen)), part_of(split(old, options(seed=seed)))
        after = part_of(split(mixed_groups(data, more, "new") + old, chosen))
        for path, part in before.items():
            assert after[path] == part or (part == "unseen" and after[path] == home[path])

    @given(seed=seeds, unseen=unseen_counts, data=st.integers(0, 10**6))
    @hypothesis_settings(max_examples=40, deadline=None)
    def test_set_aside_first(self, seed: int, unseen: Unseen, data: int) -> None:
        """At least the wanted images are set aside; for all others the split is as if they had stayed."""
        images = many(60) + mixed_groups(data, 30)
        parts = split(images, options(seed=seed, unseen=unseen))
        assert sum(image.label == "io" for image in parts["unseen"]) >= unseen.io
        assert sum(image.label == "nio" for image in parts["unseen"]) >= unseen.nio
        home = part_of(split(images, options(seed=seed)))
        assert all(part in {home[path], "unseen"} for path, part in part_of(parts).items())

    def test_exactly_the_wanted_images_where_groups_are_single(self) -> None:
        """Where each image is its own group, no more of them are set aside than asked for."""
        aside = split(many(100), options(unseen=Unseen(io=15, nio=11)))["unseen"]
        assert [sum(image.label == label for image in aside) for label in LABELS] == [15, 11]

    def test_shares(self) -> None:
        """Of many groups, 20 % test; of the others, 20 % validate."""
        parts = split(many(5000), options())
        assert len(parts["test"]) / 10_000 == pytest.approx(0.2, abs=0.015)
        assert len(parts["validation"]) / 10_000 == pytest.approx(0.16, abs=0.015)

    def test_the_seed_decides(self) -> None:
        """Another seed is another split."""
        images = many(100)
        assert part_of(split(images, options(seed=1))) != part_of(split(images, options(seed=2)))

    @pytest.mark.parametrize("part", ["test", "validation", "train"])
    @pytest.mark.parametrize("label", LABELS)
    def test_a_part_without_a_label(self, part: Part, label: Label) -> None:
        """A part that lacks a label is one line that says which part, which label and what to do."""
        whole = split(many(60), options())
        images = [i for name, members in whole.items() for i in members if name != part or i.label != label]
        with pytest.raises(DatasetError) as stopped:
            split(images, options())
        message = str(stopped.value)
        assert f"no {label} image" in message
        assert f"the {part} part" in message
        assert f"add labelled {label} images" in message
        assert "\n" not in message


def test_a_file_that_is_gone(folder: Path) -> None:
    """What was read of an image outlives its file: then its pixels are those that the network sees."""
    settings = settings_for(folder)
    image, other, *_ = read(settings).images
    assert bytes_of(image) == image.path.read_bytes()
    assert page_of(image, 0, Limits(10**6)).shape != image.grey.shape[1:]
    image.path.unlink()
    shutil.copyfile(folder / "dataset" / "nio" / "c.png", other.path)
    for lost in (image, other):
        assert bytes_of(lost) is None
        assert np.array_equal(page_of(lost, 0, Limits(10**6)), lost.grey[0])


def test_pages_and_classes() -> None:
    """Grey levels and classes keep the order of the images, pages that of their stack; nio is class 1."""
    images = [labelled("a", "nio"), labelled("b", "io"), labelled("c", "nio")]
    levels = iter(range(4))
    images = [
        replace(image, grey=torch.stack([torch.full((1, 1), float(next(levels))) for _ in range(pages)]))
        for image, pages in zip(images, (1, 2, 1), strict=True)
    ]
    assert all_pages(images).shape == (4, 1, 1, 1)
    assert all_pages(images).flatten().tolist() == [0, 1, 2, 3]
    assert classes_of(images).tolist() == [1, 0, 1]


def test_a_renamed_copy_does_not_move_an_image(tmp_path: Path) -> None:
    """What was test stays test, also when a copy of it comes under a name that sorts before it."""
    dataset = tmp_path / "dataset"
    for index in range(40):
        write(dataset / "io" / f"m{index}.png", index)
        write(dataset / "nio" / f"n{index}.png", 100 + index)
    settings = settings_for(tmp_path, unseen={"io": 0, "nio": 0})
    before = {image.sha256 for image in split(read(settings).images, settings.training)["test"]}
    for index in range(40):
        shutil.copyfile(dataset / "io" / f"m{index}.png", dataset / "io" / f"a{index}.png")
    assert {image.sha256 for image in split(read(settings).images, settings.training)["test"]} == before
