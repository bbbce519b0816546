"""What several test files share: a small labelled set and a model really trained on it."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from cards import plain_card
from harness import Ledger, Nursery, stamped
from ledger_line import PACE, Kept, Records
from numpy.typing import NDArray
from PIL import Image

from filing.ledger import Pace
from inspection.model import Model, save
from inspection.network import SupervisedAutoencoder
from inspection.novelty import DESCRIPTION, Novelty
from settings import load
from training.refresh import refresh

if TYPE_CHECKING:
    from replay_line import Replayed

pytest_plugins = ["page_browser"]

REAL_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
"""Real X-ray images beside the checkout; a user has none of them."""

_TIFF_STRIPS, _TIFF_STRIP_BYTES = 273, 279


def pytest_addoption(parser: pytest.Parser) -> None:
    """`make test-faults` injects every fault that `make test` samples."""
    parser.addoption("--long", action="store_true", help="inject all faults, for half an hour; without it a sample")


@pytest.fixture(scope="session")
def long(request: pytest.FixtureRequest) -> bool:
    """Whether there is time for all faults, not just a sample."""
    return bool(request.config.getoption("--long"))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real X-ray images; skips where it is not there."""
    if not REAL_DATA.is_dir():
        pytest.skip(f"no real X-ray images at {REAL_DATA}")
    return REAL_DATA


def disc(rng: np.random.Generator, *, void: bool, side: int = 40) -> NDArray[np.uint8]:
    """A noisy grey disc `[side, side]`, with a bright spot in it where `void`: the easiest inspection task there is."""
    y, x = np.mgrid[:side, :side] - side / 2 + rng.uniform(-2, 2)
    image = np.full((side, side), 180.0)
    image[x**2 + y**2 < (side / 3) ** 2] = 70
    if void:
        image[(x - 3) ** 2 + (y + 2) ** 2 < (side / 9) ** 2] = 170
    return np.clip(image + rng.normal(0, 4, image.shape), 0, 255).astype(np.uint8)


def multi_page(pages: Sequence[NDArray[np.uint8]], *, comment: str = "", damaged: int | None = None) -> bytes:
    """A TIFF of these pages; the data of one of them, counted from 1, may be damaged."""
    images = [Image.fromarray(page) for page in pages]
    file = io.BytesIO()
    images[0].save(
        file, "TIFF", save_all=True, append_images=images[1:], compression="tiff_adobe_deflate", description=comment
    )
    data = bytearray(file.getvalue())
    if damaged:
        with Image.open(io.BytesIO(data)) as image:
            image.seek(damaged - 1)
            tags: Any = getattr(image, "tag_v2")  # noqa: B009 - only TIFF images have it
            (start, *_), (length, *_) = tags[_TIFF_STRIPS], tags[_TIFF_STRIP_BYTES]
        data[start + length // 3 : start + length] = bytes(length - length // 3)
    return bytes(data)


def write_discs(folder: Path, *, io: int, nio: int, seed: int = 0) -> None:
    """Labelled discs as PNG in `folder/io` and `folder/nio`."""
    rng = np.random.default_rng(seed)
    for label, count in (("io", io), ("nio", nio)):
        (folder / label).mkdir(parents=True, exist_ok=True)
        for index in range(count):
            Image.fromarray(disc(rng, void=label == "nio")).save(folder / label / f"{label}{index:03d}.png")


TRAINING_CONFIG = """\
device: cpu
training:
  image_size: 48
  epochs: 10
  learning_rate: 0.005
  batch_size: 16
  folds: 3
  unseen: {io: 4, nio: 4}
"""


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as `solderwatch-train` leaves it: config.yaml, dataset and models/current. Do not write into it."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "config.yaml").write_text(TRAINING_CONFIG, encoding="utf-8")
    write_discs(folder / "dataset", io=60, nio=40)
    torch.set_num_threads(1)
    refresh(load(folder / "config.yaml"))
    return folder


@pytest.fixture
def line(trained: Path, tmp_path: Path) -> Path:
    """A fresh folder with a configuration and the trained model, ready for a daemon."""
    shutil.copytree(trained / "models", tmp_path / "models", symlinks=True)
    config = "device: cpu\nruntime: torch\ninbox: {quiet_s: 0.3, scan_s: 0.2}\n"
    (tmp_path / "config.yaml").write_text(config, encoding="utf-8")
    return tmp_path


@pytest.fixture
def untrained_model(tmp_path: Path) -> Path:
    """A model folder with random weights: enough where no verdict matters."""
    torch.manual_seed(0)
    network = SupervisedAutoencoder("residual").eval()
    rng = np.random.default_rng(0)
    golden = [(disc(rng, void=void).astype(np.float32) / 255, "nio" if void else "io") for void in (False, True)]
    novelty = Novelty(DESCRIPTION)
    novelty.farthest.fill_(500.0)
    novelty.oddest.fill_(5.0)
    model = Model(plain_card(), network, novelty, torch.device("cpu"))
    return save(tmp_path / "models", model, golden)  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def _interrupts() -> Iterator[None]:
    """Ctrl-C ends the tests, and each test leaves it so; also where whoever started them ignores it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.fixture(autouse=True)
def _quiet_threads() -> None:
    """Small batches gain nothing from threads, and on a busy machine threads that wait for each other cost a lot."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def write_labelled() -> Callable[..., None]:
    """`write_discs`, for test modules: labelled discs in `folder/io` and `folder/nio`."""
    return write_discs


@pytest.fixture(scope="session")
def draw_disc() -> Callable[..., NDArray[np.uint8]]:
    """`disc`, for test modules: one grey disc, with a void or without."""
    return disc


@pytest.fixture(scope="session")
def draw_stack() -> Callable[..., bytes]:
    """`multi_page`, for test modules: a TIFF of several pages, one of them damaged or none."""
    return multi_page


@pytest.fixture
def one_thread() -> Iterator[None]:
    """For networks so small that threads only wait for each other; on busy cores that costs a hundred times more."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def _nursery() -> Iterator[Nursery]:
    with Nursery() as made:
        yield made


@pytest.fixture
def nursery(_nursery: Nursery) -> Iterator[Nursery]:
    """Starts daemons in no time; what a test leaves running is killed."""
    yield _nursery
    _nursery.end_all()


@pytest.fixture
def ledger(line: Path) -> Ledger:
    """A fresh line with a trained model, and what arrives in its inbox."""
    return Ledger(line)


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Path]:
    """An empty folder on another file system than tmp_path; skips where there is none."""
    shm = Path("/dev/shm")  # noqa: S108 - it is another file system, which is the point
    if not os.access(shm, os.W_OK) or shm.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("no second file system to write to")
    folder = shm / f"solderwatch-test-{os.getpid()}"
    folder.mkdir()
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def image(trained: Path) -> Callable[[int], bytes]:
    """The n-th image: a PNG unlike any other; every fifth one has a defect."""
    io = [path.read_bytes() for path in sorted((trained / "dataset" / "io").iterdir())[:8]]
    nio = [path.read_bytes() for path in sorted((trained / "dataset" / "nio").iterdir())[:2]]
    return lambda number: stamped((nio if number % 5 == 0 else io)[number % 2], number)


@pytest.fixture
def records(tmp_path: Path) -> Records:
    """A line without images."""
    return Records(tmp_path)


@pytest.fixture
def keep() -> Iterator[Callable[..., Kept]]:
    """Starts keepers that work as fast as they can, and ends them."""
    started: list[Kept] = []

    def start(records: Records, pace: Pace = PACE) -> Kept:
        started.append(Kept(records, pace))
        return started[-1]

    yield start
    for kept in started:
        kept.keeper.close()


@pytest.fixture
def replayed(line: Path, tmp_path: Path) -> Replayed:
    """Replays, with the model that was really trained."""
    pytest.importorskip("pyarrow", reason="a replay needs pyarrow: install solderwatch[replay]")
    from replay_line import Replayed  # noqa: PLC0415 - only where pyarrow is

    return Replayed(line, tmp_path / "replay")


@pytest.fixture
def archive(trained: Path, tmp_path: Path, draw_stack: Callable[..., bytes], draw_disc: Callable[..., Any]) -> Path:
    """A tree with io and nio, records beside some images, a stack, and what is no image."""
    root = tmp_path / "archive"
    for label in ("io", "nio"):
        (root / label / "lot7").mkdir(parents=True)
        for path in sorted((trained / "dataset" / label).iterdir())[:6]:
            shutil.copy(path, root / label / "lot7" / path.name)
    rng = np.random.default_rng(3)
    pages = [draw_disc(rng, void=False), draw_disc(rng, void=True)]
    (root / "io" / "stack.tif").write_bytes(draw_stack(pages))
    (root / "io" / "damaged.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    (root / "io" / "notes.txt").write_text("no image", encoding="utf-8")
    record = {
        "decision_id": "1",
        "time": "2026-02-03T04:05:06.000Z",
        "verdict": "nio",
        "reason": "defect",
        "product": "QFN",
        "board": "B1",
        "relabelled": [{"to": "io", "by": "Eve", "at": "2026-02-04T00:00:00Z"}],
    }
    image = min((root / "io" / "lot7").iterdir())
    image.with_name(f"{image.name}.json").write_text(json.dumps(record), encoding="utf-8")
    return root
