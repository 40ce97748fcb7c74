"""The objects of an answer to clicks: each positive click has one of its own."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import ndimage

from lib.errors import InputError
from lib.image import Geometry, Image
from lib.interactive.clicks import Clicks
from lib.interactive.scribbles import segment_clicks
from lib.segmentation.instances import part_around, part_off, split_at
from lib.tasks.spec import TaskSpec

REACH = 32  # pixels around a click in which a region may lie that the network does not see
SAME = 0.8  # intersection over union from which an object is the one without clicks
CENTRED = 0.6  # share of an object around a click that says: this is what is meant, all of it

Point = tuple[int, ...]


class ClickedObjects:
    """Makes the objects of one image fit clicks; remembers what it found around each in the image.

    A click in what was answered and dropped as smaller than the least area keeps it. One that the
    network did not follow gets the region that stands out around it in the image
    (`lib.interactive.scribbles`). Of several in one object each has its part; one in an object with
    a neck parts it there. Where a click leaves the object as it was without any, the user sees more
    than one in it: what lies around the click is parted from the rest, unless that is most of it.
    """

    def __init__(self, image: Image, task: TaskSpec) -> None:
        self.image, self.task = image, task
        self._dims = task.network.spatial_dims
        self._regions: dict[Point, np.ndarray] = {}

    def __call__(
        self,
        objects: np.ndarray,
        probability: np.ndarray,
        said: np.ndarray,
        height: np.ndarray,
        clicks: Clicks,
        automatic: Callable[[], np.ndarray],
    ) -> np.ndarray:
        """Return the objects, `(*spatial)` int32; 0 is background.

        Args:
            objects: separated without a look at the clicks; changed in place.
            probability: of the foreground, 0..1, of the same shape, following the clicks.
            said: the same as the network said it.
            height: greatest inside objects.
            automatic: returns the objects that are answered without clicks; asked only if needed.
        """
        threshold = self.task.output.threshold
        points: list[Point] = [tuple(point) for point in clicks.positive.tolist()]
        for point in points:
            number = int(objects[point])
            if number == 0:
                number = int(objects.max()) + 1
                self._mark(objects, number, (probability >= threshold) & (objects == 0), point)
            if said[point] < threshold:
                free = self._region(point) & ((objects == 0) | (objects == number))
                for other in clicks.negative.tolist():
                    free[tuple(other)] = False
                objects[free] = number
        objects = split_at(objects, height, clicks.positive)
        for point in points:
            objects = part_off(objects, height, point)
            parted = part_around(objects.copy(), point, CENTRED)
            if (parted != objects).any() and _unchanged(objects, automatic(), point, points):
                objects = parted
        return objects

    def _mark(self, objects: np.ndarray, number: int, mask: np.ndarray, point: Point) -> None:
        """Give a number to a point, and to what of `mask` hangs together with it in its frame."""
        frame, place = point[: -self._dims], point[-self._dims :]
        labels, _ = ndimage.label(mask[frame])
        if labels[place]:
            objects[frame][labels == labels[place]] = number
        objects[point] = number

    def _region(self, point: Point) -> np.ndarray:
        """Return what stands out around a point; the point alone where nothing does."""
        if point not in self._regions:
            found = np.zeros(self.image.shape, dtype=bool)
            frame, place = point[: -self._dims], point[-self._dims :]  # of a loop its own frame
            near = tuple(slice(max(0, at - REACH), at + REACH + 1) for at in place)
            pixels = self.image.pixels[frame][near]
            inside = tuple(at - part.start for at, part in zip(place, near, strict=True))
            window = Image(
                pixels,
                Geometry.flat(*pixels.shape[: self._dims]),
                self.image.path,
                self.image.colour,
            )
            try:
                found[frame][near] = segment_clicks(window, Clicks().with_one(inside, True))
            except InputError:  # nothing stands out
                found[point] = True
            self._regions[point] = found
        return self._regions[point]


def _unchanged(
    objects: np.ndarray, automatic: np.ndarray, point: Point, points: list[Point]
) -> bool:
    """Tell whether the object of a click is one that was answered without, with no other click."""
    number = automatic[point]
    if number == 0 or sum(automatic[other] == number for other in points) > 1:
        return False
    one, other = objects == objects[point], automatic == number
    return bool(np.count_nonzero(one & other) >= SAME * np.count_nonzero(one | other))
