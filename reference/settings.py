"""Every setting: its default and what it may be from the schema, what it decides from the comments in config.yaml."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args, get_origin

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from reference.text import attributes, code, item, paragraph, plain, sentence, summary
from settings.schema import Settings, Unseen

_SHIPPED = Path(__file__).parents[1] / "config.yaml"


def settings() -> Iterator[str]:
    """A heading for each section, and an item for each of its keys.

    Raises:
        KeyError: Neither config.yaml nor a docstring says what a key decides.
    """
    text = _SHIPPED.read_text(encoding="utf-8")
    said = dict(_comments(text.splitlines(), yaml.compose(text), ""))
    schema = Settings.model_json_schema()
    yield "\n".join(
        _item(name, field, schema["properties"][name], said[name])
        for name, field in Settings.model_fields.items()
        if _section(field) is None
    )
    for name, field in Settings.model_fields.items():
        if section := _section(field):
            yield f"### {name}"
            yield paragraph(sentence(said.get(name, summary(section))))
            above = f"{name}.<name>" if get_origin(field.annotation) is dict else name
            yield "\n".join(_keys(above, section, schema["$defs"], said))


def _keys(above: str, section: type[BaseModel], schemas: Mapping[str, Any], said: Mapping[str, str]) -> Iterator[str]:
    """Each key of a section, and those of the sections in there, but for those that have a heading of their own."""
    properties = schemas[section.__name__]["properties"]
    told = {f"{above}.{key}": text for key, text in attributes(section).items()} | dict(said)
    for key, field in section.model_fields.items():
        name, inner = f"{above}.{key}", _section(field)
        if inner is None or name in told:
            yield _item(name, field, properties[key], told[name])
        if inner and inner not in map(_section, Settings.model_fields.values()) and not _brief(field):
            yield from _keys(name, inner, schemas, said)


def _item(name: str, field: FieldInfo, schema: Mapping[str, Any], said: str) -> str:
    """A key, its default, what it may be where the comment does not list it, and what it decides."""
    default = "needed" if field.is_required() else f"default {code(_yaml(field.default))}"
    if isinstance(field.default, BaseModel) and not _brief(field):
        default = ""
    allowed = "" if "enum" in schema and all(value in said for value in schema["enum"]) else _allowed(schema)
    about = "; ".join(filter(None, (default, allowed)))
    return item(f"{code(name)}{f' ({about})' if about else ''}: {plain(said.rstrip(',;.'))}")


def _brief(field: FieldInfo) -> bool:
    """Whether a section is said in one line."""
    return isinstance(field.default, Unseen)


def _comments(lines: list[str], node: yaml.Node | None, above: str) -> Iterator[tuple[str, str]]:
    """What stands behind each key of a YAML mapping, by the key's whole name; lines below that are a comment go on."""
    assert isinstance(node, yaml.MappingNode)
    for key, value in node.value:
        name = f"{above}{key.value}"
        nested = isinstance(value, yaml.MappingNode) and not value.flow_style
        mark = key.end_mark if nested else value.end_mark
        found = re.findall(r"(?<=\s)# *(.*)", lines[mark.line][mark.column :])
        for line in lines[mark.line + 1 :] if found else []:
            if not (more := re.match(r"\s+# *(.*)", line)):
                break
            found.append(more[1])
        if found:
            yield name, " ".join(found)
        if nested:
            yield from _comments(lines, value, f"{name}.")


def _section(field: FieldInfo) -> type[BaseModel] | None:
    """The section that a key holds, or holds by name, if it does."""
    candidates = (field.annotation, *get_args(field.annotation))
    return next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), None)


def _yaml(value: object) -> str:
    """A default as the configuration would say it."""
    if isinstance(value, BaseModel):
        value = value.model_dump()
    if isinstance(value, Path):
        value = str(value)
    return yaml.safe_dump(value, default_flow_style=True, width=1000).removesuffix("\n...\n").strip()


def _allowed(schema: Mapping[str, Any]) -> str:
    """What a value may be, in words; empty where its default says enough."""
    if "anyOf" in schema:
        parts = [_allowed(part) for part in schema["anyOf"]]
        return " or ".join(parts) if all(parts) else ""
    if "enum" in schema or "const" in schema:
        return ", ".join(map(code, schema.get("enum", [schema.get("const")])))
    if schema.get("type") in {"integer", "number"}:
        kind = "whole number" if schema["type"] == "integer" else "number"
        return " ".join([kind, ", ".join(_bounds(schema))]).strip()
    return code("null") if schema.get("type") == "null" else ""


def _bounds(schema: Mapping[str, Any]) -> Iterator[str]:
    words = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "below"}
    for key, word in words.items():
        if key in schema:
            yield f"{word} {schema[key]:.12g}"
