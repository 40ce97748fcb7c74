"""Label images and volumes, read for training and review."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lib.errors import InputError
from lib.image import MAX_PIXELS, MAX_VOXELS
from lib.io.masks import MASK_EXTENSIONS
from lib.io.read import extension, read_image

_AXES = ("slices", "rows", "columns")


def read_label(path: str | os.PathLike[str], shape: tuple[int, ...] | None = None) -> np.ndarray:
    """Read a label as int32 `(rows, columns)` or `(slices, rows, columns)`, 0 is background.

    Args:
        shape: of its image, without colour; the label must have it. None accepts any 2D size.

    Raises:
        InputError: unreadable, in colour, of another size, or with values that are no whole
            numbers from 0.
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


def _listed(items: Sequence[object]) -> str:
    *first, last = map(str, items)
    return f"{', '.join(first)} and {last}"
