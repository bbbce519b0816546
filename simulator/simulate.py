"""Fills a folder with labelled pseudo X-ray images of solder joints: for the demo, tests and trials.

The physics of one image is in `exposure.py` and what it imports; this module plans which image shows what, and
writes files.
"""

from __future__ import annotations

import argparse
import csv
import difflib
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from simulator.defects import DEFECTS
from simulator.errors import SimulationError
from simulator.exposure import SimulatedImage, simulate_image
from simulator.package import ANY, Package
from simulator.slices import SimulatedStack, simulate_stack

__all__ = ["DEFECTS", "Package", "SimulatedImage", "Simulation", "main", "simulate", "simulate_image"]

COLUMNS = ("file", "label", "defect", "severity", "seed", "index", "bits", "width", "height", "mask")
STACK_COLUMNS = (*COLUMNS, "slices", "showing")
MOST_SLICES = 64
SIZE_PX = (32, 2048)
_PNG_EFFORT = 4  # of 9: noise hardly compresses, and more effort only takes longer


@dataclass(frozen=True)
class Simulation:
    """What `simulate` wrote.

    Attributes:
        io: number of good images.
        nio: number of defective images, each with a mask.
        labels: the table of all images.
    """

    io: int
    nio: int
    labels: Path


def simulate(
    out: Path,
    *,
    io: int,
    nio: int,
    seed: int,
    bits: int = 8,
    size: int | None = None,
    defects: Sequence[str] = DEFECTS,
    least_severity: float = 0.0,
    package: Package = ANY,
    slices: int = 1,
    progress: bool = False,
) -> Simulation:
    """Write `out/io/*.png`, `out/nio/*.png`, `out/masks/*.png` (one per nio image) and `out/labels.csv`.

    With several slices they are TIFF files of as many pages, the masks too, and the table says which pages show the
    defect.

    The same arguments give the same bytes. Joint, surroundings, exposure and noise of image `i` depend on
    `seed` and `i` alone; which defect it has, if any, is dealt out at random: neither name nor order tells.

    Args:
        out: folder to fill; made when it is not there.
        io: number of good images.
        nio: number of defective images, shared evenly among `defects`.
        seed: 0 or more.
        bits: 8 or 16 per pixel.
        size: side in pixels of square images; None varies size and aspect.
        defects: some of `DEFECTS`.
        least_severity: 0 to 1; no nio image is less severe than that, and 0 lets in the hardest ones.
        package: what is not drawn, joint by joint, of pitch, ball and view.
        slices: pages per file, each focused at another height of the joint.
        progress: show a bar on stderr if that is a terminal.

    Returns:
        Counts, and where the table is.

    Raises:
        SimulationError: an argument is wrong, or `out` holds something that this would mix with or replace.
        OSError: a file cannot be written.
    """
    _check(io=io, nio=nio, seed=seed, bits=bits, size=size, defects=defects, least_severity=least_severity)
    if not 1 <= slices <= MOST_SLICES:
        raise SimulationError(f"--slices must lie in 1..{MOST_SLICES}, not {slices}")
    if slices > 1 and package.tilt is not None:
        raise SimulationError("--tilt is of single images: for --slices the tube circles above the joint")
    _claim(out)
    rows = []
    plan = _plan(io, nio, seed, defects)
    for index, defect in enumerate(tqdm(plan, unit="image", disable=None if progress else True)):
        rng = np.random.default_rng([seed, index])
        image: SimulatedImage | SimulatedStack
        if slices == 1:
            image = simulate_image(rng, defect, bits=bits, size=size, least_severity=least_severity, package=package)
        else:
            image = simulate_stack(
                rng, defect, slices, bits=bits, size=size, least_severity=least_severity, package=package
            )
        rows.append(_write(out, image, seed=seed, index=index))
    labels = out / "labels.csv"
    with labels.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, COLUMNS if slices == 1 else STACK_COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return Simulation(io=io, nio=nio, labels=labels)


def _check(
    *, io: int, nio: int, seed: int, bits: int, size: int | None, defects: Sequence[str], least_severity: float
) -> None:
    for name, value in (("io", io), ("nio", nio), ("seed", seed)):
        if value < 0:
            raise SimulationError(f"--{name} must be 0 or more, not {value}")
    if io + nio == 0:
        raise SimulationError("nothing to do: --io and --nio are both 0")
    if bits not in {8, 16}:
        raise SimulationError(f"--bits must be 8 or 16, not {bits}")
    if size is not None and not SIZE_PX[0] <= size <= SIZE_PX[1]:
        raise SimulationError(f"--size must lie in {SIZE_PX[0]}..{SIZE_PX[1]} pixels, not {size}")
    if not 0.0 <= least_severity <= 1.0:
        raise SimulationError(f"--least-severity must lie in 0..1, not {least_severity}")
    if not defects:
        raise SimulationError(f"--defects is empty; there are: {', '.join(DEFECTS)}")
    for defect in defects:
        if defect not in DEFECTS:
            near = difflib.get_close_matches(defect, DEFECTS, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"there are: {', '.join(DEFECTS)}"
            raise SimulationError(f"--defects: unknown defect '{defect}'; {hint}")


def _claim(out: Path) -> None:
    """Make the folders, unless something lies there already."""
    folders = [out / name for name in ("io", "nio", "masks")]
    for folder in folders:
        if folder.is_dir() and any(folder.iterdir()):
            raise SimulationError(f"{folder} is not empty; give a new folder, or empty this one first")
    if (out / "labels.csv").exists():
        raise SimulationError(f"{out / 'labels.csv'} is there already; give a new folder, or move it away first")
    for folder in folders:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            raise SimulationError(f"{folder} cannot be made: a file is in the way") from None


def _plan(io: int, nio: int, seed: int, defects: Sequence[str]) -> list[str | None]:
    """What each image shows: None for good; the defects in equal shares; in random order."""
    shown = [None] * io + [defects[number % len(defects)] for number in range(nio)]
    order = np.random.default_rng([seed, io, nio]).permutation(len(shown))
    return [shown[place] for place in order]


def _write(out: Path, image: SimulatedImage | SimulatedStack, *, seed: int, index: int) -> dict[str, str | int]:
    """Write one image or stack, and its masks if it is nio; returns its row of the table."""
    name = f"sim_{index:06d}{'.tif' if isinstance(image, SimulatedStack) else '.png'}"
    file, mask = f"{image.label}/{name}", f"masks/{name}" if image.defect else ""
    height, width = image.pixels.shape[-2:]
    row = {
        "file": file,
        "label": image.label,
        "defect": image.defect or "",
        "severity": f"{image.severity:.4f}",
        "seed": seed,
        "index": index,
        "bits": image.pixels.dtype.itemsize * 8,
        "width": width,
        "height": height,
        "mask": mask,
    }
    if isinstance(image, SimulatedStack):
        _write_pages(out / file, image.pixels)
        if mask:
            _write_pages(out / mask, image.masks.astype(np.uint8) * 255)
        showing = " ".join(str(page + 1) for page in image.showing)
        return {**row, "slices": len(image.pixels), "showing": showing}
    Image.fromarray(image.pixels).save(out / file, compress_level=_PNG_EFFORT)
    if mask:
        Image.fromarray(image.mask.astype(np.uint8) * 255).save(out / mask)
    return row


def _write_pages(path: Path, pages_khw: NDArray[np.uint8] | NDArray[np.uint16]) -> None:
    first, *others = (Image.fromarray(page_hw) for page_hw in pages_khw)
    first.save(path, save_all=True, append_images=others, compression="tiff_deflate")


def command_line() -> argparse.ArgumentParser:
    """What reads the command line."""
    parser = argparse.ArgumentParser(
        prog="solderwatch-simulate",
        description="Make labelled pseudo X-ray images of solder joints: good ones in OUT/io, defective ones "
        "in OUT/nio, where each defect lies in OUT/masks, and a table of all in OUT/labels.csv. "
        "The same seed gives the same files.",
        epilog="example: solderwatch-simulate dataset --io 300 --nio 100 --seed 1 --defects void,bridge",
    )
    parser.add_argument("out", metavar="OUT", type=Path, help="folder to fill: new, or empty")
    parser.add_argument("--io", metavar="N", type=int, required=True, help="number of good images")
    parser.add_argument("--nio", metavar="N", type=int, required=True, help="number of defective images")
    parser.add_argument("--seed", metavar="S", type=int, required=True, help="whole number, 0 or more")
    parser.add_argument("--bits", type=int, choices=(8, 16), default=8, help="per pixel (default: 8)")
    parser.add_argument(
        "--size", metavar="PX", type=int, help="side of square images (default: sizes vary, 96 to 160 pixels)"
    )
    parser.add_argument(
        "--defects",
        metavar="LIST",
        default=",".join(DEFECTS),
        help=f"which defects, in equal shares, with commas between (default: all): {', '.join(DEFECTS)}",
    )
    parser.add_argument(
        "--least-severity",
        metavar="S",
        type=float,
        default=0.0,
        help="no defective image is less severe than this: 0 (default; some are hard to see) to 1 (all obvious)",
    )
    product = parser.add_argument_group(
        "one product", "what all joints have in common; without these each is of a package of its own"
    )
    product.add_argument("--pitch", metavar="MM", type=float, help="from ball to ball: 1.2 to 3 diameters")
    product.add_argument("--ball-size", metavar="MM", type=float, help="diameter of a ball: 0.1 to 1.5")
    product.add_argument(
        "--tilt",
        metavar="DEG",
        type=float,
        help="by which the beam leans, 0 to 45; the same seed with another tilt gives other views of the same joints",
    )
    parser.add_argument(
        "--slices",
        metavar="N",
        type=int,
        default=1,
        help="make stacks: multi-page TIFF files of so many slices, each focused at another height of the joint, a "
        "defect visible in some of them only (default: 1, single images as PNG files)",
    )
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns its exit code: 0 done, 1 failed, 2 the command line is wrong."""
    args = command_line().parse_args(argv)
    defects = [name.strip() for name in args.defects.split(",") if name.strip()]
    start = time.monotonic()
    try:
        done = simulate(
            args.out,
            io=args.io,
            nio=args.nio,
            seed=args.seed,
            bits=args.bits,
            size=args.size,
            defects=defects,
            least_severity=args.least_severity,
            package=Package(args.pitch, args.ball_size, args.tilt),
            slices=args.slices,
            progress=True,
        )
    except SimulationError as error:
        print(f"solderwatch-simulate: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"solderwatch-simulate: {error.filename or args.out}: {error.strerror}", file=sys.stderr)
        return 1
    seconds = time.monotonic() - start
    print(f"wrote {done.io} io and {done.nio} nio images with masks, and {done.labels}, in {seconds:.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
