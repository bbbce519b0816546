"""README.md and docs/ as tests read them: fenced commands, commands in the text, links, names of files."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

REPO = Path(__file__).parents[2]
DOCUMENTS = [REPO / "README.md", *sorted((REPO / "docs").glob("*.md"))]
SHELLS = ("sh", "console")

_ENDS = {"&&", "||", "|", ";", "&"}


@dataclass(frozen=True)
class Command:
    """One command of a block.

    Attributes:
        words: As a shell would split them, without redirections to other programs.
        line: The whole line that it stands in, and a here-document's lines below.
    """

    words: tuple[str, ...]
    line: str


def blocks(document: Path) -> Iterator[list[str]]:
    """The lines of each fenced block of shell commands."""
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", document.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    yield from (text.splitlines() for language, text in fenced if language in SHELLS)


def commands(block: Sequence[str]) -> Iterator[Command]:
    """Every command of a block."""
    lines = iter(block)
    for line in lines:
        if found := re.search(r"<<'(\w+)'", line):
            below = list(iter(lambda: next(lines), found[1]))
            yield Command(("cat",), "\n".join([line, *below, found[1]]))
            continue
        yield from (Command(tuple(words), line) for words in _split(line))


def mentioned(document: Path) -> Iterator[str]:
    """What stands between backticks outside of fenced blocks."""
    text = re.sub(r"^```.*?^```$", "", document.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    yield from (" ".join(found.split()) for found in re.findall(r"`([^`]+)`", text))


def links(document: Path) -> Iterator[str]:
    """Where links and pictures lead."""
    yield from re.findall(r"\]\(([^)\s]+)\)", document.read_text(encoding="utf-8"))


def anchors(document: Path) -> set[str]:
    """What links into a document may name: its headings, as GitHub makes anchors of them."""
    headings = re.findall(r"^#+ (.*)$", document.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def _split(line: str) -> Iterator[list[str]]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words: list[str] = []
    for word in [*lexer, ";"]:
        if word not in _ENDS:
            words.append(word)
        elif words:
            yield words
            words = []
