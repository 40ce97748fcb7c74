"""RLE frames of DICOM (PS3.5 annex G), decoded no further than their size.

By hand: pydicom decodes runs to their end, 64 bytes of memory for a byte of the file, whatever
the size of the frame.
"""

from __future__ import annotations

import struct

import numpy as np

_HEADER = struct.Struct("<16I")  # number of segments and their offsets


def decode_rle(code: bytes, rows: int, columns: int, samples: int, value_bytes: int) -> np.ndarray:
    """Return the values of a frame, unsigned `(rows, columns, samples)`.

    Args:
        code: the frame, with its header.
        samples: values of each pixel.
        value_bytes: bytes of each value. A segment holds one byte of one sample of all pixels, the
            highest byte of a value first.

    Raises:
        ValueError: the segments are not as many as needed, lie elsewhere, or are truncated.
    """
    if len(code) < _HEADER.size:
        raise ValueError("an RLE frame without its header")
    count, *offsets = _HEADER.unpack_from(code)
    if count != samples * value_bytes:
        raise ValueError(f"an RLE frame of {count} segments, expected {samples * value_bytes}")
    ends = [*offsets[1:count], len(code)]
    pixels = rows * columns
    frame = np.empty((samples, value_bytes, pixels), np.uint8)
    for index, (start, end) in enumerate(zip(offsets, ends, strict=False)):
        values = unpacked(code[start:end], pixels)
        if len(values) < pixels:
            raise ValueError(f"an RLE segment of {len(values)} bytes, expected {pixels}")
        frame[divmod(index, value_bytes)] = np.frombuffer(values, np.uint8, pixels)
    joined = np.ascontiguousarray(frame.transpose(2, 0, 1)).view(f">u{value_bytes}")
    return joined.reshape(rows, columns, samples).astype(f"u{value_bytes}")


def unpacked(segment: bytes, most: int) -> bytearray:
    """Return the bytes of a segment of runs (PackBits), and little more than `most`."""
    values = bytearray()
    position, last = 0, len(segment) - 1
    while position < last and len(values) < most:
        head = segment[position]
        if head < 128:
            values += segment[position + 1 : position + head + 2]
            position += head + 2
        else:
            if head > 128:
                values += segment[position + 1 : position + 2] * (257 - head)
                position += 1
            position += 1
    return values
