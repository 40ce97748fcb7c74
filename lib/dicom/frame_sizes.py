"""What compressed frames of DICOM say of their own size.

A decoder reserves memory for the size in the code and not for that in the tags: a damaged code of
some kilobytes can ask for terabytes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import pydicom
from pydicom.encaps import generate_pixel_data_frame

_SLACK = 4  # times the pixels of the tags: encoders fill up their last blocks
_JPEG_2000 = b"\xff\x4f\xff\x51"  # begin of the code, and of its size
_WITHOUT_LENGTH = (0x01, *range(0xD0, 0xDA))
_FRAME_HEADERS = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}  # of JPEG, and JPEG-LS


def frame_codes(data: pydicom.Dataset, frames: int) -> list[bytes]:
    """Return the code of each frame of compressed pixel data.

    Raises:
        ValueError: there are others than `frames`, or one promises far more pixels or values than
            the tags.
    """
    rows, columns = int(data.Rows), int(data.Columns)
    codes = list(generate_pixel_data_frame(data.PixelData, frames))
    if len(codes) != frames:
        raise ValueError(f"{len(codes)} frames in it, its header promises {frames}")
    for high, wide, values in (size for code in codes for size in _sizes(code)):
        if high * wide > _SLACK * rows * columns or values > _SLACK:
            raise ValueError(
                f"a frame in it is of {wide} x {high} pixels with {values} values each, its "
                f"header promises {columns} x {rows}"
            )
    return codes


def _sizes(code: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield rows, columns and values per pixel wherever a code of JPEG or JPEG 2000 tells them."""
    place = code.find(_JPEG_2000)
    if place >= 0:
        right, low, left, top = struct.unpack_from(">4I", code, place + 8)
        (values,) = struct.unpack_from(">H", code, place + 40)
        yield max(low - top, 0), max(right - left, 0), values
        return
    place = 2
    while place + 9 < len(code) and code[place] == 0xFF:
        marker = code[place + 1]
        if marker in _FRAME_HEADERS:
            high, wide, values = struct.unpack_from(">HHB", code, place + 5)
            yield high, wide, values
        if marker == 0xFF:
            place += 1
        elif marker in _WITHOUT_LENGTH:
            place += 2
        elif marker == 0xDA:  # begin of the pixels
            return
        else:
            place += 2 + struct.unpack_from(">H", code, place + 2)[0]
