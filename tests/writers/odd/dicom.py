"""A writer of DICOM files: the data set through pydicom, what lies around and inside the pixels by hand."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset, write_file_meta_info
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from odd.scene import Levels
from odd.tiff import packbits

NATIVE = {
    "ile": ImplicitVRLittleEndian,
    "ele": ExplicitVRLittleEndian,
    "ebe": ExplicitVRBigEndian,
    "dfl": DeflatedExplicitVRLittleEndian,
}


def described(levels: Levels, stored: int | None = None, **elements: Any) -> Dataset:
    """What says how an image `[H, W]` is stored, without its pixels; `elements` are further ones, or others."""
    dataset = Dataset()
    dataset.SOPClassUID = DigitalXRayImageStorageForPresentation
    dataset.SOPInstanceUID = UID("1.2.3.4")
    dataset.Modality = "DX"
    dataset.SamplesPerPixel = levels.shape[2] if levels.ndim == 3 else 1
    dataset.PhotometricInterpretation = "RGB" if levels.ndim == 3 else "MONOCHROME2"
    if levels.ndim == 3:
        dataset.PlanarConfiguration = 0
    dataset.Rows, dataset.Columns = levels.shape[:2]
    dataset.BitsAllocated = levels.dtype.itemsize * 8
    dataset.BitsStored = stored or dataset.BitsAllocated
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(levels.dtype.kind == "i")
    for name, value in elements.items():
        setattr(dataset, name, value)
    return dataset


def native(dataset: Dataset, levels: Levels, syntax: str = "ele", **around: Any) -> bytes:
    """A file with uncompressed pixels: `[H, W]`, colours `[H, W, 3]`, or several frames in front of these."""
    uid = NATIVE[syntax]
    pixels = levels.astype(levels.dtype.newbyteorder(">" if syntax == "ebe" else "<")).tobytes()
    dataset.PixelData = pixels + bytes(len(pixels) % 2)
    dataset["PixelData"].VR = "OW" if dataset.BitsAllocated > 8 or syntax == "ile" else "OB"
    return written(dataset, uid, **around)


def encapsulated(
    dataset: Dataset, frames: Sequence[bytes], uid: str, *, fragments: int = 1, table: bool = True
) -> bytes:
    """A file with compressed frames, each in so many fragments, with a basic offset table or an empty one."""
    dataset.PixelData = encapsulate(list(frames), fragments_per_frame=fragments, has_bot=table)
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    if len(frames) > 1:
        dataset.NumberOfFrames = len(frames)
    return written(dataset, UID(uid))


def written_longer(dataset: Dataset, levels: Levels, more: int) -> bytes:
    """A deflated file in which so many bytes follow the data set."""
    plain = native(dataset, levels)
    deflated = native(dataset, levels, "dfl")
    (group,), (shorter,) = (struct.unpack_from("<I", data, 140) for data in (deflated, plain))
    press = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    content = press.compress(plain[144 + shorter :] + b"\x5a" * more) + press.flush()
    return deflated[: 144 + group] + content + bytes(len(content) % 2)


def written(dataset: Dataset, uid: UID, *, preamble: bool = True, meta: bool = True) -> bytes:
    """The file: preamble and `DICM`, what says how the rest is written, and the data set; or without these."""
    big, implicit = uid == ExplicitVRBigEndian, uid == ImplicitVRLittleEndian
    body = DicomBytesIO()
    body.is_little_endian, body.is_implicit_VR = not big, implicit
    write_dataset(body, dataset)
    content = body.getvalue()
    if uid == DeflatedExplicitVRLittleEndian:
        press = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        content = press.compress(content) + press.flush()
        content += bytes(len(content) % 2)
    head = b""
    if meta:
        information = FileMetaDataset()
        information.FileMetaInformationVersion = b"\0\1"
        information.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
        information.MediaStorageSOPInstanceUID = UID("1.2.3.4")
        information.TransferSyntaxUID = uid
        information.ImplementationClassUID = UID("1.2.3")
        written_meta = DicomBytesIO()
        written_meta.is_little_endian, written_meta.is_implicit_VR = True, False
        write_file_meta_info(written_meta, information)
        head = written_meta.getvalue()
    return (bytes(128) + b"DICM" if preamble else b"") + head + content


def rle(levels: Levels) -> bytes:
    """One frame as DICOM's RLE: a segment for each byte of a sample, the highest first, and a header of 16 numbers."""
    cube = levels.reshape(*levels.shape[:2], -1)
    segments = []
    for sample in range(cube.shape[2]):
        plane = np.ascontiguousarray(cube[:, :, sample])
        by_byte = plane.astype(plane.dtype.newbyteorder(">")).view(np.uint8).reshape(*plane.shape, -1)
        for byte in range(by_byte.shape[2]):
            coded = b"".join(packbits(row.tobytes()) for row in by_byte[:, :, byte])
            segments.append(coded + bytes(len(coded) % 2))
    offsets = 64 + np.cumsum([0, *(len(segment) for segment in segments[:-1])])
    header = struct.pack("<16I", len(segments), *offsets.tolist(), *[0] * (15 - len(segments)))
    return header + b"".join(segments)
