"""Asks a person which part of the files' names is the board, the joint and so on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import PurePosixPath

from daemon.checking.names import tried
from inspection.files import readable
from settings.names import UNITS
from settings.proposal import Field, Proposal, propose
from settings.schema import NamesSettings

Ask = Callable[[str], str]
"""Shows a question; returns the line that was typed."""

_SHOWN = 5


def ask_names(ask: Ask) -> list[str]:
    """Have somebody type or paste example names; empty where they don't."""
    print("How are image files called? A few names, one a line; an empty line ends them.")
    names = []
    while name := ask("> ").strip():
        names.append(name)
    return names


def ask_pattern(names: Sequence[str], ask: Ask) -> str | None:
    """Ask what the fields of the names are, show what that makes of them, and have it agreed to.

    Returns:
        The pattern; None where names are to say nothing.
    """
    proposal = propose(names)
    if proposal is None:
        print("These names have neither letters nor digits: names.pattern stays unset.")
        return None
    while True:
        units = _units(proposal, ask)
        if not units:
            return None
        try:
            pattern = proposal.pattern(units)
        except ValueError as error:
            print(error)
            continue
        show(pattern, names)
        if ask("Is that right? [Y/n] ").strip().lower() in {"", "y", "yes"}:
            return pattern


def show(pattern: str, names: Sequence[str]) -> None:
    """Print what names would be taken for."""
    print(f"names.pattern: {pattern}")
    for finding in tried(NamesSettings(pattern=pattern), [PurePosixPath(name) for name in names], "the examples"):
        print(f"{finding.level:<8} {finding.text}")


def suggestion(names: Sequence[str]) -> str | None:
    """What a person may make a pattern of, where nobody can be asked; None where names have nothing in common."""
    proposal = propose(names)
    if proposal is None:
        return None
    fields = "; ".join(f"{field.regex} ({_examples(field)})" for field in proposal.fields if field.is_candidate)
    return fields or None


def _units(proposal: Proposal, ask: Ask) -> dict[int, str]:
    """Which fields are which unit."""
    print(f"Each part of a name can be one of {', '.join(UNITS)}; only Enter: none of them.")
    units = {}
    for number, field in enumerate(proposal.fields):
        while field.is_candidate:
            unit = ask(f"  {_examples(field)}: ").strip().lower()
            if unit in UNITS:
                units[number] = unit
            if not unit or unit in UNITS:
                break
            print(f"  {readable(unit)!r} is none of {', '.join(UNITS)}")
    return units


def _examples(field: Field) -> str:
    more = ", ..." if len(field.values) > _SHOWN else ""
    return readable(", ".join(field.values[:_SHOWN])) + more
