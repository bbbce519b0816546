"""The command lines of all programs, as their own `--help` says them."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator
from unittest.mock import patch

import daemon.__main__
import replay.__main__
import review.__main__
import simulator.simulate
import training.__main__

PARSERS: dict[str, Callable[[], argparse.ArgumentParser]] = {
    "solderwatch": daemon.__main__.command_line,
    "solderwatch-train": training.__main__.command_line,
    "solderwatch-review": review.__main__.command_line,
    "solderwatch-replay": replay.__main__.command_line,
    "solderwatch-simulate": simulator.simulate.command_line,
}
"""What reads the command line of each program."""

_COLUMNS = "100"


def commands() -> Iterator[str]:
    """What each program, and each command of one, says of itself."""
    with patch.dict(os.environ, COLUMNS=_COLUMNS):
        for name, parser in PARSERS.items():
            yield f"### {name}"
            for each in (parser(), *_commands(parser())):
                yield f"```text\n{each.format_help().rstrip()}\n```"


def _commands(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    for action in parser._actions:  # noqa: SLF001 - argparse shows its commands nowhere else
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            yield from action.choices.values()
