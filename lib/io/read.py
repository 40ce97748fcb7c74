"""Read images and volumes of every supported file type, with their geometry.

Arrays are in memory order: `(rows, columns)` or `(slices, rows, columns)`, colour last. Physical
geometry is kept apart, in ITK's convention (x, y, z; LPS, millimetres), so that a mask can be
written over its image. The libraries that decode a file are imported when it is read.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from lib.errors import InputError
from lib.image import (
    DICOM_EXTENSIONS,
    IMAGE_EXTENSIONS,
    MAX_PIXELS,
    MAX_VOXELS,
    PICTURE_EXTENSIONS,
    TIFF_EXTENSIONS,
    Geometry,
    Image,
    extension,
)


def read_image(
    path: str | os.PathLike[str], max_pixels: int = MAX_PIXELS, spatial_dims: int | None = 2
) -> Image:
    """Read one 2D image, one volume or one loop.

    An image may be PNG, JPEG, BMP, TIFF, NRRD, NIfTI, MetaImage or DICOM; a volume NRRD, NIfTI,
    MetaImage, a TIFF whose pages are its slices, or DICOM of several frames. 8 and 16 bit, grey,
    RGB, RGBA and palette are read; alpha is dropped, palettes are applied. Ultrasound is read as
    luminance, with its region.

    Args:
        max_pixels: most pixels, or voxels, accepted.
        spatial_dims: 2 for an image, 3 for a volume or a loop, None for what the file is.

    Raises:
        InputError: missing, empty, truncated, not an image, of other dimensions, not finite, or
            larger than `max_pixels`; the message names the file and the cause.
    """
    path = Path(path)
    kind = _kind(path)
    if spatial_dims is None:
        spatial_dims = 2 if len(image_size(path)) == 2 else 3
    if kind in DICOM_EXTENSIONS:
        from lib.dicom.read import read_dicom

        image = read_dicom(path, max_pixels, spatial_dims)
        _check_values(path, image.pixels)
        return image
    if kind in PICTURE_EXTENSIONS:
        from lib.io.pictures import read_picture, read_stack

        pixels = (read_picture if spatial_dims == 2 else read_stack)(path, max_pixels)
        geometry = Geometry.flat(*pixels.shape[:spatial_dims])
    else:
        from lib.io.volumes import read_volume

        pixels, geometry = read_volume(path, max_pixels, spatial_dims)
    colour = pixels.ndim == spatial_dims + 1
    if colour and pixels.shape[-1] in (2, 4) and (spatial_dims == 2 or kind in TIFF_EXTENSIONS):
        # alpha carries no intensity
        pixels = pixels[..., 0] if pixels.shape[-1] == 2 else pixels[..., :3]
        colour = pixels.ndim == spatial_dims + 1
    if pixels.ndim != spatial_dims + colour or (colour and pixels.shape[-1] != 3):
        what = "2D image" if spatial_dims == 2 else "volume"
        raise InputError(
            f"{path.name}: expected one {what}, grey or colour, found an array of shape "
            f"{pixels.shape}; export a single {'slice or frame' if what != 'volume' else 'channel'}"
        )
    _check_values(path, pixels)
    return Image(pixels, geometry, path, colour)


def _kind(path: Path) -> str:
    """Return the extension that tells the type of an existing file; ``.dcm`` by content too.

    Raises:
        InputError: missing, empty, or of no type that is read.
    """
    _check_file(path)
    kind = extension(path)
    if kind:
        return kind
    if _is_dicom(path):
        return DICOM_EXTENSIONS[0]
    raise InputError(
        f"{path.name}: not a supported image type; expected one of "
        f"{', '.join(IMAGE_EXTENSIONS)}; convert the file first"
    )


def _check_values(path: Path, pixels: np.ndarray) -> None:
    if pixels.dtype.kind not in "biuf":
        raise InputError(
            f"{path.name}: holds values of type {pixels.dtype}, expected whole or real numbers; "
            f"export the magnitude image"
        )
    if pixels.dtype.kind == "f":
        finite = np.abs(pixels) <= np.finfo(np.float32).max  # networks compute in 32 bit
        if not finite.all():
            raise InputError(
                f"{path.name}: {int((~finite).sum())} of {pixels.size} pixel values are NaN or "
                f"infinite; expected finite intensities; repair or re-export the image"
            )


def _check_file(path: Path) -> None:
    if not path.is_file():
        raise InputError(f"{path.name}: no such file")
    if path.stat().st_size == 0:
        raise InputError(f"{path.name}: the file is empty (0 bytes); copy it again")


def _is_dicom(path: Path) -> bool:
    with open(path, "rb") as file:
        return file.read(132)[128:] == b"DICM"


def image_size(path: str | os.PathLike[str]) -> tuple[int, ...]:
    """Return the size of an image from its header, x first, without trailing axes of size 1.

    The pages of a TIFF and the frames of a DICOM file are its third axis.

    Raises:
        InputError: missing, empty or not an image.
    """
    path = Path(path)
    kind = _kind(path)
    if kind in PICTURE_EXTENSIONS:
        from lib.io.pictures import picture_size

        return picture_size(path)
    if kind in DICOM_EXTENSIONS:
        from lib.dicom.read import dicom_size

        return dicom_size(path)
    from lib.io.volumes import volume_size

    return volume_size(path)


def check_readable(path: str | os.PathLike[str]) -> None:
    """Read an image, a volume or a loop to the end; of a series of volumes the header alone.

    Raises:
        InputError: it cannot be read.
    """
    axes = len(image_size(path))
    if axes <= 3:
        read_image(path, MAX_PIXELS if axes == 2 else MAX_VOXELS, spatial_dims=axes)
