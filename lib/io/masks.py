"""Masks and probabilities, written as answers on the grid of their image."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage

from lib.errors import InputError
from lib.image import (
    PICTURE_EXTENSIONS,
    TIFF_EXTENSIONS,
    VOLUME_EXTENSIONS,
    Geometry,
)
from lib.io.read import extension
from lib.io.resolution import add_png_scale, tiff_resolution
from lib.io.volumes import whole_file, write_volume

MASK_EXTENSIONS = (".png", *TIFF_EXTENSIONS, *VOLUME_EXTENSIONS)

Names = tuple[tuple[str, int], ...]
"""Names of segments with their values; several segments may share a name."""


def write_mask(
    path: str | os.PathLike[str],
    mask: np.ndarray,
    geometry: Geometry,
    dtype: np.dtype | None = None,
    names: Names = (),
) -> Path:
    """Write an integer `mask` with `geometry`, atomically; the extension gives the file type.

    An .mhd is written as one file that holds its pixels too; ITK reads it like an .mha. A PNG and a
    TIFF keep the spacing of rows and columns, and no more of the geometry.

    Args:
        mask: `(rows, columns)` or `(slices, rows, columns)`, of the size of `geometry`.
        dtype: used where all values fit it. Otherwise the smallest of 8, 16 and 32 bit unsigned
            that holds them.
        names: of the values; only .nrrd keeps them, as 3D Slicer's .seg.nrrd does.

    Raises:
        InputError: the extension cannot hold a mask, or the values do not fit the file type.
    """
    path = Path(path)
    suffix = extension(path)
    if suffix not in MASK_EXTENSIONS:
        raise InputError(
            f"masks cannot be written as '{path.suffix or path.name}'; expected one of "
            f"{', '.join(MASK_EXTENSIONS)}"
        )
    if mask.ndim not in (2, 3) or not _fits(mask, geometry):
        raise ValueError(f"mask of shape {mask.shape} does not fit a grid of {geometry.size}")
    if suffix == ".png" and mask.ndim == 3:
        raise InputError(
            f"a PNG holds one 2D image, found a volume of {' x '.join(map(str, geometry.size))}; "
            f"ask for .nrrd or .nii.gz"
        )
    top = int(mask.max(initial=0))
    if suffix == ".png" and top > 65535:
        raise InputError(f"a PNG holds labels up to 65535, found {top}; ask for .nrrd")
    allowed = (np.uint8, np.uint16) if suffix == ".png" else (np.uint8, np.uint16, np.uint32)
    if dtype is None or top > np.iinfo(dtype).max or (suffix == ".png" and dtype not in allowed):
        dtype = np.dtype(next(one for one in allowed if top <= np.iinfo(one).max))
    mask = np.ascontiguousarray(mask, dtype=dtype)

    with whole_file(path) as partial:
        if suffix == ".png":
            PillowImage.fromarray(mask).save(partial)
            add_png_scale(partial, geometry.spacing)
        elif suffix in TIFF_EXTENSIONS:
            import tifffile

            # without it tifffile takes 3 slices or 3 columns for colours
            tifffile.imwrite(
                partial,
                mask,
                compression="zlib",
                photometric="minisblack",
                **tiff_resolution(geometry.spacing),
            )
        else:
            write_volume(partial, mask, geometry, _described(names) if suffix == ".nrrd" else {})
    return path


def _described(names: Names) -> dict[str, str]:
    """Return names as the fields by which 3D Slicer describes segments in a .seg.nrrd."""
    return {
        f"Segment{number}_{field}": str(text)
        for number, (name, value) in enumerate(names)
        for field, text in (("Name", name), ("LabelValue", value), ("Layer", 0))
    }


def write_probabilities(
    path: str | os.PathLike[str], probabilities: np.ndarray, geometry: Geometry
) -> Path:
    """Write probabilities as float32 with `geometry`, atomically.

    Args:
        path: NRRD, NIfTI or MetaImage, by its extension: the file types that keep a geometry.
        probabilities: 0..1, `(rows, columns)` or `(slices, rows, columns)`, of the size of
            `geometry`.

    Raises:
        InputError: another file type.
    """
    path = Path(path)
    if extension(path) not in VOLUME_EXTENSIONS:
        raise InputError(
            f"probabilities cannot be written as '{path.suffix or path.name}'; expected one of "
            f"{', '.join(VOLUME_EXTENSIONS)}"
        )
    if not _fits(probabilities, geometry):
        raise ValueError(
            f"probabilities of shape {probabilities.shape} do not fit a grid of {geometry.size}"
        )
    with whole_file(path) as partial:
        write_volume(partial, probabilities.astype(np.float32, copy=False), geometry)
    return path


def result_extension(
    requested: object, image: str | os.PathLike[str], spatial_dims: int = 2
) -> str:
    """Return the extension of a mask: as requested, else the image's own where it is lossless.

    Args:
        requested: an extension with or without its dot; empty or None for no request.
        image: name of the image file.
        spatial_dims: 3 for the mask of a volume.

    Raises:
        InputError: a file type that cannot hold a label image, or a label volume.
    """
    allowed = MASK_EXTENSIONS[spatial_dims - 2 :]  # all but PNG hold volumes
    if requested:
        suffix = str(requested) if str(requested).startswith(".") else f".{requested}"
        if suffix not in allowed:
            raise InputError(
                f"result_extension '{requested}' cannot hold a label "
                f"{'image' if spatial_dims == 2 else 'volume'}; expected one of "
                f"{', '.join(allowed)}"
            )
        return suffix
    suffix = extension(image)
    if suffix in allowed:
        return suffix
    return ".png" if suffix in PICTURE_EXTENSIONS and spatial_dims == 2 else ".nrrd"


def _fits(pixels: np.ndarray, geometry: Geometry) -> bool:
    """Tell whether `pixels` has the geometry's size; a single slice may lack its third axis."""
    size, further = geometry.size[: pixels.ndim], geometry.size[pixels.ndim :]
    return pixels.shape == size[::-1] and all(side == 1 for side in further)
