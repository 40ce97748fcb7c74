"""Objects that follow clicks: each positive click gets its own object."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import ndimage
from skimage.morphology import local_maxima, reconstruction
from skimage.segmentation import watershed

from lib.errors import InputError
from lib.image import Geometry, Image
from lib.interactive.clicks import Clicks
from lib.interactive.scribbles import segment_clicks
from lib.segmentation.maxima import corners_touch
from lib.tasks.spec import TaskSpec

REACH = 32  # pixels around a click in which a region is sought that the network missed
SAME = 0.8  # intersection over union from which an object equals the one answered without clicks
CENTRED = 0.6  # an object that lies symmetrically around a click by this share stays whole
# how deep the saddle between two parts of a clicked object must be at least
_LEAST_DEPTH = 0.05  # in an answered distance map, 0..1
_LEAST_NECK = 0.5  # in the object's own depth, pixels

Point = tuple[int, ...]


class ClickedObjects:
    """Fits the objects of one image to clicks; keeps the region that it found around each click.

    * A click in an object that was dropped as too small restores it.
    * A click that the network did not follow gets the region that stands out around it in the image
      (`lib.interactive.scribbles`).
    * Several clicks in one object split it between them.
    * A click in an object with a neck splits it there.
    * If the object at a click is the same as without clicks, the user sees several objects in it:
      the part around the click is split from the rest, unless that part is most of the object.
    """

    def __init__(self, image: Image, task: TaskSpec) -> None:
        self.image, self.task = image, task
        self._dims = task.network.spatial_dims
        self._regions: dict[Point, np.ndarray] = {}

    def __call__(
        self,
        objects: np.ndarray,
        probability: np.ndarray,
        unforced: np.ndarray,
        height: np.ndarray,
        clicks: Clicks,
        automatic: Callable[[], np.ndarray],
    ) -> np.ndarray:
        """Return the objects, int32 `(*spatial)`; 0 is background.

        Args:
            objects: separated without regard to the clicks; changed in place.
            probability: of the foreground, 0..1, of the same shape, forced to follow the clicks.
            unforced: the probability that the network answered.
            height: of the same shape, greatest inside objects.
            clicks: in the order of the image's axes.
            automatic: returns the objects that are answered without clicks; called only if needed.
        """
        threshold = self.task.output.threshold
        points: list[Point] = [tuple(point) for point in clicks.positive.tolist()]
        for point in points:
            number = int(objects[point])
            if number == 0:
                number = int(objects.max()) + 1
                self._mark(objects, number, (probability >= threshold) & (objects == 0), point)
            if unforced[point] < threshold:
                free = self._region(point) & ((objects == 0) | (objects == number))
                for other in clicks.negative.tolist():
                    free[tuple(other)] = False
                objects[free] = number
        objects = split_between_points(objects, height, clicks.positive)
        for point in points:
            objects = split_at_neck(objects, height, point)
            split = split_around_point(objects.copy(), point, CENTRED)
            if (split != objects).any() and _unchanged(objects, automatic(), point, points):
                objects = split
        return objects

    def _mark(self, objects: np.ndarray, number: int, mask: np.ndarray, point: Point) -> None:
        """Give a number to a point, and to the pixels of `mask` connected with it in its frame."""
        frame, inner_point = point[: -self._dims], point[-self._dims :]
        labels, _ = ndimage.label(mask[frame])
        if labels[inner_point]:
            objects[frame][labels == labels[inner_point]] = number
        objects[point] = number

    def _region(self, point: Point) -> np.ndarray:
        """Return the region that stands out around a point; the point alone if nothing does."""
        if point not in self._regions:
            region = np.zeros(self.image.shape, dtype=bool)
            frame, inner_point = point[: -self._dims], point[-self._dims :]  # frame: of a loop
            near = tuple(slice(max(0, index - REACH), index + REACH + 1) for index in inner_point)
            pixels = self.image.pixels[frame][near]
            centre = tuple(
                index - side.start for index, side in zip(inner_point, near, strict=True)
            )
            window = Image(
                pixels,
                Geometry.flat(*pixels.shape[: self._dims]),
                self.image.path,
                colour=self.image.colour,
            )
            try:
                region[frame][near] = segment_clicks(window, Clicks().with_one(centre, True))
            except InputError:  # nothing stands out
                region[point] = True
            self._regions[point] = region
        return self._regions[point]


def _unchanged(
    objects: np.ndarray, automatic: np.ndarray, point: Point, points: list[Point]
) -> bool:
    """Return whether the object of a click is as without clicks, and no other click is in it."""
    number = automatic[point]
    if number == 0 or sum(automatic[other] == number for other in points) > 1:
        return False
    now, before = objects == objects[point], automatic == number
    return bool(np.count_nonzero(now & before) >= SAME * np.count_nonzero(now | before))


def split_between_points(objects: np.ndarray, height: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Split each object that holds several of `points`, so that each point gets its own object.

    Args:
        objects: int32 `(*spatial)`, 0 is background; changed in place and returned. New objects get
            the next numbers.
        height: of the same shape, greatest inside objects; its watershed draws the borders.
        points: int `(points, axes)`.
    """
    numbers = objects[tuple(points.T)]
    count = int(objects.max(initial=0))
    boxes = ndimage.find_objects(objects)
    for number in np.unique(numbers[numbers > 0]):
        inside = np.unique(points[numbers == number], axis=0)
        if len(inside) < 2:
            continue
        box = boxes[number - 1]
        region = objects[box] == number
        seeds = np.zeros(region.shape, dtype=np.int32)
        seeds[tuple((inside - [side.start for side in box]).T)] = np.arange(1, len(inside) + 1)
        number_of_part = np.arange(len(inside) + 1, dtype=np.int32) + count - 1
        number_of_part[1] = number
        parts = watershed(-height[box], seeds, mask=region)
        objects[box][region] = number_of_part[parts[region]]
        count += len(inside) - 1
    return objects


def split_at_neck(objects: np.ndarray, height: np.ndarray, point: tuple[int, ...]) -> np.ndarray:
    """Split the object at `point` where it has a neck; the part with the point becomes an object.

    The parts come from a watershed of `height`. If that finds one part only, the object's own depth
    is tried. In both, small differences suffice: `_LEAST_DEPTH` and `_LEAST_NECK`.

    Args:
        objects: as in `split_between_points`.
        height: `(*spatial)`, 0..1, greatest inside objects.
    """
    if objects[point] == 0:
        return objects
    box, mask, inner_point = _object_at(objects, point)
    padded_point, region = tuple(index + 1 for index in inner_point), np.pad(mask, 1)
    inner = np.pad(np.where(mask, height[box], 0), 1).astype(np.float32)
    depth = ndimage.distance_transform_edt(region).astype(np.float32)
    for surface, least in ((inner, _LEAST_DEPTH), (depth, _LEAST_NECK)):
        smooth = np.where(region, ndimage.gaussian_filter(surface, 1.0), 0).astype(np.float32)
        levelled = reconstruction(smooth - least, smooth)
        seeds, found = ndimage.label(
            local_maxima(levelled) & region, structure=corners_touch(region.ndim)
        )
        if found < 2:
            continue
        parts = watershed(-smooth, seeds, mask=region)
        part = (parts == parts[padded_point])[(slice(1, -1),) * region.ndim]
        objects[box][part] = int(objects.max()) + 1
        break
    return objects


def split_around_point(objects: np.ndarray, point: tuple[int, ...], least: float) -> np.ndarray:
    """Split off the part of an object that lies symmetrically around `point`.

    The part is what the object shares with its mirror image through the point, as far as it is
    connected with the point. If the object is several compact parts and the user clicked the middle
    of one, that is about this part: beyond it, the mirror image falls outside the object.

    Args:
        objects: as in `split_between_points`.
        least: share of the object, 0..1. If the part is at least that much of the object, the point
            is in the middle of the whole object, which is left as it is.
    """
    if objects[point] == 0:
        return objects
    box, region, inner_point = _object_at(objects, point)
    pixels = np.argwhere(region)
    mirrored = 2 * np.array(inner_point) - pixels
    inside = ((mirrored >= 0) & (mirrored < region.shape)).all(axis=1)
    shared = np.zeros_like(region)
    shared[tuple(pixels[inside].T)] = region[tuple(mirrored[inside].T)]
    labels, _ = ndimage.label(shared)
    part = labels == labels[inner_point]
    if np.count_nonzero(part) < least * len(pixels):
        objects[box][part] = int(objects.max()) + 1
    return objects


def _object_at(
    objects: np.ndarray, point: tuple[int, ...]
) -> tuple[tuple[slice, ...], np.ndarray, tuple[int, ...]]:
    """Return the box of the object at a point, the object's mask in it, and the point in it."""
    (box,) = ndimage.find_objects((objects == objects[point]).astype(np.uint8))
    inner_point = tuple(index - side.start for index, side in zip(point, box, strict=True))
    return box, objects[box] == objects[point], inner_point
