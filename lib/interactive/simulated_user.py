"""Clicks of a simulated user, for training, validation and benchmarks.

The user clicks where the answer is most wrong: at the deepest point of the missing or of the
superfluous regions, whichever is deeper (Xu et al. 2016, "Deep interactive object selection",
section 3.1; Sofiiuk et al. 2022, "Reviving iterative training with mask guidance for interactive
segmentation", section 3.3). Where objects are counted one by one, the user clicks inside those that
no answered object matches. Nobody clicks where the target is `UNKNOWN`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from lib.data.ignore import UNKNOWN
from lib.interactive.clicks import Clicks
from lib.segmentation.instances import depth_inside
from lib.segmentation.metrics import object_overlaps
from lib.tasks.click_spec import ClickSpec

FOUND = 0.5  # an object is found if an answered one has a greater intersection over union with it
_INNER_DEPTH = 0.5  # least depth of a click on an object, as a share of the greatest
_DISTANCE_ERROR = 0.5  # an answered distance map that is off by more counts as wrong


def first_clicks(target: np.ndarray, spec: ClickSpec, rng: np.random.Generator) -> Clicks:
    """Simulate the first clicks of a user who sees the image and no answer.

    Positive clicks lie anywhere inside; deep points are likelier. Negative clicks lie on the
    background, half of them near the outline.

    Args:
        target: `(maps, *spatial)`, foreground first; see `lib.data.targets.make_target`.
    """
    inside = target[0] > 0.5
    positive = rng.integers(spec.first + 1)
    negative = rng.integers(spec.first + 1)
    depth = depth_inside(inside).astype(np.float32)
    near = ndimage.distance_transform_edt(~inside) if inside.any() else np.ones(inside.shape)
    near[target[0] == UNKNOWN] = 0
    reach = 6 * spec.radius
    close = np.where((near > spec.radius) & (near < reach), 1.0, 0.0)
    return Clicks(
        _drawn(depth.astype(float), int(positive), rng),
        np.concatenate(
            [
                _drawn(close, int(negative + 1) // 2, rng),
                _drawn((near > spec.radius).astype(float), int(negative) // 2, rng),
            ]
        ),
    )


def next_click(
    answer: np.ndarray, target: np.ndarray, maps: Sequence[str] = ("foreground",)
) -> tuple[tuple[int, ...], bool] | None:
    """Return the point where the answer is most wrong, and whether it belongs inside.

    Where nothing is wrong, the answer is None.

    Args:
        answer: `(maps, *spatial)`, probabilities or a mask; foreground first.
        target: the truth, at least as many maps.
        maps: names of the answered maps. If ``distance`` is among them, points where objects run
            into each other are wrong, too, and the click is on the middle of the object.
    """
    answered, inside = answer[0] >= 0.5, target[0] >= 0.5
    missing = inside & ~answered
    height = target[list(maps).index("distance")] if "distance" in maps else None
    if height is not None:
        difference = np.abs(answer[list(maps).index("distance")] - height)
        missing |= inside & (difference > _DISTANCE_ERROR) & (height != UNKNOWN)
    superfluous = answered & ~inside & (target[0] != UNKNOWN)
    lacking, exceeding = (
        depth_inside(wrong).astype(np.float32) for wrong in (missing, superfluous)
    )
    deepest = max(float(lacking.max(initial=0)), float(exceeding.max(initial=0)))
    if deepest <= 0:
        return None
    positive = float(lacking.max(initial=0)) >= deepest
    flat = int((lacking if positive else exceeding).argmax())
    point = tuple(int(index) for index in np.unravel_index(flat, inside.shape))
    if positive and height is not None and height[point] != UNKNOWN:
        point = _climbed(point, height)
    return point, positive


def object_clicks(
    objects: np.ndarray, truth: np.ndarray, depth: np.ndarray, most: int, rng: np.random.Generator
) -> np.ndarray:
    """Return a click, see `inner_click`, on each of some objects not found: int `(points, axes)`.

    Args:
        objects: the answered objects, `(*spatial)` integers, 0 is background.
        truth: the true objects, the same.
        depth: depth inside the true objects, 0..1, 1 at the deepest point of each; see
            `lib.data.targets`.
        most: the number of clicked objects is drawn from 1 to `most`.
    """
    numbers, _, overlaps = object_overlaps(objects, truth)
    missed = numbers[overlaps.max(axis=1, initial=0) <= FOUND]
    drawn = rng.permutation(missed)[: rng.integers(1, most + 1)]
    clicks = [inner_click(np.where(truth == number, depth, 0), rng) for number in drawn]
    return np.array(clicks, dtype=np.int64).reshape(-1, truth.ndim)


def inner_click(depth: np.ndarray, rng: np.random.Generator) -> tuple[int, ...]:
    """Return a random point of an object that is at least half as deep as its deepest point."""
    point = _drawn((depth >= _INNER_DEPTH * depth.max()).astype(float), 1, rng)[0]
    return tuple(point.tolist())


def _climbed(point: tuple[int, ...], height: np.ndarray) -> tuple[int, ...]:
    """Return the local maximum of `height` at which the steepest ascent from `point` ends."""
    while True:
        box = tuple(slice(max(0, index - 1), index + 2) for index in point)
        step = np.unravel_index(int(height[box].argmax()), height[box].shape)
        higher = tuple(side.start + int(offset) for side, offset in zip(box, step, strict=True))
        if height[higher] <= height[point]:
            return point
        point = higher


def _drawn(weight: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Return `count` points drawn in proportion to `weight`, int `(points, axes)`.

    Where all weights are zero, no point is drawn.
    """
    summed = np.cumsum(weight.ravel())
    if not count or summed[-1] <= 0:
        return np.zeros((0, weight.ndim), dtype=np.int64)
    flat = np.searchsorted(summed, rng.random(count) * summed[-1], side="right")
    flat = np.minimum(flat, weight.size - 1)
    return np.stack(np.unravel_index(flat, weight.shape), axis=1).astype(np.int64)
