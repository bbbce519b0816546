"""The house: who may know whom, also where an import hides in a function; and that every room is installed."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

REPO = Path(__file__).parents[1]
BELOW = ("filing", "inspection", "settings")
MAY_KNOW = {
    "daemon": BELOW,
    "training": BELOW,
    "review": BELOW,
    "replay": BELOW,
    "filing": ("inspection", "settings"),
    "inspection": ("settings",),
    "settings": ("inspection.errors", "inspection.files"),  # what a user is told, and what names files have
    "simulator": (),
}
# The line, the pipeline and the service are above them.
ROOMS = {
    "daemon.checking": ("daemon.intake",),
    "daemon.intake": (),
    "daemon.judging": ("daemon.intake",),
    "daemon.reporting": ("daemon.intake",),
    "daemon.setup": ("daemon.checking",),
}


def imports(source: str) -> Iterator[str]:
    """Every module that a module's source imports, wherever in it, by its whole name."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def within(name: str, packages: tuple[str, ...]) -> bool:
    """Whether a module is one of these packages, or lies in one."""
    return any(f"{name}.".startswith(f"{package}.") for package in packages)


def strangers(folder: str, watched: tuple[str, ...], known: tuple[str, ...]) -> list[str]:
    """What the modules in a folder import of the watched packages, and may not."""
    own = folder.replace("/", ".")
    return [
        f"{path.relative_to(REPO)} imports {name}"
        for path in sorted((REPO / folder).rglob("*.py"))
        for name in imports(path.read_text(encoding="utf-8"))
        if within(name, watched) and not within(name, (own, *known))
    ]


def on_disk() -> set[str]:
    """Every package of the program, with its rooms."""
    files = (path.relative_to(REPO) for top in MAY_KNOW for path in (REPO / top).rglob("__init__.py"))
    return {".".join(path.parent.parts) for path in files}


def installed() -> set[str]:
    """Every package that `pip install` brings."""
    with (REPO / "pyproject.toml").open("rb") as file:
        return set(tomllib.load(file)["tool"]["setuptools"]["packages"])


@pytest.mark.parametrize("package", MAY_KNOW)
def test_imports_go_one_way(package: str) -> None:
    """A package imports none but those below it: not those beside it, not tests, benchmarks or the demo."""
    watched = (*MAY_KNOW, "benchmarks", "demo", "reference", "tests")
    assert strangers(package, watched, MAY_KNOW[package]) == []


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_knows_those_below_it(room: str) -> None:
    """A room of the daemon knows neither the line, the pipeline nor the service, and of the other rooms those below."""
    assert strangers(room.replace(".", "/"), ("daemon",), ROOMS[room]) == []


def test_every_room_is_installed_and_known() -> None:
    """A package that is not in pyproject.toml would be missed only by who installs; one not in here, by no test."""
    assert installed() == on_disk()


def test_modules_lie_in_packages() -> None:
    """Every module lies in a folder with an `__init__.py`: else it would not be installed either."""
    folders = {".".join(path.relative_to(REPO).parent.parts) for top in MAY_KNOW for path in (REPO / top).rglob("*.py")}
    assert folders == on_disk()


def test_a_hidden_import_is_found() -> None:
    """An import counts in a function and under TYPE_CHECKING as well, of a package, a module or a name in it."""
    source = """
import daemon.line
if TYPE_CHECKING:
    from training import refresh
def late():
    from review.relabel import relabel as word
"""
    assert set(imports(source)) == {"daemon.line", "training.refresh", "review.relabel.relabel"}
