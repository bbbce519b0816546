"""Example names -> a proposal for `names.pattern`. Pure.

Names are split into fields at whatever is neither letter nor digit: `PCBA1_r03c11_view04` has three. Those that differ
among the examples, or hold a number, are what a person is asked about; the others stand in the pattern as they are.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_FIELD = re.compile(r"[^\W_]+")
_SUFFIX = re.compile(r"\.[A-Za-z]\w*$")
"""Not that of a DICOM name without one, which is a number."""
_SPECIAL = re.compile(r"[.^$*+?{}\[\]|()\\]")
_RUN = re.compile(r"\d+|[^\W\d_]+")


@dataclass(frozen=True)
class Field:
    """One field of all names.

    Attributes:
        values: What stands there, each once, in the order of the examples.
        before: What separates it from the field before; of the first one what the names begin with.
    """

    values: tuple[str, ...]
    before: str

    @property
    def is_candidate(self) -> bool:
        """Whether it may be a unit: it differs, or counts something."""
        return len(self.values) > 1 or any(character.isdigit() for character in self.values[0])

    @property
    def regex(self) -> str:
        """What it looks like: numbers may differ, and so may letters that do."""
        shapes = [_RUN.findall(value) for value in self.values]
        if len({tuple(run.isdecimal() for run in shape) for shape in shapes}) > 1:
            return r"[^\W_]+"
        return "".join(map(_regex_of, zip(*shapes, strict=True)))


@dataclass(frozen=True)
class Proposal:
    """What names have in common.

    Attributes:
        fields: From left to right.
        fitting: How many of the names have these fields; the others are built in another way.
    """

    fields: tuple[Field, ...]
    fitting: int

    def pattern(self, units: Mapping[int, str]) -> str:
        """The regular expression.

        Args:
            units: Which fields are which unit, by their numbers from 0. Of several fields in a row that are one unit,
                the unit is all of them.

        Raises:
            ValueError: A unit is named twice, with another field between.
        """
        first, last = min(units), max(units)
        # From where the file's or folder's name begins: else a number might be found in the middle of another one.
        while first and "/" not in self.fields[first].before:
            first -= 1
        written, seen, group = "(?:^|/)", set[str](), None
        for number in range(first, last + 1):
            field, unit = self.fields[number], units.get(number)
            before = _literally(field.before.rpartition("/")[2] if number == first else field.before)
            if group and unit != group:
                written, group = f"{written})", None
            written += before
            if unit and unit != group:
                if unit in seen:
                    raise ValueError(f"{unit} is named twice, with something else between: name it once")
                written, group = f"{written}(?P<{unit}>", unit
                seen.add(unit)
            written += field.regex
        return f"{written})"


def propose(names: Sequence[str]) -> Proposal | None:
    """Find the fields that most of the names have; None where there are none.

    Args:
        names: Paths below the inbox, with `/` between their folders.
    """
    stems = [_SUFFIX.sub("", name) for name in names]
    split = [(tuple(_FIELD.split(stem)[:-1]), _FIELD.findall(stem)) for stem in stems]
    built = Counter(separators for separators, fields in split if fields)
    if not built:
        return None
    ((common, fitting),) = built.most_common(1)
    columns = zip(*(fields for separators, fields in split if separators == common), strict=True)
    fields = [Field(tuple(dict.fromkeys(column)), before) for column, before in zip(columns, common, strict=True)]
    return Proposal(tuple(fields), fitting)


def _regex_of(runs: tuple[str, ...]) -> str:
    if runs[0].isdecimal():
        return r"\d+"
    if len(set(runs)) == 1:
        return _literally(runs[0])
    return "[A-Za-z]+" if "".join(runs).isascii() else r"[^\W\d_]+"


def _literally(text: str) -> str:
    """As `re.escape`, but for characters that only look special."""
    return _SPECIAL.sub(r"\\\g<0>", text)
