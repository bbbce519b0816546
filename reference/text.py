"""Lines of Markdown."""

from __future__ import annotations

import inspect
import re
import textwrap

WIDTH = 120


def item(text: str, depth: int = 0) -> str:
    """An item of a list, in lines of `WIDTH` characters at most."""
    indent = "  " * depth
    return _filled(text, f"{indent}- ", f"{indent}  ")


def paragraph(text: str) -> str:
    """A paragraph, in lines of `WIDTH` characters at most."""
    return _filled(text, "", "")


def code(value: str) -> str:
    """A word of a program."""
    return f"`{value}`"


def plain(text: str) -> str:
    """A comment of a program as prose: what Markdown would take for tags or stress is escaped outside of code."""
    parts = re.split(r"(`[^`]*`)", " ".join(text.split()))
    return "".join(part if part.startswith("`") else re.sub(r"([<*])", r"\\\1", part) for part in parts)


def sentence(text: str) -> str:
    """A comment of a program as a sentence."""
    return plain(f"{text[:1].upper()}{text[1:].rstrip('.')}.")


def summary(documented: object) -> str:
    """The first paragraph of a docstring."""
    return " ".join((inspect.getdoc(documented) or "").partition("\n\n")[0].split())


def below_the_first_line(documented: object) -> str:
    """All of a docstring but its first paragraph, as it is."""
    return (inspect.getdoc(documented) or "").partition("\n\n")[2]


def attributes(documented: object) -> dict[str, str]:
    """What a docstring says of each attribute, in Google's style, as YAML and JSON would say it."""
    _, _, listed = (inspect.getdoc(documented) or "").partition("Attributes:\n")
    found = re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", listed, re.MULTILINE)
    return {name: " ".join(said.split()).replace("None:", "null:") for name, said in found}


def _filled(text: str, first: str, rest: str) -> str:
    return textwrap.fill(
        text, WIDTH, initial_indent=first, subsequent_indent=rest, break_long_words=False, break_on_hyphens=False
    )
