"""From a foreground probability map to separated, numbered objects."""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from skimage.morphology import local_maxima, reconstruction
from skimage.segmentation import watershed

from lib.tasks.image_spec import OutputSpec

_LEAST_DEPTH = 0.05  # by which parts of a clicked object differ, of an answered distance map
_LEAST_NECK = 0.5  # the same of its depth, pixels


def _touching(array: np.ndarray) -> np.ndarray:
    """Return the structuring element in which diagonals touch."""
    return np.ones((3,) * array.ndim, dtype=bool)


def foreground_mask(
    probability: np.ndarray, spec: OutputSpec, presence: np.ndarray | None = None
) -> np.ndarray:
    """Threshold `(*spatial)` probabilities and keep the objects that the spec asks for.

    Args:
        presence: answered presence, 0..1, of the same shape; nothing is kept where it is below
            `spec.presence_threshold`.
    """
    if spec.blur > 0:
        probability = ndimage.gaussian_filter(probability, spec.blur)
    mask = probability >= spec.threshold
    if presence is not None:
        mask &= presence >= spec.presence_threshold
    if spec.keep == "largest":
        mask = largest(mask)
    if spec.min_area > 1 and mask.any():
        labels, _ = ndimage.label(mask)  # scikit-image names this differently by version
        large = np.bincount(labels.ravel()) >= spec.min_area
        large[0] = False
        mask = large[labels]
    return mask


def largest(mask: np.ndarray) -> np.ndarray:
    """Return the largest connected object of `(*spatial)`, corners touching; none of none."""
    labels, count = ndimage.label(mask, structure=_touching(mask))
    if count < 2:
        return mask
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return labels == sizes.argmax()


def separate(mask: np.ndarray, spec: OutputSpec, distance: np.ndarray | None = None) -> np.ndarray:
    """Split touching objects as `spec.separation` says.

    Args:
        mask: `(*spatial)` boolean.
        distance: answered distance map, 0..1, of the mask's shape; for separation ``distance``.

    Returns:
        int32 `(*spatial)`, 0 is background, objects numbered from 1 without gaps. The foreground
        is exactly `mask`, and with `spec.gap` what grows back between objects.
    """
    if spec.separation == "components":
        objects = ndimage.label(mask, structure=_touching(mask))[0].astype(np.int32)
    elif spec.separation == "shape":
        inner = (slice(1, -1),) * mask.ndim
        depth = ndimage.distance_transform_edt(np.pad(mask, 1))[inner].astype(np.float32)
        objects = _split(mask, depth, spec, least=0.0)
    elif distance is None:
        raise ValueError("separation by distance needs the answered distance map")
    else:
        objects = _split(mask, distance, spec, spec.seed_threshold)
    return grow_back(objects, spec.gap)


def split_at(objects: np.ndarray, height: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Split objects that hold several of `points`, so that each point has one of its own.

    Args:
        objects: `(*spatial)` int32, 0 is background; changed in place.
        height: greatest inside objects, of the same shape; the watershed of it parts them.
        points: int `(n, axes)`.

    Returns:
        `objects`; new ones are numbered on.
    """
    numbers = objects[tuple(points.T)]
    count = int(objects.max(initial=0))
    boxes = ndimage.find_objects(objects)
    for number in np.unique(numbers[numbers > 0]):
        own = np.unique(points[numbers == number], axis=0)
        if len(own) < 2:
            continue
        box = boxes[number - 1]
        region = objects[box] == number
        seeds = np.zeros(region.shape, dtype=np.int32)
        places = own - [part.start for part in box]
        seeds[tuple(places.T)] = np.arange(1, len(own) + 1)
        fresh = np.arange(len(own) + 1, dtype=np.int32) + count - 1
        fresh[1] = number
        parts = watershed(-height[box], seeds, mask=region)
        objects[box][region] = fresh[parts[region]]
        count += len(own) - 1
    return objects


def part_off(objects: np.ndarray, height: np.ndarray, point: tuple[int, ...]) -> np.ndarray:
    """Part what is around `point` from the object that it lies in, where that has a neck.

    The object's parts are the watershed of `height`, or, where that shows one part only, of its own
    depth, both with the least of differences; the part of the point becomes an object.

    Args:
        objects: `(*spatial)` int32, 0 is background; changed in place.
        height: `(*spatial)`, 0..1, greatest inside objects.

    Returns:
        `objects`; the new one has the next number.
    """
    if objects[point] == 0:
        return objects
    box, own, place = _object_at(objects, point)
    place, region = tuple(at + 1 for at in place), np.pad(own, 1)
    inner = np.pad(np.where(own, height[box], 0), 1).astype(np.float32)
    depth = ndimage.distance_transform_edt(region).astype(np.float32)
    for surface, least in ((inner, _LEAST_DEPTH), (depth, _LEAST_NECK)):
        smooth = np.where(region, ndimage.gaussian_filter(surface, 1.0), 0).astype(np.float32)
        levelled = reconstruction(smooth - least, smooth)
        seeds, found = ndimage.label(local_maxima(levelled) & region, structure=_touching(region))
        if found < 2:
            continue
        parts = watershed(-smooth, seeds, mask=region)
        own = parts == parts[place]
        part = own[(slice(1, -1),) * own.ndim]
        objects[box][part] = int(objects.max()) + 1
        break
    return objects


def part_around(objects: np.ndarray, point: tuple[int, ...], least: float) -> np.ndarray:
    """Part what lies symmetrically around `point` from the object that it lies in.

    That is what the object shares with its mirror image through the point, where it hangs together
    with the point: of a compact part that is clicked in its middle about the part, as what the
    object has beyond it on one side lies outside on the other.

    Args:
        objects: `(*spatial)` int32, 0 is background; changed in place.
        least: share of the object from which it is left whole, as the point is in its middle.

    Returns:
        `objects`; the new one has the next number.
    """
    if objects[point] == 0:
        return objects
    box, region, place = _object_at(objects, point)
    places = np.argwhere(region)
    mirrored = 2 * np.array(place) - places
    inside = ((mirrored >= 0) & (mirrored < region.shape)).all(axis=1)
    shared = np.zeros_like(region)
    shared[tuple(places[inside].T)] = region[tuple(mirrored[inside].T)]
    labels, _ = ndimage.label(shared)
    own = labels == labels[place]
    if np.count_nonzero(own) < least * len(places):
        objects[box][own] = int(objects.max()) + 1
    return objects


def _object_at(
    objects: np.ndarray, point: tuple[int, ...]
) -> tuple[tuple[slice, ...], np.ndarray, tuple[int, ...]]:
    """Return the box of the object at a point, its mask there, and the point's place in the box."""
    (box,) = ndimage.find_objects((objects == objects[point]).astype(np.uint8))
    place = tuple(at - part.start for at, part in zip(point, box, strict=True))
    return box, objects[box] == objects[point], place


def with_gaps(objects: np.ndarray) -> np.ndarray:
    """Return `objects` `(*spatial)` without the pixels that touch an object of a higher number.

    What is left of each object is connected to no other, corners included.
    """
    return np.where(ndimage.maximum_filter(objects, size=3) > objects, 0, objects)


def grow_back(objects: np.ndarray, gap: int) -> np.ndarray:
    """Undo the erosion of `gap` pixels between neighbours of `lib.data.targets.foreground`.

    Objects are dilated by `gap` and eroded again, which fills the band of `2 gap` pixels that is
    missing where two touched; only pixels with two objects so near are taken from it, so that
    other borders stay.

    Args:
        objects: `(*spatial)` int32, 0 is background.

    Returns:
        int32 of the same shape; a pixel as near to two belongs to the one of the higher number.
    """
    if gap == 0:
        return objects
    none, wide, touching = np.iinfo(np.int32).max, 4 * gap + 1, _touching(objects)
    lowest = ndimage.minimum_filter(np.where(objects > 0, objects, none), size=wide)
    highest = ndimage.maximum_filter(objects, size=wide)
    dilated = ndimage.binary_dilation(objects > 0, touching, gap)
    closed = ndimage.binary_erosion(dilated, touching, gap, border_value=1)
    missing = closed & (objects == 0) & (lowest != none) & (lowest != highest)
    return np.where(missing, ndimage.maximum_filter(objects, size=2 * gap + 1), objects)


def _split(mask: np.ndarray, height: np.ndarray, spec: OutputSpec, least: float) -> np.ndarray:
    """Split the components of `mask` by watershed of a height that is greatest inside objects.

    Seeds are the maxima of the smoothed height that rise at least `spec.depth` above the saddle to
    their neighbour (h-maxima: Soille 2003, section 6.3.4) and are at least `least` high. A
    component with one or none is one object.
    """
    labels, count = ndimage.label(mask)
    labels = labels.astype(np.int32)
    if count == 0:
        return labels
    if spec.smoothing > 0:
        height = ndimage.gaussian_filter(height, spec.smoothing)
    height = np.where(mask, height, 0).astype(np.float32)
    boxes = ndimage.find_objects(labels)
    for component in _with_several_maxima(height, mask & (height >= least), labels, count):
        box = boxes[component - 1]
        region = labels[box] == component
        own = np.where(region, height[box], 0)
        # all maxima lowered by the depth; what is one top then had no saddle as deep as that
        levelled = reconstruction(own - spec.depth, own)
        tops = local_maxima(levelled) & region & (own >= least)
        seeds, found = ndimage.label(tops, structure=_touching(mask))
        if found > 1:
            parts = watershed(-own, seeds, mask=region)
            fresh = np.arange(found + 1, dtype=np.int32) + count - 1
            fresh[1] = component
            labels[box][region] = fresh[parts[region]]
            count += found - 1
    return labels


def _with_several_maxima(
    height: np.ndarray, mask: np.ndarray, labels: np.ndarray, count: int
) -> np.ndarray:
    """Return the components with several local maxima in `mask`; others cannot be split."""
    tops = (height == ndimage.maximum_filter(height, size=3)) & mask
    regions, maxima = ndimage.label(tops, structure=_touching(mask))
    first = np.zeros(maxima + 1, dtype=np.int64)
    first[regions[tops]] = labels[tops]
    return np.nonzero(np.bincount(first[1:], minlength=count + 1) > 1)[0]
