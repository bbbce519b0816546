"""PNG: colour types, depths, interlacing, transparency, orientation, and what stands between and behind."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

import numpy as np

from odd import jpeg, png
from odd.png import GREY, GREY_ALPHA, PALETTE, RGB, RGBA, chunk
from odd.scene import Case, Grey, Levels, coloured, grey_of, scene, stored_for, whole_numbers

IN_COLOUR = 1 / 255
"""Some round a colour's grey to 8 bits."""
TOO_FEW = ("cut short", "too few", "missing", "damaged", "incomplete")


def kinds() -> Iterator[Case]:
    """Every colour type and depth, plain and interlaced, with every filter."""
    for interlaced in (False, True):
        tail = "_interlaced" if interlaced else ""
        for bits in (1, 2, 4, 8, 16):
            levels, right = whole_numbers(scene(), bits)
            data = png.write(levels, bits, interlaced=interlaced)
            yield Case(f"p_grey{bits}{tail}.png", data, (right,))
        for bits in (8, 16):
            levels, right = whole_numbers(coloured(scene()), bits)
            tol = IN_COLOUR if bits == 8 else 2e-5
            data = png.write(levels, bits, RGB, interlaced=interlaced)
            yield Case(f"p_rgb{bits}{tail}.png", data, (grey_of(right),), tol)
            grey, right_grey = whole_numbers(scene(), bits)
            data = png.write(np.dstack([grey] * 3), bits, RGB, interlaced=interlaced)
            yield Case(f"p_rgb{bits}_neutral{tail}.png", data, (right_grey,))
            veil, _ = whole_numbers(scene()[::-1], bits)
            data = png.write(np.dstack([grey, veil]), bits, GREY_ALPHA, interlaced=interlaced)
            yield Case(f"p_grey{bits}alpha{tail}.png", data, (right_grey,))
            data = png.write(np.dstack([levels, veil]), bits, RGBA, interlaced=interlaced)
            yield Case(f"p_rgb{bits}alpha{tail}.png", data, (grey_of(right),), tol)
        for bits in (1, 2, 4, 8):
            index, right = whole_numbers(scene(), bits)
            for name, table in (("grey", np.arange(2**bits)), ("inverted", np.arange(2**bits)[::-1])):
                steps = (table * 255 // (2**bits - 1)).astype(np.uint8)
                before = chunk(b"PLTE", np.repeat(steps[:, None], 3, axis=1).tobytes())
                shown = right if name == "grey" else 1 - right
                data = png.write(index, bits, PALETTE, interlaced=interlaced, before=before)
                yield Case(f"p_palette{bits}_{name}{tail}.png", data, (shown,))
    index, _ = whole_numbers(scene(), 8)
    table = np.random.default_rng(0).integers(0, 256, (256, 3)).astype(np.uint8)
    data = png.write(index, 8, PALETTE, before=chunk(b"PLTE", table.tobytes()))
    yield Case("p_palette8_coloured.png", data, (grey_of(table[index] / 255),), IN_COLOUR)
    for bits in (12, 10):
        levels, _ = whole_numbers(scene(), bits)
        neutral = np.dstack([levels] * 3)
        data = png.write(neutral, 16, RGB)
        yield Case(f"p_rgb16_{bits}bit.png", data, (levels / 65535,), note=f"16-bit RGB that holds {bits} bits")
    for filters in range(5):
        levels, right = whole_numbers(scene(), 16)
        yield Case(f"p_filter{filters}.png", png.write(levels, 16, filters=(filters,)), (right,))
    for bits in (1, 4):
        levels, right = whole_numbers(scene()[:, :91], bits)
        for interlaced in (False, True):
            data = png.write(levels, bits, interlaced=interlaced)
            yield Case(f"p_grey{bits}_odd_width{'_interlaced' if interlaced else ''}.png", data, (right,))


def transparent() -> Iterator[Case]:
    """A transparent level or colour is one like the others."""
    for bits in (8, 16):
        levels, right = whole_numbers(scene(), bits)
        before = chunk(b"tRNS", struct.pack(">H", int(levels[30, 40])))
        yield Case(f"p_trns_grey{bits}.png", png.write(levels, bits, before=before), (right,))
        colours, right = whole_numbers(coloured(scene()), bits)
        before = chunk(b"tRNS", struct.pack(">3H", *colours[30, 40].tolist()))
        tol = IN_COLOUR if bits == 8 else 2e-5
        yield Case(f"p_trns_rgb{bits}.png", png.write(colours, bits, RGB, before=before), (grey_of(right),), tol)
    index, right = whole_numbers(scene(), 8)
    table = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
    before = chunk(b"PLTE", table.tobytes()) + chunk(b"tRNS", bytes(range(0, 256, 2)))
    yield Case("p_trns_palette.png", png.write(index, 8, PALETTE, before=before), (right,))


def orientations() -> Iterator[Case]:
    """EXIF's orientation, before the pixels and behind them, in both byte orders."""
    for bits in (8, 16):
        levels, right = whole_numbers(scene(), bits)
        for turn in range(1, 9):
            stored = stored_for(levels, turn)
            for end, order in (("le", "<"), ("be", ">")):
                exif = chunk(b"eXIf", jpeg.exif(turn, order))
                yield Case(f"p_exif{turn}_{bits}_{end}.png", png.write(stored, bits, before=exif), (right,))
            data = png.write(stored, bits, after=chunk(b"eXIf", jpeg.exif(turn)))
            yield Case(f"p_exif{turn}_{bits}_behind.png", data, (right,), note="eXIf behind the pixels")
    levels, right = whole_numbers(scene(), 8)
    broken = chunk(b"eXIf", b"II*\0\xff\xff\xff\xff")
    yield Case(
        "p_exif_broken.png", png.write(levels, 8, before=broken), (right,), note="EXIF that is none", either=True
    )


def between() -> Iterator[Case]:
    """Other chunks, many small parts, and what lies behind the end."""
    text = b"machine report " * 170_000
    for bits in (8, 16):
        levels, right = whole_numbers(scene(), bits)
        for name, more in {
            "text_big": chunk(b"zTXt", b"Report\0\0" + zlib.compress(text)),
            "itxt_big": chunk(b"iTXt", b"Report\0\1\0\0\0" + zlib.compress(text)),
            "text_plain": chunk(b"tEXt", b"Report\0" + text),
            "gamma": chunk(b"gAMA", struct.pack(">I", 45455)),
            "srgb": chunk(b"sRGB", b"\0"),
            "significant": chunk(b"sBIT", bytes([bits - 2])),
            "resolution": chunk(b"pHYs", struct.pack(">IIB", 3000, 3000, 1)),
            "background": chunk(b"bKGD", struct.pack(">H", 0)),
            "private": chunk(b"axIm", b"x" * 4000),
            "profile": chunk(b"iCCP", b"none\0\0" + zlib.compress(b"no profile")),
        }.items():
            yield Case(f"p_{name}{bits}.png", png.write(levels, bits, before=more), (right,), note=name)
        data = png.write(levels, bits, after=chunk(b"zTXt", b"Report\0\0" + zlib.compress(text)))
        yield Case(f"p_text_behind{bits}.png", data, (right,))
        yield Case(f"p_parts_of_7_{bits}.png", png.write(levels, bits, size=7), (right,), note="IDAT in parts of 7")
        empty = chunk(b"IDAT")
        yield Case(f"p_empty_part{bits}.png", png.write(levels, bits, before=empty), (right,), note="an empty IDAT")
        for name, behind in (("zeros", bytes(8192)), ("text", b"machine 7\n" * 900), ("png", png.write(levels, bits))):
            data = png.write(levels, bits, behind=behind)
            yield Case(f"p_trailing_{name}{bits}.png", data, (right,), note="something behind the end")
        data = png.write(levels, bits, behind=b"\n")
        yield Case(f"p_trailing_byte{bits}.png", data, (right,))


def animated() -> Iterator[Case]:
    """A PNG with frames: judged whole, or refused; a picture of one frame is a picture."""
    both = [whole_numbers(scene(number), 8) for number in range(3)]
    right = tuple(one for _, one in both)
    for amount in (1, 3):
        control = chunk(b"acTL", struct.pack(">II", amount, 0)) + _frame(0)
        after = b""
        for number, (levels, _) in enumerate(both[1:amount], 1):
            data = zlib.compress(png.stream(levels, 8))
            after += _frame(2 * number - 1) + chunk(b"fdAT", struct.pack(">I", 2 * number) + data)
        data = png.write(both[0][0], 8, before=control, after=after)
        yield Case(f"p_animated{amount}.png", data, right[:amount], note=f"{amount} frames", either=amount > 1)


def _frame(number: int) -> bytes:
    return chunk(b"fcTL", struct.pack(">IIIIIHHBB", number, 96, 64, 0, 0, 1, 10, 0, 0))


def damaged() -> Iterator[Case]:
    """Too few rows in a sound stream, lost and damaged chunks."""
    for bits in (8, 16):
        levels, _ = whole_numbers(scene(), bits)
        for interlaced in (False, True):
            tail = f"{bits}{'_interlaced' if interlaced else ''}"
            head = png.header(levels, bits, GREY, interlaced=interlaced)
            full = png.stream(levels, bits, interlaced=interlaced)
            for name, share in (("no", 0.0), ("one", 0.02), ("half", 0.5), ("nearly_all", 0.99)):
                part = full[: int(len(full) * share)]
                data = png.whole(head, zlib.compress(part))
                yield Case(f"d_{name}_rows{tail}.png", data, None, note=f"{name} rows, a sound stream", wrong=TOO_FEW)
            less = png.whole(head, zlib.compress(full[:-1]))
            yield Case(f"d_one_byte_less{tail}.png", less, None, note="the last byte is not there", wrong=TOO_FEW)
            pressed = zlib.compress(full)
            half = len(pressed) // 2
            for name, data in {
                "unfinished": png.whole(head, pressed[:half]),
                "adler": png.whole(head, pressed[:-1] + bytes([pressed[-1] ^ 1])),
                "without_adler": png.whole(head, pressed[:-4]),
                "zeros": png.whole(head, pressed[:half] + bytes(64) + pressed[half + 64 :]),
                "no_idat": png.SIGNATURE + head + chunk(b"IEND"),
                "crc": png.SIGNATURE + head + chunk(b"IDAT", pressed, crc=1) + chunk(b"IEND"),
                "no_end": png.whole(head, pressed)[:-12],
                "chunk_lost": _with_a_chunk_lost(head, pressed),
                "chunks_swapped": _with_chunks_swapped(head, pressed),
            }.items():
                yield Case(f"d_{name}{tail}.png", data, None, note=name.replace("_", " "))
            more = png.whole(head, zlib.compress(full + bytes(500)))
            right: tuple[Grey, ...] = (whole_numbers(scene(), bits)[1],)
            yield Case(f"d_more_rows{tail}.png", more, right, note="more data than rows", either=True)
    levels = np.zeros((64, 96), np.uint8)
    index: Levels = whole_numbers(scene(), 8)[0]
    short = chunk(b"PLTE", bytes(30))
    yield Case("d_palette_short.png", png.write(index, 8, PALETTE, before=short), None, note="a palette of ten colours")
    yield Case("d_palette_missing.png", png.write(index, 8, PALETTE), None, note="no palette")


def _parts(pressed: bytes) -> list[bytes]:
    size = len(pressed) // 5 + 1
    return [chunk(b"IDAT", pressed[at : at + size]) for at in range(0, len(pressed), size)]


def _with_a_chunk_lost(head: bytes, pressed: bytes) -> bytes:
    parts = _parts(pressed)
    return png.SIGNATURE + head + b"".join(parts[:2] + parts[3:]) + chunk(b"IEND")


def _with_chunks_swapped(head: bytes, pressed: bytes) -> bytes:
    parts = _parts(pressed)
    return png.SIGNATURE + head + b"".join([parts[0], parts[2], parts[1], *parts[3:]]) + chunk(b"IEND")
