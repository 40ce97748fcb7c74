"""Segmentation from a few marked pixels, without training: scribbles, clicks, corrections.

What marks leave open is flooded from them, see `lib.interactive.watershed`; what counts as marked
is decided here: around a click, at the edge of what is looked at, and of a present answer. Why not
a random walker or a graph cut: see docs/decisions/0011-clicks-and-scribbles.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from scipy import ndimage

from lib.errors import InputError
from lib.image import Image
from lib.interactive.clicks import Clicks
from lib.interactive.watershed import BACKGROUND, STRUCTURE, Part, axis_steps, channels_of, flood

MARGIN = 16  # least distance from a mark to the edge of what is looked at, pixels
LARGEST = 2**20  # pixels flooded at once, see `lib.interactive.watershed.flood`
OUTLINE = 2  # distance from its outline within which an answer may change near a mark, pixels
REACH = 16  # distance from a new mark within which an answer may grow, pixels
WINDOWS = (6, 9, 13, 19, 28, 42, 63, 95, 142, 213, 320)  # half sides tried around a mark, pixels
CORE = 0.25  # share of the half side around a mark that counts as structure
LARGEST_WINDOW = 2**18  # as `LARGEST`, of each window

Segment = Callable[[Image, np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def segment_scribbles(
    image: Image,
    positive: np.ndarray,
    negative: np.ndarray,
    present: np.ndarray | None = None,
    box: Part | None = None,
) -> np.ndarray:
    """Return the structure that scribbles mark, or a present answer as they correct it.

    Without anything marked as background or present, it is found as around a click, see
    `segment_clicks`. A loop over time is answered frame by frame: frames without scribbles keep
    what is present.

    Args:
        positive: boolean `(*image.shape)`, what surely is the structure. Wins over `negative`.
        negative: the same, of what surely is not.
        present: boolean `(*image.shape)`, the answer to correct; away from scribbles it stays.
        box: in which the structure lies, nothing beyond stays; its middle is marked where nothing
            else is.

    Returns:
        Boolean `(*image.shape)`.

    Raises:
        InputError: nothing is marked as the structure, or nothing stands out around what is.
    """
    present = np.zeros_like(positive) if present is None else present
    if box is not None:
        inside, around = _filled(box, image.shape), _filled(_widened(box, image.shape), image.shape)
        negative, present = negative | (around & ~inside), present & inside
        if not positive.any() and not present.any():
            positive = positive.copy()
            positive[tuple((part.start + part.stop - 1) // 2 for part in box)] = True
    if not positive.any() and not present.any():
        raise InputError(
            "nothing is marked as the structure; expected a foreground scribble; draw one inside "
            "the structure (background scribbles alone can only cut from a segmentation)"
        )
    return _by_frame(_corrected, image, positive, negative & ~positive, present)


def segment_clicks(image: Image, clicks: Clicks, box: Part | None = None) -> np.ndarray:
    """Return the structures around the positive clicks; negative clicks lie outside.

    Around each positive click windows of several sizes are flooded from their edges, and of the
    answers the one is taken whose two sides differ most along its outline. A box tells the size
    instead.

    Returns:
        Boolean `(*image.shape)`.

    Raises:
        InputError: no positive click, or one around which nothing stands out.
    """
    positive, negative = (
        _marked(points, image.shape) for points in (clicks.positive, clicks.negative)
    )
    if box is not None:
        return segment_scribbles(image, positive, negative, None, box)
    if not positive.any():
        raise InputError(
            "no positive click; expected one inside the structure; add one (negative clicks only "
            "cut from what positive ones mark)"
        )
    return _by_frame(_grown, image, positive, negative & ~positive, np.zeros_like(positive))


def _by_frame(
    segment: Segment,
    image: Image,
    positive: np.ndarray,
    negative: np.ndarray,
    present: np.ndarray,
) -> np.ndarray:
    """Segment an image or a volume at once, of a loop each frame that has marks."""
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
    """Flood the surroundings of what is marked, and of what is present."""
    if not negative.any() and not present.any():
        return _grown(image, positive, negative, present)
    part = _surroundings(positive | negative | present)
    inside = _marks(part, image.shape, positive[part], negative[part])
    if present.any():
        _keep_present(inside, present[part], positive[part], negative[part])
    answer = np.zeros(image.shape, bool)
    answer[part] = flood(image, part, inside, LARGEST)
    return answer


def _marks(
    part: Part, shape: Sequence[int], positive: np.ndarray, negative: np.ndarray
) -> np.ndarray:
    """Return the marks in a part of an image, given those in it; the edge is background.

    Where the part ends with the image the structure may go on, unless it ends so on all sides and
    nothing else is background.
    """
    marks = np.zeros([side.stop - side.start for side in part], np.uint8)
    edges = [
        (axis, end)
        for axis, (side, size) in enumerate(zip(part, shape, strict=True))
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


def _keep_present(
    marks: np.ndarray, present: np.ndarray, positive: np.ndarray, negative: np.ndarray
) -> None:
    """Mark what stays of a present answer: all that new marks do not reach.

    A mark outside reaches what is not present, and the outline; a background mark inside reaches
    over the thickness that the answer has there. Viewers take what marks cover out of the answer,
    so a background mark that touches it counts as inside.
    """
    every = np.ones((3,) * present.ndim, dtype=bool)
    strokes, _ = ndimage.label(negative, structure=every)
    met = strokes[ndimage.binary_dilation(present, every) & negative]
    added, cut = positive & ~present, negative & np.isin(strokes, met)
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


def _grown(
    image: Image, positive: np.ndarray, negative: np.ndarray, present: np.ndarray
) -> np.ndarray:
    """Return what stands out best around each connected mark."""
    strokes, _ = ndimage.label(positive, structure=np.ones((3,) * positive.ndim))
    answer = present.copy()
    for number, ends in enumerate(ndimage.find_objects(strokes), start=1):
        stroke = strokes[ends] == number
        if not answer[ends][stroke].all():  # an earlier mark's answer may have it already
            part, found = _around(image, ends, stroke, positive, negative)
            answer[part] |= found
    return answer & ~negative


def _around(
    image: Image, ends: Part, stroke: np.ndarray, positive: np.ndarray, negative: np.ndarray
) -> tuple[Part, np.ndarray]:
    """Return what stands out best around a stroke, after the part of the image that it lies in.

    The wider the window, the more around the stroke counts as structure: one pixel of a speckled
    or textured structure has a wall of its own.

    Args:
        ends: the box of the stroke.
        stroke: boolean, in this box.
    """
    steps = axis_steps(image)
    best: tuple[float, Part, np.ndarray] | None = None
    for window in WINDOWS:
        part = tuple(
            slice(max(side.start - reach - 1, 0), min(side.stop + reach + 1, size))
            for side, size, reach in zip(
                ends, image.shape, (max(1, round(window * step)) for step in steps), strict=True
            )
        )
        here = np.zeros([side.stop - side.start for side in part], bool)
        here[
            tuple(
                slice(inner.start - outer.start, inner.stop - outer.start)
                for inner, outer in zip(ends, part, strict=True)
            )
        ] = stroke
        away = ndimage.distance_transform_edt(~here, sampling=[1 / step for step in steps])
        core = (away <= CORE * window) & ~negative[part] | positive[part]
        marks = _marks(part, image.shape, core, negative[part] & ~positive[part])
        objects, _ = ndimage.label(flood(image, part, marks, LARGEST_WINDOW))
        found = np.isin(objects, np.unique(objects[here]))
        contrast = _contrast(channels_of(image, part), found)
        if best is None or contrast > best[0]:
            best = contrast, part, found
        if marks.shape == image.shape:
            break
    assert best is not None
    if best[0] <= 0:
        at = ", ".join(str((side.start + side.stop - 1) // 2) for side in reversed(ends))
        raise InputError(
            f"nothing stands out around the mark at ({at}), the image is even there; mark a "
            f"structure that has an edge, or scribble background around it as well"
        )
    return best[1:]


def _contrast(channels: np.ndarray, found: np.ndarray) -> float:
    """Return how far apart the two sides of an outline are, in standard deviations."""
    inner = found & ~ndimage.binary_erosion(found, iterations=3, border_value=1)
    outer = ndimage.binary_dilation(found, iterations=3) & ~found
    if not inner.any() or not outer.any():
        return 0.0
    one, other = channels[:, inner], channels[:, outer]
    apart = np.abs(one.mean(axis=1) - other.mean(axis=1))
    spread = np.sqrt((one.var(axis=1) + other.var(axis=1)) / 2)
    return float((apart / (spread + 1e-3 * np.ptp(channels) + 1e-9)).max())


def _surroundings(marked: np.ndarray) -> Part:
    """Return the box around what is marked, grown by half of its longest side."""
    ends = [(int(at.min()), int(at.max()) + 1) for at in np.nonzero(marked)]
    margin = max(MARGIN, max(stop - start for start, stop in ends) // 2)
    return tuple(
        slice(max(start - margin, 0), min(stop + margin, side))
        for (start, stop), side in zip(ends, marked.shape, strict=True)
    )


def _marked(points: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    marks = np.zeros(shape, bool)
    if len(points):
        marks[tuple(points.T)] = True
    return marks


def _widened(box: Part, shape: Sequence[int]) -> Part:
    """Return a box with two more pixels on each side, a wall that no flood crosses."""
    return tuple(
        slice(max(side.start - 2, 0), min(side.stop + 2, size))
        for side, size in zip(box, shape, strict=True)
    )


def _filled(box: Part, shape: Sequence[int]) -> np.ndarray:
    inside = np.zeros(shape, bool)
    inside[box] = True
    return inside
