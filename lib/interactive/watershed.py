"""Marker-controlled watersheds (scikit-image) in a box of an image.

A watershed floods the gradient of the image from pixels marked as structure and as background. The
floods at several scales of the gradient vote, which works in sharp microscopy and in speckle alike.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import ndimage
from skimage.segmentation import watershed

from lib.data.grid import resample
from lib.image import Image

SCALES = (1.0, 1.5, 2.5)  # standard deviations of the gradients, pixels of the finest axis
STRUCTURE, BACKGROUND = 1, 2  # values of marks; 0 is unmarked

Box = tuple[slice, ...]


def flood(image: Image, box: Box, marks: np.ndarray, largest: int) -> np.ndarray:
    """Return the pixels in a box of the image that most floods give to the structure.

    Args:
        box: a slice along each axis of the image.
        marks: `STRUCTURE`, `BACKGROUND` or 0, of the shape of the box. Marked pixels keep their
            mark.
        largest: most pixels flooded at full resolution; a larger box is flooded on a coarser grid.

    Returns:
        Boolean, of the shape of the box.
    """
    channels, steps = channels_of(image, box), axis_steps(image)
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


def box_marks(
    box: Box, shape: Sequence[int], positive: np.ndarray, negative: np.ndarray
) -> np.ndarray:
    """Return the marks for `flood` in a box of an image; edges of the box become background.

    At an edge that the box shares with the image, the structure may go on. If all edges are such
    and nothing is marked as background, all of them become background.

    Args:
        shape: of the whole image.
        positive: boolean, of the shape of the box: pixels of the structure. Wins over `negative`.
        negative: boolean, of the shape of the box: pixels of the background.

    Returns:
        uint8, of the shape of the box.
    """
    marks = np.zeros([side.stop - side.start for side in box], np.uint8)
    edges = [
        (axis, end)
        for axis, (side, size) in enumerate(zip(box, shape, strict=True))
        for end, cut in ((0, side.start > 0), (-1, side.stop < size))
        if cut
    ]
    if not edges and not negative.any():
        edges = [(axis, end) for axis in range(marks.ndim) for end in (0, -1)]
    for axis, end in edges:
        marks[(slice(None),) * axis + (end,)] = BACKGROUND
    marks[negative] = BACKGROUND
    marks[positive] = STRUCTURE
    return marks


def _thinned(marks: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return marks on a coarser grid. Every mark is kept; structure wins over background."""
    grid = np.zeros(shape, np.uint8)
    for mark in (BACKGROUND, STRUCTURE):
        positions = np.nonzero(marks == mark)
        coarser = (
            at * new // old for at, new, old in zip(positions, shape, marks.shape, strict=True)
        )
        grid[tuple(coarser)] = mark
    return grid


def channels_of(image: Image, box: Box) -> np.ndarray:
    """Return the pixels in a box of the image as float32 `(channels, *shape of the box)`."""
    pixels = image.pixels[box].astype(np.float32)
    return np.moveaxis(pixels, -1, 0) if image.colour else pixels[np.newaxis]


def axis_steps(image: Image) -> list[float]:
    """Return, for each axis, how many of its pixels are as long as one pixel of the finest axis."""
    if image.spatial_dims == 2:
        return [1.0, 1.0]
    spacing = np.array(image.geometry.spacing[:3][::-1], dtype=float)
    if not (spacing > 0).all():
        return [1.0] * 3
    return (spacing.min() / spacing).tolist()
