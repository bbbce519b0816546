"""TIFF: strips, tiles, planes, colours, transparency, palettes, bit order, orientation."""

from __future__ import annotations

from collections.abc import Iterator

import imagecodecs
import numpy as np

from odd import jpeg, tiff
from odd.scene import LOSSY, Case, Grey, Levels, coloured, grey_of, scene, stored_for, whole_numbers
from odd.tiff import LONG, SHORT, Page
from odd.tiff_types import COMPRESSIONS, ORDERS, levels, shown

EXTRA = {"unspecified": 0, "assoc": 1, "unassalpha": 2}


def layouts() -> Iterator[Case]:
    """Strips of any height, tiles of any size, also larger than the picture."""
    for kind in ("u8", "u16"):
        saved, right = levels(kind, scene())
        for pressed in ("none", "lzw", "deflate", "packbits"):
            for rows in (1, 7, 63, 64, 1000):
                page = Page(saved, compression=COMPRESSIONS[pressed], rows=rows)
                yield Case(f"t_{kind}_strips{rows}_{pressed}.tif", tiff.write(page), (right,))
            for tile in ((16, 16), (32, 16), (48, 80), (128, 256)):
                page = Page(saved, compression=COMPRESSIONS[pressed], tile=tile)
                yield Case(f"t_{kind}_tiles{tile[0]}x{tile[1]}_{pressed}.tif", tiff.write(page, order=">"), (right,))
    saved, right = whole_numbers(scene(), 12)
    for pressed in ("none", "lzw"):
        page = Page(saved, bits=12, compression=COMPRESSIONS[pressed], tile=(16, 32))
        yield Case(f"t_packed12_tiles_{pressed}.tif", tiff.write(page), (right,))
    for bits in (1, 4, 10, 14):  # rows that do not end with a byte
        saved, right = whole_numbers(scene()[:, :91], bits)
        yield Case(f"t_packed{bits}_oddwidth.tif", tiff.write(Page(saved, bits=bits, rows=9)), (right,))
    saved, right = whole_numbers(scene(), 16)
    forever = {278: (tiff.LONG, (2**32 - 1,))}
    yield Case("t_rows_per_strip_infinite.tif", tiff.write(Page(saved, tags=forever)), (right,))
    yield Case("t_rows_per_strip_missing.tif", tiff.write(Page(saved, tags={278: None})), (right,))


def habits() -> Iterator[Case]:
    """What writers do that is not forbidden, or that all others read."""
    saved, right = whole_numbers(scene(), 16)
    for end, order in ORDERS.items():
        short = {279: (SHORT, (3840, 3840, 3840, 768)), 273: (SHORT, (8, 3848, 7688, 11528))}
        data = tiff.write(Page(saved, rows=20, tags=short), order=order)
        yield Case(f"t_short_offsets_{end}.tif", data, (right,), note="offsets and counts of 16 bits")
        small = {256: (SHORT, (96,)), 257: (SHORT, (64,)), 278: (SHORT, (20,))}
        yield Case(f"t_short_sizes_{end}.tif", tiff.write(Page(saved, rows=20, tags=small), order=order), (right,))
        text = {270: (tiff.ASCII, tuple(b"a report " * 20_000)), 65000: (tiff.UNDEFINED, tuple(range(200)))}
        yield Case(f"t_more_tags_{end}.tif", tiff.write(Page(saved, tags=text), order=order), (right,))
        alone = {279: None}
        data = tiff.write(Page(saved, tags=alone), order=order)
        yield Case(f"t_without_counts_{end}.tif", data, (right,), note="one plain strip, no count", either=True)
        for pressed in ("none", "lzw", "deflate", "packbits"):
            filled = np.pad(saved, ((0, 16), (0, 0)))
            page = Page(filled, rows=20, compression=COMPRESSIONS[pressed], tags={257: (LONG, (64,))})
            name = f"t_last_strip_filled_{pressed}_{end}.tif"
            yield Case(name, tiff.write(page, order=order), (right,), note="the last strip has more rows than are left")
    cube = np.dstack([saved] * 3)
    page = Page(cube, photometric=tiff.RGB, tags={258: (SHORT, (16,))})
    yield Case("t_one_depth_for_all.tif", tiff.write(page), (right,), note="BitsPerSample has one value", either=True)
    eight, right = whole_numbers(scene(), 8)
    for name, options in (("progressive", {"progressive": True}), ("restarts", {"restart_marker_rows": 1})):
        page = Page(eight, compression=tiff.JPEG, encode=lambda part, o=options: jpeg.with_pillow(part[..., 0], **o))  # type: ignore[misc]
        yield Case(f"t_jpeg_{name}.tif", tiff.write(page), (right,), LOSSY)


def colours() -> Iterator[Case]:
    """Colour at full depth, as pixels and as planes; what is transparent counts as it is stored."""
    for kind in ("u8", "u16", "u32", "f32"):
        saved, right = levels(kind, coloured(scene()))
        for end, order in ORDERS.items():
            for planar in (False, True):
                for pressed in ("none", "lzw", "deflate"):
                    for place, tile in (("strips", None), ("tiles", (32, 32))):
                        page = Page(
                            saved,
                            compression=COMPRESSIONS[pressed],
                            photometric=tiff.RGB,
                            planar=planar,
                            rows=24,
                            tile=tile,
                        )
                        name = f"t_rgb{kind}_{end}_{'planar' if planar else 'pixels'}_{pressed}_{place}.tif"
                        yield Case(name, tiff.write(page, order=order), (grey_of(right),))
    yield from _transparent()


def _transparent() -> Iterator[Case]:
    veil = scene()[::-1, ::-1]
    for kind in ("u8", "u16", "f32"):
        for what, colour in (("grey", scene()), ("rgb", coloured(scene()))):
            saved, right = levels(kind, np.dstack([colour, veil]))
            expected = right[..., 0] if what == "grey" else grey_of(right[..., :3])
            for name, extra in EXTRA.items():
                for planar in (False, True):
                    photometric = tiff.BLACK_IS_ZERO if what == "grey" else tiff.RGB
                    tags = {338: (SHORT, (extra,))}
                    page = Page(saved, photometric=photometric, planar=planar, tags=tags)
                    named = f"t_{what}{kind}a_{name}_{'planar' if planar else 'pixels'}.tif"
                    yield Case(named, tiff.write(page), (expected,), note="what is transparent counts as it is stored")
        saved, right = levels(kind, np.dstack([scene(), veil]))
        tags = {338: (SHORT, (2,))}
        page = Page(saved, photometric=tiff.WHITE_IS_ZERO, tags=tags, compression=tiff.DEFLATE)
        yield Case(f"t_grey{kind}a_whiteiszero.tif", tiff.write(page, order=">"), (1 - right[..., 0],))


def palettes() -> Iterator[Case]:
    """A palette's levels are those of its colours, in 16 bits each."""
    for bits in (1, 2, 4, 8):
        index, right = whole_numbers(scene(), bits)
        steps = np.round(np.linspace(0, 65535, 2**bits)).astype(int)
        for name, table in (("grey", steps), ("inverted", steps[::-1])):
            tags = {320: (SHORT, (*table.tolist(),) * 3)}
            for pressed in ("none", "lzw"):
                for end, order in ORDERS.items():
                    page = Page(
                        index, bits=bits, photometric=tiff.PALETTE, compression=COMPRESSIONS[pressed], tags=tags
                    )
                    expected = right if name == "grey" else 1 - right
                    data = tiff.write(page, order=order)
                    yield Case(f"t_palette{bits}_{name}_{pressed}_{end}.tif", data, (expected,), tol=1e-4)
    index, _ = whole_numbers(scene(), 8)
    table = np.random.default_rng(0).integers(0, 65536, (3, 256))
    tags = {320: (SHORT, tuple(table.ravel().tolist()))}
    expected = grey_of(table.T[index] / 65535)
    data = tiff.write(Page(index, photometric=tiff.PALETTE, tags=tags))
    yield Case("t_palette8_coloured.tif", data, (expected,), tol=1.5 / 255)
    data = tiff.write(Page(index, photometric=tiff.PALETTE))
    yield Case("t_palette8_missing.tif", data, None, note="a palette that is not there", wrong=("palette", "colour"))


def bit_orders() -> Iterator[Case]:
    """FillOrder 2: the lowest bit of a byte comes first."""
    for bits in (1, 4, 8, 12, 16):
        saved, right = whole_numbers(scene(), bits)
        for pressed in ("none", "lzw", "packbits", "deflate"):
            for end, order in ORDERS.items():
                page = Page(saved, bits=bits, compression=COMPRESSIONS[pressed], fill_order=2, rows=16)
                data = tiff.write(page, order=order)
                # libtiff turns the bits of each byte; with whole bytes, not all programs do.
                unsure = bits == 16 and pressed == "none"
                yield Case(f"t_fillorder2_{bits}_{pressed}_{end}.tif", data, (right,), either=unsure)


def orientations() -> Iterator[Case]:
    """The eight ways of holding a camera."""
    for kind in ("u8", "u16", "f32"):
        saved, right = levels(kind, scene())
        for turn in range(1, 9):
            for name, photometric in (("bw", tiff.BLACK_IS_ZERO), ("wb", tiff.WHITE_IS_ZERO)):
                stored = stored_for(saved, turn)
                page = Page(stored, photometric=photometric, rows=11, tags={274: (SHORT, (turn,))})
                yield Case(f"t_orient{turn}_{kind}_{name}.tif", tiff.write(page), (shown(right, photometric),))
    saved, right = levels("u8", coloured(scene()))
    for turn in (3, 6):
        stored = stored_for(saved, turn)
        page = Page(stored, photometric=tiff.RGB, planar=True, tags={274: (SHORT, (turn,))})
        yield Case(f"t_orient{turn}_rgb_planar.tif", tiff.write(page), (grey_of(right),))
    saved, right = levels("u16", scene())
    for turn in (0, 9, 65535):
        data = tiff.write(Page(saved, tags={274: (SHORT, (turn,))}))
        yield Case(f"t_orient{turn}_nonsense.tif", data, (right,), note="an orientation that there is not counts as 1")


def jpegs() -> Iterator[Case]:
    """JPEG in a TIFF: grey and in colour, its tables beside it or in each strip."""
    saved, right = whole_numbers(scene(), 8)
    for place, tile, rows in (("strip", None, None), ("strips", None, 16), ("tiles", (32, 48), None)):
        for shared in (False, True):
            for pole, photometric in (("bw", tiff.BLACK_IS_ZERO), ("wb", tiff.WHITE_IS_ZERO)):
                page = jpeg_page(saved, shared=shared, photometric=photometric, tile=tile, rows=rows)
                name = f"t_jpeg_{place}_{'tables' if shared else 'whole'}_{pole}.tif"
                yield Case(name, tiff.write(page), (shown(right, photometric),), tol=LOSSY)
    saved, right = whole_numbers(smooth_colours(), 8)
    expected = grey_of(right)
    for place, tile, rows in (("strip", None, None), ("strips", None, 16), ("tiles", (32, 48), None)):
        for shared in (False, True):
            kept = "tables" if shared else "whole"
            page = jpeg_page(saved, shared=shared, photometric=tiff.RGB, tile=tile, rows=rows)
            yield Case(f"t_jpeg_rgb_{place}_{kept}.tif", tiff.write(page), (expected,), tol=LOSSY)
            for how, factors in (("444", (1, 1)), ("420", (2, 2)), ("422", (2, 1))):
                page = jpeg_page(saved, shared=shared, photometric=tiff.YCBCR, tile=tile, rows=rows, sampled=factors)
                yield Case(f"t_jpeg_ycbcr{how}_{place}_{kept}.tif", tiff.write(page), (expected,), tol=LOSSY)
    saved, right = whole_numbers(scene(), 12)
    page = Page(saved, bits=12, compression=tiff.JPEG, encode=lambda part: jpeg.twelve_bits(part[..., 0]))
    yield Case("t_jpeg_12bit.tif", tiff.write(page), (right,), tol=LOSSY)


def smooth_colours() -> Grey:
    """Colours whose neighbours are alike: little is lost where they are stored more coarsely than brightness."""
    grey = scene()
    y, x = np.mgrid[: grey.shape[0], : grey.shape[1]]
    tint = 0.04 * np.sin(x / 20) * np.cos(y / 20)
    return np.stack([grey + tint, grey, grey - tint], axis=2).clip(0, 1)


def jpeg_page(
    saved: Levels,
    *,
    shared: bool,
    photometric: int,
    tile: tuple[int, int] | None,
    rows: int | None,
    sampled: tuple[int, int] = (1, 1),
) -> Page:
    """A page whose strips or tiles are JPEGs, with their tables beside them where `shared`."""

    def whole(part: Levels) -> bytes:
        return jpeg.plain(part, raw=photometric == tiff.RGB, sampled=sampled)

    tags: dict[int, tiff.Tag | None] = {}
    if photometric == tiff.YCBCR:
        tags[530] = (SHORT, sampled)
    if shared:
        tables, _ = tiff.jpeg_tables(whole(saved[:16, :16].reshape(16, 16, -1)))
        tags[347] = (tiff.UNDEFINED, tuple(tables))
    return Page(
        saved,
        compression=tiff.JPEG,
        photometric=photometric,
        tile=tile,
        rows=rows,
        encode=(lambda part: tiff.jpeg_tables(whole(part))[1]) if shared else whole,
        tags=tags,
    )


def jpeg_2000s() -> Iterator[Case]:
    """JPEG 2000 in a TIFF, without loss, as a bare stream and as a JP2 file."""
    for kind in ("u8", "u16"):
        for form in ("j2k", "jp2"):
            for pole, photometric in (("bw", tiff.BLACK_IS_ZERO), ("wb", tiff.WHITE_IS_ZERO)):
                saved, right = levels(kind, scene())
                for place, tile in (("strip", None), ("tiles", (32, 32))):
                    page = Page(
                        saved,
                        compression=tiff.JPEG2000,
                        photometric=photometric,
                        tile=tile,
                        encode=lambda part, form=form: jpeg_2000(part, form),  # type: ignore[misc]
                    )
                    name = f"t_jpeg2000_{kind}_{form}_{pole}_{place}.tif"
                    yield Case(name, tiff.write(page), (shown(right, photometric),))


def jpeg_2000(part: Levels, form: str = "j2k", bits: int | None = None) -> bytes:
    """JPEG 2000 without loss, of `[h, w]`, `[h, w, 1]` or `[h, w, 3]`."""
    part = np.ascontiguousarray(part[..., 0] if part.ndim == 3 and part.shape[2] == 1 else part)
    return bytes(imagecodecs.jpeg2k_encode(part, level=0, codecformat=form, reversible=True, bitspersample=bits))
