"""Events of the log in plain words: what happened, and where something is wrong what to do. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

Event = Mapping[str, Any]

_REASON_WIDTH, _PRODUCT_WIDTH = 12, 8
_COARSE_FROM = 0.05
"""Thresholds from here on are told apart by two digits."""


@dataclass(frozen=True)
class Words:
    """What a line says behind its time.

    Attributes:
        head: What it is about, such as the verdict; it has the colour.
        text: What there is to say.
        tail: What may lose its beginning where a line is too long: a path.
    """

    head: str
    text: str = ""
    tail: str = ""


def words(event: Event) -> Words:
    """An event in words; one that nobody foresaw with its name and fields."""
    try:
        return _SHOWN[event["event"]](event) if event["event"] in _SHOWN else Words(_sentence(event))
    except (AttributeError, LookupError, TypeError, ValueError):
        return Words(_as_it_is(event))


def known() -> set[str]:
    """The events that have words."""
    return {*_SHOWN, *_SENTENCES}


def _decision(event: Event) -> Words:
    threshold, probability = event["threshold"], event["nio_probability"]
    digits = 2 if threshold >= _COARSE_FROM else 4
    score = "no number" if probability is None else f"{probability:.{digits}f}"
    took = f"{sum(event['milliseconds'].values()):.0f} ms"
    product = f"  {event['product']:<{_PRODUCT_WIDTH}}" if event.get("product") else ""
    page = f", page {event['page']} of {event['pages']}" if event.get("pages", 1) > 1 else ""
    text = f"{event['reason']:<{_REASON_WIDTH}}  {score} (from {threshold:.{digits}f})  {took:>7}{product}"
    return Words(f"{event['verdict']:<3}", text, f"{event['file']}{page}")


def _board(event: Event) -> Words:
    product = f"{event['product']} " if event.get("product") else ""
    return Words(f"board {product}{event['board']}  {event['verdict']}", event["reason"])


def _quarantine(event: Event) -> Words:
    return Words("quarantine", f"{event['file']}: {event['error']}")


def _trouble(event: Event) -> Words:
    what = f"{event['file']}: {event['error']}" if event.get("file") else event["error"]
    return Words(f"{what}; nothing is lost, the next try is in {event['retry_in_s']:g} s")


def _drift(event: Event) -> Words:
    moved = ", ".join(_moved(signal) for signal in event["signals"])
    return Words(
        f"{_of(event)}the line is unlike the training since {_moment(event['since'])}: {moved}; look at the newest "
        "images, and train anew if they are right"
    )


def _moved(signal: Event) -> str:
    by = f" by {signal['by_std']:g} standard deviations" if signal.get("by_std") is not None else ""
    return (
        f"{signal['signal']} {signal['moved'] or 'unsteady'}{by} ({signal['now']:g} instead of {signal['reference']:g})"
    )


def _drift_over(event: Event) -> Words:
    return Words(f"{_of(event)}the line is again as it was in training; it was not since {_moment(event['since'])}")


def _model_refused(event: Event) -> Words:
    stays = (
        f"{event['kept']} stays in use" if event["kept"] else "nothing is judged until there is one that can be used"
    )
    return Words(f"{_of(event)}the model is refused: {event['error']}; {stays}")


def _stopped(event: Event) -> Words:
    counts = {name: event[name] for name in event if name not in {"timestamp", "level", "event"}}
    return Words(f"stopped; judged since the start: {', '.join(f'{count} {name}' for name, count in counts.items())}")


def _relabelled(event: Event) -> Words:
    word = f"is {event['label']}" if event["label"] else "has its last word taken back"
    return Words(f"{event['filed_as']} {word}, says {event['by']}")


def _deleted(event: Event) -> Words:
    return Words(f"deleted {event['file']}, filed {_moment(event['filed'])}: {event['why']}")


_SHOWN: dict[str, Callable[[Event], Words]] = {
    "board": _board,
    "decision": _decision,
    "deleted": _deleted,
    "drift": _drift,
    "drift_more": _drift,
    "drift_over": _drift_over,
    "model_refused": _model_refused,
    "quarantine": _quarantine,
    "relabelled": _relabelled,
    "stopped": _stopped,
    "trouble": _trouble,
}

_SENTENCES = {
    "away": "{error}; mount it or make it: {in_hand} images in hand wait, the next look is in {retry_in_s} s",
    "back": "all folders are back",
    "board_damaged": "the board record {file} is damaged: {error}; it is now {set_aside}, and a new one is made",
    "board_reviewed": "board {board} was reviewed by {by}",
    "boards_failed": "board records cannot be written: {error}; the next try is in {retry_in_s} s",
    "boards_recovered": "board records can be written again",
    "device": "device {device}: {why}",
    "drift_unwatched": "drift is not watched: {why}",
    "given_back": "{file} may be unfinished, and waits in the inbox: {reason}",
    "gone": "{file} was taken away by somebody else while it was in hand",
    "judging_failed": "{file} could not be judged; if the model is well, it goes to quarantine",
    "label_answered": "the label of {file}: {answer}, says {by}",
    "ledger_caught_up": "the ledger has caught up: {changed} records were new or changed, {removed} gone",
    "ledger_failed": "the ledger {file} cannot be written: {error}; verdicts go on without it, and it catches up later",
    "ledger_rebuilding": "the ledger {file} is built anew from the records: {why}",
    "ledger_recovered": "the ledger {file} is well again",
    "metrics_unwritten": "metrics cannot be written: {error}; mend metrics.file, or the owner of its folder",
    "metrics_written": "metrics can be written again, to {file}",
    "model_loaded": "model {model}, threshold {threshold}, on {device} by {runtime}",
    "no_events": "no events from the inbox: {error}; it is looked at every {scan_s} s instead",
    "no_model": "{error}; the inbox is {inbox}",
    "out_of_memory": "not enough memory: from now on {batch_size} images at once; judge.batch_size sets it for good",
    "passed_over": "{count} in the inbox passed over, such as {example}: {mend}",
    "recovered": "{file} was in hand when the last run ended, and is taken up again",
    "reload_refused": "the new configuration is refused, the old one stays: {error}",
    "reloaded": "{config} was read again, and holds from now on",
    "retention_failed": "old io images cannot be deleted: {error}; the next try is in {retry_in_s} s",
    "retention_stopped": "nothing is deleted any more: {error}",
    "review_entered": "{name} signed in from {address}",
    "review_refused": "a wrong name or password for {name}, from {address}",
    "runtime_refused": "{runtime} is not used but {instead}: {error}",
    "starting": "solderwatch {version} starts with {config}",
    "thread_died": "the thread {thread} died of a fault in the program: please report what stands below",
    "unreadable": "cannot be looked at: {error}; mend its owner or mode",
    "watching": "watching {inbox}; Ctrl-C ends it",
}


def _sentence(event: Event) -> str:
    sentence = _SENTENCES.get(event["event"])
    if sentence is None:
        return _as_it_is(event)
    # Of a wrong configuration all mistakes are told, each in a line of its own.
    error = "; ".join(str(event.get("error", "?")).split("\n"))
    return _of(event) + sentence.format_map(defaultdict(lambda: "?", {**event, "error": error}))


def _of(event: Event) -> str:
    return f"{event['product']}: " if event.get("product") else ""


def _as_it_is(event: Event) -> str:
    fields = (f"{key} {value}" for key, value in event.items() if key not in _SAID)
    return ", ".join([str(event.get("event")).replace("_", " "), *fields])


_SAID = {"timestamp", "level", "event", "exception"}


def _moment(utc: str) -> str:
    return f"{datetime.fromisoformat(utc).astimezone():%Y-%m-%d %H:%M}"
