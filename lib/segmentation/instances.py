"""From a foreground probability map to separated, numbered objects."""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from skimage.morphology import local_maxima, reconstruction
from skimage.segmentation import watershed

from lib.tasks.image_spec import OutputSpec


def corners_touch(dims: int) -> np.ndarray:
    """Return the structuring element under which pixels that share a corner are neighbours."""
    return ndimage.generate_binary_structure(dims, dims)


def depth_inside(mask: np.ndarray) -> np.ndarray:
    """Return the distance of each pixel in `mask` to the nearest one that is not, in pixels.

    Pixels beyond the image count as outside.
    """
    inner = (slice(1, -1),) * mask.ndim
    return ndimage.distance_transform_edt(np.pad(mask, 1))[inner]


def foreground_mask(
    probability: np.ndarray, spec: OutputSpec, presence: np.ndarray | None = None
) -> np.ndarray:
    """Threshold probabilities to a boolean mask of the objects that the spec asks for.

    Args:
        probability: `(*spatial)`, 0..1.
        presence: the answered presence map, 0..1, of the same shape. Pixels at which it is below
            `spec.presence_threshold` become background.
    """
    if spec.blur > 0:
        probability = ndimage.gaussian_filter(probability, spec.blur)
    mask = probability >= spec.threshold
    if presence is not None:
        mask &= presence >= spec.presence_threshold
    if spec.keep == "largest":
        mask = largest(mask)
    if spec.min_area > 1 and mask.any():
        labels, _ = ndimage.label(mask)  # remove_small_objects has other arguments by version
        large = np.bincount(labels.ravel()) >= spec.min_area
        large[0] = False
        mask = large[labels]
    return mask


def largest(mask: np.ndarray, corners: bool = True) -> np.ndarray:
    """Return the largest connected object of a mask `(*spatial)`; an empty mask stays empty.

    Args:
        corners: whether pixels that share only a corner are connected.
    """
    labels, count = ndimage.label(mask, corners_touch(mask.ndim) if corners else None)
    if count < 2:
        return mask
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return labels == sizes.argmax()


def separate(mask: np.ndarray, spec: OutputSpec, distance: np.ndarray | None = None) -> np.ndarray:
    """Split touching objects as `spec.separation` says.

    Args:
        mask: boolean `(*spatial)`.
        distance: answered distance map, 0..1, of the mask's shape; for separation ``distance``.

    Returns:
        int32 `(*spatial)`, 0 is background, objects numbered from 1 without gaps. The objects cover
        exactly `mask`, and with `spec.gap` also the gaps that were closed between them.
    """
    if spec.separation == "components":
        objects = ndimage.label(mask, structure=corners_touch(mask.ndim))[0].astype(np.int32)
    elif spec.separation == "shape":
        objects = _split(mask, depth_inside(mask).astype(np.float32), spec, least=0.0)
    elif distance is None:
        raise ValueError("separation by distance needs the answered distance map")
    else:
        objects = _split(mask, distance, spec, spec.seed_threshold)
    return grow_back(objects, spec.gap)


def with_gaps(objects: np.ndarray, by_frame: bool = False) -> np.ndarray:
    """Return `objects`, `(*spatial)`, without the pixels that touch an object of a higher number.

    What remains of two objects does not touch, not even at corners: as a mask they are still two.
    An object of which nothing would remain stays whole, and those around it give way.

    Args:
        by_frame: whether the first axis is time, along which nothing touches.
    """
    size = (1, 3, 3) if by_frame else (3,) * objects.ndim
    parted = np.where(ndimage.maximum_filter(objects, size=size) > objects, 0, objects)
    kept = np.zeros(int(objects.max(initial=0)) + 1, dtype=bool)
    kept[parted] = True
    lost = np.where(kept[objects], 0, objects)
    if lost.any():
        lost = np.where(ndimage.maximum_filter(lost, size=size) > lost, 0, lost)
        parted = np.where(ndimage.maximum_filter(lost, size=size) > 0, lost, parted)
    return parted


def renumbered(objects: np.ndarray) -> np.ndarray:
    """Return `objects`, int32 `(*spatial)`, numbered from 1 without gaps, in the same order."""
    found = np.zeros(int(objects.max(initial=0)) + 1, dtype=bool)
    found[objects] = True
    found[0] = False
    return np.cumsum(found, dtype=np.int32)[objects] if not found[1:].all() else objects


def grow_back(objects: np.ndarray, gap: int) -> np.ndarray:
    """Undo the erosion by `gap` pixels with which `lib.data.targets.foreground` parts neighbours.

    Dilating the objects by `gap` and eroding them again fills the band of `2 gap` pixels between
    two objects that touched. Only pixels near two objects are filled; other borders stay.

    Args:
        objects: int32 `(*spatial)`, 0 is background.

    Returns:
        int32 of the same shape. A pixel as near to one object as to another belongs to the one with
        the higher number.
    """
    if gap == 0:
        return objects
    none, wide, touching = np.iinfo(np.int32).max, 4 * gap + 1, corners_touch(objects.ndim)
    lowest = ndimage.minimum_filter(np.where(objects > 0, objects, none), size=wide)
    highest = ndimage.maximum_filter(objects, size=wide)
    dilated = ndimage.binary_dilation(objects > 0, touching, gap)
    closed = ndimage.binary_erosion(dilated, touching, gap, border_value=1)
    missing = closed & (objects == 0) & (lowest != none) & (lowest != highest)
    return np.where(missing, ndimage.maximum_filter(objects, size=2 * gap + 1), objects)


def _split(mask: np.ndarray, height: np.ndarray, spec: OutputSpec, least: float) -> np.ndarray:
    """Split the components of `mask` by a watershed of `height`, which is greatest inside objects.

    Seeds are the maxima of the smoothed height that are at least `least` high and rise at least
    `spec.depth` above the saddle to their neighbour (h-maxima: Soille 2003, section 6.3.4). A
    component with at most one seed stays one object.
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
        surface = np.where(region, height[box], 0)
        # lower all maxima by the depth: two that merge had no saddle as deep as that between them
        levelled = reconstruction(surface - spec.depth, surface)
        tops = local_maxima(levelled) & region & (surface >= least)
        seeds, found = ndimage.label(tops, structure=corners_touch(mask.ndim))
        if found > 1:
            parts = watershed(-surface, seeds, mask=region)
            number_of_part = np.arange(found + 1, dtype=np.int32) + count - 1
            number_of_part[1] = component
            labels[box][region] = number_of_part[parts[region]]
            count += found - 1
    return labels


def _with_several_maxima(
    height: np.ndarray, mask: np.ndarray, labels: np.ndarray, count: int
) -> np.ndarray:
    """Return the numbers of the components with several local maxima in `mask`.

    The others cannot be split.
    """
    tops = (height == ndimage.maximum_filter(height, size=3)) & mask
    regions, maxima = ndimage.label(tops, structure=corners_touch(mask.ndim))
    component_of_maximum = np.zeros(maxima + 1, dtype=np.int64)
    component_of_maximum[regions[tops]] = labels[tops]
    return np.nonzero(np.bincount(component_of_maximum[1:], minlength=count + 1) > 1)[0]
