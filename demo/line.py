"""The demo's line: two products, their labelled images to learn from, and three boards that nobody has seen yet."""

from __future__ import annotations

import csv
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

VIEWS = (1, 2)
COLUMNS = 4
"""Joints in a row of a board."""
LEAST_SEVERITY = 0.5
"""Of the simulated defects: what is hard to see takes more images, and more time, than a demo has."""
MARKER = ".done"


@dataclass(frozen=True)
class Product:
    """A package, and from where each of its views looks at it: degrees from straight above."""

    name: str
    pitch_mm: float
    ball_mm: float
    tilts: tuple[float, float]


@dataclass(frozen=True)
class Board:
    """A board to inspect: its serial number, and how many of its joints are good and defective."""

    product: Product
    serial: str
    io: int
    nio: int
    late: bool = False  # its last image comes long after all others


@dataclass(frozen=True)
class Image:
    """One view of a joint, and what is true of it."""

    name: str
    path: Path
    product: str
    label: str
    defect: str

    @property
    def kind(self) -> str:
        """The defect's, or io."""
        return self.defect or "io"


BGA64 = Product("BGA64", pitch_mm=0.8, ball_mm=0.45, tilts=(0, 25))
CSP36 = Product("CSP36", pitch_mm=0.4, ball_mm=0.27, tilts=(10, 35))
PRODUCTS = (BGA64, CSP36)
LABELLED = {"io": 150, "nio": 100}
"""Joints of each product to learn from; each has an image for every view."""
BOARDS = (
    Board(BGA64, "B01", io=12, nio=0, late=True),
    Board(BGA64, "B02", io=6, nio=6),
    Board(CSP36, "B03", io=6, nio=6),
)
JOINTS = 12

# Smaller and shorter than config.yaml as shipped: the whole demo takes a few minutes on two cores.
CONFIG = f"""\
# The demo's configuration; everything else as in the commented config.yaml at the top of the repository.
names:
  pattern: (?P<product>[A-Z]+\\d+)_(?P<board>[BT]\\d+)_(?P<joint>r\\d+c\\d+)_view(?P<view>\\d)
products: {{{", ".join(f"{product.name}: {{}}" for product in PRODUCTS)}}}
boards:
  complete: {{marker: {MARKER}, joints: {JOINTS}, views: {len(VIEWS)}}}
training:
  image_size: 96
  epochs: 22
  batch_size: 32
  folds: 0
"""


def labelled(run: Path) -> None:
    """Fill `dataset/<product>/io` and `nio`."""
    for seed, product in enumerate(PRODUCTS):
        simulated = _simulated(run, f"{product.name}-labelled", product, seed, **LABELLED)
        serials = [f"T{joint // JOINTS:02d}" for joint in range(sum(LABELLED.values()))]
        for image in _named(simulated, product, serials):
            target = run / "dataset" / product.name / image.label / image.name
            target.parent.mkdir(parents=True, exist_ok=True)
            image.path.rename(target)


def unseen(run: Path) -> dict[Board, list[Image]]:
    """The images of each board, by joint and view."""
    found = {}
    for seed, board in enumerate(BOARDS, 100):
        simulated = _simulated(run, board.serial, board.product, seed, io=board.io, nio=board.nio)
        found[board] = list(_named(simulated, board.product, [board.serial] * JOINTS))
    return found


def _simulated(run: Path, name: str, product: Product, seed: int, *, io: int, nio: int) -> list[Path]:
    """A folder for each view of the same joints: as everything but the tilt is the same, so are they."""
    folders = [Path("simulated") / f"{name}-view{view}" for view in VIEWS]
    for folder, tilt in zip(folders, product.tilts, strict=True):
        options = {
            "io": io,
            "nio": nio,
            "seed": seed,
            "least-severity": LEAST_SEVERITY,
            "pitch": product.pitch_mm,
            "ball-size": product.ball_mm,
            "tilt": tilt,
        }
        given = [word for option, value in options.items() for word in (f"--{option}", str(value))]
        call(run, "simulator.simulate", str(folder), *given)
    return [run / folder for folder in folders]


def _named(folders: Sequence[Path], product: Product, serials: Sequence[str]) -> Iterator[Image]:
    """The images under the names that a machine would give them: product, board, joint and view."""
    tables = [_table(folder) for folder in folders]
    for joint, (board, *rows) in enumerate(zip(serials, *tables, strict=True)):
        row, column = divmod(joint % JOINTS, COLUMNS)
        for view, folder, truth in zip(VIEWS, folders, rows, strict=True):
            name = f"{product.name}_{board}_r{row + 1:02d}c{column + 1:02d}_view{view}.png"
            yield Image(name, folder / truth["file"], product.name, truth["label"], truth["defect"])


def _table(folder: Path) -> list[dict[str, str]]:
    with (folder / "labels.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def call(run: Path, module: str, *arguments: str) -> None:
    """Run one of our programs in the demo's folder."""
    if subprocess.run([sys.executable, "-m", module, *arguments], cwd=run, check=False).returncode:
        raise SystemExit(f"demo: python -m {module} failed; it says above why")
