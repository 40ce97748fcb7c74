"""What ITK's NIfTI reader passes over: files that end early (zeros then), NaN (zero then)."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np

from lib.errors import InputError
from lib.images import damaged

_BLOCK = 1 << 20
_FLOATS = {16: "f4", 64: "f8"}  # datatype codes


def check_pixels(path: Path) -> None:
    """Refuse a NIfTI file whose pixels are not all there, or not all finite.

    Raises:
        InputError: truncated, NaN or infinite values, or no NIfTI file at all.
    """
    with open(path, "rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    bad = found = 0
    try:
        with gzip.open(path) if packed else open(path, "rb") as file:
            header = file.read(348)
            order = "<" if header[:4] == struct.pack("<i", 348) else ">"
            dim = struct.unpack(f"{order}8h", header[40:56])
            code, bits = struct.unpack(f"{order}2h", header[70:74])
            start = int(struct.unpack(f"{order}f", header[108:112])[0])
            wanted = math.prod(dim[1 : dim[0] + 1]) * bits // 8
            file.seek(start)
            while found < wanted and (block := file.read(min(_BLOCK, wanted - found))):
                found += len(block)
                if code in _FLOATS and len(block) % (bits // 8) == 0:
                    bad += int((~np.isfinite(np.frombuffer(block, order + _FLOATS[code]))).sum())
    except (EOFError, OSError, zlib.error, struct.error, OverflowError) as error:
        raise damaged(path, error) from None
    if found < wanted:
        raise InputError(
            f"{path.name}: truncated, {found} of {wanted} bytes of pixels are there; copy it again"
        )
    if bad:
        raise InputError(
            f"{path.name}: {bad} of {wanted * 8 // bits} pixel values are NaN or infinite; "
            f"expected finite intensities; repair or re-export the image"
        )
