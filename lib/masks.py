"""Label images: read them for training, write them as answers over the image they belong to."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import tifffile
from PIL import Image as PillowImage

from lib.errors import InputError
from lib.images import (
    NIFTI_EXTENSIONS,
    PICTURE_EXTENSIONS,
    VOLUME_EXTENSIONS,
    Geometry,
    extension,
    read_image,
    stem,
)
from lib.nifti import check_pixels

MASK_EXTENSIONS = (".png", ".tif", ".tiff", *VOLUME_EXTENSIONS)


def read_label(path: str | os.PathLike[str], shape: tuple[int, int] | None = None) -> np.ndarray:
    """Read a label image as `(rows, columns)` int32, 0 is background.

    Args:
        shape: rows and columns of the image it belongs to; checked when given.

    Raises:
        InputError: unreadable, not integer valued, negative, in colour, or of another size.
    """
    path = Path(path)
    if extension(path) in (".jpg", ".jpeg"):
        raise InputError(
            f"{path.name}: JPEG changes label values; expected a lossless label image "
            f"({', '.join(MASK_EXTENSIONS)}); save it again as one of these"
        )
    image = read_image(path)
    pixels = image.pixels
    if pixels.ndim == 3:
        if not (pixels == pixels[..., :1]).all():
            raise InputError(
                f"{path.name}: a label image holds one integer per pixel, found colours; save the "
                f"label map itself, not a picture of it"
            )
        pixels = pixels[..., 0]
    if np.issubdtype(pixels.dtype, np.floating) and not (pixels == np.floor(pixels)).all():
        raise InputError(f"{path.name}: label values must be whole numbers, found fractions")
    if pixels.size and (pixels.min() < 0 or pixels.max() > np.iinfo(np.int32).max):
        raise InputError(
            f"{path.name}: label values must lie in 0..{np.iinfo(np.int32).max}, found "
            f"{pixels.min()}..{pixels.max()}"
        )
    if shape is not None and pixels.shape != shape:
        raise InputError(
            f"{path.name}: label has {pixels.shape[0]} rows and {pixels.shape[1]} columns, its "
            f"image has {shape[0]} and {shape[1]}; label the image at its own size"
        )
    return pixels.astype(np.int32)


def write_mask(
    path: str | os.PathLike[str],
    mask: np.ndarray,
    geometry: Geometry,
    dtype: np.dtype | None = None,
) -> Path:
    """Write an integer `mask` of shape `(rows, columns)` with `geometry`; the type by extension.

    Values up to 255 are stored in 8 bit, up to 65535 in 16 bit, beyond in 32 bit unsigned.
    A `dtype` is used instead where all values fit it. A mask of another size than `geometry` is
    refused. The file appears whole or not at all.

    Raises:
        InputError: the extension cannot hold a mask, or the values do not fit the file type.
    """
    path = Path(path)
    kind = extension(path)
    if kind not in MASK_EXTENSIONS:
        raise InputError(
            f"masks cannot be written as '{path.suffix or path.name}'; expected one of "
            f"{', '.join(MASK_EXTENSIONS)}"
        )
    if mask.shape != geometry.size[1::-1]:
        raise ValueError(f"mask of shape {mask.shape} does not fit a grid of {geometry.size}")
    top = int(mask.max(initial=0))
    if kind == ".png" and top > 65535:
        raise InputError(f"a PNG holds labels up to 65535, found {top}; ask for .nrrd")
    allowed = (np.uint8, np.uint16) if kind == ".png" else (np.uint8, np.uint16, np.uint32)
    if dtype is None or top > np.iinfo(dtype).max or (kind == ".png" and dtype not in allowed):
        dtype = np.dtype(next(kind for kind in allowed if top <= np.iinfo(kind).max))
    mask = np.ascontiguousarray(mask, dtype=dtype)

    with _whole(path) as partial:
        if kind == ".png":
            PillowImage.fromarray(mask).save(partial)
        elif kind in (".tif", ".tiff"):
            tifffile.imwrite(partial, mask, compression="zlib")
        else:
            _write_itk(partial, mask, geometry)
    return path


def write_probabilities(
    path: str | os.PathLike[str], probabilities: np.ndarray, geometry: Geometry
) -> Path:
    """Write float32 `(rows, columns)` in 0..1 as .nrrd, .nii, .nii.gz or .mha with `geometry`."""
    path = Path(path)
    if extension(path) not in VOLUME_EXTENSIONS:
        raise InputError(
            f"probabilities cannot be written as '{path.suffix or path.name}'; expected one of "
            f"{', '.join(VOLUME_EXTENSIONS)}"
        )
    with _whole(path) as partial:
        _write_itk(partial, probabilities.astype(np.float32), geometry)
    return path


def result_extension(wanted: object, image: str | os.PathLike[str]) -> str:
    """Return the file type of a mask: as wanted, else the image's own where it is lossless.

    Raises:
        InputError: `wanted` cannot hold a label image.
    """
    if wanted:
        suffix = str(wanted) if str(wanted).startswith(".") else f".{wanted}"
        if suffix not in MASK_EXTENSIONS:
            raise InputError(
                f"result_extension '{wanted}' cannot hold a label image; expected one of "
                f"{', '.join(MASK_EXTENSIONS)}"
            )
        return suffix
    kind = extension(image)
    if kind in MASK_EXTENSIONS:
        return kind
    return ".png" if kind in PICTURE_EXTENSIONS else ".nrrd"


@contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """Yield where to write `path` meanwhile; it appears there when all went well."""
    # libraries write by extension
    partial = path.with_name(f".{stem(path)}.partial{extension(path)}")
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _write_itk(path: Path, pixels: np.ndarray, geometry: Geometry) -> None:
    out = sitk.GetImageFromArray(pixels if len(geometry.size) == 2 else pixels[np.newaxis])
    out.SetSpacing(geometry.spacing)
    out.SetOrigin(geometry.origin)
    out.SetDirection(geometry.direction)
    path.touch()  # a folder that is missing or closed is reported here
    try:
        sitk.WriteImage(out, str(path), useCompression=True)
        if extension(path) in NIFTI_EXTENSIONS:
            check_pixels(path)
    except (RuntimeError, InputError):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from None
