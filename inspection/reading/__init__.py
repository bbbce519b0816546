"""Reads image files, one module a format, one for what several share.

A file is judged by exactly the grey levels that it stores, or not at all. Formats are told by content: PNG, TIFF, BMP,
JPEG and DICOM/DICONDE; every page of a TIFF and every frame of a DICOM that shows the scene, up to `inbox.max_pages`,
but no smaller copies and no masks.

- **Damage** puts a file into `quarantine`, in training on the list of what could not be read: missing or overwritten
  parts, strips that were never written, pages that are not there. Decoders that fill gaps with grey are not believed.
  What no checksum covers and any bits would be an image of cannot be told: overwritten pixels of an uncompressed file,
  and of a JPEG or JPEG 2000 a few bytes that happen to fit.
- **Grey levels** follow one rule (`inspection/reading/levels.py`). Integers span their full range, or the one that the
  file declares (TIFF SMin/SMaxSampleValue, DICOM bits stored); a declared range that the pixels leave is not used, with
  a note in the record. Floating-point numbers span `inbox.float_range`, else the range that the file declares, else 0
  to 1; outside of it, and NaN or infinity, the file is refused, and the reason says what to set. 16 bits stay 16 bits,
  in colour too; colour becomes luminance; transparency, colour profiles and gamma are ignored.
- **Polarity and orientation** are what a viewer shows: TIFF MINISWHITE for every type of number, DICOM MONOCHROME1,
  palettes, negative rescale slopes, look-up tables that fall, an inverse presentation; EXIF and TIFF orientation. DICOM
  windows are for display and not honoured. The same picture saved in another way gives the same verdict and map.
- **TIFF**: 1 to 64 bits, signed, unsigned or floating-point, both byte orders, BigTIFF; none, LZW, deflate, zstd,
  PackBits, LZMA, JPEG, JPEG 2000, CCITT; predictors, strips, tiles, planes.
- **DICOM**: with or without preamble and suffix; uncompressed, deflated, RLE, JPEG with 8 and 12 bits, lossless JPEG,
  JPEG-LS, JPEG 2000 and its high-throughput kind.
"""
