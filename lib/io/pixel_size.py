"""The size of a pixel for measurements, only where the file tells it."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from lib.image import (
    MICROSCOPY_EXTENSIONS,
    PICTURE_EXTENSIONS,
    TIFF_EXTENSIONS,
    Image,
    has_extension,
)
from lib.io.read import image_files
from lib.isolation.calls import isolated

# millimetres; names in the files of OME and ImageJ, in lower case
_UNITS = {
    **dict.fromkeys(("µm", "μm", "um", "micron", "microns", "micrometer", "\\u00b5m"), 1e-3),
    **{"nm": 1e-6, "mm": 1.0, "cm": 10.0, "m": 1000.0, "inch": 25.4, "pm": 1e-9},
}
_X_RESOLUTION, _Y_RESOLUTION = 282, 283  # tags


def pixel_size(image: Image) -> tuple[float, ...] | None:
    """Return the size of a pixel along x, y[, z] in millimetres; None where nothing tells it.

    OME-TIFF and ImageJ tell it in descriptions that ITK does not read. Elsewhere it is
    `Image.spacing`, but for 1 mm along all axes, which ITK answers for files that tell nothing: of
    pictures, files of microscopes and flat images this counts as untold, of volumes as told. Slices
    of a TIFF are as far apart as its description says; without that the volume has no size. A loop
    has x and y.
    """
    axes = image.spatial_dims - image.over_time
    if has_extension(image.path, TIFF_EXTENSIONS) and image.path.is_file():
        described = described_size(image.path)
        if len(described) >= axes:
            return described[:axes]
    picture = has_extension(image.path, PICTURE_EXTENSIONS)
    if picture and axes == 3:
        return None
    size = image.spacing[:axes]
    picture = picture or has_extension(image.path, MICROSCOPY_EXTENSIONS)
    return None if set(size) == {1.0} and (picture or axes == 2) else size


@isolated(image_files, remember=True)
def described_size(path: Path) -> tuple[float, ...]:
    """Return the size of a pixel that OME or ImageJ describe, x, y[, z] in mm; empty for none."""
    import tifffile

    try:
        with tifffile.TiffFile(path, _multifile=False) as tiff:
            if tiff.is_ome:
                return _of_ome(tiff.ome_metadata or "")
            return _of_imagej(tiff) if tiff.is_imagej else ()
    except Exception:  # the reader of pixels says what is wrong
        return ()


def _of_ome(text: str) -> tuple[float, ...]:
    for element in ElementTree.fromstring(text).iter():
        if element.tag.rpartition("}")[2] == "Pixels":
            sizes = []
            for axis in "XYZ":
                size = float(element.get(f"PhysicalSize{axis}", 0))
                unit = _UNITS.get(element.get(f"PhysicalSize{axis}Unit", "µm").lower(), 0.0)
                sizes.append(size * unit)
            return _positive(sizes)
    return ()


def _of_imagej(tiff: Any) -> tuple[float, ...]:
    described = tiff.imagej_metadata or {}
    unit = _UNITS.get(str(described.get("unit", "")).lower(), 0.0)
    tags = tiff.pages[0].tags
    sizes = []
    for tag in (_X_RESOLUTION, _Y_RESOLUTION):
        pixels, units = tags[tag].value if tag in tags else (1, 0)
        sizes.append(unit * units / pixels)
    return _positive([*sizes, unit * float(described.get("spacing", 0))])


def _positive(sizes: list[float]) -> tuple[float, ...]:
    """Return x, y and z, or x and y, as far as they are known."""
    known = [0 < size < float("inf") for size in sizes]
    return tuple(sizes) if all(known) else tuple(sizes[:2]) if all(known[:2]) else ()
