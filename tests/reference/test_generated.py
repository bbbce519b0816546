"""docs/reference.md says what the code says."""

from __future__ import annotations

import pytest

from reference import __main__, events, settings, text
from reference.events import Event


def test_the_file_is_what_the_code_says() -> None:
    """docs/reference.md is what `make docs` would write."""
    assert __main__.FILE.read_text(encoding="utf-8") == __main__.reference(), "stale: make docs"


def test_a_setting_that_nobody_describes_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A new key of the schema wants a comment in config.yaml, or a line in its section's docstring."""
    monkeypatch.setattr(settings, "_comments", lambda *_: {"device": "where", "runtime": "by what"})
    with pytest.raises(KeyError, match=r"'paths\.inbox'"):
        list(settings.settings())


def test_an_event_without_a_meaning_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """An event that somebody adds wants a meaning, and a meaning an event."""
    monkeypatch.setattr(events, "logged", lambda: {"sneezed": Event()})
    with pytest.raises(AssertionError, match="'sneezed'"):
        list(events.events())


def test_fields_are_those_of_all_calls() -> None:
    """An event has the fields and levels of every call that logs it; a name that is handed on is found."""
    found = events.logged()
    assert found["trouble"].fields.keys() == {"file", "error", "retry_in_s", "in_hand"}
    assert found["model_refused"].levels == {"error", "warning"}
    assert found["drift_more"].fields.keys() == {"model", "since", "signals"}
    assert "missing" in found["board"].fields


def test_prose_keeps_what_looks_like_a_tag() -> None:
    """A named group of a regular expression is shown, not swallowed as a tag; code stays as it is."""
    assert text.plain("e.g. (?P<board>x*) or `<io>`") == r"e.g. (?P\<board>x\*) or `<io>`"
