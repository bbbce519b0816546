"""What the demo shows in the end: verdicts against the truth, by kind of defect and by board, and a picture of it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image as Picture
from PIL import ImageDraw, ImageFont

from demo.line import PRODUCTS, VIEWS, Board, Image

SHEET = ("io", "void", "bridge", "missing", "insufficient", "head-in-pillow", "misalignment")
CELL, HEADER, MARGIN = 190, 22, 66
Records = Mapping[str, dict[str, Any]]


def short(event: dict[str, Any], truth: Image) -> str:
    """A decision in one line."""
    right = event["verdict"] == truth.label
    mark = "" if right else ("  <-- missed" if truth.label == "nio" else "  <-- false call")
    kind = truth.defect or "good"
    return f"  {event['file']}  {event['verdict']:<3}  p(nio) {event['nio_probability']:<9.4g} is {kind}{mark}"


def by_kind(images: Sequence[Image], records: Records) -> str:
    """How many images of each product and kind were judged right, missed, or called defective without reason."""
    kinds: dict[tuple[str, str], list[Image]] = {}
    for image in images:
        kinds.setdefault((image.product, image.kind), []).append(image)
    heading = f"  {'':<24}{'images':>8}{'right':>8}{'missed':>8}{'false calls':>13}"
    in_order = sorted(kinds, key=lambda of: (of[0], of[1] != "io", of[1]))
    rows = [_row(f"{product} {kind}", kinds[product, kind], records) for product, kind in in_order]
    return "\n".join([heading, *rows, _row("all", images, records)])


def _row(name: str, images: Iterable[Image], records: Records) -> str:
    wrong = {"io": 0, "nio": 0}
    count = dict(wrong)
    for image in images:
        count[image.label] += 1
        wrong[image.label] += records[image.name]["verdict"] != image.label
    missed = wrong["nio"] if count["nio"] else ""
    false = wrong["io"] if count["io"] else ""
    total = sum(count.values())
    return f"  {name:<24}{total:>8}{total - sum(wrong.values()):>8}{missed:>8}{false:>13}"


def by_board(run: Path, boards: Mapping[Board, Sequence[Image]]) -> str:
    """What the record of each board says, and what is true."""
    lines = [f"  {'':<12}{'verdict':>8}{'truth':>7}{'nio joints':>12}{'truth':>7}{'revisions':>11}  why"]
    for board, images in boards.items():
        record = json.loads((run / "data" / "boards" / board.product.name / f"{board.serial}.json").read_bytes())
        truth = "nio" if any(image.label == "nio" for image in images) else "io"
        mark = "" if record["verdict"] == truth else "  <-- wrong"
        lines.append(
            f"  {board.product.name} {board.serial:<6}{record['verdict']:>8}{truth:>7}"
            f"{record['counts']['nio_joints']:>12}{board.nio:>7}{record['revision']:>11}  {record['reason']}{mark}"
        )
    return "\n".join(lines)


def contact_sheet(run: Path, images: Sequence[Image], records: Records) -> Path:
    """One picture: of each product and kind of joint an image, and below it the map that the daemon made."""
    sheet = Picture.new("RGB", (MARGIN + len(SHEET) * CELL, HEADER + 2 * len(PRODUCTS) * CELL), "white")
    write, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    for column, kind in enumerate(SHEET):
        write.text((MARGIN + column * CELL + 4, 3), kind, "black", font)
    # Of each product another view.
    for number, (product, view) in enumerate(zip(PRODUCTS, VIEWS, strict=True)):
        top = HEADER + 2 * number * CELL
        write.text((4, top + CELL - 16), f"{product.name}\nview {view}", "black", font)
        for column, kind in enumerate(SHEET):
            own = (image for image in images if image.product == product.name and image.kind == kind)
            name = next(image.name for image in own if image.name.endswith(f"_view{view}.png"))
            judged = run / "data" / records[name]["verdict"] / records[name]["filed_as"]
            for row, path in enumerate((judged, judged.with_name(judged.name + ".cam.png"))):
                _paste(sheet, path, MARGIN + column * CELL, top + row * CELL)
    path = run / "contact-sheet.png"
    sheet.save(path)
    return path


def _paste(sheet: Picture.Image, path: Path, left: int, top: int) -> None:
    """Put a picture into the middle of its cell, as large as it can be."""
    with Picture.open(path) as file:
        picture = file.convert("RGB")
    scale = (CELL - 6) / max(picture.size)
    picture = picture.resize((round(picture.width * scale), round(picture.height * scale)))
    sheet.paste(picture, (left + (CELL - picture.width) // 2, top + (CELL - picture.height) // 2))
