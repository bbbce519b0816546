"""What each page shows, as values for its template."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from filing.boards import BoardFiles, Key, Note, Reviewed, note_of
from filing.estimates import checks
from filing.ledger import Image
from filing.logs import Log
from filing.names import utc
from inspection.errors import SolderwatchError
from inspection.files import readable
from review.page.archive import Archive
from review.page.figures import CHARTS, DAYS, make_chart, summary
from review.page.guard import Visitor
from review.page.items import says
from review.page.labels import Labels
from review.page.layout import natural, places, spacing
from review.page.line import Line
from review.page.queue import speaker
from settings import Settings

Asked = Mapping[str, str]

_MOST_BOARDS = 200
_SIDE = 640.0
_ICON = 0.72


def queue(settings: Settings, visitor: Visitor, asked: Asked, *, labels: bool) -> dict[str, Any]:
    """The page on which images or, with `labels`, labels are decided; all else it fetches itself."""
    told = {
        "hotkeys": dict(settings.review.hotkeys),
        "labels": labels,
        "product": asked.get("product", ""),
        "board": asked.get("board", ""),
        "who": speaker(visitor).name,
    }
    return {"told": json.dumps(told), "filter": _filter(asked), "labels": labels, "keys": _keys(settings)}


def _filter(asked: Asked) -> str:
    said = [f"{name} {readable(asked[name])}" for name in ("product", "board") if asked.get(name)]
    return ", ".join(said)


def _keys(settings: Settings) -> list[tuple[str, str]]:
    told = {
        "defect": "it is nio: a defect",
        "good": "it is io: a false call",
        "dispute": "nobody can tell (of labels): the image teaches nothing",
        "skip": "skip it, for later or somebody else",
        "undo": "take the last word back, as often as you like",
        "comment": "a comment on this image",
        "map": "the map on and off",
        "magnifier": "the magnifier on and off",
        "darker": "grey levels darker (with Shift: less contrast)",
        "brighter": "grey levels brighter (with Shift: more contrast)",
        "reset": "grey levels and zoom as they were",
    }
    keys = dict(settings.review.hotkeys)
    rows = [(keys[name], text) for name, text in told.items()]
    return [
        *rows,
        ("1-9", "nio, and why"),
        ("+ -", "zoom; 0 fits, wheel and two fingers too"),
        ("PgUp PgDn", "pages"),
        ("?", "this list"),
    ]


def boards(line: Line, asked: Asked) -> dict[str, Any]:
    """Open boards, and a search by serial number."""
    beginning = asked.get("serial", "")[:200]
    found = line.search(beginning) if beginning else []
    rows = [
        {
            "product": name,
            "board": board.board,
            "images": board.images,
            "since": board.oldest,
            "link": _link(board.board, name),
        }
        for name, board in line.open_boards()[:_MOST_BOARDS]
    ]
    return {"serial": beginning, "found": [(name, _link(name, None)) for name in found], "open": rows}


def _link(board: str, product: str | None) -> str:
    return "/board?" + urlencode({"board": board, **({"product": product} if product is not None else {})})


def board(line: Line, asked: Asked) -> dict[str, Any]:
    """A board as a map of its joints.

    Raises:
        SolderwatchError: The ledger knows no such board.
    """
    serial, product = asked.get("board", ""), asked.get("product")
    images = line.board(serial, product)
    if not images:
        raise SolderwatchError("no such board")
    product = images[0].product if product is None else product
    joints: dict[str, list[Image]] = {}
    for image in images:
        if image.product == product:
            joints.setdefault(image.joint, []).append(image)
    points = places(joints, line.layout)
    step = spacing(points.values())
    left, top = (min(point[axis] for point in points.values()) for axis in (0, 1))
    right, bottom = (max(point[axis] for point in points.values()) for axis in (0, 1))
    scale = min(_SIDE / (right - left + step), 48 / step)
    shown = [
        {
            "joint": name or "no name",
            "x": (points[name][0] - left + step / 2) * scale,
            "y": (points[name][1] - top + step / 2) * scale,
            **_state(views),
            "views": [
                {
                    "seal": line.look(view),
                    "view": view.view or "-",
                    "says": says(view),
                    "word": view.word,
                    "outcome": view.outcome,
                    "page": max((view.page or 1) - 1, 0),
                }
                for view in views
            ],
        }
        for name, views in sorted(joints.items(), key=lambda item: natural(item[0]))
    ]
    is_open = sum(joint["state"] == "open" for joint in shown)
    size = {
        "width": (right - left + step) * scale,
        "height": (bottom - top + step) * scale,
        "side": step * scale * _ICON,
    }
    return {"board": serial, "product": product, "joints": shown, "size": size, "open": is_open}


def _state(views: list[Image]) -> dict[str, str]:
    """Of a joint: open as long as a nio view has no word; else what the words say, or the model."""
    nio = [view for view in views if view.outcome == "nio"]
    if any(not view.word for view in nio):
        return {"state": "open", "told": "nio, open"}
    if nio:
        return {"state": "nio", "told": "nio, confirmed"}
    if any(view.word for view in views):
        return {"state": "good", "told": "io, by a word"}
    return {"state": "io", "told": "io, by the model"}


def board_done(line: Line, fields: Asked, visitor: Visitor, log: Log) -> str:
    """Bring all words into the board's record, and say that somebody is done with it; returns where to go on.

    Raises:
        SolderwatchError: Some nio image has no word yet, or there is no such board.
    """
    shown = board(line, fields)
    if shown["open"]:
        raise SolderwatchError(f"{shown['open']} joints are nio and have no word yet")
    who = speaker(visitor)
    if line.settings.boards.complete:
        archive = Archive(line.settings)
        images = line.board(shown["board"], shown["product"])
        records = [archive.record(image.outcome, image.path) for image in images if image.outcome != "quarantine"]
        notes = [note for record in records if record and (note := note_of(record))]
        if notes:
            key: Key = notes[0].key
            mine = [note for note in notes if note.key == key]
            reviewed = Reviewed(by=readable(who.name), at=utc(datetime.now(UTC)))
            mine.append(Note(product=key.product, board=key.board, reviewed=reviewed))
            BoardFiles(line.settings, log.bind(address=who.address)).revise({key: mine}, again=[key])
    log.info(
        "board_reviewed",
        board=readable(shown["board"]),
        product=shown["product"],
        by=readable(who.name),
        address=who.address,
    )
    return "/boards"


def labels(line: Line, to_check: Labels, asked: Asked) -> dict[str, Any]:
    """Labels that somebody should look at again: what trainings doubt, and where people disagree."""
    product = asked.get("product") or None
    disputed = [
        {"file": readable(subject.words[-1].file), "said": [(word.by, word.label) for word in subject.words]}
        for subject in line.opinions.subjects(product)
        if subject.disputed
    ]
    doubts = [(name, readable(price.part), price) for name, found in to_check.doubts(product) for price in found.open]
    return {"doubts": doubts, "disputed": disputed}


def statistics(line: Line, asked: Asked) -> dict[str, Any]:
    """Days, reasons, checks."""
    product = asked.get("product")
    product = product if product in line.products else None
    query = "?" + urlencode({"product": product}) if product is not None else ""
    return {
        "products": line.products,
        "product": product,
        "query": query,
        "days": DAYS,
        "rows": summary(line, product),
        "checks": checks(line.opinions.subjects(product)),
        "charts": [(name, make_chart(line, name, product).svg()) for name in CHARTS],
        "models": [model for model in line.models() if model.role],
    }


def chart(line: Line, name: str, kind: str, asked: Asked) -> tuple[str, str]:
    """A picture or its numbers, and of what kind that is.

    Raises:
        SolderwatchError: There is none of this name.
    """
    if name not in CHARTS or kind not in ("svg", "csv"):
        raise SolderwatchError("no such chart")
    product = asked.get("product")
    made = make_chart(line, name, product if product in line.products else None)
    return (made.svg(), "image/svg+xml") if kind == "svg" else (made.csv(), "text/csv")


def models(line: Line) -> dict[str, Any]:
    """All models."""
    rows = []
    for number, model in enumerate(line.models()):
        certificate = model.card.get("certificate")
        proof = certificate.get("proof", {}) if isinstance(certificate, dict) else {}
        rows.append(
            {
                "number": number,
                "model": model,
                "created": str(model.card.get("created", "damaged"))[:16].replace("T", " "),
                "threshold": model.card.get("threshold", "-"),
                "certified": isinstance(certificate, dict) and certificate.get("certified") is True,
                "proof": _proven(proof),
                "gate": _gate(model.gate),
                "report": model.report.is_file(),
            }
        )
    return {"rows": rows[::-1]}


def _proven(proof: Any) -> str:
    try:
        return f"{proof['missed']} of {proof['nio']} missed, recall at least {float(proof['recall_bound']):.1%}"
    except (KeyError, TypeError, ValueError):
        return "nothing proven"


def _gate(gate: dict[str, Any]) -> str:
    if not gate:
        return "not asked"
    reasons = gate.get("reasons")
    word = "promoted" if gate.get("passed") else "promoted by --force" if gate.get("forced") else "not promoted"
    return readable(f"{word}: {'; '.join(map(str, reasons))}" if isinstance(reasons, list) else word)


def report(line: Line, number: int) -> str:
    """A training's report, as it is."""
    return line.report(number)
