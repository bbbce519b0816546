"""What the sidecar picture promises."""

from __future__ import annotations

import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from inspection.inspector import Inspection
from inspection.overlay import LONG_SIDE, OPACITY
from inspection.picture import draw, enlarged, overlay_map
from inspection.residual import NAME as RESIDUAL
from inspection.verdict import Verdict, judge

Grey = NDArray[np.float32]
RAMP: Grey = np.linspace(0.2, 0.8, 64 * 64, dtype=np.float32).reshape(64, 64)
MAP: Grey = np.zeros((4, 4), np.float32)
MAP[1, 2] = 1
VERDICTS = [
    *(judge(0.9876, 0.5, 0.1), judge(0.1, 0.5, 0.1), judge(float("nan"), 0.5, 0.1), judge(0.1, 0.5, 3.2)),
    *(judge(0.0, 0.0, 0.1), judge(1e-12, 1e-9, 0.1)),
]


def opened(data: bytes) -> Image.Image:
    """A whole, decoded PNG."""
    with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
        return image.convert("RGB")


def found(verdict: Verdict, method: str = "ExcessCAM", peak: float | None = None) -> Inspection:
    """An inspection with MAP for a map."""
    made_by = RESIDUAL if verdict.reason == "unidentified" else method
    return Inspection(verdict, MAP, peak or 0.0, made_by, verdict.strength(peak), {})


def redness(strength: float) -> float:
    """How far the picture is from grey, at most."""
    image = np.asarray(overlay_map(RAMP, MAP, strength, 400), np.float64)
    return float((image.max(axis=2) - image.min(axis=2)).max())


@pytest.mark.parametrize(
    "shape", [(8, 8), (40, 40), (8, 3000), (3000, 8), (700, 1400), (1400, 700), (2000, 2000), (512, 512), (460, 460)]
)
def test_size(shape: tuple[int, int]) -> None:
    """Tiny, huge, tall or wide: a PNG in colour, at most 512 pixels a side, and wide enough for its text."""
    pixels = np.random.default_rng(0).random(shape, dtype=np.float32)
    image = opened(draw(pixels, found(VERDICTS[0], "SmoothGradCAMpp")))
    assert max(image.size) <= LONG_SIDE
    assert image.width >= 300


@pytest.mark.parametrize("verdict", VERDICTS, ids=["nio", "io", "no-number", "novel", "threshold-0", "tiny"])
def test_every_verdict_can_be_drawn(verdict: Verdict) -> None:
    """Also one without a number, or with a threshold of 0; the banner shows red for nio and green for io."""
    red, green, _blue = opened(draw(RAMP, found(verdict))).getpixel((1, 1))  # type: ignore[misc]
    assert (red > green) == (verdict.label == "nio")


def test_the_text_differs() -> None:
    """Probability, threshold and method are readable in the picture, novelty where it is the reason."""
    pictures = [
        draw(RAMP, found(verdict, method))
        for verdict, method in [
            (judge(0.9, 0.5, 0.1), "CAM"),
            (judge(0.8, 0.5, 0.1), "CAM"),
            (judge(0.9, 0.4, 0.1), "CAM"),
            (judge(0.9, 0.5, 0.1), "LayerCAM"),
            (judge(0.1, 0.5, 3.2), "CAM"),
            (judge(0.1, 0.5, 4.3), "CAM"),
            (judge(float("nan"), 0.5, 0.1), "CAM"),
        ]
    ]
    assert len(set(pictures)) == len(pictures)


def test_a_page_of_a_stack_says_which_one_it_is() -> None:
    """Of several pages the banner names the one that is shown, clear of the verdict; of one it is as it always was."""
    inspection = found(VERDICTS[3])
    alone = np.asarray(opened(draw(RAMP, inspection)))
    assert draw(RAMP, inspection, 1, 1) == draw(RAMP, inspection)
    third, fourth = (np.asarray(opened(draw(RAMP, inspection, page, 5))) for page in (3, 4))
    changed = np.flatnonzero((third != alone).any(axis=(0, 2)))
    assert (third != fourth).any()
    assert changed.min() > alone.shape[1] / 2
    assert np.array_equal(third[52:], alone[52:])


@pytest.mark.parametrize("verdict", VERDICTS, ids=["nio", "io", "no-number", "novel", "threshold-0", "tiny"])
def test_which_page_it_is_fits_beside_any_verdict(verdict: Verdict) -> None:
    """On the narrowest picture and with the longest numbers nothing is cut off, and nothing written over."""
    narrow = RAMP[:, :8]
    picture = np.asarray(opened(draw(narrow, found(verdict), 10_000, 10_000)))
    ink = np.flatnonzero((picture[3:28] != picture[1, 1]).any(axis=(0, 2)))
    gaps = np.flatnonzero(np.diff(ink) > 12)
    assert picture.shape[1] <= LONG_SIDE
    assert (ink >= 8).all()
    assert ink.max() < picture.shape[1] - 4
    assert len(gaps) >= 1


def test_io_is_fainter_than_nio() -> None:
    """The same map looks alarming from the threshold on, fades below it, and is gone without evidence."""
    shades = [redness(judge(probability, 0.5, 0.1).strength(0.3)) for probability in (0.0, 0.001, 0.1, 0.3, 0.5, 1.0)]
    assert shades == sorted(shades)
    assert shades[0] == 0
    assert shades[1] < shades[-1] / 8
    assert shades[-2] == shades[-1]
    assert redness(judge(0.1, 0.5, 0.1).strength(0.0)) == 0


def test_a_map_is_enlarged_in_place() -> None:
    """What is shown is the map over the whole image, within 0..1, with its peak in the peak's cell."""
    shown = enlarged(MAP, (120, 80))
    assert shown.shape == (80, 120)
    assert (shown.min(), shown.max()) == (0, pytest.approx(1, abs=0.1))
    row, column = np.unravel_index(shown.argmax(), shown.shape)
    assert (int(row) * 4 // 80, int(column) * 4 // 120) == (1, 2)


def test_colour_lies_where_the_evidence_is() -> None:
    """The map is laid over the image cell by cell, neither turned nor mirrored; elsewhere the image stays grey."""
    image = np.asarray(overlay_map(RAMP, MAP, 1.0, 400), np.float64)
    colour = image.max(axis=2) - image.min(axis=2)
    y, x = np.unravel_index(colour.argmax(), colour.shape)
    assert (int(y) * 4 // colour.shape[0], int(x) * 4 // colour.shape[1]) == (1, 2)
    assert colour[-50:, :50].max() <= 1


@pytest.mark.parametrize("bits", [8, 16])
def test_contrast_is_stretched_not_wrapped(bits: int) -> None:
    """A dark image of any depth becomes visible, and brighter stays brighter: 16-bit levels do not wrap around."""
    levels = np.round(RAMP * 0.05 * (2**bits - 1)) / np.float32(2**bits - 1)
    shown = np.asarray(overlay_map(levels.astype(np.float32), np.zeros((4, 4), np.float32), 1.0, 400))[..., 0]
    rows = shown.mean(axis=1)
    assert (np.diff(rows) >= -4).all()  # a shade of grey
    assert shown.max() > 240
    assert shown.min() < 15


@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
def test_an_image_without_contrast(level: float) -> None:
    """An image of one grey level is drawn without a warning."""
    assert opened(draw(np.full((20, 20), level, np.float32), found(VERDICTS[1])))


@pytest.mark.parametrize("opacity", [0.0, 0.05, 0.5, 1.0])
def test_it_shows_what_256_colours_cannot(opacity: float) -> None:
    """Looked at from where pixels are not told apart, it is the map laid over the image, to a fortieth of black."""
    rng = np.random.default_rng(0)
    pixels = np.clip(RAMP + rng.normal(0, 0.02, RAMP.shape), 0, 1).astype(np.float32)
    evidence = rng.random((16, 16), dtype=np.float32)
    shown = overlay_map(pixels, evidence, opacity, 512)
    grey = np.asarray(overlay_map(pixels, evidence, 0.0, 512), np.float64)
    heat = enlarged(evidence, shown.size)[..., None].astype(np.float64)
    share = heat * opacity * OPACITY
    colour = np.concatenate([np.full_like(heat, 255), 214 * (1 - heat), np.zeros_like(heat)], axis=2)
    apart = np.asarray(shown, np.float64) - (grey * (1 - share) + colour * share)
    assert np.abs(apart.reshape(32, 16, 32, 16, 3).mean(axis=(1, 3))).max() < 255 / 40


def test_the_same_twice() -> None:
    """The picture is a function of what it shows."""
    assert draw(RAMP, found(VERDICTS[0])) == draw(RAMP, found(VERDICTS[0]))
