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
from lib.errors import InputError
from lib.image import Image
from lib.segmentation.instances import corners_touch

SCALES = (1.0, 1.5, 2.5)  # standard deviations of the gradients, pixels of the finest axis
STRUCTURE, BACKGROUND = 1, 2  # values of marks; 0 is unmarked
WINDOWS = (6, 9, 13, 19, 28, 42, 63, 95, 142, 213, 320)  # half sides tried around a mark, pixels
CORE = 0.25  # distance from a mark that counts as structure, as a share of the half side
LARGEST_WINDOW = 2**18  # pixels flooded at full resolution

Box = tuple[slice, ...]


def flood(image: Image, box: Box, marks: np.ndarray, largest: int) -> np.ndarray:
    """Return the mask of a box of the image that most floods give to the structure.

    Args:
        box: a slice along each axis of the image.
        marks: `STRUCTURE`, `BACKGROUND` or 0, of the shape of the box. Marked pixels keep their
            mark.
        largest: most pixels flooded at full resolution; a larger box is flooded on a coarser grid.
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
    """Return the marks for `flood` in a box of an image, uint8; its edges become background.

    At an edge that the box shares with the image, the structure may go on. If all edges are such
    and nothing is marked as background, all of them become background.

    Args:
        shape: of the whole image.
        positive: boolean, of the shape of the box: pixels of the structure. Wins over `negative`.
        negative: boolean, of the shape of the box: pixels of the background.
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


def grown(box: Box, margins: Sequence[int], shape: Sequence[int]) -> Box:
    """Return a box with so many more pixels on both sides of each axis, cut to the image."""
    return tuple(
        slice(max(side.start - margin, 0), min(side.stop + margin, size))
        for side, margin, size in zip(box, margins, shape, strict=True)
    )


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
    spacing = np.array(image.spacing[:3][::-1], dtype=float)
    if not (spacing > 0).all():
        return [1.0] * 3
    return (spacing.min() / spacing).tolist()


def regions_around(image: Image, positive: np.ndarray, negative: np.ndarray) -> np.ndarray:
    """Return the mask of what stands out best around each connected positive mark.

    Windows of several sizes around the mark are flooded from their edges. The answer whose outline
    separates the most different pixels wins.

    Args:
        positive: boolean `(*image.shape)`, pixels of the structures.
        negative: the same for the background.

    Raises:
        InputError: nothing stands out around a mark.
    """
    strokes, _ = ndimage.label(positive, structure=corners_touch(positive.ndim))
    answer = np.zeros_like(positive)
    for number, stroke_box in enumerate(ndimage.find_objects(strokes), start=1):
        stroke = strokes[stroke_box] == number
        if not answer[stroke_box][stroke].all():  # the region of an earlier mark may hold it
            box, region = _region_around(image, stroke_box, stroke, positive, negative)
            answer[box] |= region
    return answer & ~negative


def _region_around(
    image: Image, stroke_box: Box, stroke: np.ndarray, positive: np.ndarray, negative: np.ndarray
) -> tuple[Box, np.ndarray]:
    """Return a box of the image, and in it what stands out best around a mask in `stroke_box`.

    The wider the window, the more pixels around the stroke count as structure: in a speckled or
    textured structure each pixel has a steep gradient around itself.
    """
    steps = axis_steps(image)
    best: tuple[float, Box, np.ndarray] | None = None
    for window in WINDOWS:
        margins = [max(1, round(window * step)) + 1 for step in steps]
        box = grown(stroke_box, margins, image.shape)
        marked = np.zeros([side.stop - side.start for side in box], bool)
        marked[
            tuple(
                slice(inner.start - outer.start, inner.stop - outer.start)
                for inner, outer in zip(stroke_box, box, strict=True)
            )
        ] = stroke
        away = ndimage.distance_transform_edt(~marked, sampling=[1 / step for step in steps])
        core = (away <= CORE * window) & ~negative[box] | positive[box]
        marks = box_marks(box, image.shape, core, negative[box] & ~positive[box])
        objects, _ = ndimage.label(flood(image, box, marks, LARGEST_WINDOW))
        region = np.isin(objects, np.unique(objects[marked]))
        contrast = _contrast(channels_of(image, box), region)
        if best is None or contrast > best[0]:
            best = contrast, box, region
        if marks.shape == image.shape:
            break
    assert best is not None
    if best[0] <= 0:
        middle = ", ".join(str((side.start + side.stop - 1) // 2) for side in reversed(stroke_box))
        raise InputError(
            f"nothing stands out around the mark at ({middle}), the image is even there; mark a "
            f"structure that has an edge, or scribble background around it as well"
        )
    return best[1:]


def _contrast(channels: np.ndarray, region: np.ndarray) -> float:
    """Return how much the two sides of a region's outline differ, in standard deviations."""
    inner = region & ~ndimage.binary_erosion(region, iterations=3, border_value=1)
    outer = ndimage.binary_dilation(region, iterations=3) & ~region
    if not inner.any() or not outer.any():
        return 0.0
    inside, outside = channels[:, inner], channels[:, outer]
    difference = np.abs(inside.mean(axis=1) - outside.mean(axis=1))
    spread = np.sqrt((inside.var(axis=1) + outside.var(axis=1)) / 2)
    return float((difference / (spread + 1e-3 * np.ptp(channels) + 1e-9)).max())
