"""Marker-controlled watersheds (scikit-image) over a part of an image.

They flood the gradient of the image from what is marked as structure and as background. Floods over
several scales of the gradient vote, which holds in sharp microscopy as in speckle.
"""

from __future__ import annotations

import math

import numpy as np
from scipy import ndimage
from skimage.segmentation import watershed

from lib.data.grid import resample
from lib.image import Image

SCALES = (1.0, 1.5, 2.5)  # standard deviations of the gradients, pixels of the finest axis
STRUCTURE, BACKGROUND = 1, 2  # of marks; 0 is open

Part = tuple[slice, ...]


def flood(image: Image, part: Part, marks: np.ndarray, largest: int) -> np.ndarray:
    """Return where most floods from `marks` over `part` of the image are structure.

    Args:
        marks: `STRUCTURE`, `BACKGROUND` or 0, of the shape of the part; they stay.
        largest: pixels flooded at once; a larger part is flooded on a coarser grid.

    Returns:
        Boolean, of the shape of the part.
    """
    channels, steps = channels_of(image, part), axis_steps(image)
    factor = (marks.size / largest) ** (1 / marks.ndim)
    grid = marks
    if factor > 1:
        shape = tuple(max(1, math.floor(side / factor)) for side in marks.shape)
        grid = _thinned(marks, shape)
        channels = resample(channels, shape)
    votes = np.zeros(grid.shape, np.float32)
    for scale in SCALES:
        sigmas = [scale * step for step in steps]
        slopes = [ndimage.gaussian_gradient_magnitude(channel, sigmas) for channel in channels]
        flooded = watershed(np.hypot.reduce(slopes), grid.astype(np.int32))
        votes += flooded == STRUCTURE
    if factor > 1:
        votes = resample(votes[np.newaxis], marks.shape, smooth=False)[0]
    most = votes > len(SCALES) / 2
    return np.where(marks == 0, most, marks == STRUCTURE)


def _thinned(marks: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return marks on a coarser grid, on which none is lost; structure wins over background."""
    grid = np.zeros(shape, np.uint8)
    for mark in (BACKGROUND, STRUCTURE):
        places = np.nonzero(marks == mark)
        to = (at * new // old for at, new, old in zip(places, shape, marks.shape, strict=True))
        grid[tuple(to)] = mark
    return grid


def channels_of(image: Image, part: Part) -> np.ndarray:
    """Return a part of the image as float32 `(channels, *part)`."""
    pixels = image.pixels[part].astype(np.float32)
    return np.moveaxis(pixels, -1, 0) if image.colour else pixels[np.newaxis]


def axis_steps(image: Image) -> list[float]:
    """Return how many pixels along each axis are as long as one along the finest."""
    if image.spatial_dims == 2:
        return [1.0, 1.0]
    spacing = np.array(image.geometry.spacing[:3][::-1], dtype=float)
    if not (spacing > 0).all():
        return [1.0] * 3
    return (spacing.min() / spacing).tolist()
