"""The demo's line: two products, their labelled images to learn from, and three boards that nobody has seen yet."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
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
_ONE_CORE = {**os.environ, "OMP_NUM_THREADS": "1"}

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
  epochs: 36
  batch_size: 32
  folds: 3
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


def train(run: Path) -> None:
    """A model for each product, side by side, each on one core; what the others say follows the first one's words."""
    first, *others = (["training", "--product", product.name] for product in PRODUCTS)
    with ExitStack() as stack:
        beside = []
        for command in others:
            told = stack.enter_context(tempfile.TemporaryFile())
            process = subprocess.Popen(_command(command), cwd=run, env=_ONE_CORE, stdout=told, stderr=subprocess.STDOUT)
            stack.callback(process.kill)
            beside.append((process, told))
        call(run, *first, env=_ONE_CORE)
        for command, (process, told) in zip(others, beside, strict=True):
            print(f"\n{' '.join(command)}, which ran beside it:", flush=True)
            failed = process.wait()
            told.seek(0)
            print(_last_states(told.read().decode()), flush=True)
            _end_if(failed, command)


def _last_states(told: str) -> str:
    """What was said; of each progress bar how it ended."""
    return "\n".join(line.rpartition("\r")[2] for line in told.split("\n") if line.strip())


def call(run: Path, *command: str, env: Mapping[str, str] | None = None) -> None:
    """Run one of our programs, a module with its arguments, in the demo's folder."""
    _end_if(subprocess.run(_command(command), cwd=run, env=env, check=False).returncode, command)


def _command(words: Sequence[str]) -> list[str]:
    return [sys.executable, "-m", *words]


def _end_if(failed: int, command: Sequence[str]) -> None:
    if failed:
        raise SystemExit(f"demo: python -m {' '.join(command)} failed; it says above why")
