"""DICOM and DICONDE, uncompressed: what stands around the pixels, several frames, and too little data."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from odd import dicom
from odd.dicom import NATIVE, described, native
from odd.scene import Case, coloured, grey_of, scene, whole_numbers


def surroundings() -> Iterator[Case]:
    """Without preamble, without the group that says how the rest is written, or without both."""
    levels, right = whole_numbers(scene(), 16)
    for syntax in NATIVE:
        data = native(described(levels), levels, syntax, preamble=False)
        yield Case(f"x_nopreamble_meta_{syntax}.dcm", data, (right,), note="no preamble, with meta group")
    for syntax in ("ile", "ele"):
        data = native(described(levels), levels, syntax, preamble=False, meta=False)
        yield Case(f"x_bare_{syntax}.dcm", data, (right,), note="the data set alone")
        data = native(described(levels), levels, syntax, meta=False)
        yield Case(
            f"x_preamble_only_{syntax}.dcm", data, (right,), note="preamble, no meta group", either=syntax != "ile"
        )
    data = native(described(levels), levels, "ebe", preamble=False, meta=False)
    yield Case("x_bare_ebe.dcm", data, (right,), note="the data set alone, big endian", either=True)
    icon = described(np.zeros((16, 16), np.uint8))
    icon.PixelData = bytes(256)
    icon["PixelData"].VR = "OB"
    for syntax in NATIVE:
        dataset = described(levels, IconImageSequence=Sequence([icon]))
        yield Case(f"x_icon_{syntax}.dcm", native(dataset, levels, syntax), (right,), note="a thumbnail inside")
    step = Dataset()
    step.RescaleSlope, step.RescaleIntercept, step.RescaleType = "-1", "65535", "US"
    shared = Dataset()
    shared.PixelValueTransformationSequence = Sequence([step])
    dataset = described(levels, SharedFunctionalGroupsSequence=Sequence([shared]))
    note = "a negative slope in the functional group that all frames share"
    yield Case("x_rescale_negative_shared.dcm", native(dataset, levels), (1 - right,), note=note)
    dataset = described(levels, PixelPaddingValue=0)
    yield Case("x_padding_value.dcm", native(dataset, levels), (right,), note="a level that means nothing is a level")
    dataset = described(levels)
    dataset.add_new(0x00091001, "UN", b"x" * 100_000)
    yield Case("x_private_element.dcm", native(dataset, levels), (right,), note="100 KB that only its maker knows")
    yield Case(
        "x_trailing.dcm", native(described(levels), levels) + bytes(8192), (right,), note="8 KB behind", either=True
    )
    for syntax in NATIVE:
        dataset = described(levels, DataSetTrailingPadding=bytes(2048))
        data = native(dataset, levels, syntax)
        yield Case(f"x_trailing_padding_{syntax}.dcm", data, (right,), note="Data Set Trailing Padding")


def floats() -> Iterator[Case]:
    """Pixels as floats, in 0..1."""
    for name, bits in (("FloatPixelData", 32), ("DoubleFloatPixelData", 64)):
        levels = scene().astype(f"<f{bits // 8}")
        dataset = described(levels)
        for unused in ("BitsStored", "HighBit", "PixelRepresentation"):
            delattr(dataset, unused)
        setattr(dataset, name, levels.tobytes())
        data = dicom.written(dataset, NATIVE["ele"])
        yield Case(f"x_float{bits}.dcm", data, (levels.astype(float),), either=True)


def frames() -> Iterator[Case]:
    """Several frames are a stack, judged whole."""
    both = [whole_numbers(scene(number), 16) for number in range(4)]
    stack, right = np.stack([saved for saved, _ in both]), tuple(one for _, one in both)
    for syntax in NATIVE:
        for pole in ("MONOCHROME2", "MONOCHROME1"):
            dataset = described(stack[0], PhotometricInterpretation=pole, NumberOfFrames=4)
            shown = right if pole == "MONOCHROME2" else tuple(1 - one for one in right)
            yield Case(f"x_frames_{syntax}_mono{pole[-1]}.dcm", native(dataset, stack, syntax), shown)
    data = native(described(stack[0], NumberOfFrames=4), stack[:3])
    yield Case("x_frames_missing.dcm", data, None, note="four frames are declared, three are there")
    colour = [whole_numbers(coloured(scene(number)), 8) for number in range(3)]
    dataset = described(colour[0][0], NumberOfFrames=3)
    data = native(dataset, np.stack([saved for saved, _ in colour]))
    yield Case("x_frames_rgb.dcm", data, tuple(grey_of(one) for _, one in colour))
    single = described(stack[0], NumberOfFrames=1)
    yield Case("x_frames_one.dcm", native(single, stack[0]), right[:1])


def lacking() -> Iterator[Case]:
    """Less data than rows, or none."""
    levels, _ = whole_numbers(scene(), 16)
    for syntax in ("ele", "ile", "ebe", "dfl"):
        for name, rows in (("half", 32), ("one_row_less", 63), ("none", 0)):
            data = native(described(levels), levels[:rows], syntax)
            yield Case(f"d_x_rows_{name}_{syntax}.dcm", data, None, note=f"{rows} of 64 rows")
    for more in (2, 20, 500):
        dataset = described(levels)
        data = dicom.written_longer(dataset, levels, more)
        note = f"{more} bytes behind the last element that was deflated: something in it was changed"
        yield Case(f"d_x_deflated_longer{more}.dcm", data, None, note=note)
    yield Case("d_x_no_pixels.dcm", dicom.written(described(levels), NATIVE["ele"]), None, wrong=("without an image",))
    whole = native(described(levels), levels)
    yield Case("d_x_cut.dcm", whole[: len(whole) // 2], None, note="half of the file")
