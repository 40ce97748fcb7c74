"""A rectangle of an image as a TIFF of its own, in memory of some thousand rows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from lib.errors import InputError
from lib.image import MAX_PIXELS, by
from lib.io.read import read_image
from lib.io.rows import large_image

ROWS = 1024  # read at once


def rectangle_within(
    name: str, shape: tuple[int, int], location: tuple[int, int], size: tuple[int, int]
) -> tuple[slice, slice]:
    """Return rows and columns of a rectangle, as far as it lies in an image.

    Args:
        name: of the image, for messages.
        shape: rows and columns of the image.
        location: x and y of the first pixel.
        size: width and height; 0 for all from the location on.

    Raises:
        InputError: nothing of it lies in the image.
    """
    rows, columns = (
        slice(max(start, 0), min(start + length, side) if length else side)
        for start, length, side in zip(location[::-1], size[::-1], shape, strict=True)
    )
    if rows.start >= rows.stop or columns.start >= columns.stop:
        raise InputError(
            f"{name}: the region of {by(size)} pixels at {location[0]}, {location[1]} lies outside "
            f"the image of {by(shape[::-1])}; draw it inside"
        )
    return rows, columns


def write_rectangle(
    path: Path,
    location: tuple[int, int],
    size: tuple[int, int],
    channel: str,
    folder: Path,
) -> tuple[Path, tuple[slice, slice]]:
    """Write a rectangle of a 2D image, of one channel or in colour, as a TIFF into `folder`.

    Args:
        path: the image, of any size that `lib.io.rows.large_image` or `read_image` reads.
        location, size: see `rectangle_within`.

    Returns:
        The file, which is `path` itself for the whole of an image, and its rows and columns.

    Raises:
        InputError: the image cannot be read, or the rectangle lies outside of it.
    """
    import tifffile

    large = large_image(path, MAX_PIXELS, channel)
    if large is None:
        image = read_image(path, MAX_PIXELS, 2, channel)
        shape, colour, read = image.shape, image.colour, _reader(image.pixels)
    else:
        shape, colour, read = large.shape, large.colour, large.read
    rows, columns = rectangle_within(path.name, (shape[0], shape[1]), location, size)
    if rows == slice(0, shape[0]) and columns == slice(0, shape[1]):
        return path, (rows, columns)
    first = read(rows.start, rows.start + 1)
    high, wide = rows.stop - rows.start, columns.stop - columns.start
    file = folder / f"{path.stem}_{columns.start}_{rows.start}_{wide}_{high}.tif"
    cut = tifffile.memmap(
        file,
        shape=(high, wide, *first.shape[2:]),
        dtype=first.dtype,
        photometric="rgb" if colour else "minisblack",
        metadata=None,
    )
    for start in range(0, high, ROWS):
        stop = min(start + ROWS, high)
        cut[start:stop] = read(rows.start + start, rows.start + stop)[:, columns]
    cut.flush()
    return file, (rows, columns)


def _reader(pixels: np.ndarray) -> Callable[[int, int], np.ndarray]:
    return lambda start, stop: pixels[start:stop]
