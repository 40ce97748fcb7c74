"""Objects that follow clicks: each positive click gets its own object."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import ndimage

from lib.errors import InputError
from lib.image import Geometry, Image
from lib.interactive.clicks import Clicks
from lib.interactive.scribbles import segment_clicks
from lib.interactive.splitting import (
    split_around_point,
    split_at_neck,
    split_between_points,
)
from lib.tasks.spec import TaskSpec

REACH = 32  # pixels around a click in which a region is sought that the network missed
SAME = 0.8  # intersection over union from which an object equals the one answered without clicks
CENTRED = 0.6  # an object that lies symmetrically around a click by this share stays whole

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
