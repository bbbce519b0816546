"""A writer of BMP files, and the cases of this format."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import numpy as np

from odd.scene import Case, Levels, coloured, grey_of, scene, whole_numbers
from odd.tiff import packed

RAW, RLE8, RLE4, FIELDS = 0, 1, 2, 3


def write(
    data: bytes, width: int, height: int, bits: int, *, palette: bytes = b"", compression: int = RAW, masks: bytes = b""
) -> bytes:
    """A BMP's bytes; a negative height says that the top row comes first."""
    start = 14 + 40 + len(masks) + len(palette)
    head = struct.pack("<2sIHHI", b"BM", start + len(data), 0, 0, start)
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, compression, len(data), 2835, 2835, 0, 0)
    return head + info + masks + palette + data


def rows(levels: Levels, bits: int, *, top_down: bool = False) -> bytes:
    """Rows that end with a whole number of 4 bytes, the lowest row first."""
    flat = packed(levels, bits) if bits < 8 else np.ascontiguousarray(levels.astype(np.uint8)).tobytes()
    each = np.frombuffer(flat, np.uint8).reshape(len(levels), -1)
    each = np.pad(each, ((0, 0), (0, -each.shape[1] % 4)))
    return (each if top_down else each[::-1]).tobytes()


def grey_palette(bits: int, *, inverted: bool = False) -> bytes:
    """Greys from black to white, or from white to black; blue, green, red and a zero each."""
    steps = np.arange(2**bits) * 255 // (2**bits - 1)
    steps = steps[::-1] if inverted else steps
    return b"".join(bytes([int(step)] * 3 + [0]) for step in steps)


def run_lengths(levels: Levels, bits: int) -> bytes:
    """RLE8 or RLE4: runs, literal stretches, ends of line, an end."""
    out = bytearray()
    for row in levels[::-1]:
        at = 0
        while at < len(row):
            equal = 1
            while at + equal < len(row) and equal < 255 and row[at + equal] == row[at]:
                equal += 1
            if equal >= 3 or len(row) - at < 3:
                out += bytes([equal, int(row[at]) if bits == 8 else int(row[at]) * 17])
                at += equal
                continue
            size = min(len(row) - at, 12)
            part = row[at : at + size].astype(np.uint8)
            coded = part.tobytes() if bits == 8 else packed(part[None], 4)
            out += bytes([0, size]) + coded + bytes(len(coded) % 2)
            at += size
        out += b"\0\0"
    return bytes(out[:-2] + b"\0\1")


def kinds() -> Iterator[Case]:
    """Every depth, both orders of rows, with odd widths, compressed and not."""
    for width in (96, 91):
        for top_down in (False, True):
            tail = f"{width}{'_topdown' if top_down else ''}"
            height = -64 if top_down else 64
            for bits in (1, 4, 8):
                levels, right = whole_numbers(scene()[:, :width], bits)
                data = rows(levels, bits, top_down=top_down)
                for name, inverted in (("grey", False), ("inverted", True)):
                    table = grey_palette(bits, inverted=inverted)
                    shown = 1 - right if inverted else right
                    yield Case(f"b_{bits}_{name}_{tail}.bmp", write(data, width, height, bits, palette=table), (shown,))
            levels, right = whole_numbers(coloured(scene()[:, :width]), 8)
            blue_first = levels[..., ::-1].reshape(64, -1)
            data = write(rows(blue_first, 8, top_down=top_down), width, height, 24)
            yield Case(f"b_24_{tail}.bmp", data, (grey_of(right),), 1 / 255)
            with_four = np.dstack([levels[..., ::-1], np.zeros((64, width), np.uint8)]).reshape(64, -1)
            data = write(rows(with_four, 8, top_down=top_down), width, height, 32)
            yield Case(f"b_32_{tail}.bmp", data, (grey_of(right),), 1 / 255)
            data = _sixteen_bits(width, height, top_down=top_down)
            yield Case(f"b_16_{tail}.bmp", data, (whole_numbers(scene()[:, :width], 5)[1],), 1 / 255)
    yield from _other_headers()
    for bits, compression in ((8, RLE8), (4, RLE4)):
        for width in (96, 91):
            levels, right = whole_numbers(scene()[:, :width], bits)
            coded = run_lengths(levels, bits)
            data = write(coded, width, 64, bits, palette=grey_palette(bits), compression=compression)
            yield Case(f"b_rle{bits}_{width}.bmp", data, (right,), either=bits == 4)


def _sixteen_bits(width: int, height: int, *, top_down: bool) -> bytes:
    levels, _ = whole_numbers(scene()[:, :width], 5)
    words = (levels.astype(np.uint16) * ((1 << 10) | (1 << 5) | 1)).astype("<u2")
    return write(rows(words.view(np.uint8).reshape(64, -1), 8, top_down=top_down), width, height, 16)


def _other_headers() -> Iterator[Case]:
    """Colour masks, the long headers of version 4 and 5, and the short one of OS/2."""
    levels, right = whole_numbers(scene(), 5)
    words = (levels.astype(np.uint16) * ((1 << 11) | (2 << 5) | 1)).astype("<u2")
    data = rows(words.view(np.uint8).reshape(64, -1), 8)
    masks = struct.pack("<3I", 0xF800, 0x07E0, 0x001F)
    yield Case("b_16_masks.bmp", write(data, 96, 64, 16, compression=FIELDS, masks=masks), (right,), 8 / 255)
    levels, right = whole_numbers(scene(), 8)
    four = np.dstack([levels] * 3 + [levels * 0]).reshape(64, -1)
    masks = struct.pack("<3I", 0xFF0000, 0xFF00, 0xFF)
    data = write(rows(four, 8), 96, 64, 32, compression=FIELDS, masks=masks)
    yield Case("b_32_masks.bmp", data, (right,), 1 / 255)
    plain, table = rows(levels, 8), grey_palette(8)
    for size in (108, 124):
        start = 14 + size + len(table)
        head = struct.pack("<2sIHHI", b"BM", start + len(plain), 0, 0, start)
        info = struct.pack("<IiiHHIIiiII", size, 96, 64, 1, 8, RAW, len(plain), 2835, 2835, 0, 0).ljust(size, b"\0")
        yield Case(f"b_8_header{size}.bmp", head + info + table + plain, (right,))
    short = b"".join(bytes([step] * 3) for step in range(256))
    head = struct.pack("<2sIHHI", b"BM", 26 + 768 + len(plain), 0, 0, 26 + 768)
    data = head + struct.pack("<IHHHH", 12, 96, 64, 1, 8) + short + plain
    yield Case("b_8_os2.bmp", data, (right,))


def damaged() -> Iterator[Case]:
    """Too few rows, and compressed rows with a hole or an early end."""
    levels, _ = whole_numbers(scene(), 8)
    table = grey_palette(8)
    plain = write(rows(levels, 8), 96, 64, 8, palette=table)
    for name, share in (("half", 0.5), ("nearly_all", 0.99)):
        yield Case(f"d_b_{name}.bmp", plain[: int(len(plain) * share)], None, note=f"{name} of the file")
    coded = run_lengths(levels, 8)
    half = len(coded) // 2 // 2 * 2
    for name, stream in (
        ("half", coded[:half]),
        ("half_and_end", coded[:half] + b"\0\1"),
        ("zeros", coded[:half] + bytes(64) + coded[half + 64 :]),
        ("lost", coded[:half] + coded[half + 200 :]),
        ("early_end", b"\0\1" + coded),
    ):
        data = write(stream, 96, 64, 8, palette=table, compression=RLE8)
        yield Case(f"d_b_rle8_{name}.bmp", data, None, note=f"RLE8: {name}")
