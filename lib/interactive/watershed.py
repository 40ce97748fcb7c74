"""Marker-controlled watersheds (scikit-image) in a box of an image.

A watershed floods the gradient of the image from pixels marked as structure and as background. The
floods at several scales of the gradient vote, which works in sharp microscopy and in speckle alike.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy import ndimage
from skimage.segmentation import watershed

from lib.data.grid import resample
from lib.errors import InputError
from lib.image import Image, by
from lib.segmentation.maxima import corners_touch

SCALES = (1.0, 1.5, 2.5)  # standard deviations of the gradients, pixels of the finest axis
STRUCTURE, BACKGROUND = 1, 2  # values of marks; 0 is unmarked
WINDOWS = (6, 9, 13, 19, 28, 42, 63, 95, 142, 213, 320)  # half sides tried around a mark, pixels
CORE = 0.25  # distance from a mark that counts as structure, as a share of the half side
LARGEST_WINDOW = 2**18  # pixels flooded at full resolution
LARGEST_BOX = (
    2**21
)  # pixels of a window that are looked at; of a larger one every second, third ...
MOST_FLOODED = 2**27  # pixels of windows, before further marks are refused; half a minute

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
        InputError: nothing stands out around a mark, or there are more marks than can be followed
            at once.
    """
    (marked,) = ndimage.find_objects(positive.view(np.uint8))
    strokes, count = ndimage.label(positive[marked], structure=corners_touch(positive.ndim))
    answer, flooded = np.zeros_like(positive), 0
    for number, inner in enumerate(ndimage.find_objects(strokes), start=1):
        stroke, stroke_box = strokes[inner] == number, _shifted(inner, marked)
        if not answer[stroke_box][stroke].all():  # the region of an earlier mark may hold it
            if flooded > MOST_FLOODED:
                raise InputError(
                    f"{count} separate marks are too many for an image of "
                    f"{by(image.shape[::-1])}, {number - 1} were followed; mark fewer structures "
                    f"at once, or scribble background around them as well"
                )
            windows = _windows(image, stroke_box)
            flooded += sum(min(_pixels(box), LARGEST_BOX) for _, box in windows)
            box, region = _region_around(image, windows, stroke_box, stroke, positive, negative)
            answer[box] |= region
    return answer & ~negative


def _shifted(inner: Box, outer: Box) -> Box:
    """Return a box that is given within another one as a box of the image."""
    return tuple(
        slice(side.start + around.start, side.stop + around.start)
        for side, around in zip(inner, outer, strict=True)
    )


def _windows(image: Image, stroke_box: Box) -> list[tuple[int, Box]]:
    """Return the windows around a mark, up to the first that holds the image, and their boxes."""
    steps, found = axis_steps(image), []
    for window in WINDOWS:
        margins = [max(1, round(window * step)) + 1 for step in steps]
        box = grown(stroke_box, margins, image.shape)
        found.append((window, box))
        if _pixels(box) == math.prod(image.shape):
            break
    return found


def _region_around(
    image: Image,
    windows: Sequence[tuple[int, Box]],
    stroke_box: Box,
    stroke: np.ndarray,
    positive: np.ndarray,
    negative: np.ndarray,
) -> tuple[Box, np.ndarray]:
    """Return a box of the image, and in it what stands out best around a mask in `stroke_box`.

    Windows of more than `LARGEST_BOX` pixels are looked at on a coarser grid.
    """
    best: tuple[float, Box, np.ndarray] | None = None
    for window, box in windows:
        shape = tuple(side.stop - side.start for side in box)
        marked = np.zeros(shape, bool)
        marked[
            tuple(
                slice(inner.start - outer.start, inner.stop - outer.start)
                for inner, outer in zip(stroke_box, box, strict=True)
            )
        ] = stroke
        step = math.ceil((marked.size / LARGEST_BOX) ** (1 / marked.ndim))
        masks = [_coarser(mask, step) for mask in (marked, positive[box], negative[box])]
        cut = [(s.start > 0, s.stop < n) for s, n in zip(box, image.shape, strict=True)]
        largest = LARGEST_WINDOW if step == 1 else LARGEST_WINDOW // 4
        part = _part(image, box, step)
        contrast, region = _stands_out(part, cut, window / step, largest, *masks)
        if best is None or contrast > best[0]:
            for axis in range(region.ndim if step > 1 else 0):
                region = region.repeat(step, axis)
            best = contrast, box, region[tuple(map(slice, shape))]
    assert best is not None
    if best[0] <= 0:
        middle = ", ".join(str((side.start + side.stop - 1) // 2) for side in reversed(stroke_box))
        raise InputError(
            f"nothing stands out around the mark at ({middle}), the image is even there; mark a "
            f"structure that has an edge, or scribble background around it as well"
        )
    return best[1:]


def _stands_out(
    part: Image,
    cut: Sequence[tuple[bool, bool]],
    window: float,
    largest: int,
    marked: np.ndarray,
    positive: np.ndarray,
    negative: np.ndarray,
) -> tuple[float, np.ndarray]:
    """Return what is flooded from a mark, and how much it differs from what is around it.

    The wider the window, the more pixels around the mark count as structure: in a speckled or
    textured structure each pixel has a steep gradient around itself.

    Args:
        part: the pixels in the window.
        cut: whether the image goes on beyond the first and the last pixel of each axis.
        window: half side, pixels of the finest axis.
        largest: most pixels flooded at the resolution of `part`.
        marked: boolean, of the shape of `part`: the mark.
        positive, negative: the same, all pixels of structures and of the background.
    """
    steps = axis_steps(part)
    away = ndimage.distance_transform_edt(~marked, sampling=[1 / step for step in steps])
    core = (away <= CORE * window) & ~negative | positive
    box = tuple(slice(int(b), int(b) + n) for (b, _), n in zip(cut, part.shape, strict=True))
    shape = [side.stop + int(after) for (_, after), side in zip(cut, box, strict=True)]
    marks = box_marks(box, shape, core, negative & ~positive)
    whole = tuple(map(slice, part.shape))
    objects, _ = ndimage.label(flood(part, whole, marks, largest))
    region = np.isin(objects, np.unique(objects[marked]))
    return _contrast(channels_of(part, whole), region), region


def _part(image: Image, box: Box, step: int) -> Image:
    """Return every `step`-th pixel, along each axis, in a box of the image."""
    pixels = image.pixels[tuple(slice(side.start, side.stop, step) for side in box)]
    size = pixels.shape[: len(box)][::-1]
    geometry = replace(image.geometry, size=(*size, *image.geometry.size[len(box) :]))
    return replace(image, pixels=pixels, geometry=geometry)


def _coarser(mask: np.ndarray, step: int) -> np.ndarray:
    """Return a mask on the grid of every `step`-th pixel; none of it is lost."""
    if step == 1:
        return mask
    coarse = np.zeros([math.ceil(side / step) for side in mask.shape], bool)
    coarse[tuple(indices // step for indices in np.nonzero(mask))] = True
    return coarse


def _pixels(box: Box) -> int:
    return math.prod(side.stop - side.start for side in box)


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
