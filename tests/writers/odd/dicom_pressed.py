"""DICOM with compressed frames: RLE, JPEG of all kinds, JPEG-LS, JPEG 2000; healthy and damaged."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import imagecodecs
import numpy as np
from pydicom.encaps import encapsulate_extended
from pydicom.uid import UID

from odd import dicom, jpeg
from odd.dicom import described, encapsulated
from odd.dicom_plain import declare_palette
from odd.scene import LOSSY, Case, Grey, Levels, grey_of, scene, speckle, whole_numbers
from odd.tiff_layouts import jpeg_2000, smooth_colours

_UID = "1.2.840.10008.1.2."
RLE, BASELINE, EXTENDED, LOSSLESS, LOSSLESS_SV1 = (_UID + tail for tail in ("5", "4.50", "4.51", "4.57", "4.70"))
JPEG_LS, JPEG_LS_NEAR, J2K_LOSSLESS, J2K = (_UID + tail for tail in ("4.80", "4.81", "4.90", "4.91"))
HTJ2K_LOSSLESS = _UID + "4.201"

Encoder = Callable[[Levels], bytes]


def jpeg_ls(levels: Levels, near: int = 0) -> bytes:
    """JPEG-LS, without loss or nearly."""
    return bytes(imagecodecs.jpegls_encode(np.ascontiguousarray(levels), level=near))


def ht_jpeg_2000(levels: Levels) -> bytes:
    """High-throughput JPEG 2000 without loss."""
    return bytes(imagecodecs.htj2k_encode(np.ascontiguousarray(levels), reversible=True))


GREY: dict[str, tuple[str, int, int, Encoder, float]] = {
    "rle8": (RLE, 8, 8, dicom.rle, 2e-6),
    "rle16": (RLE, 16, 16, dicom.rle, 2e-6),
    "rle12": (RLE, 16, 12, dicom.rle, 2e-6),
    "rle32": (RLE, 32, 32, dicom.rle, 2e-6),
    "jpeg8": (BASELINE, 8, 8, jpeg.plain, LOSSY),
    "jpegext8": (EXTENDED, 8, 8, jpeg.plain, LOSSY),
    "jpegext12": (EXTENDED, 16, 12, jpeg.twelve_bits, LOSSY),
    "jpegll8": (LOSSLESS_SV1, 8, 8, lambda levels: jpeg.lossless(levels, bits=8), 2e-6),
    "jpegll12": (LOSSLESS_SV1, 16, 12, lambda levels: jpeg.lossless(levels, bits=12), 2e-6),
    "jpegll16": (LOSSLESS_SV1, 16, 16, lambda levels: jpeg.lossless(levels, bits=16), 2e-6),
    "jpegll16p14": (LOSSLESS, 16, 16, lambda levels: jpeg.lossless(levels, bits=16), 2e-6),
    "jpegll16p14v4": (LOSSLESS, 16, 16, lambda levels: jpeg.lossless(levels, predictor=4, bits=16), 2e-6),
    "jpegll12p14v7": (LOSSLESS, 16, 12, lambda levels: jpeg.lossless(levels, predictor=7, bits=12), 2e-6),
    "jpegll8p14v6": (LOSSLESS, 8, 8, lambda levels: jpeg.lossless(levels, predictor=6, bits=8), 2e-6),
    "jpegls8": (JPEG_LS, 8, 8, jpeg_ls, 2e-6),
    "jpegls12": (JPEG_LS, 16, 12, jpeg_ls, 2e-6),
    "jpegls16": (JPEG_LS, 16, 16, jpeg_ls, 2e-6),
    "jpeglsnear16": (JPEG_LS_NEAR, 16, 16, lambda levels: jpeg_ls(levels, 3), 1e-3),
    "j2k8": (J2K_LOSSLESS, 8, 8, jpeg_2000, 2e-6),
    "j2k12": (J2K_LOSSLESS, 16, 12, lambda levels: jpeg_2000(levels, bits=12), 2e-6),
    "j2k16": (J2K_LOSSLESS, 16, 16, jpeg_2000, 2e-6),
    "j2klossy16": (
        J2K,
        16,
        16,
        lambda levels: bytes(imagecodecs.jpeg2k_encode(levels, level=60, codecformat="j2k")),
        LOSSY,
    ),
    "htj2k8": (HTJ2K_LOSSLESS, 8, 8, ht_jpeg_2000, 2e-6),
    "htj2k16": (HTJ2K_LOSSLESS, 16, 16, ht_jpeg_2000, 2e-6),
}


def greys() -> Iterator[Case]:
    """Grey frames in every compression, both polarities."""
    for name, (uid, allocated, stored, encode, tol) in GREY.items():
        for pole in ("MONOCHROME2", "MONOCHROME1"):
            levels, right = _allocated(scene(), allocated, stored)
            dataset = described(levels, stored, PhotometricInterpretation=pole)
            shown = right if pole == "MONOCHROME2" else 1 - right
            data = encapsulated(dataset, [encode(levels)], uid)
            named = f"x_{name}_mono{pole[-1]}.dcm"
            yield Case(named, data, (shown,), tol, either=name.startswith("htj2k"))
        levels, right = _allocated(scene(), allocated, stored)
        dataset = described(levels, stored, RescaleSlope="-1", RescaleIntercept=str(2**stored - 1))
        data = encapsulated(dataset, [encode(levels)], uid)
        yield Case(f"x_{name}_negative.dcm", data, (1 - right,), tol, either=name.startswith("htj2k"))
    for name, encode in (("rle", dicom.rle), ("jpegls", jpeg_ls), ("j2k", jpeg_2000)):
        uid = {"rle": RLE, "jpegls": JPEG_LS, "j2k": J2K_LOSSLESS}[name]
        signed, right = whole_numbers(scene(), 16, signed=True)
        stored_as = signed if name == "rle" else signed if name == "j2k" else signed.view(np.uint16)
        data = encapsulated(described(signed), [encode(stored_as)], uid)
        yield Case(f"x_{name}_signed16.dcm", data, (right,))
    levels, _ = whole_numbers(scene(), 16)
    for name in ("rle16", "jpegll16", "jpegls16", "j2k16"):
        uid, _, _, encode, _ = GREY[name]
        data = encapsulated(described(levels, 12), [encode(levels)], uid)
        yield Case(f"x_{name}_stored12.dcm", data, None, note="12 bits are declared, 16 used", wrong=("bits",))


def _allocated(grey: Grey, allocated: int, stored: int) -> tuple[Levels, Grey]:
    levels, right = whole_numbers(grey, stored)
    return levels.astype(f"u{allocated // 8}"), right


def colours() -> Iterator[Case]:
    """Colours in RLE, JPEG and JPEG 2000."""
    levels, right = whole_numbers(smooth_colours(), 8)
    expected = grey_of(right)
    yield Case(
        "x_rle_rgb.dcm", encapsulated(described(levels, PlanarConfiguration=1), [dicom.rle(levels)], RLE), (expected,)
    )
    for name, factors, inside in (
        ("444", (1, 1), "YBR_FULL"),
        ("422", (2, 1), "YBR_FULL_422"),
        ("420", (2, 2), "YBR_FULL_422"),
    ):
        dataset = described(levels, PhotometricInterpretation=inside)
        data = encapsulated(dataset, [jpeg.plain(levels, sampled=factors)], BASELINE)
        yield Case(f"x_jpeg_ybr{name}.dcm", data, (expected,), LOSSY)
    data = encapsulated(described(levels), [jpeg.plain(levels, raw=True)], BASELINE)
    yield Case("x_jpeg_rgb.dcm", data, (expected,), LOSSY)
    dataset = described(levels, PhotometricInterpretation="YBR_RCT")
    yield Case("x_j2k_rct.dcm", encapsulated(dataset, [jpeg_2000(levels)], J2K_LOSSLESS), (expected,))
    plain = bytes(imagecodecs.jpeg2k_encode(levels, level=0, codecformat="j2k", reversible=True, mct=False))
    yield Case("x_j2k_rgb.dcm", encapsulated(described(levels), [plain], J2K_LOSSLESS), (expected,))
    yield Case("x_jpegls_rgb.dcm", encapsulated(described(levels), [jpeg_ls(levels)], JPEG_LS), (expected,))
    index, right = whole_numbers(scene(), 8)
    dataset = described(index, PhotometricInterpretation="PALETTE COLOR")
    declare_palette(dataset, [np.arange(255, -1, -1) * 257] * 3, 16)
    yield Case("x_palette_rle.dcm", encapsulated(dataset, [dicom.rle(index)], RLE), (1 - right,))


def frames() -> Iterator[Case]:
    """One frame or more, in one fragment or more each, with a table of offsets and without."""
    kinds = ("rle16", "jpeg8", "jpegll16", "jpegls16", "j2k16", "jpegext12", "htj2k16")
    for name in kinds:
        uid, allocated, stored, encode, tol = GREY[name]
        both = [_allocated(scene(number), allocated, stored) for number in range(4)]
        right = tuple(one for _, one in both)
        coded = [encode(levels) for levels, _ in both]
        unsure = name.startswith("htj2k")
        for fragments in (1,) if name.startswith("rle") else (1, 3):
            for table in (True, False):
                for amount in (1, 4):
                    dataset = described(both[0][0], stored)
                    data = encapsulated(dataset, coded[:amount], uid, fragments=fragments, table=table)
                    named = f"x_{name}_frames{amount}_fragments{fragments}_{'table' if table else 'notable'}.dcm"
                    # Where no table says so, only the marks of the streams tell which fragment begins a frame.
                    loose = fragments > 1 and amount > 1 and not table
                    yield Case(named, data, right[:amount], tol, either=unsure or loose)
        dataset = described(both[0][0], stored)
        data, offsets, lengths = encapsulate_extended(coded)
        dataset.PixelData, dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths = data, offsets, lengths
        dataset["PixelData"].VR = "OB"
        dataset["PixelData"].is_undefined_length = True
        dataset.NumberOfFrames = 4
        whole = dicom.written(dataset, UID(uid))
        yield Case(f"x_{name}_frames4_extended.dcm", whole, right, tol, either=unsure)
        dataset = described(both[0][0], stored)
        data = encapsulated(dataset, coded[:3], uid)
        dataset.NumberOfFrames = 4
        data = dicom.written(dataset, UID(uid))
        yield Case(f"d_x_{name}_frames_missing.dcm", data, None, note="four frames are declared, three are there")


def damaged() -> Iterator[Case]:
    """Holes, cuts with the end mark put back, lost parts."""
    for name in ("rle8", "rle16", "jpeg8", "jpegext12", "jpegll16", "jpegls16", "j2k16", "htj2k16"):
        uid, allocated, stored, encode, _ = GREY[name]
        levels, _ = _allocated(speckle(0, 256, 384), allocated, stored)
        whole = encode(levels)
        size, end = len(whole), whole[-2:] if not name.startswith("rle") else b""
        for what, stream in (
            ("zeros_64", whole[: size // 2] + bytes(64) + whole[size // 2 + 64 :]),
            ("zeros_512", whole[: size // 3] + bytes(512) + whole[size // 3 + 512 :]),
            ("zeros_4096", whole[: size // 3] + bytes(4096) + whole[size // 3 + 4096 :]),
            ("half", whole[: size // 2]),
            ("half_and_end", whole[: size // 2] + end),
            ("nearly_all_and_end", whole[: int(size * 0.97)] + end),
            ("lost", whole[: size // 3] + whole[size // 3 + 1000 :]),
            ("nothing", bytes(2)),
        ):
            data = encapsulated(described(levels, stored), [stream + bytes(len(stream) % 2)], uid)
            yield Case(f"d_x_{name}_{what}.dcm", data, None, note=f"{name}: {what}")
