"""Splitting answered objects at clicks."""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from skimage.morphology import local_maxima, reconstruction
from skimage.segmentation import watershed

from lib.segmentation.instances import corners_touch

# how deep the saddle between two parts of a clicked object must be at least
_LEAST_DEPTH = 0.05  # in an answered distance map, 0..1
_LEAST_NECK = 0.5  # in the object's own depth, pixels


def split_between_points(objects: np.ndarray, height: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Split each object that holds several of `points`, so that each point gets its own object.

    Args:
        objects: int32 `(*spatial)`, 0 is background; changed in place.
        height: of the same shape, greatest inside objects; its watershed draws the borders.
        points: int `(points, axes)`.

    Returns:
        `objects`; new objects get the next numbers.
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
        objects: int32 `(*spatial)`, 0 is background; changed in place.
        height: `(*spatial)`, 0..1, greatest inside objects.

    Returns:
        `objects`; the new object gets the next number.
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
        objects: int32 `(*spatial)`, 0 is background; changed in place.
        least: share of the object, 0..1. If the part is at least that much of the object, the point
            is in the middle of the whole object, which is left as it is.

    Returns:
        `objects`; the new object gets the next number.
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
