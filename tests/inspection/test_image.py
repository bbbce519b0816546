"""What `decode` promises: the whole picture at its full depth, or an ImageError; never a guess."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
    RLELossless,
)

from inspection.errors import ImageError
from inspection.image import GreyImage, Limits, decode, open_stack

MAX_PIXELS = 1_000_000
RAMP = np.arange(65536, dtype=np.uint16).reshape(256, 256)
"""Every 16-bit grey level once."""
RAMP_GREY = RAMP.astype(np.float32) / np.float32(65535)
SMALL = np.random.default_rng(0).integers(0, 256, (12, 10)).astype(np.uint8)
SMALL_16 = np.random.default_rng(0).integers(0, 65536, (12, 10)).astype(np.uint16)
SMOOTH = np.add.outer(np.arange(64), np.arange(48)).astype(np.uint8) * 2
SHORT, LONG = 3, 4


def grey(data: bytes) -> GreyImage:
    """Decode within the tests' limit on pixels, and check what holds for every picture."""
    image = decode(data, max_pixels=MAX_PIXELS)
    assert image.pixels.dtype == np.float32
    assert image.pixels.ndim == 2
    assert 0 <= image.pixels.min() <= image.pixels.max() <= 1
    return image


def encode(pixels: NDArray[Any] | Image.Image, form: str, **options: Any) -> bytes:
    """A file's bytes as Pillow writes them."""
    file = io.BytesIO()
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(file, form, **options)
    return file.getvalue()


def png(width: int, height: int, compressed: bytes, *, bits: int = 8, colour: int = 0, chunk: bytes = b"") -> bytes:
    """A PNG made by hand; `chunk` stands before the pixels."""
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    chunks = png_chunk(b"IHDR", header) + chunk + png_chunk(b"IDAT", compressed) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def png_chunk(kind: bytes, content: bytes) -> bytes:
    """One chunk with its length and checksum."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_rows(pixels: NDArray[Any]) -> bytes:
    """Pixels as the unfiltered, compressed rows of a PNG."""
    return zlib.compress(b"".join(b"\0" + row.tobytes() for row in pixels))


def tiff(
    data: bytes,
    shape: tuple[int, int],
    bits: int,
    *,
    endian: str = "<",
    sample_format: int = 1,
    photometric: int = 1,
    more: tuple[tuple[int, int, int], ...] = (),
) -> bytes:
    """An uncompressed TIFF of one strip made by hand; `more` holds further tags as (number, type, value)."""
    height, width = shape
    tags = [
        (256, LONG, width),
        (257, LONG, height),
        (258, SHORT, bits),
        (259, SHORT, 1),
        (262, SHORT, photometric),
        (273, LONG, 0),
        (277, SHORT, 1),
        (278, LONG, height),
        (279, LONG, len(data)),
        (339, SHORT, sample_format),
    ]
    tags = sorted([*tags, *more])
    start = 8 + 2 + 12 * len(tags) + 4
    out = {"<": b"II*\0", ">": b"MM\0*"}[endian] + struct.pack(endian + "IH", 8, len(tags))
    for number, kind, value in tags:
        layout = endian + "HHI" + ("H2x" if kind == SHORT else "I")
        out += struct.pack(layout, number, kind, 1, start if number == 273 else value)
    return out + struct.pack(endian + "I", 0) + data


def dicom(pixels: NDArray[Any], *, stored: int | None = None, syntax: str | None = None, **elements: Any) -> bytes:
    """A DICOM file of `pixels`, `[H, W]` or `[frames, H, W]`, as pydicom writes it."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
    meta.MediaStorageSOPInstanceUID = UID("1.2.3")
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    bits = pixels.itemsize * 8
    dataset.Rows, dataset.Columns = pixels.shape[-2:]
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated = bits
    dataset.BitsStored = stored or bits
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    if pixels.ndim == 3:
        dataset.NumberOfFrames = len(pixels)
    dataset.PixelData = pixels.tobytes()
    for name, value in elements.items():
        setattr(dataset, name, value)
    if syntax == RLELossless:
        dataset.compress(RLELossless, generate_instance_uid=False)
    elif syntax:
        meta.TransferSyntaxUID = UID(syntax)
    file = io.BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    return file.getvalue()


def packed_12_bit(levels: NDArray[np.uint16]) -> bytes:
    """Pairs of 12-bit levels in three bytes, as TIFF wants them."""
    first, second = levels.reshape(-1, 2).T
    return np.stack([first >> 4, ((first & 15) << 4) | (second >> 8), second & 255], axis=1).astype(np.uint8).tobytes()


def exactly(image: GreyImage, expected: NDArray[Any], bits: int) -> None:
    """The grey levels are those, to a float's last bit, and the depth is that."""
    assert image.bits == bits
    np.testing.assert_allclose(image.pixels, expected, rtol=0, atol=6e-8)


class TestSixteenBits:
    """The full depth is kept."""

    @pytest.mark.parametrize(
        "data",
        [
            pytest.param(encode(RAMP, "PNG"), id="png"),
            pytest.param(encode(RAMP, "TIFF"), id="tiff"),
            pytest.param(encode(RAMP, "TIFF", compression="tiff_lzw"), id="tiff-lzw"),
            pytest.param(encode(RAMP, "TIFF", compression="tiff_adobe_deflate"), id="tiff-deflate"),
            pytest.param(encode(RAMP, "TIFF", compression="packbits"), id="tiff-packbits"),
            pytest.param(encode(RAMP, "TIFF", big_tiff=True), id="bigtiff"),
            pytest.param(tiff(RAMP.astype(">u2").tobytes(), (256, 256), 16, endian=">"), id="tiff-big-endian"),
            pytest.param(dicom(RAMP), id="dicom"),
            pytest.param(dicom(RAMP, syntax=RLELossless), id="dicom-rle"),
            pytest.param(dicom(RAMP, syntax=DeflatedExplicitVRLittleEndian), id="dicom-deflated"),
        ],
    )
    def test_a_ramp_is_exact(self, data: bytes) -> None:
        """Each of the 65,536 levels v comes out as v/65535, the first as 0 and the last as 1; nothing saturates."""
        image = grey(data)
        assert image.bits == 16
        assert np.array_equal(image.pixels, RAMP_GREY)

    def test_white_is_zero(self) -> None:
        """A TIFF whose 0 is white comes out as it is shown."""
        exactly(grey(tiff(RAMP.tobytes(), (256, 256), 16, photometric=0)), 1 - RAMP_GREY, 16)

    @pytest.mark.parametrize("photometric", [1, 0])
    def test_declared_range(self, photometric: int) -> None:
        """Where a TIFF declares its smallest and largest level, those are 0 and 1 (or 1 and 0)."""
        levels = RAMP // 32 + 1000
        more = ((340, SHORT, 1000), (341, SHORT, 3047))
        expected = (levels - 1000) / 2047
        data = tiff(levels.tobytes(), (256, 256), 16, photometric=photometric, more=more)
        exactly(grey(data), expected if photometric else 1 - expected, 16)

    @pytest.mark.parametrize("declared", [(0, 100), (500, 65535), (7, 7), (9, 3)])
    def test_a_wrong_declared_range_is_not_believed(self, declared: tuple[int, int]) -> None:
        """Levels outside of the declared range, or an empty one: the bits of the file count."""
        more = ((340, SHORT, declared[0]), (341, SHORT, declared[1]))
        exactly(grey(tiff(RAMP.tobytes(), (256, 256), 16, more=more)), RAMP_GREY, 16)

    def test_twelve_bits(self) -> None:
        """Packed 12-bit levels v come out as v/4095."""
        levels = RAMP[:16]
        exactly(grey(tiff(packed_12_bit(levels), levels.shape, 12)), levels / 4095, 12)

    @pytest.mark.parametrize("transparent", [0, 3])
    def test_png_transparency_changes_nothing(self, transparent: int) -> None:
        """A transparent level in a PNG is a level like the others."""
        assert np.array_equal(grey(encode(RAMP, "PNG", transparency=transparent)).pixels, RAMP_GREY)

    def test_signed_tiff_is_whole_or_refused(self) -> None:
        """Signed levels keep their order and their number, or the file is refused; half of them are never cut off."""
        levels = (RAMP.astype(np.int32) - 32768).astype(np.int16)
        whole_or_refused(tiff(levels.tobytes(), (256, 256), 16, sample_format=2), RAMP_GREY)


class TestThirtyTwoBits:
    """Integers and floating-point numbers."""

    def test_unsigned_lower_half(self) -> None:
        """Unsigned levels v come out as v/(2^32-1)."""
        levels = np.linspace(0, 2**31 - 1, 4096).astype(np.uint32).reshape(64, 64)
        exactly(grey(tiff(levels.tobytes(), (64, 64), 32)), levels / (2**32 - 1), 32)

    def test_unsigned_is_whole_or_refused(self) -> None:
        """The brightest levels are the brightest, or the file is refused."""
        levels = np.linspace(0, 2**32 - 1, 4096).astype(np.uint32).reshape(64, 64)
        whole_or_refused(tiff(levels.tobytes(), (64, 64), 32), levels / (2**32 - 1))

    def test_signed_is_whole_or_refused(self) -> None:
        """Signed levels keep their order and their number, or the file is refused."""
        levels = np.linspace(-(2**31), 2**31 - 1, 4096).astype(np.int32).reshape(64, 64)
        whole_or_refused(tiff(levels.tobytes(), (64, 64), 32, sample_format=2), np.linspace(0, 1, 4096).reshape(64, 64))

    def test_float(self) -> None:
        """Levels in 0..1 are taken as they are."""
        assert np.array_equal(grey(encode(RAMP_GREY, "TIFF")).pixels, RAMP_GREY)

    def test_float_of_a_declared_range(self) -> None:
        """Levels in the range that the file declares are scaled by it."""
        more = ((340, SHORT, 100), (341, SHORT, 1100))
        data = tiff((RAMP_GREY * 1000 + 100).tobytes(), (256, 256), 32, sample_format=3, more=more)
        np.testing.assert_allclose(grey(data).pixels, RAMP_GREY, atol=1e-6)

    @pytest.mark.parametrize("level", [1.001, -0.001, 255.0, np.nan, np.inf])
    def test_a_float_that_means_nothing_is_refused(self, level: float) -> None:
        """One level outside of 0..1, with no range declared, or no number at all: nobody knows what white is."""
        levels = RAMP_GREY.copy()
        levels[3, 4] = level
        with pytest.raises(ImageError, match=r"grey levels .*(outside of 0\.\.1.*inbox.float_range|NaN)"):
            grey(encode(levels, "TIFF"))

    def test_a_range_for_floats(self) -> None:
        """Floats outside of 0..1 are read by the range that the configuration gives, and refused outside of it."""
        data = encode(RAMP_GREY * 400 - 100, "TIFF")
        image = open_stack(data, Limits(MAX_PIXELS, float_range=(-100, 300)))[0]
        np.testing.assert_allclose(image.pixels, RAMP_GREY, atol=1e-6)
        with pytest.raises(ImageError, match=r"-100\.\.300 outside of inbox\.float_range -100\.\.200"):
            open_stack(data, Limits(MAX_PIXELS, float_range=(-100, 200)))[0]


def whole_or_refused(data: bytes, expected: NDArray[Any]) -> None:
    """The file is refused, or decoded into as many levels as it has, in their order."""
    try:
        image = grey(data)
    except ImageError:
        return
    assert image.pixels.max() > 0.99
    assert np.corrcoef(image.pixels.ravel(), expected.ravel())[0, 1] > 0.999
    assert (np.diff(image.pixels.ravel()) >= 0).all()


PALETTE = Image.fromarray(np.dstack([SMOOTH, SMOOTH, SMOOTH])).quantize(16)


class TestEightBits:
    """The common formats and colour modes."""

    @pytest.mark.parametrize(
        "data",
        [
            pytest.param(encode(SMOOTH, "PNG"), id="png"),
            pytest.param(encode(SMOOTH, "TIFF"), id="tiff"),
            pytest.param(encode(SMOOTH, "BMP"), id="bmp"),
            pytest.param(tiff((255 - SMOOTH).tobytes(), SMOOTH.shape, 8, photometric=0), id="tiff-white-is-zero"),
            pytest.param(encode(Image.fromarray(SMOOTH).convert("RGB"), "PNG"), id="rgb"),
            pytest.param(encode(Image.fromarray(SMOOTH).convert("RGB"), "BMP"), id="bmp-rgb"),
            pytest.param(encode(Image.fromarray(SMOOTH).convert("RGBA"), "PNG"), id="rgba"),
            pytest.param(encode(Image.fromarray(SMOOTH).convert("LA"), "PNG"), id="la"),
            pytest.param(encode(Image.fromarray(SMOOTH).convert("CMYK"), "TIFF"), id="cmyk"),
            pytest.param(encode(SMOOTH, "PNG", transparency=3), id="png-transparency"),
            pytest.param(dicom(SMOOTH), id="dicom"),
        ],
    )
    def test_grey_levels_are_exact(self, data: bytes) -> None:
        """A level v comes out as v/255, however it is written."""
        exactly(grey(data), SMOOTH / 255, 8)

    @pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
    @pytest.mark.parametrize("progressive", [False, True])
    def test_jpeg(self, mode: str, progressive: bool) -> None:
        """A JPEG is what was saved up to its loss; printers' CMYK is not inverted."""
        data = encode(Image.fromarray(SMOOTH).convert(mode), "JPEG", quality=95, progressive=progressive)
        image = grey(data)
        assert (image.format, image.bits) == ("JPEG", 8)
        assert np.abs(image.pixels - SMOOTH / 255).max() < 0.02

    def test_palette(self) -> None:
        """The colours count, not their numbers in the palette."""
        assert np.abs(grey(encode(PALETTE, "PNG")).pixels - SMOOTH / 255).max() < 0.15
        assert np.abs(grey(encode(PALETTE, "BMP")).pixels - SMOOTH / 255).max() < 0.15

    def test_palette_with_transparency(self) -> None:
        """A palette whose colours are partly transparent is decoded, and without a stray warning."""
        data = encode(PALETTE, "PNG", transparency=bytes(8 * [0] + 8 * [255]))
        assert np.abs(grey(data).pixels - SMOOTH / 255).max() < 0.15

    @pytest.mark.parametrize("form", ["PNG", "BMP", "TIFF"])
    def test_one_bit(self, form: str) -> None:
        """Black is 0, white is 1."""
        image = grey(encode(Image.fromarray(SMOOTH > 100), form))
        assert image.bits == 1
        assert np.array_equal(image.pixels, SMOOTH > 100)

    def test_two_bits(self) -> None:
        """The levels 0 to 3 are spread over 0..1."""
        rows = np.full((16, 4), 0b00_01_10_11, np.uint8)
        image = grey(png(16, 16, png_rows(rows), bits=2))
        exactly(image, np.tile([0, 1 / 3, 2 / 3, 1], (16, 4)), 2)


class TestDicom:
    """DICOM and DICONDE."""

    def test_monochrome1_is_inverted(self) -> None:
        """What the file shows darkest is darkest, whichever way its levels run."""
        exactly(grey(dicom(RAMP, PhotometricInterpretation="MONOCHROME1")), 1 - RAMP_GREY, 16)
        exactly(grey(dicom(RAMP)), RAMP_GREY, 16)

    def test_stored_bits_count(self) -> None:
        """12 bits stored in 16: a level v comes out as v/4095."""
        exactly(grey(dicom(RAMP % 4096, stored=12)), (RAMP % 4096) / 4095, 12)

    @pytest.mark.parametrize("stored", [12, 16])
    def test_signed(self, stored: int) -> None:
        """Signed levels are shifted: the smallest possible is 0, the largest 1."""
        unsigned = RAMP.astype(np.int32) % 2**stored
        levels, expected = unsigned - 2 ** (stored - 1), unsigned / (2**stored - 1)
        exactly(grey(dicom(levels.astype(np.int16), stored=stored)), expected, stored)

    def test_every_frame(self) -> None:
        """Each frame is a page."""
        first, second = open_stack(dicom(np.stack([RAMP, RAMP[::-1]])), Limits(MAX_PIXELS))
        assert np.array_equal(first.pixels, RAMP_GREY)
        assert np.array_equal(second.pixels, RAMP_GREY[::-1])

    def test_colour(self) -> None:
        """A colour image becomes grey."""
        rgb = np.dstack([SMOOTH] * 3)
        data = dicom(
            SMOOTH, SamplesPerPixel=3, PlanarConfiguration=0, PhotometricInterpretation="RGB", PixelData=rgb.tobytes()
        )
        np.testing.assert_allclose(grey(data).pixels, SMOOTH / 255, atol=1e-6)

    def test_without_an_image(self) -> None:
        """A DICOM file of something else is refused in those words."""
        dataset = pydicom.dcmread(io.BytesIO(dicom(SMALL)))
        del dataset.PixelData
        file = io.BytesIO()
        dataset.save_as(file)
        with pytest.raises(ImageError, match="without an image"):
            grey(file.getvalue())

    @pytest.mark.parametrize("element", ["Rows", "Columns", "BitsStored", "BitsAllocated", "SamplesPerPixel"])
    def test_missing_elements(self, element: str) -> None:
        """A file without something that the picture needs is refused."""
        dataset = pydicom.dcmread(io.BytesIO(dicom(SMALL)))
        delattr(dataset, element)
        file = io.BytesIO()
        dataset.save_as(file)
        with pytest.raises(ImageError):
            grey(file.getvalue())


class TestRealFiles:
    """X-ray images as machines wrote them."""

    @pytest.mark.parametrize(("suffix", "brightest"), [("png", 63301), ("tif", 62649)])
    def test_industrial_16_bit(self, suffix: str, brightest: int, real_data: Path) -> None:
        """The range of levels is the one that is known of this image: nothing was cut off or spread."""
        image = decode((real_data / "formats" / f"insulator-16bit.{suffix}").read_bytes(), max_pixels=10**8)
        assert image.bits == 16
        assert (round(image.pixels.min() * 65535), round(image.pixels.max() * 65535)) == (3976, brightest)

    def test_radiograph(self, real_data: Path) -> None:
        """A JPEG 2000, MONOCHROME1 radiograph of 10 bits is inverted and keeps its levels."""
        path = real_data / "formats" / "radiograph-monochrome1-jpeg2000.dcm"
        raw = pydicom.dcmread(path).pixel_array
        exactly(decode(path.read_bytes(), max_pixels=10**8), 1 - raw / 1023, 10)

    @pytest.mark.parametrize("share", [0.01, 0.5, 0.9, 0.9999])
    def test_truncated_radiograph(self, share: float, real_data: Path) -> None:
        """A codec that fills the missing part in silence is not asked to."""
        data = (real_data / "formats" / "radiograph-monochrome1-jpeg2000.dcm").read_bytes()
        with pytest.raises(ImageError):
            decode(data[: int(len(data) * share)], max_pixels=10**8)

    def test_solder_balls(self, real_data: Path) -> None:
        """Each of the real images decodes."""
        for path in sorted((real_data / "bga" / "nio").iterdir())[:20]:
            image = grey(path.read_bytes())
            assert (image.format, image.bits, image.notes) == ("JPEG", 8, ())


def jpeg_with_thumbnail() -> bytes:
    """A JPEG with a whole little JPEG in its header, end mark and all."""
    exif = b"II*\0" + struct.pack("<IHHHI4sI", 8, 1, 0x10E, 2, 2, b"a", 0) + encode(SMALL, "JPEG")
    jpeg = encode(SMOOTH, "JPEG")
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 8) + b"Exif\0\0" + exif + jpeg[2:]


WHOLE = {
    "png": encode(SMALL, "PNG"),
    "png-16": encode(SMALL_16, "PNG"),
    "png-palette": encode(Image.fromarray(np.dstack([SMALL] * 3)).quantize(16), "PNG"),
    "tiff": encode(SMALL_16, "TIFF"),
    "tiff-lzw": encode(SMALL_16, "TIFF", compression="tiff_lzw"),
    "tiff-jpeg": encode(SMALL, "TIFF", compression="jpeg"),
    "tiff-strips": encode(np.tile(SMALL, (2, 2)), "TIFF", compression="tiff_adobe_deflate", strip_size=60),
    "tiff-pages": encode(SMALL_16, "TIFF", save_all=True, append_images=[Image.fromarray(SMALL_16[::-1].copy())]),
    "jpeg": encode(SMALL, "JPEG"),
    "jpeg-progressive": encode(SMALL, "JPEG", progressive=True),
    "jpeg-thumbnail": jpeg_with_thumbnail(),
    "bmp": encode(SMALL, "BMP"),
    "bmp-rgb": encode(Image.fromarray(SMALL).convert("RGB"), "BMP"),
    "dicom": dicom(SMALL_16),
    "dicom-rle": dicom(SMALL_16, syntax=RLELossless),
    "dicom-deflated": dicom(SMALL_16, syntax=DeflatedExplicitVRLittleEndian),
    "dicom-frames": dicom(np.stack([SMALL_16, SMALL_16[::-1]])),
}
MAY_MISS = {
    "tiff-lzw": 4,
    "tiff-pages": 6,
    "dicom-rle": 8,
    "dicom-deflated": 2,
    "bmp": 2,
    "bmp-rgb": 2,
}
"""Bytes at the end that the picture does without: an end mark, a padding."""


class TestDamaged:
    """Not whole, not ours, not sane: always an ImageError."""

    @pytest.mark.parametrize("kind", WHOLE)
    def test_truncated_at_every_byte(self, kind: str) -> None:
        """However much is missing at its end, a file is refused, or what is missing had no part in the picture."""
        data = WHOLE[kind]
        whole = [page.pixels for page in open_stack(data, Limits(MAX_PIXELS))]
        for length in range(len(data)):
            try:
                pages = [page.pixels for page in open_stack(data[:length], Limits(MAX_PIXELS))]
            except ImageError:
                continue
            assert length >= len(data) - MAY_MISS.get(kind, 0), f"decodes from {length} of {len(data)} bytes"
            assert np.array_equal(pages, whole), f"another picture from {length} of {len(data)} bytes"

    @pytest.mark.parametrize("kind", [kind for kind in WHOLE if kind.startswith(("png", "jpeg"))])
    def test_the_rest_is_still_zeros(self, kind: str) -> None:
        """A file that got its full size first and is still being filled is not taken for whole (PNG, JPEG)."""
        data = WHOLE[kind]
        for length in range(len(data) - 2):
            with pytest.raises(ImageError):
                grey(data[:length] + bytes(len(data) - length))

    @pytest.mark.parametrize("kind", ["png", "png-16"])
    def test_no_flipped_bit_in_a_png_changes_the_picture(self, kind: str) -> None:
        """A PNG's checksums are heeded: a damaged byte is an error, or it had no part in the picture."""
        data = WHOLE[kind]
        whole = grey(data).pixels
        for index in range(len(data)):
            damaged = bytearray(data)
            damaged[index] ^= 1
            try:
                image = grey(bytes(damaged))
            except ImageError:
                continue
            assert np.array_equal(image.pixels, whole), f"byte {index}"

    def test_tiff_with_too_few_strips(self) -> None:
        """A TIFF whose strips hold fewer rows than it declares is refused."""
        data = bytearray(tiff(SMALL.tobytes(), SMALL.shape, 8))
        rows = data.index(struct.pack("<HHI", 257, LONG, 1)) + 8
        data[rows : rows + 4] = struct.pack("<I", 3 * len(SMALL))
        with pytest.raises(ImageError):
            grey(bytes(data))

    @pytest.mark.parametrize(
        "data",
        [b"x", b"no image at all\n" * 1000, bytes(5000), b"GIF89a" + bytes(500), b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"],
        ids=["byte", "text", "zeros", "gif", "png-magic", "jpeg-magic"],
    )
    def test_no_image(self, data: bytes) -> None:
        """What is no image is refused in one line."""
        with pytest.raises(ImageError) as caught:
            grey(data)
        assert "\n" not in str(caught.value)

    def test_empty(self) -> None:
        """An empty file is called that."""
        with pytest.raises(ImageError, match="the file is empty"):
            grey(b"")

    @pytest.mark.parametrize("form", ["GIF", "WEBP", "PPM", "ICO", "PDF", "JPEG2000", "TGA"])
    def test_other_formats(self, form: str) -> None:
        """Formats that no X-ray machine writes stay outside, however well Pillow reads them."""
        with pytest.raises(ImageError, match="not a PNG, TIFF, BMP, JPEG or DICOM image"):
            grey(encode(SMOOTH, form))

    @pytest.mark.parametrize("kind", ["png", "tiff", "bmp", "jpeg", "dicom"])
    def test_huge(self, kind: str) -> None:
        """30,000 x 30,000 pixels are refused by the header alone: the pixels are not even there."""
        side = 30000
        data = bytearray(WHOLE["dicom"])
        for tag in (b"\x28\x00\x10\x00US\x02\x00", b"\x28\x00\x11\x00US\x02\x00"):
            at = data.index(tag) + len(tag)
            data[at : at + 2] = struct.pack("<H", side)
        jpeg = bytearray(WHOLE["jpeg"])
        frame = jpeg.index(b"\xff\xc0") + 5
        jpeg[frame : frame + 4] = struct.pack(">HH", side, side)
        files = {
            "png": png(side, side, b"\0"),
            "tiff": tiff(b"\0", (side, side), 16),
            "bmp": WHOLE["bmp"][:18] + struct.pack("<ii", side, side) + WHOLE["bmp"][26:],
            "jpeg": bytes(jpeg),
            "dicom": bytes(data),
        }
        with pytest.raises(ImageError, match=r"30000 x 30000 pixels are more than inbox\.max_pixels"):
            grey(files[kind])

    def test_the_limit_is_exact(self) -> None:
        """An image of just as many pixels as allowed is decoded, one of one more is not."""
        assert decode(WHOLE["png"], max_pixels=120).pixels.size == 120
        with pytest.raises(ImageError, match=r"12 pixels are more than inbox\.max_pixels \(119\)"):
            decode(WHOLE["png"], max_pixels=119)

    @pytest.mark.parametrize("shape", [(1, 1), (7, 200), (200, 7)])
    @pytest.mark.parametrize("form", ["PNG", "TIFF", "BMP", "JPEG", "DICOM"])
    def test_tiny(self, shape: tuple[int, int], form: str) -> None:
        """Nothing smaller than 8 pixels a side can show a joint."""
        pixels = np.zeros(shape, np.uint8)
        with pytest.raises(ImageError, match="too few to show a joint"):
            grey(dicom(pixels) if form == "DICOM" else encode(pixels, form))

    def test_smallest(self) -> None:
        """8 x 8 pixels are enough."""
        assert grey(encode(np.zeros((8, 8), np.uint8), "PNG")).pixels.shape == (8, 8)

    def test_a_long_comment_is_skipped(self) -> None:
        """Megabytes of text in a PNG, as some machines write them, do no harm."""
        comment = png_chunk(b"tEXt", b"Comment\0" + b"a" * 5_000_000)
        exactly(grey(png(10, 12, png_rows(SMALL), chunk=comment)), SMALL / 255, 8)

    @pytest.mark.parametrize("kind", [b"zTXt", b"iCCP"])
    def test_a_compressed_comment_is_no_bomb(self, kind: bytes) -> None:
        """Text that inflates to 50 MB is not inflated: the picture is read, and that is all."""
        bomb = png_chunk(kind, b"Comment\0\0" + zlib.compress(bytes(50_000_000)))
        tracemalloc.start()
        exactly(grey(png(10, 12, png_rows(SMALL), chunk=bomb)), SMALL / 255, 8)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 5_000_000

    @settings(max_examples=150, deadline=None, database=None, derandomize=True)
    @given(
        start=st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"II*\0", b"MM\0*", b"II+\0", b"BM", b"\xff\xd8\xff\xe0"])
        | st.just(bytes(128) + b"DICM"),
        rest=st.binary(max_size=300),
    )
    def test_garbage(self, start: bytes, rest: bytes) -> None:
        """Random bytes, also behind the first bytes of a known format, are an ImageError and nothing else."""
        with pytest.raises(ImageError):
            grey(start + rest)

    @settings(max_examples=200, deadline=None, database=None, derandomize=True)
    @given(
        kind=st.sampled_from(sorted(WHOLE)),
        place=st.floats(0, 1, exclude_max=True),
        patch=st.binary(min_size=1, max_size=8),
    )
    def test_damage(self, kind: str, place: float, patch: bytes) -> None:
        """A file with a damaged place is an ImageError or a sound picture: no other exception, nothing outside 0..1."""
        data = bytearray(WHOLE[kind])
        at = int(place * len(data))
        data[at : at + len(patch)] = patch
        try:
            image = grey(bytes(data))
        except ImageError:
            return
        assert np.isfinite(image.pixels).all()


class TestContent:
    """What is in the file counts, not what it is called."""

    @pytest.mark.parametrize(
        ("kind", "form"), [("png", "PNG"), ("tiff", "TIFF"), ("jpeg", "JPEG"), ("bmp", "BMP"), ("dicom", "DICOM")]
    )
    def test_the_format_is_told_by_content(self, kind: str, form: str) -> None:
        """There is not even a name to go by."""
        assert grey(WHOLE[kind]).format == form

    def test_every_page(self) -> None:
        """Each page of a TIFF is a page; `decode` gives the first."""
        stack = open_stack(WHOLE["tiff-pages"], Limits(MAX_PIXELS))
        for page, expected in zip(stack, (SMALL_16, SMALL_16[::-1]), strict=True):
            np.testing.assert_allclose(page.pixels, expected / 65535, atol=6e-8)

    def test_too_many_pages(self) -> None:
        """More pages than the limit are refused before any is decoded."""
        with pytest.raises(ImageError, match=r"2 pages are more than inbox.max_pages \(1\)"):
            open_stack(WHOLE["tiff-pages"], Limits(MAX_PIXELS, max_pages=1))

    def test_an_animated_png(self) -> None:
        """What moves is no joint: it is refused, with what to do instead."""
        data = encode(SMALL, "PNG", save_all=True, append_images=[Image.fromarray(SMALL[::-1].copy())])
        with pytest.raises(ImageError, match="animated PNG of 2 frames"):
            grey(data)

    def test_a_jpeg_of_several_pictures_is_a_jpeg(self) -> None:
        """The format is one of the five that the documentation names."""
        data = encode(SMALL, "MPO", save_all=True, append_images=[Image.fromarray(SMALL)])
        assert grey(data).format == "JPEG"

    def test_no_notes_on_a_plain_image(self) -> None:
        """Where there is nothing to say, nothing is said."""
        assert grey(WHOLE["png"]).notes == ()
