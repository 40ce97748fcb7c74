"""The size that each compressed frame of a DICOM file states itself, checked before decoding.

A decoder reserves memory for the size in the frame, not for that in the tags: a damaged frame of
some kilobytes can ask for terabytes. The headers are read by hand: no decoder here tells the size
of all JPEG variants (lossless, JPEG-LS, JPEG 2000) without decoding.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import takewhile

import pydicom
from pydicom.encaps import generate_fragments, generate_frames

MAX_FRAGMENTS = 200_000
_FRAGMENT = b"\xfe\xff\x00\xe0"  # as each begins
_SLACK = 4  # most pixels, as a multiple of those in the tags: encoders fill up their last blocks
_JPEG_2000 = b"\xff\x4f\xff\x51"  # markers: start of the codestream, then of its size
_WITHOUT_LENGTH = (0x01, *range(0xD0, 0xDA))
_FRAME_HEADERS = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}  # of JPEG, and JPEG-LS


def frame_codes(data: pydicom.Dataset, frames: int) -> list[bytes]:
    """Return the encoded bytes of each frame of compressed pixel data.

    Raises:
        ValueError: there are more or fewer than `frames`, or one states far more pixels or values
            than the tags.
    """
    _check_fragments(data)
    rows, columns = int(data.Rows), int(data.Columns)
    codes = list(generate_frames(data.PixelData, number_of_frames=frames))
    if len(codes) != frames:
        raise ValueError(f"{len(codes)} frames in it, its header promises {frames}")
    for high, wide, values in (size for code in codes for size in _sizes(code)):
        if high * wide > _SLACK * rows * columns or values > _SLACK:
            raise ValueError(
                f"a frame in it is of {wide} x {high} pixels with {values} values each, its "
                f"header promises {columns} x {rows}"
            )
    return codes


def fragments(data: pydicom.Dataset) -> list[bytes]:
    """Return the fragments of compressed pixel data, up to an empty one.

    Raises:
        ValueError: damaged, or more of them than are listed.
    """
    _check_fragments(data)
    found = generate_fragments(data.PixelData)
    next(found, None)  # where frames begin
    return list(takewhile(len, found))


def _check_fragments(data: pydicom.Dataset) -> None:
    """Raise `ValueError` for more fragments of compressed pixel data than are listed."""
    if (found := data.PixelData.count(_FRAGMENT)) > MAX_FRAGMENTS:
        raise ValueError(f"{found} fragments, at most {MAX_FRAGMENTS} are accepted")


def _sizes(code: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield rows, columns and values per pixel wherever a JPEG or JPEG 2000 frame states them."""
    position = code.find(_JPEG_2000)
    if position >= 0:
        right, low, left, top = struct.unpack_from(">4I", code, position + 8)
        (values,) = struct.unpack_from(">H", code, position + 40)
        yield max(low - top, 0), max(right - left, 0), values
        return
    position = 2
    while position + 9 < len(code) and code[position] == 0xFF:
        marker = code[position + 1]
        if marker in _FRAME_HEADERS:
            high, wide, values = struct.unpack_from(">HHB", code, position + 5)
            yield high, wide, values
        if marker == 0xFF:
            position += 1
        elif marker in _WITHOUT_LENGTH:
            position += 2
        elif marker == 0xDA:  # start of the pixels
            return
        else:
            position += 2 + struct.unpack_from(">H", code, position + 2)[0]
