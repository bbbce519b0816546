"""config.yaml -> Settings; every mistake in it is named at once, with file, key, value and mend."""

from __future__ import annotations

import difflib
from collections.abc import Hashable, Iterator
from pathlib import Path
from typing import Any, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from inspection.errors import ConfigError, in_one_line, in_words
from inspection.files import dangling_link
from settings.schema import Settings

_MAX_BYTES = 1_000_000
_LONGEST_SHOWN = 200
_MOVED = {
    "training.group_pattern": "names.pattern: put what the pattern captured into the named groups board and joint",
    "training.part_pattern": "the named group kind of names.pattern",
    "training.false_call_budget": "training.escape_cost: how many false calls one escape is worth",
    "training.false_call_limit": "training.escape_cost: how many false calls one escape is worth",
}
"""Keys that older configurations have, and where they went."""

_PLAIN = {"path_type": "should be a path", "model_type": "should be a section of 'key: value' lines"}
"""Our words where pydantic's speak of Python types."""


class _StrictLoader(yaml.SafeLoader):
    """Refuses a key that is written twice, of which plain YAML keeps the last one in silence, and aliases.

    With aliases a few lines can be a billion values long.
    """

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.constructor.ConstructorError(None, None, "aliases (*) are not understood: write it out", mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value!r} stands there twice: remove one", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def load(path: Path) -> Settings:
    """Read and check a configuration file.

    Args:
        path: The YAML file. Relative paths in it are resolved against its folder.

    Returns:
        The settings, with defaults for whatever the file leaves out.

    Raises:
        ConfigError: The file is missing, unreadable, no YAML, or says something wrong. One line per mistake.
    """
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise ConfigError(f"{path}: larger than {_MAX_BYTES} bytes: not a configuration")
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        why = dangling_link(path) or "no such file"
        new = "" if path.is_symlink() else ", or lay out a new line: solderwatch init DIR"
        raise ConfigError(f"{path}: {why}; name the configuration with --config PATH{new}") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {in_words(OSError(error.errno, error.strerror))}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: cannot be read: this is no text in UTF-8; save it as such") from None
    try:
        content = yaml.load(text, _StrictLoader)  # noqa: S506 - a SafeLoader, see above
    except yaml.MarkedYAMLError as error:
        line = f" line {error.problem_mark.line + 1}:" if error.problem_mark else ""
        mend = "; indent with blanks, not with tabs" if "'\\t'" in str(error.problem) else ""
        raise ConfigError(f"{path}:{line} not valid YAML: {error.problem}{mend}") from None
    except Exception as error:  # noqa: BLE001 - PyYAML raises whatever a value with a wrong tag leads to
        raise ConfigError(f"{path}: not valid YAML: {in_one_line(error)}") from None
    if content is None:
        content = {}
    if not isinstance(content, dict):
        held = "a list" if isinstance(content, list) else "text"
        raise ConfigError(f"{path}: holds {held}, not sections of 'key: value'")
    try:
        return Settings.model_validate(content, context={"base": path.absolute().parent})
    except ValidationError as error:
        raise ConfigError("\n".join(f"{path}: {problem}" for problem in _problems(error))) from None


def _problems(error: ValidationError) -> Iterator[str]:
    for item in error.errors(include_url=False):
        key = ".".join(str(part) for part in item["loc"] if not str(part).startswith(("function-", "[key]")))
        if item["type"] == "extra_forbidden" and key in _MOVED:
            yield f"{key}: is now {_MOVED[key]}"
            continue
        if item["type"] == "extra_forbidden":
            yield f"{key}: unknown key{_nearest(item['loc'])}"
            continue
        if item["type"] == "value_error":
            message = item["msg"].removeprefix("Value error, ")
        else:
            message = _PLAIN.get(item["type"], item["msg"][0].lower() + item["msg"][1:])
        value = "" if isinstance(item["input"], dict | BaseModel) else f" {_shown(item['input'])}:"
        yield f"{key}:{value} {message}" if key else message


def _shown(value: Any) -> str:
    """A value as it can be shown in a line."""
    try:
        text = repr(value)
    except ValueError:
        return "a number of thousands of digits"
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."


def _nearest(location: tuple[int | str, ...]) -> str:
    """The known keys beside an unknown one, the most alike first."""
    section: type[BaseModel] = Settings
    parts = iter(location[:-1])
    for part in parts:
        field = section.model_fields[str(part)].annotation
        if get_origin(field) is dict:
            next(parts)  # what somebody called an entry
        candidates = (field, *get_args(field))
        section = next(c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel))
    known = list(section.model_fields)
    alike = difflib.get_close_matches(str(location[-1]), known, n=1, cutoff=0.5)
    return f"; did you mean {alike[0]!r}?" if alike else f"; known here: {', '.join(known)}"
