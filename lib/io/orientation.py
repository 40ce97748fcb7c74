"""The orientation tag of a TIFF: its pixels lie where ITK, and so 3D Slicer, shows them.

ITK mirrors rows and columns as the tag says, and never exchanges them. Pillow exchanges them too
(and misreads uncompressed grey then), tifffile takes the pixels as they are stored.
"""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np

from lib.io.opening import open_picture

_ORIENTATION = 274  # the tag
_UPRIGHT = 1
_FROM_BELOW, _FROM_RIGHT = (3, 4, 7, 8), (2, 3, 6, 7)  # first row at the bottom, column at right
_CODES = {2: "H", 4: "I"}  # of struct, by the bytes of the value


def as_stored(path: Path) -> Path | io.BytesIO:
    """Return what Pillow opens to give the pixels as they are stored, whatever the tag says."""
    if _orientation(path) == _UPRIGHT:
        return path
    import tifffile

    content = bytearray(path.read_bytes())
    with tifffile.TiffFile(path, _multifile=False) as tiff:
        for page in tiff.pages:
            if tag := page.aspage().tags.get(_ORIENTATION):
                code = tiff.byteorder + _CODES[tag.valuebytecount]
                struct.pack_into(code, content, tag.valueoffset, _UPRIGHT)
    return io.BytesIO(content)


def as_shown(path: Path, pixels: np.ndarray, rows: int = 0) -> np.ndarray:
    """Return stored pixels `(..., rows, columns, ...)` as ITK shows them.

    Args:
        rows: the axis of the rows; that of the columns follows.
    """
    orientation = _orientation(path)
    mirrored = [
        axis
        for axis, orientations in ((rows, _FROM_BELOW), (rows + 1, _FROM_RIGHT))
        if orientation in orientations
    ]
    return np.ascontiguousarray(np.flip(pixels, tuple(mirrored))) if mirrored else pixels


def _orientation(path: Path) -> int:
    """Return the orientation of the first page; 1 for other pictures, and where none is told."""
    try:
        with open_picture(path) as picture:
            return int(getattr(picture, "tag_v2", {}).get(_ORIENTATION, _UPRIGHT))
    except Exception:  # Pillow raises OSError, SyntaxError, ValueError, struct.error ...
        return _orientation_by_tifffile(path)


def _orientation_by_tifffile(path: Path) -> int:
    import tifffile

    try:
        with tifffile.TiffFile(path, _multifile=False) as tiff:
            return int(tiff.pages.first.tags.valueof(_ORIENTATION, _UPRIGHT))
    except Exception:
        return _UPRIGHT  # the readers say what is wrong
