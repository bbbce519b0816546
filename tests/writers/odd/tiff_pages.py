"""TIFF: several pages, and what is none: thumbnails, masks, garbage behind the last one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from odd import tiff
from odd.scene import Case, scene, stored_for, whole_numbers
from odd.tiff import ASCII, LONG, SHORT, Page
from odd.tiff_types import ORDERS

NEW_KIND, OLD_KIND = 254, 255
REDUCED, OF_SEVERAL, OF_MASK = 1, 2, 4


def _ascii(text: str) -> tiff.Tag:
    return ASCII, tuple(text.encode() + b"\0")


def _kind(page: Page, kind: int) -> Page:
    return replace(page, tags={**page.tags, NEW_KIND: (LONG, (kind,))})


def pages() -> Iterator[Case]:
    """Pages that show the scene count; reduced copies and masks do not."""
    both = [whole_numbers(scene(number), 16) for number in range(5)]
    slices, right = [Page(saved, compression=tiff.LZW, rows=16) for saved, _ in both], tuple(one for _, one in both)
    thumbnail = _kind(Page(whole_numbers(scene()[::4, ::4], 8)[0]), REDUCED)
    mask = Page((scene() > 0.5).astype(np.uint8), bits=1, photometric=tiff.MASK)
    for end, order in ORDERS.items():
        yield Case(f"s_pages_{end}.tif", tiff.write(*slices, order=order), right)
        marked = [_kind(page, OF_SEVERAL) for page in slices]
        yield Case(f"s_pages_marked_{end}.tif", tiff.write(*marked, order=order), right)
        data = tiff.write(thumbnail, *slices, order=order)
        yield Case(f"s_thumbnail_first_{end}.tif", data, right, note="a reduced copy stands first")
        yield Case(f"s_thumbnail_last_{end}.tif", tiff.write(*slices, thumbnail, order=order), right)
        between = [part for page in slices for part in (page, thumbnail)]
        yield Case(f"s_thumbnails_between_{end}.tif", tiff.write(*between, order=order), right)
        both_bits = _kind(thumbnail, REDUCED | OF_SEVERAL)
        yield Case(f"s_thumbnail_of_page_{end}.tif", tiff.write(slices[0], both_bits, order=order), right[:1])
        data = tiff.write(slices[0], _kind(mask, OF_MASK), *slices[1:], order=order)
        yield Case(f"s_mask_{end}.tif", data, right, note="a mask for transparency is no page")
        data = tiff.write(_kind(mask, OF_MASK), slices[0], order=order)
        yield Case(f"s_mask_first_{end}.tif", data, right[:1], note="a mask for transparency stands first")
        nested = [replace(page, sub=(thumbnail,)) for page in slices]
        yield Case(f"s_subifds_{end}.tif", tiff.write(*nested, order=order), right, note="SubIFDs are no pages")
    old = replace(thumbnail, tags={OLD_KIND: (SHORT, (2,))})
    yield Case("s_old_thumbnail.tif", tiff.write(old, slices[0]), right[:1], note="the old tag for a reduced copy")
    old = [replace(page, tags={OLD_KIND: (SHORT, (3,))}) for page in slices]  # type: ignore[assignment]
    yield Case("s_old_pages.tif", tiff.write(*old), right)  # type: ignore[misc]
    mixed = [
        replace(slices[0], photometric=tiff.WHITE_IS_ZERO),
        Page(whole_numbers(scene(1), 8)[0], compression=tiff.DEFLATE),
        Page(scene(2).astype(np.float32)),
        Page(stored_for(both[3][0], 6), tags={274: (SHORT, (6,))}),
    ]
    expected = (1 - right[0], whole_numbers(scene(1), 8)[1], scene(2).astype(np.float32).astype(float), right[3])
    yield Case("s_mixed.tif", tiff.write(*mixed), expected, note="each page is of another kind")


def imagej() -> Iterator[Case]:
    """ImageJ writes a stack with one directory: the pages follow each other without any."""
    for kind, bits in (("u8", 8), ("u16", 16)):
        both = [whole_numbers(scene(number), bits) for number in range(4)]
        for end, order in ORDERS.items():
            text = "ImageJ=1.54f\nimages=4\nslices=4\nloop=false\nmin=0.0\nmax=255.0\n"
            rest = b"".join(saved.astype(saved.dtype.newbyteorder(order)).tobytes() for saved, _ in both[1:])
            page = Page(
                both[0][0],
                tags={270: _ascii(text)},
                damage=lambda parts, rest=rest: [parts[0] + rest],  # type: ignore[misc]
                segments=lambda offsets, counts: (offsets, [counts[0] // 4]),
            )
            right = tuple(one for _, one in both)
            yield Case(f"s_imagej_{kind}_{end}.tif", tiff.write(page, order=order), right, note="one IFD, images=4")
        page = replace(page, photometric=tiff.WHITE_IS_ZERO)
        right = tuple(1 - one for one in right)
        yield Case(f"s_imagej_{kind}_wb.tif", tiff.write(page, order=order), right, note="one IFD, images=4, inverting")
        short = replace(page, damage=lambda parts, rest=rest: [parts[0] + rest[: len(rest) // 2]])  # type: ignore[misc]
        note = "images=4, but data for two and a half"
        yield Case(f"s_imagej_{kind}_short.tif", tiff.write(short, order=order), None, note=note)
    text = "ImageJ=1.54f\nmin=0.0\nmax=1.0\n"
    for end, order in ORDERS.items():
        for kind, saved in (("f32", scene().astype(np.float32)), ("u16", whole_numbers(scene(), 16)[0])):
            page = Page(saved, photometric=tiff.WHITE_IS_ZERO, tags={270: _ascii(text)})
            right = (1 - (scene().astype(np.float32) if kind == "f32" else saved / 65535).astype(float),)
            yield Case(f"t_imagej_invlut_{kind}_{end}.tif", tiff.write(page, order=order), right)
    both = [whole_numbers(scene(number), 16) for number in range(4)]
    text = "ImageJ=1.54f\nimages=4\nchannels=2\nslices=2\nhyperstack=true\n"
    data = tiff.write(*(Page(saved, tags={270: _ascii(text)}) for saved, _ in both), order=">")
    yield Case("s_imagej_hyperstack.tif", data, tuple(one for _, one in both), note="four IFDs, images=4")


def endings() -> Iterator[Case]:
    """Garbage where the next directory should be named is harmless behind the last page; the pages are all there."""
    both = [whole_numbers(scene(number), 16) for number in range(2)]
    for amount in (1, 2):
        slices = [Page(saved, compression=tiff.DEFLATE) for saved, _ in both[:amount]]
        right = tuple(one for _, one in both[:amount])
        for name, after in (
            ("past", 0x7FFFFFFF),
            ("ff", 0xFFFFFFFF),
            ("odd", 0x0BADF00D),
            ("pixels", 40),
            ("header", 2),
            ("loop", -1),
        ):
            for end, order in ORDERS.items():
                data = tiff.write(*slices, order=order, after=after)
                note = f"{amount} pages, the next one is said to be at {after:#x}"
                # Two pages may be the rest of more.
                yield Case(f"r_next_{name}_{amount}_{end}.tif", data, right, note=note, either=amount > 1)
        data = tiff.write(*slices) + bytes(8192)
        yield Case(f"r_trailing_{amount}.tif", data, right, note="8 KB behind the last page")
