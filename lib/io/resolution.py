"""The size of a pixel in pictures: read as ITK, and so 3D Slicer, reads it, and written for it."""

from __future__ import annotations

import struct
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from lib.image import Geometry, itk_geometry
from lib.io.opening import open_picture

_UNITS = {"CENTIMETER": 10.0, "INCH": 25.4}  # mm; the units of a TIFF's resolution
_X_RESOLUTION = 282  # the tag of a TIFF
_AFTER_HEADER = 33  # bytes of a PNG: its signature and the chunk IHDR


def picture_geometry(path: Path, shape: tuple[int, ...]) -> Geometry:
    """Return the grid of a picture `(rows, columns)` or of a stack `(slices, rows, columns)`.

    ITK takes the spacing of rows and columns from the resolution of TIFF and JPEG and from the
    scale (sCAL, not pHYs) of PNG, and slices as 1 mm apart. Where it reads nothing, all are 1.
    """
    flat = Geometry.flat(*shape)
    found = itk_geometry(path) if _may_tell(path) else None
    return replace(flat, spacing=(*found.spacing[:2], *flat.spacing[2:])) if found else flat


def _may_tell(path: Path) -> bool:
    """Tell whether a picture may have a spacing; most have none, and ITK need not be loaded."""
    try:
        with open_picture(path) as picture:
            if picture.format == "TIFF":
                return _X_RESOLUTION in picture.tag_v2  # type: ignore[attr-defined]
            if picture.format == "PNG":
                return b"sCAL" in path.read_bytes()
            return bool(picture.info.get("jfif_unit"))
    except Exception:  # Pillow raises OSError, SyntaxError, ValueError, struct.error ...
        return True


def tiff_resolution(spacing: tuple[float, ...]) -> dict[str, Any]:
    """Return the arguments of `tifffile.imwrite` from which ITK reads the `spacing` of x and y."""
    if spacing[:2] == (1.0, 1.0):
        return {}

    def error(unit: str) -> float:
        length = _UNITS[unit]  # a reader holds the pixels per unit in 32 bits
        return sum(abs(length / float(np.float32(length / step)) - step) for step in spacing[:2])

    unit = min(_UNITS, key=error)
    pixels = tuple(_UNITS[unit] / step for step in spacing[:2])
    return {"resolution": pixels, "resolutionunit": unit}


def add_png_scale(path: Path, spacing: tuple[float, ...]) -> None:
    """Add the chunk from which ITK reads the `spacing` of x and y to a PNG file."""
    if spacing[:2] == (1.0, 1.0):
        return
    unit = b"\x01"  # as ITK writes; it reads the numbers as mm whatever the unit
    width, height = (repr(float(step)).encode() for step in spacing[:2])
    data = b"sCAL" + unit + width + b"\x00" + height
    chunk = struct.pack(">I", len(data) - 4) + data + struct.pack(">I", zlib.crc32(data))
    content = path.read_bytes()
    path.write_bytes(content[:_AFTER_HEADER] + chunk + content[_AFTER_HEADER:])
