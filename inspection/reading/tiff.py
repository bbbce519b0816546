"""TIFF: which pages show the scene, and what their numbers mean.

tifffile reads the directories: it knows classic and big ones, every type of tag, and the makers' own kinds. Pillow and
libtiff misread signed, planar, inverted and 16-bit colour images without a word, and refuse others.
"""

from __future__ import annotations

import io
import json
import logging
import struct
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from inspection.errors import ImageError
from inspection.image import GreyImage, Limits, Stack
from inspection.reading import segments
from inspection.reading.levels import Meaning, Range, check_pages, check_size, to_image
from inspection.reading.orientation import ORIENTATION, upright
from inspection.reading.segments import Layout

MAGICS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

_SUBFILE, _OLD_SUBFILE, _PHOTOMETRIC, _DESCRIPTION = 254, 255, 262, 270
_COLOURS, _SUBSAMPLING, _LEAST, _MOST = 320, 530, 340, 341
_REDUCED, _MASK, _OLD_REDUCED = 1, 4, 2
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _INKS, _YCBCR = 0, 1, 2, 3, 5, 6
_CHANNELS = {_WHITE_IS_ZERO: 1, _BLACK_IS_ZERO: 1, _RGB: 3, _PALETTE: 1, _INKS: 4, _YCBCR: 3}
_KINDS = {1: "u", 2: "i", 3: "f", 4: "u"}  # by sample format
_JPEG, _APERIO_YCBCR = 7, 33003
_RATIONALS = {5, 10}
_MOST_TAGS = 4096
_FAR = (
    65536  # bytes behind the end of a file, beyond another page's worth of them, at which nothing was ever meant to be
)

logging.getLogger("tifffile").addHandler(logging.NullHandler())
logging.getLogger("tifffile").propagate = False


def open_tiff(data: bytes, limits: Limits) -> Stack:
    """See `inspection.image.open_stack`."""
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        pages = _scene(file, list(_pages(data, file, 16 * limits.max_pages)))
    placed = []
    for page in pages:
        check_size(page.imagewidth, page.imagelength, limits.max_pixels)
        first = _layout(page)
        for shift in _shifts(page, len(pages), limits.max_pages):
            layout = replace(first, offsets=tuple(offset + shift for offset in first.offsets)) if shift else first
            segments.check(layout, len(data))
            placed.append((page, layout))
    check_pages(len(placed), limits.max_pages)
    return Stack("TIFF", [partial(_decode, data, page, layout, limits) for page, layout in placed])


def _pages(data: bytes, file: tifffile.TiffFile, most: int) -> Iterator[tifffile.TiffPage]:
    """The directories that are chained to each other.

    Behind the last page some programs leave a pointer to anywhere: far behind the end of the file, or to where
    something else is. Nobody ever wrote a page there.
    """
    head, count_format, entry, link_format = (16, "Q", 20, "Q") if file.is_bigtiff else (8, "H", 12, "I")
    width = struct.calcsize(link_format)
    (offset,) = struct.unpack_from(file.byteorder + link_format, data, head - width)
    taken, longest, count = [(0, head)], 0, 0
    while offset and not any(start <= offset < end for start, end in taken):
        if offset > len(data) + 2 * longest + _FAR and count:
            return
        if offset + struct.calcsize(count_format) > len(data):
            raise ImageError("cut short: the TIFF ends before its last page")
        (tags,) = struct.unpack_from(file.byteorder + count_format, data, offset)
        link = offset + struct.calcsize(count_format) + tags * entry
        inside = 0 < tags <= _MOST_TAGS and link + width <= len(data)
        # No tag has a type 0: there an entry was overwritten.
        if not inside or any(data[at + 2 : at + 4] == b"\0\0" for at in range(link - tags * entry, link, entry)):
            raise ImageError(f"damaged: the directory of page {count + 1} of the TIFF cannot be read")
        count += 1
        check_pages(count, most)
        page = _page(file, count - 1, offset)
        yield page
        lengths = list(zip(page.dataoffsets, page.databytecounts, strict=False))
        taken += [(offset, link + width), *((start, start + length) for start, length in lengths)]
        longest = max(longest, sum(length for _, length in lengths) + link + width - offset)
        (offset,) = struct.unpack_from(file.byteorder + link_format, data, link)


def _page(file: tifffile.TiffFile, index: int, offset: int) -> tifffile.TiffPage:
    file.filehandle.seek(offset)
    return tifffile.TiffPage(file, index=index)


def _scene(file: tifffile.TiffFile, pages: Sequence[tifffile.TiffPage]) -> list[tifffile.TiffPage]:
    """Pages that show the scene: no masks, no smaller copies; those of sub-directories if there are no others."""
    shown = [page for page in pages if _kind(page) == "scene"]
    if shown:
        return shown
    below = [_page(file, index, offset) for index, page in enumerate(pages) for offset in (page.subifds or ())]
    shown = [page for page in below if _kind(page) == "scene"]
    shown = shown or [page for page in pages if _kind(page) == "reduced"]
    if not shown:
        raise ImageError("a TIFF without a page that shows a picture")
    return shown


def _kind(page: tifffile.TiffPage) -> str:
    subfile = int(_value(page, _SUBFILE, 0))
    if subfile & _MASK:
        return "mask"
    reduced = subfile & _REDUCED or int(_value(page, _OLD_SUBFILE, 0)) == _OLD_REDUCED
    return "reduced" if reduced else "scene"


def _announced(page: tifffile.TiffPage) -> int:
    """How many pictures a page's description says that the file holds; 1 where it says nothing."""
    text = str(_value(page, _DESCRIPTION, ""))
    if text.startswith("ImageJ="):
        counts = [line.partition("=")[2] for line in text.splitlines() if line.startswith("images=")]
        return int(counts[0]) if counts and counts[0].strip().isdecimal() else 1
    if text.startswith('{"shape": ['):
        try:
            said = json.loads(text)
            shape = said["shape"]
            return int(np.prod(shape[: -len(page.shape)])) if said.get("truncated") else 1
        except (ValueError, KeyError, TypeError):
            return 1
    uic = page.tags.get(33629)  # MetaMorph's stacks
    return int(uic.count) if uic is not None else 1


def _shifts(page: tifffile.TiffPage, pages: int, most: int) -> list[int]:
    """Where pictures of a page lie, in bytes behind the first: some programs write one directory for a stack."""
    announced = _announced(page)
    if pages > 1 or announced == 1:
        return [0]
    check_pages(announced, most)
    lengths = [offset + count for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True)]
    size = page.imagewidth * page.imagelength * page.samplesperpixel * int(page.bitspersample) // 8
    together = max(lengths) - min(page.dataoffsets) if lengths else 0
    if page.compression != 1 or together < size or together not in {size, size * announced}:
        raise ImageError(
            f"a TIFF of {announced} pages that has only one: it is damaged, or of a kind that is not supported"
        )
    return [index * size for index in range(announced)]


def _decode(data: bytes, page: tifffile.TiffPage, layout: Layout, limits: Limits) -> GreyImage:
    samples = segments.read(data, layout)
    bits, inverted = layout.bits, False
    photometric = int(_value(page, _PHOTOMETRIC, _BLACK_IS_ZERO))
    if photometric == _PALETTE:
        samples, bits = _coloured(samples, page)
    elif photometric == _INKS and layout.compression != _JPEG:
        samples = _light(samples, layout)
    elif photometric == _WHITE_IS_ZERO:
        inverted = True
    if samples.ndim == 3:
        samples = samples[..., :3] if photometric in {_RGB, _INKS, _PALETTE} else samples[..., 0]
    declared = _declared(page, layout) if photometric in {_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB} else None
    meaning = Meaning(bits, layout.kind == "i", inverted, declared)
    turned = upright(samples, int(_value(page, ORIENTATION, 1)))
    found = to_image(turned, meaning, "TIFF", float_range=limits.float_range)
    return replace(found, bits=layout.bits)


def _layout(page: tifffile.TiffPage) -> Layout:
    """How a page is stored.

    Raises:
        ImageError: In a way that is not supported.
    """
    photometric = int(_value(page, _PHOTOMETRIC, _BLACK_IS_ZERO))
    compression, channels = int(page.compression), int(page.samplesperpixel)
    if compression not in segments.SUPPORTED:
        raise ImageError(f"a TIFF of a kind that is not supported: compression {_named(page.compression)}")
    if photometric not in _CHANNELS:
        raise ImageError(f"a TIFF of a kind that is not supported: colours {_named(page.photometric)}")
    if page.imagedepth > 1:
        raise ImageError("a TIFF of a kind that is not supported: a volume in one page; save it as one page a slice")
    # One more is taken for transparency, whatever the file calls it.
    if channels - _CHANNELS[photometric] not in {0, 1}:
        raise ImageError(f"{channels} channels: only grey and colour images can be judged; save the one that counts")
    bits, sample_format = page.bitspersample, page.sampleformat
    kind = _KINDS.get(int(sample_format)) if isinstance(sample_format, int) else None
    odd = not isinstance(bits, int) or kind is None or not (bits <= 32 or bits == 64)
    if odd or (kind == "f" and bits not in {16, 32, 64}) or (kind != "f" and bits > 32 and bits != 64):
        raise ImageError(f"a TIFF of a kind that is not supported: samples of {bits} bits, format {sample_format}")
    predictor = int(page.predictor)
    if predictor not in {1, 2, 3} or (predictor == 3 and kind != "f"):
        raise ImageError(f"a TIFF of a kind that is not supported: predictor {predictor}")
    tiled = bool(page.is_tiled)
    subsampling = None
    if photometric == _YCBCR and compression not in {_JPEG, _APERIO_YCBCR}:
        across, down = _value(page, _SUBSAMPLING, (2, 2))
        subsampling = (int(across), int(down)) if (across, down) != (1, 1) else None
    offsets, counts = tuple(page.dataoffsets), tuple(page.databytecounts)
    return Layout(
        width=int(page.imagewidth),
        height=int(page.imagelength),
        channels=channels,
        segment_width=int(page.tilewidth if tiled else page.imagewidth),
        segment_height=int(page.tilelength if tiled else min(page.rowsperstrip or page.imagelength, page.imagelength)),
        tiled=tiled,
        planar=int(page.planarconfig or 1) == 2 and channels > 1,
        bits=int(bits),
        kind=kind,  # type: ignore[arg-type]
        order=page.parent.byteorder,
        compression=compression,
        predictor=predictor,
        reversed_bits=int(page.fillorder) == 2,
        subsampling=subsampling,
        colour={_RGB: "rgb", _YCBCR: "ycc"}.get(photometric),  # type: ignore[arg-type]
        tables=bytes(page.jpegtables or b""),
        options=int(_value(page, 292, 0)),
        offsets=offsets,
        counts=counts,
    )


def _coloured(samples: NDArray[Any], page: tifffile.TiffPage) -> tuple[NDArray[Any], int]:
    """Numbers of colours -> red, green and blue, and their bits."""
    colours = np.asarray(_value(page, _COLOURS, ()), np.uint16)
    indices = samples[..., 0] if samples.ndim == 3 else samples
    if colours.size == 0 or colours.size % 3 or indices.max() >= colours.size // 3:
        raise ImageError("damaged: the TIFF names colours that its palette lacks")
    # Old programs wrote 8 bits where 16 were meant.
    bits = 16 if colours.max() > 255 else 8
    table = colours.reshape(3, -1).T.astype(f"u{bits // 8}")
    return table[indices], bits


def _light(samples: NDArray[Any], layout: Layout) -> NDArray[Any]:
    """Cyan, magenta, yellow and black -> red, green and blue."""
    if layout.kind != "u" or samples.dtype.itemsize > 2:
        raise ImageError("a TIFF of a kind that is not supported: inks that are no 8- or 16-bit numbers")
    full = 2**layout.bits - 1
    light = full - samples.astype(np.uint64)
    seen: NDArray[Any] = ((light[..., :3] * light[..., 3:4] + full // 2) // full).astype(samples.dtype)
    return seen


def _declared(page: tifffile.TiffPage, layout: Layout) -> Range | None:
    """The range that SMinSampleValue and SMaxSampleValue declare; the older tags 280 and 281 only tell what occurs."""
    least, most = _numbers(page, _LEAST), _numbers(page, _MOST)
    if layout.kind == "f":
        return (min(least), max(most)) if least and most else (0.0, max(most)) if most else None
    if not least and not most:
        return None
    full = Meaning(layout.bits, layout.kind == "i").full
    low, high = (min(least) if least else min(0.0, full[0])), (max(most) if most else full[1])
    return (low, high) if low < high else None


def _numbers(page: tifffile.TiffPage, tag: int) -> list[float]:
    """A tag's values as finite numbers; none where it is missing or makes no sense."""
    found = page.tags.get(tag)
    if found is None or isinstance(found.value, str):
        return []
    values = list(found.value) if isinstance(found.value, tuple | list | bytes) else [found.value]
    if int(found.dtype) in _RATIONALS:
        pairs = zip(values[::2], values[1::2], strict=True)
        values = [above / below if below else np.nan for above, below in pairs]
    numbers = [float(value) for value in values]
    return numbers if np.isfinite(numbers).all() else []


def _value(page: tifffile.TiffPage, tag: int, default: Any) -> Any:
    found = page.tags.get(tag)
    return default if found is None else found.value


def _named(value: Any) -> str:
    return f"{int(value)} ({value.name})" if hasattr(value, "name") else str(value)
