"""Clicks on what a network missed or found wrongly: as maps for the network, and simulated.

The simulated user of training, validation and benchmarks clicks where the answer is most wrong: at
the deepest point of what is missing or of what is too much, whichever is deeper (Xu et al. 2016,
"Deep interactive object selection", section 3.1; Sofiiuk et al. 2022, "Reviving iterative training
with mask guidance for interactive segmentation", section 3.3). Where objects count one by one, the
user clicks inside those that no answered object matches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy import ndimage

from lib.segmentation.metrics import object_overlaps
from lib.tasks.click_spec import ClickSpec

FOUND = 0.5  # intersection over union above which an answered object is the one that is meant
_INNER = 0.5  # depth, of an object's greatest, from which a user clicks on it
_AWAY = 0.5  # answered distance maps that are further off than this count as wrong


@dataclass(frozen=True)
class Clicks:
    """Points of a user on an image.

    Attributes:
        positive: int `(n, axes)`, in array order of the image: on what is to be in the answer.
        negative: int `(m, axes)`, on what is not.
    """

    positive: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), dtype=np.int64))
    negative: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), dtype=np.int64))

    def __len__(self) -> int:
        return len(self.positive) + len(self.negative)

    def with_one(self, point: Sequence[int], positive: bool) -> Clicks:
        """Return these clicks and one more."""
        row = np.asarray(point, dtype=np.int64)[np.newaxis]
        if positive:
            return Clicks(_joined(self.positive, row), self.negative)
        return Clicks(self.positive, _joined(self.negative, row))

    def scaled(
        self, start: Sequence[int], factors: Sequence[float], shape: Sequence[int]
    ) -> Clicks:
        """Return the clicks on another grid; what lies outside moves to its nearest pixel.

        Args:
            start: place of the other grid's first pixel on this one.
            factors: pixels of the other grid per pixel of this, along each axis.
            shape: size of the other grid.
        """
        return Clicks(
            *(
                _scaled(points, np.asarray(start), np.asarray(factors), np.asarray(shape))
                for points in (self.positive, self.negative)
            )
        )

    def of_frame(self, frame: int) -> Clicks:
        """Return the clicks in one place of the first axis, without that axis."""
        return Clicks(
            *(
                points[points[:, 0] == frame][:, 1:] if len(points) else points
                for points in (self.positive, self.negative)
            )
        )


def click_maps(clicks: Clicks, shape: tuple[int, ...], radius: float) -> np.ndarray:
    """Return the network's guidance, float32 `(2, *shape)`: positive, then negative clicks.

    A click is a disc, or ball, of 1 whose edge falls to 0 within a pixel, half at the radius.
    """
    maps = np.zeros((2, *shape), dtype=np.float32)
    reach = int(np.ceil(radius + 0.5))
    for channel, points in zip(maps, (clicks.positive, clicks.negative), strict=True):
        for point in points:
            box = [
                slice(max(0, int(place) - reach), min(side, int(place) + reach + 1))
                for place, side in zip(point, shape, strict=True)
            ]
            away = np.sqrt(
                sum(
                    axis.astype(np.float32) ** 2
                    for axis in np.ogrid[
                        tuple(
                            slice(part.start - int(place), part.stop - int(place))
                            for part, place in zip(box, point, strict=True)
                        )
                    ]
                )
            )
            disc = np.clip(radius + 0.5 - away, 0, 1)
            np.maximum(channel[tuple(box)], disc, out=channel[tuple(box)])
    return maps


def first_clicks(target: np.ndarray, spec: ClickSpec, rng: np.random.Generator) -> Clicks:
    """Simulate the clicks that a user begins with, seeing the image and no answer.

    Positive ones lie anywhere inside, deeper places being likelier; negative ones on background,
    half of them near what is inside.

    Args:
        target: `(maps, *spatial)`, foreground first; see `lib.data.targets.make_target`.
    """
    inside = target[0] > 0.5
    positive = rng.integers(spec.first + 1)
    negative = rng.integers(spec.first + 1)
    depth = _depth(inside)
    near = ndimage.distance_transform_edt(~inside) if inside.any() else np.ones(inside.shape)
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
    """Return where the answer is most wrong, and whether that belongs inside; None if nowhere.

    Args:
        answer: `(maps, *spatial)`, probabilities or a mask; foreground first.
        target: the truth, at least as many maps.
        maps: names of the answered ones. With ``distance`` among them, places where objects run
            into each other are wrong, too: the click is on the object's middle.
    """
    found, inside = answer[0] >= 0.5, target[0] >= 0.5
    missing = inside & ~found
    height = target[list(maps).index("distance")] if "distance" in maps else None
    if height is not None:
        away = np.abs(answer[list(maps).index("distance")] - height)
        missing |= inside & (away > _AWAY)
    lacks, exceeds = _depth(missing), _depth(found & ~inside)
    deepest = max(float(lacks.max(initial=0)), float(exceeds.max(initial=0)))
    if deepest <= 0:
        return None
    positive = float(lacks.max(initial=0)) >= deepest
    flat = int((lacks if positive else exceeds).argmax())
    point = tuple(int(place) for place in np.unravel_index(flat, inside.shape))
    return _climbed(point, height) if positive and height is not None else point, positive


def object_clicks(
    objects: np.ndarray, truth: np.ndarray, depth: np.ndarray, most: int, rng: np.random.Generator
) -> np.ndarray:
    """Return clicks on some of the objects that were not found, one each, see `inner_click`.

    Args:
        objects: answered, `(*spatial)` integers, 0 is background.
        truth: the same of the truth.
        depth: of the truth, 0..1, 1 at the deepest point of each object; see `lib.data.targets`.
        most: objects that are clicked on; how many is drawn from 1 to as many.

    Returns:
        int `(n, axes)`, without rows where each object was found.
    """
    numbers, _, overlaps = object_overlaps(objects, truth)
    lost = numbers[overlaps.max(axis=1, initial=0) <= FOUND]
    drawn = rng.permutation(lost)[: rng.integers(1, most + 1)]
    clicks = [inner_click(np.where(truth == number, depth, 0), rng) for number in drawn]
    return np.array(clicks, dtype=np.int64).reshape(-1, truth.ndim)


def inner_click(depth: np.ndarray, rng: np.random.Generator) -> tuple[int, ...]:
    """Return a place in an object that is at least half as deep as its deepest.

    Args:
        depth: of the object, `(*spatial)`; 0 outside.
    """
    point = _drawn((depth >= _INNER * depth.max()).astype(float), 1, rng)[0]
    return tuple(point.tolist())


def _climbed(point: tuple[int, ...], height: np.ndarray) -> tuple[int, ...]:
    """Return the maximum that the steepest ascent from `point` ends on."""
    while True:
        box = tuple(slice(max(0, place - 1), place + 2) for place in point)
        step = np.unravel_index(int(height[box].argmax()), height[box].shape)
        higher = tuple(part.start + int(place) for part, place in zip(box, step, strict=True))
        if height[higher] <= height[point]:
            return point
        point = higher


def _depth(mask: np.ndarray) -> np.ndarray:
    """Return the distance to what is not in `mask`; beyond the image nothing is."""
    if not mask.any():
        return np.zeros(mask.shape, dtype=np.float32)
    inner = (slice(1, -1),) * mask.ndim
    depth = ndimage.distance_transform_edt(np.pad(mask, 1))
    return np.asarray(depth, dtype=np.float32)[inner]


def _drawn(weight: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Draw places with probability in proportion to `weight`; none where all is zero."""
    summed = np.cumsum(weight.ravel())
    if not count or summed[-1] <= 0:
        return np.zeros((0, weight.ndim), dtype=np.int64)
    flat = np.searchsorted(summed, rng.random(count) * summed[-1], side="right")
    flat = np.minimum(flat, weight.size - 1)
    return np.stack(np.unravel_index(flat, weight.shape), axis=1).astype(np.int64)


def _joined(points: np.ndarray, row: np.ndarray) -> np.ndarray:
    return np.concatenate((points, row)) if len(points) else row


def _scaled(
    points: np.ndarray, start: np.ndarray, factors: np.ndarray, shape: np.ndarray
) -> np.ndarray:
    if not len(points):
        return np.zeros((0, len(shape)), dtype=np.int64)
    places = np.floor((points - start + 0.5) * factors).astype(np.int64)
    return np.clip(places, 0, shape - 1)
