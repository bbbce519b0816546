"""DICOM and DICONDE, uncompressed: bits, polarities, palettes, colours, frames, and what stands around them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from odd.dicom import NATIVE, described, native
from odd.scene import Case, Grey, Levels, coloured, grey_of, scene, whole_numbers

MORE_BITS = ("bits",)


def bits() -> Iterator[Case]:
    """Bits allocated and stored, where the highest is, signed and not, in each byte order, both polarities."""
    for allocated, stored in (
        (8, 8),
        (8, 7),
        (8, 6),
        (16, 16),
        (16, 15),
        (16, 14),
        (16, 12),
        (16, 10),
        (16, 9),
        (16, 8),
        (32, 32),
        (32, 24),
        (32, 17),
    ):
        for signed in (False, True):
            for syntax in NATIVE:
                for pole in ("MONOCHROME2", "MONOCHROME1"):
                    levels, right = _allocated(scene(), allocated, stored, signed=signed)
                    dataset = described(levels, stored, PhotometricInterpretation=pole)
                    sign = "s" if signed else "u"
                    name = f"x_{sign}{stored}of{allocated}_{syntax}_mono{pole[-1]}.dcm"
                    shown = right if pole == "MONOCHROME2" else 1 - right
                    unsure = allocated == 8 and signed
                    yield Case(name, native(dataset, levels, syntax), (shown,), either=unsure)
    for stored, high in ((12, 15), (12, 13), (10, 15), (10, 11), (8, 15), (14, 15)):
        for syntax in NATIVE:
            levels, right = whole_numbers(scene(), stored)
            left = levels.astype(np.uint16) << (high + 1 - stored)
            dataset = described(left, stored, HighBit=high)
            note = f"{stored} of 16 bits, the highest is bit {high}"
            yield Case(f"x_u{stored}_high{high}_{syntax}.dcm", native(dataset, left, syntax), (right,), note=note)
    levels, right = whole_numbers(scene(), 12)
    left = (levels << 4).astype(np.uint16)
    dataset = described(left, 12, HighBit=15, PhotometricInterpretation="MONOCHROME1")
    yield Case("x_u12_left_mono1.dcm", native(dataset, left), (1 - right,))
    below, right = whole_numbers(scene(), 12, signed=True)
    left_signed = (below.astype(np.int16) << 4).astype(np.int16)
    dataset = described(left_signed, 12, HighBit=15)
    yield Case("x_s12_left.dcm", native(dataset, left_signed), (right,))
    bare = (below & 0x0FFF).astype(np.int16)
    yield Case("x_s12_without_sign_above.dcm", native(described(bare, 12), bare), (right,), note="signed, zeros above")


def _allocated(grey: Grey, allocated: int, stored: int, *, signed: bool) -> tuple[Levels, Grey]:
    levels, right = whole_numbers(grey, stored, signed=signed)
    return levels.astype(f"{'i' if signed else 'u'}{allocated // 8}"), right


def unused_bits() -> Iterator[Case]:
    """Bits beyond those declared: an overlay, or the same everywhere, are none of the picture; others are damage."""
    levels, right = whole_numbers(scene(), 12)
    shape = (scene() > 0.5).astype(np.uint16)
    for bit in (12, 15):
        drawn = levels | (shape << bit)
        for syntax in NATIVE:
            dataset = described(drawn, 12)
            _declare_overlay(dataset, bit)
            note = f"an overlay in bit {bit}"
            yield Case(f"x_overlay{bit}_{syntax}.dcm", native(dataset, drawn, syntax), (right,), note=note)
        yield Case(
            f"x_undeclared_bit{bit}.dcm",
            native(described(drawn, 12), drawn),
            None,
            note="bits that nobody declares",
            wrong=MORE_BITS,
        )
        dataset = described(drawn, 12)
        _declare_overlay(dataset, 13)
        yield Case(
            f"x_overlay_elsewhere{bit}.dcm",
            native(dataset, drawn),
            None,
            note="declared is another bit",
            wrong=MORE_BITS,
        )
    for name, mask in (("all", 0xF000), ("one", 0x8000), ("some", 0xA000)):
        filled = (levels | mask).astype(np.uint16)
        note = "the same bits are set everywhere"
        yield Case(f"x_filled_{name}.dcm", native(described(filled, 12), filled), (right,), note=note)
    left = (levels << 4).astype(np.uint16)
    yield Case("x_low_bits_filled.dcm", native(described(left, 12, HighBit=15), left | 0xF), (right,))
    drawn = left | shape
    dataset = described(drawn, 12, HighBit=15)
    _declare_overlay(dataset, 0)
    yield Case("x_overlay0_left.dcm", native(dataset, drawn), (right,), note="an overlay below the levels")
    drawn = drawn | 2
    yield Case("x_undeclared_low.dcm", native(described(drawn, 12, HighBit=15), drawn), None, wrong=MORE_BITS)
    sixteen, _ = whole_numbers(scene(), 16)
    for stored in (8, 10, 12, 15):
        for syntax in NATIVE:
            data = native(described(sixteen, stored), sixteen, syntax)
            note = f"{stored} bits are declared, 16 are used"
            yield Case(f"x_stored{stored}_data16_{syntax}.dcm", data, None, note=note, wrong=MORE_BITS)
    signed, _ = whole_numbers(scene(), 16, signed=True)
    yield Case("x_stored12_data16_signed.dcm", native(described(signed, 12), signed), None, wrong=MORE_BITS)


def _declare_overlay(dataset: Dataset, bit: int) -> None:
    dataset.add_new(0x60000010, "US", dataset.Rows)
    dataset.add_new(0x60000011, "US", dataset.Columns)
    dataset.add_new(0x60000040, "CS", "G")
    dataset.add_new(0x60000050, "SS", [1, 1])
    dataset.add_new(0x60000100, "US", dataset.BitsAllocated)
    dataset.add_new(0x60000102, "US", bit)


def polarities() -> Iterator[Case]:
    """What a viewer shows brightest is bright, whatever the export: slope, modality LUT, presentation LUT shape."""
    levels, right = whole_numbers(scene(), 12)
    turned = 1 - right
    for pole, plain, inverse in (("MONOCHROME2", right, turned), ("MONOCHROME1", turned, right)):
        digit = pole[-1]
        for name, slope, intercept, shown in (
            ("identity", "1", "0", plain),
            ("scaled", "0.25", "-1024", plain),
            ("negative", "-1", "4095", inverse),
            ("negative_scaled", "-0.5", "100", inverse),
        ):
            for syntax in ("ele", "ile"):
                dataset = described(levels, 12, PhotometricInterpretation=pole)
                dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = intercept, slope, "US"
                data = native(dataset, levels, syntax)
                yield Case(f"x_rescale_{name}_mono{digit}_{syntax}.dcm", data, (shown,))
        for name, table, shown in (
            ("rising", np.arange(4096), plain),
            ("falling", np.arange(4095, -1, -1), inverse),
        ):
            for wide, bits_ in (("", 12), ("16", 16)):
                entries = (table * 65535 // 4095 if wide else table).astype(np.uint16)
                for syntax in ("ele", "ile", "ebe"):
                    dataset = described(levels, 12, PhotometricInterpretation=pole)
                    dataset.ModalityLUTSequence = Sequence([_table(entries, 0, bits_)])
                    note = "a modality LUT"
                    name_ = f"x_lut_{name}{wide}_mono{digit}_{syntax}.dcm"
                    yield Case(name_, native(dataset, levels, syntax), (shown,), tol=5e-4, note=note)
        signed, _ = whole_numbers(scene(), 12, signed=True)
        dataset = described(signed, 12, PhotometricInterpretation=pole, RescaleIntercept="0", RescaleSlope="-1")
        yield Case(f"x_rescale_negative_signed_mono{digit}.dcm", native(dataset, signed), (inverse,))
    for pole, shape, shown, unsure in (
        ("MONOCHROME2", "IDENTITY", right, False),
        ("MONOCHROME1", "INVERSE", turned, False),
        ("MONOCHROME2", "INVERSE", turned, False),
        ("MONOCHROME1", "IDENTITY", turned, True),
    ):
        dataset = described(levels, 12, PhotometricInterpretation=pole, PresentationLUTShape=shape)
        note = "INVERSE says again what MONOCHROME1 says; it does not turn it back"
        data = native(dataset, levels)
        yield Case(f"x_shape_{shape.lower()}_mono{pole[-1]}.dcm", data, (shown,), note=note, either=unsure)
    dataset = described(levels, 12, PresentationLUTShape="IDENTITY", RescaleSlope="-1", RescaleIntercept="4095")
    yield Case("x_shape_identity_negative.dcm", native(dataset, levels), (turned,))
    dataset = described(levels, 12, WindowCenter="1000", WindowWidth="500")
    yield Case("x_window.dcm", native(dataset, levels), (right,), note="a window for display does not count")


def _table(entries: Levels, first: int, bits_: int) -> Dataset:
    item = Dataset()
    item.add_new(0x00283002, "US", [len(entries) % 65536, first, bits_])
    item.ModalityLUTType = "US"
    item.add_new(0x00283006, "US", entries.tolist())
    return item


def palettes() -> Iterator[Case]:
    """PALETTE COLOR: the levels are those of the colours."""
    index, right = whole_numbers(scene(), 8)
    for name, shown, table in (
        ("grey", right, np.arange(256) * 257),
        ("inverted", 1 - right, np.arange(255, -1, -1) * 257),
    ):
        for syntax in NATIVE:
            dataset = described(index, PhotometricInterpretation="PALETTE COLOR")
            declare_palette(dataset, [table] * 3, 16, big=syntax == "ebe")
            yield Case(f"x_palette_{name}_{syntax}.dcm", native(dataset, index, syntax), (shown,))
        dataset = described(index, PhotometricInterpretation="PALETTE COLOR")
        declare_palette(dataset, [table // 257] * 3, 8)
        yield Case(f"x_palette8_{name}.dcm", native(dataset, index), (shown,))
    table = np.random.default_rng(0).integers(0, 65536, (3, 256))
    dataset = described(index, PhotometricInterpretation="PALETTE COLOR")
    declare_palette(dataset, list(table), 16)
    expected = grey_of(table.T[index] / 65535)
    yield Case("x_palette_coloured.dcm", native(dataset, index), (expected,), tol=1.5 / 255)
    deep, right = whole_numbers(scene(), 12)
    dataset = described(deep, 12, PhotometricInterpretation="PALETTE COLOR")
    declare_palette(dataset, [np.arange(4095, -1, -1) * 65535 // 4095] * 3, 16)
    yield Case("x_palette12_inverted.dcm", native(dataset, deep), (1 - right,), tol=1e-4)
    dataset = described(index, PhotometricInterpretation="PALETTE COLOR")
    declare_palette(dataset, [np.arange(200) * 327] * 3, 16, first=20)
    expected = np.clip(index.astype(int) - 20, 0, 199) * 327 / 65535
    yield Case("x_palette_first20.dcm", native(dataset, index), (expected,), note="the table begins at 20")
    dataset = described(index, PhotometricInterpretation="PALETTE COLOR")
    yield Case("x_palette_missing.dcm", native(dataset, index), None, wrong=("palette",))


def declare_palette(dataset: Dataset, tables: list[Levels], bits_: int, *, first: int = 0, big: bool = False) -> None:
    """Add palettes for red, green and blue, whose first entry is for the level `first`."""
    for number, table in enumerate(tables):
        dataset.add_new(0x00281101 + number, "US", [len(table) % 65536, first, bits_])
        words = np.asarray(table).astype(">u2" if big else "<u2").tobytes()
        data = words if bits_ == 16 else np.asarray(table).astype(np.uint8).tobytes()
        dataset.add_new(0x00281201 + number, "OW", data)


def colours() -> Iterator[Case]:
    """RGB and YBR_FULL, by pixels and in planes."""
    for bits_ in (8, 16):
        levels, right = whole_numbers(coloured(scene()), bits_)
        for planar in (0, 1):
            for syntax in NATIVE:
                stored = np.ascontiguousarray(np.moveaxis(levels, 2, 0)) if planar else levels
                dataset = described(levels, PlanarConfiguration=planar)
                name = f"x_rgb{bits_}_planar{planar}_{syntax}.dcm"
                yield Case(name, native(dataset, stored, syntax), (grey_of(right),))
    levels, _ = whole_numbers(coloured(scene()) * 0.6 + 0.2, 8)
    bright = grey_of(levels.astype(float))
    blue = 128 + 0.564 * (levels[..., 2] - bright)
    red = 128 + 0.713 * (levels[..., 0] - bright)
    ybr = np.stack([bright, blue, red], axis=2).round().clip(0, 255).astype(np.uint8)
    for planar in (0, 1):
        stored = np.ascontiguousarray(np.moveaxis(ybr, 2, 0)) if planar else ybr
        dataset = described(ybr, PhotometricInterpretation="YBR_FULL", PlanarConfiguration=planar)
        yield Case(f"x_ybr_full_planar{planar}.dcm", native(dataset, stored), (bright / 255,), tol=2 / 255)
    pairs = np.stack([ybr[:, 0::2, 0], ybr[:, 1::2, 0], ybr[:, 0::2, 1], ybr[:, 0::2, 2]], axis=2)
    dataset = described(ybr, PhotometricInterpretation="YBR_FULL_422")
    yield Case("x_ybr_full_422.dcm", native(dataset, pairs), (bright / 255,), tol=2 / 255, either=True)
