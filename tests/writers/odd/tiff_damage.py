"""TIFF: pixels that were never written, or that something happened to, and kinds that nobody reads."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator

import numpy as np

from odd import tiff
from odd.scene import Case, scene, speckle, whole_numbers
from odd.tiff import SHORT, Page
from odd.tiff_layouts import jpeg_2000, jpeg_page
from odd.tiff_types import COMPRESSIONS, ORDERS

Places = tuple[list[int], list[int]]
LARGE = (192, 288)
MISSING = (
    "missing",
    "never written",
    "not written",
    "cut short",
    "too short",
    "incomplete",
    "damaged",
    "lack",
    "empty",
)


def unwritten() -> Iterator[Case]:
    """Strips and tiles whose offset or byte count says that they are not there."""
    saved, _ = whole_numbers(scene(), 16)
    for pressed, compression in COMPRESSIONS.items():
        for place, page in (
            ("strips", Page(saved, compression=compression, rows=16)),
            ("tiles", Page(saved, compression=compression, tile=(32, 32))),
        ):
            for name, change in _CHANGES.items():
                for end, order in ORDERS.items():
                    if end == "be" and pressed not in {"none", "deflate"}:
                        continue
                    changed = Page(saved, compression=page.compression, rows=page.rows, tile=page.tile, segments=change)
                    data = tiff.write(changed, order=order)
                    note = f"{place}: {name.replace('_', ' ')}"
                    yield Case(f"d_{place}_{name}_{pressed}_{end}.tif", data, None, note=note, wrong=MISSING)
    planes = np.dstack([saved] * 3)
    for name in ("last_unwritten", "two_at_one_place"):
        page = Page(planes, photometric=tiff.RGB, planar=True, segments=_CHANGES[name])
        yield Case(f"d_planes_{name}.tif", tiff.write(page), None, note=f"planes: {name}")
    for name, tags in (
        ("no_offsets", {273: None}),
        ("no_offsets_nor_counts", {273: None, 279: None}),
        ("one_offset", {273: (tiff.LONG, (8,))}),
        ("one_count", {279: (tiff.LONG, (3072,))}),
    ):
        data = tiff.write(Page(saved, rows=16, tags=tags))
        yield Case(f"d_{name}.tif", data, None, note=f"of four strips: {name}", either=name == "one_count")


def _set(at: int, offset: int | None = None, count: int | None = None) -> Callable[[list[int], list[int]], Places]:
    def change(offsets: list[int], counts: list[int]) -> Places:
        if offset is not None:
            offsets[at] = offset
        if count is not None:
            counts[at] = count
        return offsets, counts

    return change


def _same(offsets: list[int], counts: list[int]) -> Places:
    return [*offsets[:-1], offsets[0]], [*counts[:-1], counts[0]]


def _half(offsets: list[int], counts: list[int]) -> Places:
    return offsets, [*counts[:-1], counts[-1] // 2]


def _fewer(offsets: list[int], counts: list[int]) -> Places:
    return offsets[:-1], counts[:-1]


def _none(offsets: list[int], counts: list[int]) -> Places:
    return [0] * len(offsets), [0] * len(counts)


_CHANGES: dict[str, Callable[[list[int], list[int]], Places]] = {
    "last_unwritten": _set(-1, 0, 0),
    "first_unwritten": _set(0, 0, 0),
    "middle_unwritten": _set(1, 0, 0),
    "last_no_offset": _set(-1, offset=0),
    "last_no_bytes": _set(-1, count=0),
    "all_unwritten": _none,
    "past_the_end": _set(-1, offset=1_000_000),
    "far_past_the_end": _set(-1, offset=0xFFFFFFF0),
    "two_at_one_place": _same,
    "too_short": _half,
    "one_too_few": _fewer,
}


def damaged_directories() -> Iterator[Case]:
    """An entry of zeros is none: what it said is lost."""
    kinds = {"white_is_zero": 262, "float": 339, "offsets": 273, "counts": 279, "height": 257, "bits": 258}
    for name, number in kinds.items():
        saved = scene().astype(np.float32)
        for end, order in ORDERS.items():
            data = tiff.write(Page(saved, photometric=tiff.WHITE_IS_ZERO, rows=16), order=order)
            entry = data.rindex(struct.pack(order + "H", number), 8 + saved.nbytes)
            holed = data[:entry] + bytes(12) + data[entry + 12 :]
            yield Case(f"d_entry_{name}_{end}.tif", holed, None, note=f"the entry of tag {number} is zeros")


def damaged_streams() -> Iterator[Case]:
    """Compressed strips with a hole, cut, or lost."""
    for bits in (8, 16):
        saved, _ = whole_numbers(speckle(0, *LARGE), bits)
        for pressed in ("lzw", "deflate", "packbits", "lzma", "zstd"):
            for name, damage in _DAMAGES.items():
                if pressed == "zstd" and "zeros" in name and (bits == 16 or name == "zeros_64"):
                    continue  # it stores some noise as it is, and writes no checksum: zeros are levels like others
                page = Page(saved, compression=COMPRESSIONS[pressed], rows=64, damage=damage)
                yield Case(f"d_{pressed}{bits}_{name}.tif", tiff.write(page), None, note=f"{pressed} strip: {name}")
    saved, _ = whole_numbers(speckle(0, *LARGE), 8)
    for shared in (False, True):
        for name, damage in _JPEG_DAMAGES.items():
            page = jpeg_page(saved, shared=shared, photometric=1, tile=None, rows=None)
            data = tiff.write(Page(**{**vars(page), "damage": damage}))
            named = f"d_jpeg_{'tables' if shared else 'whole'}_{name}.tif"
            yield Case(named, data, None, note=f"JPEG strip: {name}")
            page = jpeg_page(saved, shared=shared, photometric=1, tile=(128, 192), rows=None)
            data = tiff.write(Page(**{**vars(page), "damage": damage}))
            yield Case(named.replace("d_jpeg", "d_jpeg_tiles"), data, None, note=f"JPEG tile: {name}")
    for name, damage in _JPEG_DAMAGES.items():
        page = Page(saved, compression=tiff.JPEG2000, encode=jpeg_2000, damage=damage)
        yield Case(f"d_jpeg2000_{name}.tif", tiff.write(page), None, note=f"JPEG 2000 strip: {name}")


def _zeros(size: int, at: float) -> Callable[[list[bytes]], list[bytes]]:
    def damage(parts: list[bytes]) -> list[bytes]:
        victim = parts[len(parts) // 2]
        start = int(len(victim) * at)
        holed = victim[:start] + bytes(min(size, len(victim) - start)) + victim[start + size :]
        return [*parts[: len(parts) // 2], holed, *parts[len(parts) // 2 + 1 :]]

    return damage


def _cut(share: float, end: bytes = b"") -> Callable[[list[bytes]], list[bytes]]:
    return lambda parts: [*parts[:-1], parts[-1][: int(len(parts[-1]) * share)] + end]


def _lost(parts: list[bytes]) -> list[bytes]:
    victim = parts[0]
    return [victim[: len(victim) // 3] + victim[len(victim) // 3 + 1000 :], *parts[1:]]


_DAMAGES = {
    "zeros_64": _zeros(64, 0.5),
    "zeros_512": _zeros(512, 0.3),
    "zeros_4096": _zeros(4096, 0.4),
    "half": _cut(0.5),
    "nearly_all": _cut(0.97),
    "lost": _lost,
}
_JPEG_DAMAGES = {
    "zeros_200": _zeros(200, 0.5),
    "zeros_2048": _zeros(2048, 0.4),
    "half": _cut(0.5),
    "half_and_end": _cut(0.5, b"\xff\xd9"),
    "nearly_all_and_end": _cut(0.97, b"\xff\xd9"),
    "lost": _lost,
}


def unsupported() -> Iterator[Case]:
    """Kinds of TIFF that are not read are told as that."""
    saved, right = whole_numbers(scene(), 8)
    kind = ("compression", "kind", "support")
    for number in (65000, 32809, 34661, 34676):
        page = Page(saved, compression=number, encode=lambda part: part.tobytes())
        yield Case(f"u_compression{number}.tif", tiff.write(page), None, note=f"compression {number}", wrong=kind)
    old_jpeg = Page(saved, compression=6, encode=lambda part: part.tobytes())
    yield Case("u_old_jpeg_without_data.tif", tiff.write(old_jpeg), None, note="old-style JPEG that is none")
    complex_ = {339: (SHORT, (6,)), 258: (SHORT, (64,))}
    page = Page(saved.astype(np.uint64), tags=complex_)
    yield Case("u_complex.tif", tiff.write(page), None, note="complex numbers", wrong=("complex", "kind", "support"))
    page = Page(saved, photometric=32803)
    yield Case("u_colour_filters.tif", tiff.write(page), None, note="raw data behind colour filters", either=True)
    for name, photometric in (("lab", 8), ("cmyk", 5), ("linear_raw", 34892), ("nonsense", 999)):
        cube = np.dstack([saved] * (4 if name == "cmyk" else 3))
        data = tiff.write(Page(cube, photometric=photometric))
        note = f"photometric {photometric}"
        wrong = ("photometric", "colour", "kind", "support")
        yield Case(f"u_{name}.tif", data, None, note=note, wrong=wrong, either=True)
    undefined = {339: (SHORT, (4,))}
    data = tiff.write(Page(saved, tags=undefined))
    yield Case("u_undefined_sample_format.tif", data, (right,), note="SampleFormat 4: no one knows", either=True)
