"""What `products` promises: each file has one product or none, and each product the settings of a line of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path, PurePath

import pytest

from inspection.errors import ConfigError
from settings import Settings, load

BY_NAME = 'names: {pattern: "^(?P<product>[A-Z]+)_(?P<joint>\\\\d+)"}\n'


@pytest.fixture
def read(tmp_path: Path) -> Callable[[str], Settings]:
    """Read a text as config.yaml in a folder of its own."""

    def read_config(text: str) -> Settings:
        path = tmp_path / "config.yaml"
        path.write_text(text, encoding="utf-8")
        return load(path)

    return read_config


def test_a_line_without_products_has_no_product_and_its_settings_as_they_are(read: Callable[[str], Settings]) -> None:
    """Whoever sets no products is asked nothing and given nothing."""
    settings = read(BY_NAME)
    assert settings.product_of(PurePath("QFN_1.png")) is None
    assert settings.of_product(None) is settings


def test_match_is_searched_in_the_whole_path_below_the_inbox(read: Callable[[str], Settings]) -> None:
    """Folders count as well as names, and nothing above the inbox does."""
    settings = read("products: {QFN: {match: ^qfn/}, BGA: {match: _bga}}\n")
    found = {path: settings.product_of(PurePath(path)) for path in ("qfn/a.png", "x/qfn/a.png", "lot/1_bga.png")}
    assert found == {"qfn/a.png": "QFN", "x/qfn/a.png": None, "lot/1_bga.png": "BGA"}


def test_without_match_the_group_product_decides_and_only_the_very_name(read: Callable[[str], Settings]) -> None:
    """A product that the configuration does not list is no product, and one that begins like another is not it."""
    settings = read(BY_NAME + "products: {QFN: {}, BGA: null}\n")
    found = [settings.product_of(PurePath(name)) for name in ("QFN_1.png", "BGA_1.png", "QFNX_1.png", "qfn_1.png")]
    assert found == ["QFN", "BGA", None, None]


def test_the_first_product_that_takes_a_file_has_it(read: Callable[[str], Settings]) -> None:
    """Two that match are no riddle: their order in the file decides, and both can be named."""
    settings = read("products: {second: {match: lot1}, first: {match: lot}}\n")
    path = PurePath("lot1/a.png")
    assert settings.product_of(path) == "second"
    assert list(settings.products_of(path)) == ["second", "first"]


def test_a_product_has_folders_and_training_of_its_own(read: Callable[[str], Settings], tmp_path: Path) -> None:
    """What the product does not change is the line's, down to the keys of a sub-section."""
    settings = read(
        "training: {epochs: 7, unseen: {io: 3}, gate: {cost_limit: 5.0}}\n"
        "products: {QFN: {match: q, training: {image_size: 64, unseen: {nio: 2}}}, BGA: {match: b, training: null}}\n"
    )
    product = settings.of_product("QFN")
    assert (product.paths.dataset, product.paths.models) == (tmp_path / "dataset/QFN", tmp_path / "models/QFN")
    assert product.paths.line == settings.paths.line
    training = product.training
    assert (training.epochs, training.image_size, training.gate.cost_limit) == (7, 64, 5.0)
    assert (training.unseen.io, training.unseen.nio) == (3, 2)
    assert settings.of_product("BGA").training == settings.training
    assert product.products == {}


@pytest.mark.parametrize("name", ["BGB", None])
def test_a_product_that_is_not_configured_is_named_with_those_that_are(
    read: Callable[[str], Settings], name: str | None
) -> None:
    """Never another one's settings instead."""
    settings = read("products: {QFN: {match: q}, BGA: {match: b}}\n")
    with pytest.raises(ConfigError, match=f"no product {name!r}; the products are QFN, BGA"):
        settings.of_product(name)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("products: {a/b: {match: a}}", "products.a/b: 'a/b': names folders: letters"),
        ("products: {..: {match: a}}", "names folders: letters"),
        ("products: {io: {match: a}}", "names a folder of the data set or the models already"),
        ("products: {4711: {match: a}}", "put it in quotes"),
        ("products: {QFN: {match: a}, qfn: {match: b}}", "QFN and qfn may be one folder"),
        ("products: {QFN: {match: '('}}", "products.QFN.match: '(': not a regular expression"),
        ("products: {QFN: {}}", "products.QFN: nothing says which files are of it"),
        ("products: {QFN: {mach: a}}", "products.QFN.mach: unknown key; did you mean 'match'?"),
        ("products: {training: {mach: a}}", "products.training.mach: unknown key; did you mean 'match'?"),
        ("products: {QFN: {match: a, training: {epoch: 3}}}", "did you mean 'epochs'?"),
        ("products: {QFN: {match: a, training: {epochs: 0}}}", "products.QFN.training.epochs: 0:"),
        ("judge: {models_in_memory: 0}", "judge.models_in_memory: 0:"),
    ],
)
def test_a_mistake_in_products_is_told_with_its_key(read: Callable[[str], Settings], text: str, told: str) -> None:
    """Names that are no folders, patterns that are none, and keys that nobody knows never pass."""
    with pytest.raises(ConfigError) as caught:
        read(text)
    assert told in str(caught.value)
