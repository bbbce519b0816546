"""Every line that a log may have: event, level and fields from the calls in the code, and what it means."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path

from daemon.reporting.tally import Tally
from filing.boards.record import Counts
from filing.ledger import Swept
from reference.text import code, item
from review.relabel import LOGGED

_REPO = Path(__file__).parents[1]
_PACKAGES = ("daemon", "filing", "review")
_LEVELS = ("error", "warning", "info")

MEANINGS = {
    "away": "a folder is gone, not mounted, or a link to nothing; nothing is claimed until it is back",
    "back": "all folders are there again",
    "board": "the answer for the MES; after a crash perhaps again, with the same `revision`. `complete` says by what, "
    "`record` is its file inside `paths.boards`",
    "board_damaged": "a record that nobody can read; the board's begins anew",
    "board_reviewed": "an operator is done with a board on the page",
    "boards_failed": "records of boards cannot be written; told once, verdicts go on, nothing is forgotten",
    "boards_recovered": "they can again",
    "decision": "an image was judged and filed",
    "deleted": "by `disk.keep_io_days` or `disk.keep_io_gb`",
    "device": "where it judges, and why",
    "drift": "the line is unlike the training; each of `signals` has `moved`, `by_std`, `now`, `reference`, `since`",
    "drift_more": "a signal that joined since",
    "drift_over": "all is as it was; `why`: if another model took over",
    "drift_unwatched": "a model without a reference, or with too few io images",
    "given_back": "young and undecodable, or not whole: its writer gets more time",
    "gone": "somebody deleted it while it was in hand",
    "judging_failed": "the model failed on this image, which goes to quarantine; a fault of ours if the model is sound",
    "label_answered": "what somebody said of a doubted label, as it stands in `labels.csv`; `taken_back`: no more",
    "ledger_caught_up": "what a look at the records found: those looked at, changed, removed, unread; folders away",
    "ledger_failed": "locked, or on a full disk; told once, verdicts go on",
    "ledger_rebuilding": "it was damaged, replaced, deleted, or of another version",
    "ledger_recovered": "it can be written again",
    "metrics_unwritten": "the metrics' file cannot be written; told once, verdicts go on",
    "metrics_written": "it can be, for the first time or again",
    "model_loaded": "a model came into use; `certificate` has `standing` and `recall_bound`",
    "model_refused": "a model that cannot be used; `kept`: the one that stays",
    "no_events": "the inbox is found by scans alone, every `scan_s`",
    "no_model": "the inbox is left untouched until there is one",
    "out_of_memory": "the GPU has no room for so many images together; it goes on with fewer",
    "passed_over": "files in the inbox that are never taken; once for each reason, again when it was gone",
    "quarantine": "an image that could not be judged, and why",
    "recovered": "in hand when the daemon last stopped",
    "relabelled": "an operator's word; `label: null`: taken back. Not all have all fields",
    "reload_refused": "the new configuration is wrong; the old one stays",
    "reloaded": "the configuration was read again",
    "retention_failed": "the disk, while old io images were looked for or deleted",
    "retention_stopped": "nothing is deleted by age or size while the clock is in doubt",
    "review_entered": "who came to the operator's page",
    "review_refused": "who gave a wrong password",
    "runtime_refused": "a runtime that is there, and why it is not used",
    "starting": "the daemon starts",
    "stopped": "the daemon has stopped; how many images went where",
    "thread_died": "a fault of ours; it goes on, please report it",
    "trouble": "transient: everything is kept and tried again; with `file` the others go on",
    "unreadable": "a sub-folder or file of the inbox that cannot be looked at; the others go on",
    "watching": "events tell of new files; `leases`: whether the file system tells who has a file open",
}
"""What an event says, where its name and fields do not."""

_RECORD = "those of its record"
_SPREAD: Mapping[str, tuple[str, ...]] = {
    "decision.told": (_RECORD,),
    "self._tally.counts": tuple(Tally().counts),
    "asdict(found)": tuple(each.name for each in fields(Swept)),
    "board.counts.model_dump()": tuple(Counts.model_fields),
    "fields": LOGGED,
    "told": ("label", "by", "at", "address", "reason", "comment", "shown", "disputed", "dataset"),
}
"""What `**` of an expression adds to a line."""


@dataclass
class Event:
    """What is logged under a name, by all calls together."""

    levels: set[str] = field(default_factory=set)
    fields: dict[str, None] = field(default_factory=dict)


def events() -> Iterator[str]:
    """An item for each event, by name.

    Raises:
        AssertionError: An event has no meaning here, or a meaning no event.
    """
    found = logged()
    assert set(found) == set(MEANINGS), f"without event or meaning: {sorted(set(found) ^ set(MEANINGS))}"
    for name, event in sorted(found.items()):
        levels = ", ".join(level for level in _LEVELS if level in event.levels)
        told = ", ".join(each if each == _RECORD else code(each) for each in event.fields)
        yield item(f"{code(name)} ({levels}): {MEANINGS[name]}{f'. Fields: {told}' if told else ''}")


def logged() -> dict[str, Event]:
    """Every event that the code logs."""
    found: dict[str, Event] = {}
    for path in (path for package in _PACKAGES for path in sorted((_REPO / package).rglob("*.py"))):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for call in _calls(tree):
            if not (isinstance(call.func, ast.Attribute) and call.func.attr in _LEVELS and _is_log(call.func.value)):
                continue
            for name in _names(call.args[0], tree):
                event = found.setdefault(name, Event())
                event.levels.add(call.func.attr)
                event.fields |= dict.fromkeys(each for keyword in call.keywords for each in _fields(keyword))
    return found


def _is_log(node: ast.expr) -> bool:
    name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
    return name in {"log", "_log"}


def _names(argument: ast.expr, tree: ast.Module) -> Iterator[str]:
    """The event that a call names, or those that the callers of its function hand on."""
    if isinstance(argument, ast.Constant):
        yield str(argument.value)
        return
    for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
        if argument in ast.walk(function):
            place = [each.arg for each in function.args.args if each.arg != "self"].index(ast.unparse(argument))
            for call in _calls(tree):
                if isinstance(call.func, ast.Attribute) and call.func.attr == function.name:
                    yield from _names(call.args[place], tree)


def _fields(keyword: ast.keyword) -> tuple[str, ...]:
    if keyword.arg is None:
        return _SPREAD[ast.unparse(keyword.value)]
    return ("exception" if keyword.arg == "exc_info" else keyword.arg,)


def _calls(tree: ast.Module) -> Iterator[ast.Call]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.Call))
