"""Label images and volumes, read for training and review."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lib.errors import InputError
from lib.image import PICTURE_EXTENSIONS, VOLUME_EXTENSIONS, Geometry, Image
from lib.io.alignment import aligned, image_shape
from lib.io.layers import LabelFile, read_label_file
from lib.io.read import extension, image_files
from lib.io.volumes import volume_geometry
from lib.isolation.calls import isolated

_AXES = ("slices", "rows", "columns")


def read_label(
    path: str | os.PathLike[str], image: Image | Geometry | tuple[int, ...] | None = None
) -> np.ndarray:
    """Read a label as int32 `(rows, columns)` or `(slices, rows, columns)`, 0 is background.

    Args:
        image: the image that it labels, or the grid of that: the label is put on it, see
            `lib.io.alignment.aligned`. Pictures (PNG, TIFF ...) tell no place, only the size of a
            print: they lie as they are. A shape instead asks for a label of that size, wherever it
            lies; None accepts any 2D size.

    Raises:
        InputError: it does not lie on the image, is of another size than the shape, or what
            `lib.io.layers.read_label_file` refuses.
    """
    path = Path(path)
    if image is None:
        return read_label_file(path, 2).pixels
    shape = image if isinstance(image, tuple) else image_shape(_grid(image))
    label = _with_axes(path, len(shape))
    pixels = label.pixels
    if not isinstance(image, tuple) and extension(path) not in PICTURE_EXTENSIONS:
        measured = image.spacing if isinstance(image, Image) else None
        return aligned(path.name, pixels, label.geometry, _grid(image), measured)
    if pixels.shape != shape:
        sides = [f"{n} {axis}" for n, axis in zip(pixels.shape, _AXES[-len(shape) :], strict=True)]
        raise InputError(
            f"{path.name}: label has {_listed(sides)}, its image has {_listed(shape)}; label the "
            f"image at its own size"
        )
    return pixels


@isolated(image_files)
def _with_axes(path: Path, axes: int) -> LabelFile:
    """Read a label file with 2 or 3 axes; a slice with a place among others counts as a volume."""
    if axes != 3 or not _is_slice(path):
        return read_label_file(path, axes)
    label = read_label_file(path, 2)
    return LabelFile(label.pixels[np.newaxis], label.geometry)


def _grid(image: Image | Geometry) -> Geometry:
    return image.geometry if isinstance(image, Image) else image


def _is_slice(path: Path) -> bool:
    """Tell whether a label file is a single slice with a place among others."""
    if extension(path) not in VOLUME_EXTENSIONS:
        return False
    return volume_geometry(path).size[2:] == (1,)


def _listed(items: Sequence[object]) -> str:
    *first, last = map(str, items)
    return f"{', '.join(first)} and {last}"
