"""Label images and volumes: read for training, written as answers over the image they belong to."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage

from lib.errors import InputError
from lib.image import (
    MAX_PIXELS,
    MAX_VOXELS,
    PICTURE_EXTENSIONS,
    TIFF_EXTENSIONS,
    VOLUME_EXTENSIONS,
    Geometry,
    extension,
    stem,
)
from lib.io.read import read_image
from lib.io.volumes import write_volume

MASK_EXTENSIONS = (".png", *TIFF_EXTENSIONS, *VOLUME_EXTENSIONS)
_AXES = ("slices", "rows", "columns")


def read_label(path: str | os.PathLike[str], shape: tuple[int, ...] | None = None) -> np.ndarray:
    """Read a label as int32 `(rows, columns)` or `(slices, rows, columns)`, 0 is background.

    Args:
        shape: of the image it belongs to, without colour; checked. None for any 2D size.

    Raises:
        InputError: unreadable, not integer valued, negative, in colour, or of another size.
    """
    path = Path(path)
    if extension(path) in (".jpg", ".jpeg"):
        raise InputError(
            f"{path.name}: JPEG changes label values; expected a lossless label image "
            f"({', '.join(MASK_EXTENSIONS)}); save it again as one of these"
        )
    volume = shape is not None and len(shape) == 3
    image = read_image(path, MAX_VOXELS if volume else MAX_PIXELS, 3 if volume else 2)
    pixels = image.pixels
    if image.colour:
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
        sides = [f"{n} {axis}" for n, axis in zip(pixels.shape, _AXES[-len(shape) :], strict=True)]
        raise InputError(
            f"{path.name}: label has {_listed(sides)}, its image has {_listed(shape)}; label the "
            f"image at its own size"
        )
    return pixels.astype(np.int32)


def write_mask(
    path: str | os.PathLike[str],
    mask: np.ndarray,
    geometry: Geometry,
    dtype: np.dtype | None = None,
) -> Path:
    """Write an integer `mask` with `geometry`; the file type by extension.

    Values up to 255 are stored in 8 bit, up to 65535 in 16 bit, beyond in 32 bit unsigned.
    A `dtype` is used instead where all values fit it. The file appears whole or not at all; so an
    .mhd holds its pixels too, which ITK reads like those of an .mha. A TIFF keeps no geometry.

    Args:
        mask: `(rows, columns)` or `(slices, rows, columns)`, of the size of `geometry`.

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
    if mask.ndim not in (2, 3) or not _fits(mask, geometry):
        raise ValueError(f"mask of shape {mask.shape} does not fit a grid of {geometry.size}")
    if kind == ".png" and mask.ndim == 3:
        raise InputError(
            f"a PNG holds one 2D image, found a volume of {' x '.join(map(str, geometry.size))}; "
            f"ask for .nrrd or .nii.gz"
        )
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
        elif kind in TIFF_EXTENSIONS:
            import tifffile

            # without a photometric it would take 3 slices or columns for colour
            tifffile.imwrite(partial, mask, compression="zlib", photometric="minisblack")
        else:
            write_volume(partial, mask, geometry)
    return path


def write_probabilities(
    path: str | os.PathLike[str], probabilities: np.ndarray, geometry: Geometry
) -> Path:
    """Write float32 in 0..1, of the size of `geometry`, as a file type that keeps geometry.

    Raises:
        InputError: the extension is of another file type.
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
    with _whole(path) as partial:
        write_volume(partial, probabilities.astype(np.float32, copy=False), geometry)
    return path


def result_extension(wanted: object, image: str | os.PathLike[str], spatial_dims: int = 2) -> str:
    """Return the file type of a mask: as wanted, else the image's own where it is lossless.

    Args:
        wanted: an extension with or without its dot; empty or None for none.
        image: name of the image file.
        spatial_dims: 3 for the mask of a volume.

    Raises:
        InputError: `wanted` cannot hold a label image, or label volume.
    """
    able = MASK_EXTENSIONS[spatial_dims - 2 :]  # all but PNG hold volumes
    if wanted:
        suffix = str(wanted) if str(wanted).startswith(".") else f".{wanted}"
        if suffix not in able:
            raise InputError(
                f"result_extension '{wanted}' cannot hold a label "
                f"{'image' if spatial_dims == 2 else 'volume'}; expected one of {', '.join(able)}"
            )
        return suffix
    kind = extension(image)
    if kind in able:
        return kind
    return ".png" if kind in PICTURE_EXTENSIONS and spatial_dims == 2 else ".nrrd"


def _fits(pixels: np.ndarray, geometry: Geometry) -> bool:
    """Tell whether `pixels` has the grid's size; a single slice may come without its third axis."""
    size, rest = geometry.size[: pixels.ndim], geometry.size[pixels.ndim :]
    return pixels.shape == size[::-1] and all(side == 1 for side in rest)


def _listed(items: Sequence[object]) -> str:
    *first, last = map(str, items)
    return f"{', '.join(first)} and {last}"


@contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """Yield where to write `path` meanwhile; it appears there when all went well."""
    # libraries write by extension, and for an .mhd two files
    kind = ".mha" if extension(path) == ".mhd" else extension(path)
    partial = path.with_name(f".{stem(path)}.partial{kind}")
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
