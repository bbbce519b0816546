"""TIFF: every type of number, byte order, compression, polarity and predictor; the cross."""

from __future__ import annotations

from collections.abc import Iterator

from odd import tiff
from odd.scene import Case, Grey, Levels, coloured, floats, grey_of, scene, whole_numbers
from odd.tiff import Page

COMPRESSIONS = {
    "none": tiff.NONE,
    "lzw": tiff.LZW,
    "deflate": tiff.DEFLATE,
    "olddeflate": tiff.OLD_DEFLATE,
    "packbits": tiff.PACKBITS,
    "lzma": tiff.LZMA,
    "zstd": tiff.ZSTD,
}
ORDERS: dict[str, tiff.Order] = {"le": "<", "be": ">"}
POLARITIES = {"bw": tiff.BLACK_IS_ZERO, "wb": tiff.WHITE_IS_ZERO}
TYPES = ("u8", "u16", "u32", "u64", "i8", "i16", "i32", "i64", "f16", "f32", "f64")
PACKED = tuple(bits for bits in range(1, 16) if bits != 8)


def levels(kind: str, grey: Grey) -> tuple[Levels, Grey]:
    """Grey levels in a type such as `u16`, and what they are in 0..1."""
    bits = int(kind[1:])
    return floats(grey, bits) if kind[0] == "f" else whole_numbers(grey, bits, signed=kind[0] == "i")


def shown(right: Grey, photometric: int | None) -> Grey:
    """What a file shows whose levels these are."""
    return 1 - right if photometric == tiff.WHITE_IS_ZERO else right


def cross() -> Iterator[Case]:
    """Types x byte orders x compressions x polarities, plain and packed."""
    for kind in TYPES:
        saved, right = levels(kind, scene())
        for name, data, photometric in _crossed(saved, None):
            yield Case(f"t_{kind}_{name}.tif", data, (shown(right, photometric),), either=kind == "i64")
    for bits in PACKED:
        saved, right = whole_numbers(scene(), bits)
        for name, data, photometric in _crossed(saved, bits):
            yield Case(f"t_packed{bits}_{name}.tif", data, (shown(right, photometric),))


def _crossed(saved: Levels, bits: int | None) -> Iterator[tuple[str, bytes, int]]:
    for end, order in ORDERS.items():
        for pressed, compression in COMPRESSIONS.items():
            for pole, photometric in POLARITIES.items():
                page = Page(saved, bits=bits, compression=compression, photometric=photometric, rows=20)
                yield f"{end}_{pressed}_{pole}", tiff.write(page, order=order), photometric


def predictors() -> Iterator[Case]:
    """Differences of neighbours, of integers (2) and of floats (3), by pixels and in colour, in strips and tiles."""
    for kind in ("u8", "u16", "u32", "u64", "i8", "i16", "i32", "f16", "f32", "f64"):
        predictor = 3 if kind[0] == "f" else 2
        for end, order in ORDERS.items():
            for pressed in ("lzw", "deflate", "zstd", "lzma"):
                for place, tile in (("strips", None), ("tiles", (32, 32))):
                    saved, right = levels(kind, scene())
                    page = Page(saved, compression=COMPRESSIONS[pressed], predictor=predictor, rows=16, tile=tile)
                    name = f"t_{kind}_{end}_{pressed}_predictor{predictor}_{place}.tif"
                    yield Case(name, tiff.write(page, order=order), (right,))
    for kind in ("u8", "u16", "f32"):
        saved, right = levels(kind, coloured(scene()))
        for planar in (False, True):
            page = Page(
                saved,
                compression=tiff.DEFLATE,
                predictor=3 if kind[0] == "f" else 2,
                photometric=tiff.RGB,
                planar=planar,
                rows=16,
            )
            name = f"t_rgb{kind}_predictor_{'planar' if planar else 'pixels'}.tif"
            yield Case(name, tiff.write(page), (grey_of(right),))


def without_photometric() -> Iterator[Case]:
    """A missing photometric tag is black-is-zero, whatever the type."""
    for kind in (*TYPES, "u1", "u4", "u10", "u12", "u14"):
        bits = int(kind[1:])
        saved, right = levels(kind, scene())
        for end, order in ORDERS.items():
            page = Page(saved, bits=bits if kind[0] == "u" else None, photometric=None)
            name = f"t_nophotometric_{kind}_{end}.tif"
            yield Case(name, tiff.write(page, order=order), (right,), either=kind == "i64")


def big_tiffs() -> Iterator[Case]:
    """BigTIFF, both byte orders, strips and tiles, several pages."""
    for kind in ("u8", "u16", "f32"):
        for end, order in ORDERS.items():
            saved, right = levels(kind, scene())
            for place, tile in (("strips", None), ("tiles", (16, 48))):
                page = Page(saved, compression=tiff.DEFLATE, rows=10, tile=tile)
                yield Case(f"t_big_{kind}_{end}_{place}.tif", tiff.write(page, order=order, big=True), (right,))
    both = [whole_numbers(scene(number), 16) for number in range(3)]
    data = tiff.write(*(Page(saved) for saved, _ in both), big=True)
    yield Case("t_big_pages.tif", data, tuple(right for _, right in both))
