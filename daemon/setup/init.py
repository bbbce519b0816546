"""`solderwatch init`: from an empty folder, or one with a data set, to a line. Imports nothing heavy."""

from __future__ import annotations

import argparse
import re
import shlex
import sys
from collections.abc import Iterable
from pathlib import Path

from pydantic import ValidationError

from daemon.checking.names import images_below
from daemon.setup.dialogue import Ask, ask_names, ask_pattern, show, suggestion
from daemon.setup.layout import CONFIG, lay_out, need_room
from inspection.errors import ConfigError
from inspection.files import readable
from inspection.verdict import LABELS
from settings.schema import InboxSettings, NamesSettings

_MOST = 1000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("folder", type=Path, metavar="DIR", help="is made if it is not there; nothing is overwritten")
    parser.add_argument("--pattern", metavar="REGEX", help="names.pattern, with named groups; nobody is asked then")
    examples = parser.add_mutually_exclusive_group()
    examples.add_argument("--like", nargs="+", metavar="NAME", help="example names of images")
    examples.add_argument("--names", metavar="FILE", help="a file of example names, one a line; -: standard input")


def run(arguments: argparse.Namespace, ask: Ask | None) -> int:
    """Lay out a line, and say what comes next.

    Args:
        arguments: Of the command line.
        ask: None where nobody can be asked.

    Raises:
        SolderwatchError: There is a line already, or a folder cannot be made.
        ConfigError: The pattern is no regular expression, or has a group that is no unit.
    """
    folder: Path = arguments.folder
    need_room(folder)
    pattern = _checked(arguments.pattern)
    names = _examples(arguments)
    if pattern is None and ask and not names:
        names = ask_names(ask)
    if pattern is None and ask and names:
        pattern = ask_pattern(names, ask)
    elif pattern is not None and names:
        show(pattern, names)
    lay_out(folder, pattern)
    print(f"{readable(str(folder / CONFIG))} and its folders are there.")
    if pattern is None:
        print("names.pattern is unset: file names say nothing of boards and joints, which is fine without them.")
        if not ask and (parts := suggestion(names)):
            print(f"With --pattern they would; their parts look like {readable(parts)}: put (?P<joint>...) around one.")
    elif "product" in re.compile(pattern).groupindex:
        print("Names say the product: list the products under products in it, and each gets a model of its own.")
    print(_NEXT.format(folder=readable(str(folder)), there=shlex.quote(readable(str(folder)))))
    return 0


_NEXT = """\
Next:
  1. put labelled images into {folder}/dataset/io and {folder}/dataset/nio
  2. cd {there} && solderwatch-train
  3. solderwatch doctor && solderwatch run, and drop images into data/inbox"""


def _checked(pattern: str | None) -> str | None:
    if pattern is not None and not pattern.isprintable():
        raise ConfigError(f"--pattern: {pattern!r}: has characters that cannot be seen: write them as escapes")
    try:
        NamesSettings(pattern=pattern)
    except ValidationError as error:
        why = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise ConfigError(f"--pattern: {pattern!r}: {why}") from None
    return pattern


def _examples(arguments: argparse.Namespace) -> list[str]:
    """Names as they are given, or as the data set has them."""
    if arguments.like:
        return list(arguments.like)
    if arguments.names == "-":
        return _lines(sys.stdin)
    if arguments.names:
        try:
            with Path(arguments.names).open(encoding="utf-8", errors="surrogateescape") as file:
                return _lines(file)
        except OSError as error:
            raise ConfigError(f"--names: {arguments.names}: {error.strerror}") from None
    found = images_below(arguments.folder / "dataset", InboxSettings())
    return [_below_label(path).as_posix() for path in found[:_MOST]]


def _lines(file: Iterable[str]) -> list[str]:
    return [name for line in file if (name := line.strip())][:_MOST]


def _below_label(path: Path) -> Path:
    """A path in the data set as it would be below the inbox."""
    labels = [number for number, part in enumerate(path.parent.parts) if part in LABELS]
    return Path(*path.parts[labels[-1] + 1 :]) if labels else path
