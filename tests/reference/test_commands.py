"""Each command that README.md and docs/ show is run, or read by its program's own parser, or it is said why neither."""

from __future__ import annotations

import argparse
import contextlib
import glob
import importlib
import io
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import pytest
from documents import DOCUMENTS, REPO, Command, blocks, commands, mentioned

import daemon.__main__
import review.__main__
import simulator.simulate
import training.__main__
from filing.record import Record
from reference.commands import PARSERS

IN_A_SHELL = {"mkdir", "cp", "cat", "cd"}
RUN: dict[str, Callable[[list[str]], int]] = {
    "solderwatch": daemon.__main__.main,
    "solderwatch-train": training.__main__.main,
    "solderwatch-review": review.__main__.main,
    "solderwatch-simulate": simulator.simulate.main,
}
ONLY_READ = {
    "solderwatch run": "runs until it is stopped; the line of these tests was run with --once",
    "solderwatch doctor": "takes ten seconds, a trial image among them: tests/daemon/checking run it",
    "solderwatch-train": "takes minutes; these tests' model was trained so",
    "solderwatch-review": "serves until it is stopped: tests/review start it",
    "solderwatch-replay": "starts Ray: tests/replay start it",
    "make": "takes minutes and more; that there is such a target is tested",
    "python -m benchmarks": "takes minutes and more",
    "torchrun": "takes minutes: tests/training/fitting start it",
}
ELSEWHERE = {
    "install.sh": "needs root: tests/systemd stage it",
    "systemctl": "needs systemd",
    "journalctl": "needs systemd",
    "setfacl": "needs root",
    "pip": "needs a network",
    "pre-commit": "changes the checkout's hooks",
    "ray": "needs a cluster",
    "jq": "is another program, not everywhere installed",
    "tail": "waits for more lines",
    "sort": "goes on with jq's",
    "uniq": "goes on with jq's",
}
MAY_FAIL = {
    "solderwatch status": "no daemon runs there",
    "solderwatch check": "on a line's first day no product has a model yet",
}
"""Exit code 1 is an answer of these."""

PASSWORD = "one long enough for everybody\n"  # noqa: S105 - nobody's
CONFIG = """\
device: cpu
runtime: torch
inbox: {quiet_s: 0.05, scan_s: 0.05}
names: {pattern: '(?P<product>[A-Z]+\\d+)_(?P<board>\\w+)_(?P<joint>r\\d+c\\d+)_view(?P<view>\\d)'}
"""


class ReadError(Exception):
    """A command line was understood, and the program goes no further."""

    def __init__(self, found: argparse.Namespace) -> None:
        super().__init__("understood")
        self.found = found


@pytest.fixture(scope="module")
def shown(
    trained: Path,
    tmp_path_factory: pytest.TempPathFactory,
    draw_stack: Callable[..., bytes],
    draw_disc: Callable[..., Any],
) -> Path:
    """A line as the documents think of it, its images judged: do not write into it."""
    folder = tmp_path_factory.mktemp("shown")
    shutil.copytree(trained / "models", folder / "models", symlinks=True)
    (folder / "config.yaml").write_text(CONFIG, encoding="utf-8")
    newest = (folder / "models" / "current").resolve()
    shutil.copytree(newest, folder / "models" / "before")
    (folder / "models" / "previous").symlink_to("before")
    nio = sorted((trained / "dataset" / "nio").iterdir())
    inbox = folder / "data" / "inbox"
    (inbox / "lot7").mkdir(parents=True)
    for name, image in zip(("joint.png", "void1.png", "void2.png", "BGA64_B17_r01c05_view2.png"), nio, strict=False):
        shutil.copy(image, inbox / name)
    rng = np.random.default_rng(1)
    (inbox / "stack.tif").write_bytes(draw_stack([draw_disc(rng, void=void) for void in (True, False)]))
    (inbox / "lot7" / "joint.png").write_bytes(b"no image")
    with contextlib.chdir(folder):
        assert daemon.__main__.main(["run", "--once"]) == 0
    return folder


@pytest.fixture
def here(shown: Path, tmp_path: Path) -> Iterator[Path]:
    """A copy of that line, which is the current folder."""
    shutil.copytree(shown, tmp_path / "line", symlinks=True)
    with contextlib.chdir(tmp_path / "line"):
        yield tmp_path / "line"


def every_block() -> Iterator[Any]:
    """Each block of commands of each document."""
    for document in DOCUMENTS:
        for number, block in enumerate(blocks(document), 1):
            yield pytest.param([*commands(block)], id=f"{document.name}-{number}")


def own(words: Sequence[str]) -> list[str]:
    """A command line without what stands before the program, and with this line's configuration."""
    rest = list(words)
    if rest[0] == "sudo":
        rest = rest[3:] if rest[1] == "-u" else rest[1:]
    rest[0] = Path(rest[0]).name
    return ["config.yaml" if word == "/etc/solderwatch/config.yaml" else word for word in rest]


def reason(words: Sequence[str]) -> str | None:
    """Why one of our commands is read and not run; None where it is run."""
    if words[0] in {"solderwatch-review", "solderwatch-train"} and words[1:2] and not words[1].startswith("-"):
        return None
    return next((ONLY_READ[known] for known in ONLY_READ if " ".join(words).startswith(known)), None)


def read(words: Sequence[str], monkeypatch: pytest.MonkeyPatch) -> argparse.Namespace:
    """Let the program's own parser read a command line.

    Raises:
        SystemExit: It does not understand it.
    """
    program, *arguments = words
    if program in PARSERS:
        return PARSERS[program]().parse_args(arguments)
    module, *arguments = arguments[arguments.index("-m") + 1 :]
    if module == "training":
        return PARSERS["solderwatch-train"]().parse_args(arguments)
    parse = argparse.ArgumentParser.parse_args

    def stop(parser: argparse.ArgumentParser, *given: Any) -> None:
        raise ReadError(parse(parser, *given))

    with monkeypatch.context() as patched:
        patched.setattr(argparse.ArgumentParser, "parse_args", stop)
        patched.setattr(sys, "argv", [module, *arguments])
        patched.delitem(sys.modules, module, raising=False)
        with pytest.raises(ReadError) as stopped:
            runpy.run_module(module, run_name="__main__")
    found = stopped.value.found
    assert set(getattr(found, "names", ())) <= set(getattr(importlib.import_module(module), "MEASURES", ()))
    return found


def targets() -> set[str]:
    """What `make` can make."""
    return set(re.findall(r"^([a-z-]+):", (REPO / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


def small(words: Sequence[str]) -> list[str]:
    """Arguments as a shell would give them, with few simulated images."""
    found = [each for word in words for each in (sorted(glob.glob(word)) or [word])]  # noqa: PTH207
    return ["2" if before in {"--io", "--nio"} else word for before, word in zip(["", *found], found, strict=False)]


def do(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a command in the current folder, or see that it would be understood."""
    words = own(command.words)
    program = words[0]
    if program == "cd":
        os.chdir(words[1])
    elif program in IN_A_SHELL:
        subprocess.run(["bash", "-ec", command.line if "<<" in command.line else " ".join(words)], check=True)
    elif program == "make":
        assert set(words[1:]) <= targets()
    elif program in PARSERS or program in {"python", "torchrun"}:
        read(words, monkeypatch)
        if not reason(words):
            monkeypatch.setattr(sys, "stdin", io.StringIO(PASSWORD))
            code = RUN[program](small(words[1:]))
            assert code == 0 or (code == 1 and " ".join(words[:2]) in MAY_FAIL)
    else:
        assert program in ELSEWHERE, f"{command.line}: run it here, or say why it cannot be"


@pytest.mark.parametrize("block", list(every_block()))
@pytest.mark.usefixtures("here")
def test_a_block_can_be_typed(block: list[Command], monkeypatch: pytest.MonkeyPatch) -> None:
    """All commands of a block, one after the other, on a small line in a temporary folder."""
    for command in block:
        do(command, monkeypatch)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_commands_in_the_text_are_understood(document: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the text names between backticks is there: measures, targets, commands and options."""
    for mention in mentioned(document):
        words = mention.split()
        if mention.startswith("python -m "):
            read(words, monkeypatch)
        elif words[0] == "make":
            assert set(words[1:]) <= targets()
        elif words[0] in PARSERS:
            parser = PARSERS[words[0]]()
            said = parser.format_help() + "".join(commands_help(parser))
            unknown = [word for word in words[1:] if word.startswith("--") and f"{word} " not in said]
            assert unknown == [], mention
            assert words[0] != "solderwatch" or not words[1:] or re.search(rf"^    {words[1]} ", said, re.MULTILINE)


@pytest.mark.parametrize("section", ["speed", "verdicts"])
def test_each_figure_has_its_command(section: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In docs/benchmarks.md each row's last column completes the command that its section names, and is understood."""
    text = (REPO / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    _, _, below = text.partition(f"## {section.capitalize()}\n")
    own = below.partition("\n## ")[0]
    (command,) = set(re.findall(r"command is `(python -m [\w.]+)`", " ".join(own.split())))
    cells = [row.rstrip(" |").rpartition("| ")[2] for row in own.splitlines() if row.startswith("|")][2:]
    assert cells
    for cell in set(cells) - {"the same"}:
        read([*command.split(), *cell.strip("`").split()], monkeypatch)


def test_each_figure_in_the_readme_has_its_command() -> None:
    """The table of the README names in each row what reproduces it; other tests see that it is understood."""
    _, _, below = (REPO / "README.md").read_text(encoding="utf-8").partition("## Measured\n")
    rows = [row for row in below.partition("\n## ")[0].splitlines() if row.startswith("|")][2:]
    assert rows
    assert [row for row in rows if not re.search(r"\| `(python -m|make) [^`]+` \|$", row)] == []


def commands_help(parser: argparse.ArgumentParser) -> Iterator[str]:
    """What each command of a program says of itself."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            yield from (each.format_help() for each in action.choices.values())


def test_records_have_the_fields_of_the_reference(here: Path) -> None:
    """Records, judged, of a stack, in quarantine and relabelled, have all the fields of `Record` and no others."""
    assert daemon.__main__.main(["relabel", "data/nio/joint.png", "io"]) == 0
    folders = (here / "data" / name for name in ("io", "nio", "quarantine"))
    records = [json.loads(path.read_bytes()) for folder in folders for path in folder.rglob("*.json")]
    assert {key for record in records for key in record} == set(get_type_hints(Record))


@pytest.mark.usefixtures("here")
def test_a_command_that_nobody_knows_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A new program, option, target or measure in a document wants to be known here."""
    for words in (["frobnicate"], ["make", "coffee"], ["python", "-m", "benchmarks.speed", "taste"]):
        with pytest.raises(AssertionError):
            do(Command(tuple(words), " ".join(words)), monkeypatch)
    with pytest.raises(SystemExit):
        do(Command(("solderwatch", "check", "--twice"), ""), monkeypatch)
