"""TIFF: the range of grey levels, declared and not."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from odd import tiff
from odd.scene import Case, scene
from odd.tiff import (
    BYTE,
    DOUBLE,
    FLOAT,
    LONG,
    LONG8,
    RATIONAL,
    SHORT,
    SLONG,
    SLONG8,
    SRATIONAL,
    SSHORT,
    Page,
    Tag,
)
from odd.tiff_types import ORDERS, levels, shown

LOWEST, HIGHEST = 340, 341
INTEGER_TYPES = {"short": SHORT, "long": LONG, "rational": RATIONAL, "float": FLOAT, "double": DOUBLE}
SIGNED_TYPES = {"sshort": SSHORT, "slong": SLONG, "srational": SRATIONAL, "float": FLOAT, "double": DOUBLE}
BOTH = {"bw": tiff.BLACK_IS_ZERO, "wb": tiff.WHITE_IS_ZERO}


def declared(low: float | None, high: float | None, kind: int, samples: int = 1) -> dict[int, Tag | None]:
    """The tags that declare a range, in numbers of that type."""
    return {
        number: (kind, _values(value, kind) * samples)
        for number, value in ((LOWEST, low), (HIGHEST, high))
        if value is not None
    }


def _values(value: float, kind: int) -> tuple[Any, ...]:
    if kind in {FLOAT, DOUBLE}:
        return (float(value),)
    return (round(value), 1) if kind in {RATIONAL, SRATIONAL} else (round(value),)


def ranges() -> Iterator[Case]:
    """A declared range is black and white where it holds all levels, in whatever type it stands."""
    for name, kind in INTEGER_TYPES.items():
        for end, order in ORDERS.items():
            for pole, photometric in BOTH.items():
                saved, right = levels("u16", scene())
                page = Page(saved, photometric=photometric, tags=declared(0, 65535, kind))
                data = tiff.write(page, order=order)
                yield Case(f"r_smax_{name}_{end}_{pole}.tif", data, (shown(right, photometric),))
                narrow = np.round(1000 + scene() * 3000).astype(np.uint16)
                page = Page(narrow, photometric=photometric, tags=declared(800, 4200, kind))
                expected = (narrow - 800.0) / 3400
                data = tiff.write(page, order=order)
                yield Case(f"r_narrow_{name}_{end}_{pole}.tif", data, (shown(expected, photometric),))
    for name, kind in SIGNED_TYPES.items():
        narrow = np.round(scene() * 4095 - 2048).astype(np.int16)
        page = Page(narrow, tags=declared(-2048, 2047, kind))
        yield Case(f"r_signed_{name}.tif", tiff.write(page), ((narrow + 2048.0) / 4095,))
    twelve = np.round(scene() * 4095).astype(np.uint16)
    for name, kind in (SIGNED_TYPES | {"long8": LONG8, "slong8": SLONG8}).items():
        data = tiff.write(Page(twelve, tags=declared(0, 4095, kind)), big=True)
        yield Case(f"r_twelve_{name}.tif", data, (twelve / 4095,))
    low = np.round(20 + scene() * 200).astype(np.uint8)
    page = Page(low, tags=declared(10, 230, BYTE))
    yield Case("r_byte.tif", tiff.write(page), ((low - 10.0) / 220,))
    yield Case("r_only_smax.tif", tiff.write(Page(twelve, tags=declared(None, 4095, SHORT))), (twelve / 4095,))
    page = Page(np.dstack([twelve] * 3), photometric=tiff.RGB, tags=declared(0, 4095, SHORT, 3))
    yield Case("r_rgb.tif", tiff.write(page), (twelve / 4095,))
    old = {280: (SHORT, (twelve.min(),)), 281: (SHORT, (twelve.max(),))}
    note = "MinSampleValue and MaxSampleValue say what occurs, not what black and white are"
    yield Case("r_occurring.tif", tiff.write(Page(twelve, tags=old)), (twelve / 65535,), note=note)


def left_ranges() -> Iterator[Case]:
    """A declared range that the levels leave, or that is none: the type's counts."""
    saved, right = levels("u16", scene())
    for name, low, high in (
        ("low", 5000, 65535),
        ("high", 0, 4095),
        ("both", 20000, 30000),
        ("empty", 7, 7),
        ("zero", 0, 0),
        ("turned", 4095, 0),
    ):
        for pole, photometric in BOTH.items():
            page = Page(saved, photometric=photometric, tags=declared(low, high, SHORT))
            note = "the declared range is left by the levels, or is none"
            yield Case(f"r_left_{name}_{pole}.tif", tiff.write(page), (shown(right, photometric),), note=note)
    page = Page(saved, tags={LOWEST: (RATIONAL, (0, 0)), HIGHEST: (RATIONAL, (1, 0))})
    yield Case("r_left_divided_by_zero.tif", tiff.write(page), (right,))
    for name, number in (("nan", math.nan), ("infinite", math.inf)):
        page = Page(saved, tags=declared(0, number, FLOAT))
        yield Case(f"r_left_{name}.tif", tiff.write(page), (right,))
    signed, right = levels("i16", scene())
    page = Page(signed, tags=declared(0, 32767, SSHORT))
    yield Case("r_left_signed.tif", tiff.write(page), (right,))


def float_ranges() -> Iterator[Case]:
    """Floats outside 0..1 need a range, declared or configured; what is no number is refused."""
    asked = ("inbox.float_range",)
    for kind in ("f16", "f32", "f64"):
        for name, counts in (("counts", scene() * 4000), ("attenuation", scene() * 3 - 0.5), ("negative", -scene())):
            saved = counts.astype(f"f{int(kind[1:]) // 8}")
            for end, order in ORDERS.items():
                data = tiff.write(Page(saved), order=order)
                yield Case(f"f_{name}_{kind}_{end}.tif", data, None, note="floats outside 0..1", wrong=asked)
            for pole, photometric in BOTH.items():
                low, high = (0.0, 5000.0) if name == "counts" else (-1.0, 3.0)
                right = (saved.astype(float) - low) / (high - low)
                page = Page(saved, photometric=photometric, compression=tiff.DEFLATE, predictor=3)
                name_ = f"f_{name}_{kind}_{pole}_ranged.tif"
                expected = shown(right, photometric)
                yield Case(name_, tiff.write(page), (expected,), float_range=(low, high))
    counts = (scene() * 4000).astype(np.float32)
    page = Page(counts, tags=declared(0, 4095, FLOAT))
    yield Case("f_declared.tif", tiff.write(page), (counts / 4095.0,))
    page = Page(counts, tags=declared(0, 4095, DOUBLE), photometric=tiff.WHITE_IS_ZERO)
    yield Case("f_declared_wb.tif", tiff.write(page, order=">"), (1 - counts / 4095.0,))
    page = Page(counts, tags=declared(0, 1, FLOAT))
    yield Case("f_declared_left.tif", tiff.write(page), None, note="floats outside what they declare", wrong=asked)
    for name, number in (("nan", math.nan), ("inf", math.inf), ("minus_inf", -math.inf)):
        for kind in ("f16", "f32", "f64"):
            saved, _ = levels(kind, scene())
            saved[30, 40] = number
            data = tiff.write(Page(saved))
            wrong = ("no number", "not a number", "NaN", "infinit", "finite")
            yield Case(f"f_{name}_{kind}.tif", data, None, note=f"one level is {number}", wrong=wrong)
            named = f"f_{name}_{kind}_ranged.tif"
            yield Case(named, data, None, note=f"one level is {number}", wrong=wrong, float_range=(0, 5000))
