"""The region around a mark that stands out best from its surroundings."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from lib.errors import InputError
from lib.image import Image
from lib.interactive.watershed import Box, axis_steps, box_marks, channels_of, flood
from lib.segmentation.instances import corners_touch

WINDOWS = (6, 9, 13, 19, 28, 42, 63, 95, 142, 213, 320)  # half sides tried around a mark, pixels
CORE = 0.25  # distance from a mark that counts as structure, as a share of the half side
LARGEST_WINDOW = 2**18  # pixels flooded at full resolution


def regions_around(image: Image, positive: np.ndarray, negative: np.ndarray) -> np.ndarray:
    """Return the regions that stand out best around each connected positive mark.

    Windows of several sizes around the mark are flooded from their edges. The answer whose outline
    separates the most different pixels wins.

    Args:
        positive: boolean `(*image.shape)`, pixels of the structures.
        negative: the same for the background.

    Returns:
        Boolean `(*image.shape)`.

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
    """Return a box of the image, and in it the region that stands out best around a stroke.

    The wider the window, the more pixels around the stroke count as structure: in a speckled or
    textured structure each pixel has a steep gradient around itself.

    Args:
        stroke: boolean, of the shape of `stroke_box`.
    """
    steps = axis_steps(image)
    best: tuple[float, Box, np.ndarray] | None = None
    for window in WINDOWS:
        box = tuple(
            slice(max(side.start - reach - 1, 0), min(side.stop + reach + 1, size))
            for side, size, reach in zip(
                stroke_box,
                image.shape,
                (max(1, round(window * step)) for step in steps),
                strict=True,
            )
        )
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
