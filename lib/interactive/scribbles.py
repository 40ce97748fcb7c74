"""Segmentation from a few marked pixels, without training: scribbles, clicks, corrections.

Unmarked pixels are flooded from the marks, see `lib.interactive.watershed`. This module decides
which pixels of a present answer count as marked.
Why not a random walker or a graph cut: see docs/decisions/0011-clicks-and-scribbles.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from scipy import ndimage

from lib.errors import InputError
from lib.image import Image
from lib.interactive.clicks import Clicks
from lib.interactive.watershed import (
    BACKGROUND,
    STRUCTURE,
    Box,
    box_marks,
    flood,
    grown,
    regions_around,
)
from lib.segmentation.maxima import corners_touch

MARGIN = 16  # least distance from a mark to the edge of the box that is flooded, pixels
LARGEST = 2**20  # pixels flooded at full resolution, see `lib.interactive.watershed.flood`
OUTLINE = 2  # distance from its outline within which an answer may change near a mark, pixels
REACH = 16  # distance from a new mark within which an answer may grow, pixels

Segment = Callable[[Image, np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def segment_scribbles(
    image: Image,
    positive: np.ndarray,
    negative: np.ndarray,
    present: np.ndarray | None = None,
    box: Box | None = None,
) -> np.ndarray:
    """Return the mask of what scribbles mark, or of a present answer that they correct.

    If there is neither a background mark nor a present answer, the structure is found as around a
    click, see `segment_clicks`. A loop over time is answered frame by frame; frames without
    scribbles keep the present answer.

    Args:
        positive: boolean `(*image.shape)`, pixels that surely are the structure. Wins over
            `negative`.
        negative: the same for pixels that surely are not.
        present: boolean `(*image.shape)`, the answer to correct. Far from scribbles it stays.
        box: a box that holds the whole structure. Its middle is marked as structure if nothing else
            is.

    Raises:
        InputError: nothing is marked as the structure, or nothing stands out around the marks.
    """
    present = np.zeros_like(positive) if present is None else present
    if box is not None:
        border = grown(box, [2] * len(box), image.shape)  # which no flood crosses
        inside, around = (_filled(part, image.shape) for part in (box, border))
        negative, present = negative | (around & ~inside), present & inside
        if not positive.any() and not present.any():
            positive = positive.copy()
            positive[tuple((side.start + side.stop - 1) // 2 for side in box)] = True
    if not positive.any() and not present.any():
        raise InputError(
            "nothing is marked as the structure; expected a foreground scribble; draw one inside "
            "the structure (background scribbles alone can only cut from a segmentation)"
        )
    return _by_frame(_corrected, image, positive, negative & ~positive, present)


def segment_clicks(image: Image, clicks: Clicks, box: Box | None = None) -> np.ndarray:
    """Return the mask of the structures around positive clicks, without the negative points.

    The structure around a click is the region that stands out best, see
    `lib.interactive.watershed.regions_around`. If there is a box, the structure is flooded within
    it instead.

    Raises:
        InputError: no positive click, or one around which nothing stands out.
    """
    positive, negative = (
        _filled(tuple(points.reshape(-1, len(image.shape)).T), image.shape)
        for points in (clicks.positive, clicks.negative)
    )
    if box is not None:
        return segment_scribbles(image, positive, negative, None, box)
    if not positive.any():
        raise InputError(
            "no positive click; expected one inside the structure; add one (negative clicks only "
            "cut from what positive ones mark)"
        )
    return _by_frame(
        lambda image, positive, negative, present: regions_around(image, positive, negative),
        image,
        positive,
        negative & ~positive,
        np.zeros_like(positive),
    )


def _by_frame(
    segment: Segment,
    image: Image,
    positive: np.ndarray,
    negative: np.ndarray,
    present: np.ndarray,
) -> np.ndarray:
    """Segment an image or a volume at once, and each frame of a loop that has marks."""
    if not image.over_time:
        return segment(image, positive, negative, present)
    answer = present.copy()
    for frame in np.flatnonzero((positive | negative).any(axis=(1, 2))):
        if positive[frame].any() or present[frame].any():
            still = replace(image, pixels=image.pixels[frame], over_time=False)
            answer[frame] = segment(still, positive[frame], negative[frame], present[frame])
    return answer


def _corrected(
    image: Image, positive: np.ndarray, negative: np.ndarray, present: np.ndarray
) -> np.ndarray:
    """Flood the surroundings of the marks and of the present answer."""
    if not negative.any() and not present.any():
        return regions_around(image, positive, negative)
    box = _surroundings(positive | negative | present)
    marks = box_marks(box, image.shape, positive[box], negative[box])
    if present.any():
        _keep_present(marks, present[box], positive[box], negative[box])
    answer = np.zeros(image.shape, bool)
    answer[box] = flood(image, box, marks, LARGEST)
    return answer


def _keep_present(
    marks: np.ndarray, present: np.ndarray, positive: np.ndarray, negative: np.ndarray
) -> None:
    """Mark the pixels of a present answer, and of its background, that new marks do not change.

    A positive mark outside the answer can change the background around it, and the answer's
    outline. A background mark inside the answer can change the whole thickness of the answer there.
    Viewers remove the pixels under a mark from the answer, so a background mark that touches the
    answer counts as inside.
    """
    touching = corners_touch(present.ndim)
    strokes, _ = ndimage.label(negative, structure=touching)
    touched = strokes[ndimage.binary_dilation(present, touching) & negative]
    added, cut = positive & ~present, negative & np.isin(strokes, touched)
    inside, outside = (
        ndimage.distance_transform_edt(side) for side in (present | cut, ~(present | cut))
    )
    keep = np.where(present, STRUCTURE, BACKGROUND).astype(np.uint8)
    if added.any():
        near = ndimage.distance_transform_edt(~added) <= REACH
        keep[near & (inside <= OUTLINE)] = 0
    if cut.any():
        away, nearest = ndimage.distance_transform_edt(~cut, return_indices=True)
        keep[(outside <= OUTLINE) & (away <= 2 * inside[tuple(nearest)] + OUTLINE)] = 0
    free = marks == 0
    marks[free] = keep[free]


def _surroundings(marked: np.ndarray) -> Box:
    """Return the box around the marked pixels, grown by half of its longest side."""
    (box,) = ndimage.find_objects(marked.astype(np.uint8))
    margin = max(MARGIN, max(side.stop - side.start for side in box) // 2)
    return grown(box, [margin] * marked.ndim, marked.shape)


def _filled(where: tuple[Any, ...], shape: Sequence[int]) -> np.ndarray:
    """Return a mask that is true in a box, or at points given by their indices along each axis."""
    inside = np.zeros(shape, bool)
    inside[where] = True
    return inside
