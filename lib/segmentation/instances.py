"""From a foreground probability map to separated, numbered objects."""

from __future__ import annotations

import itertools

import numpy as np
from scipy import ndimage
from skimage.segmentation import watershed

from lib.segmentation.ellipse import filled_ellipse
from lib.segmentation.maxima import corners_touch, lower_maxima, regional_maxima
from lib.tasks.image_spec import OutputSpec


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
        if spec.shape == "ellipse" and mask.ndim == 2:
            mask = filled_ellipse(mask)
    if spec.min_area > 1 and mask.any():
        labels, _ = ndimage.label(mask)  # remove_small_objects has other arguments by version
        large = np.bincount(labels.ravel()) >= spec.min_area
        if not large[1:].all():
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
    height = surface(mask, spec, distance)
    labels, count = components(mask, spec)
    if height is not None:
        split(labels, count, height, spec)
    return grow_back(labels, spec.gap)


def components(mask: np.ndarray, spec: OutputSpec) -> tuple[np.ndarray, int]:
    """Return what is connected, int32 `(*spatial)` numbered from 1, and how many there are.

    Where nothing splits objects further, pixels that share a corner are connected.
    """
    corners = corners_touch(mask.ndim) if spec.separation == "components" else None
    labels, count = ndimage.label(mask, corners)
    return labels.astype(np.int32, copy=False), count


def surface(
    mask: np.ndarray, spec: OutputSpec, distance: np.ndarray | None = None
) -> np.ndarray | None:
    """Return the heights by which `split` parts objects, float32 `(*spatial)`, 0 outside `mask`.

    They are greatest inside objects: depths, smoothed. None where `spec` splits nothing.

    Args:
        mask, distance: see `separate`.
    """
    if spec.separation == "components":
        return None
    if spec.separation == "shape":
        height = depth_inside(mask).astype(np.float32)
    elif distance is None:
        raise ValueError("separation by distance needs the answered distance map")
    else:
        height = distance
    if spec.smoothing > 0 and mask.any():
        height = ndimage.gaussian_filter(height, spec.smoothing)
    return np.where(mask, height, 0).astype(np.float32, copy=False)


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


def split(labels: np.ndarray, count: int, height: np.ndarray, spec: OutputSpec) -> int:
    """Split connected objects, in place, by a watershed of `height`; return how many there are.

    Seeds are the maxima of the height that are at least `spec.seed_threshold` high (for separation
    ``distance``) and rise at least `spec.depth` above the saddle to their neighbour (h-maxima:
    Soille 2003, section 6.3.4). What has at most one seed stays one object. Each is split by its
    own pixels alone, whatever lies around it.

    Args:
        labels: int32 `(*spatial)`, numbered from 1; parts get the numbers after `count`.
        count: highest number in `labels`.
        height: see `surface`.
    """
    if count == 0:
        return 0
    least = spec.seed_threshold if spec.separation == "distance" else 0.0
    boxes = ndimage.find_objects(labels)
    for component in _with_several_maxima(height, labels, least):
        box = boxes[component - 1]
        region = labels[box] == component
        inside = np.where(region, height[box], 0)
        # lower all maxima by the depth: two that merge had no saddle as deep as that between them
        tops = regional_maxima(lower_maxima(inside, spec.depth)) & region & (inside >= least)
        seeds, found = ndimage.label(tops, structure=corners_touch(labels.ndim))
        if found > 1:
            parts = watershed(-inside, seeds, mask=region)
            number_of_part = np.arange(found + 1, dtype=np.int32) + count - 1
            number_of_part[1] = component
            labels[box][region] = number_of_part[parts[region]]
            count += found - 1
    return count


def _with_several_maxima(height: np.ndarray, labels: np.ndarray, least: float) -> np.ndarray:
    """Return the numbers of the objects with several local maxima of at least `least`.

    The others cannot be split.
    """
    tops = _tops(height, labels, least)
    regions, maxima = ndimage.label(tops, structure=corners_touch(labels.ndim))
    # a region of equal heights may lie in two objects that touch at a corner
    pairs = np.unique(labels[tops].astype(np.int64) * (maxima + 1) + regions[tops])
    numbers, found = np.unique(pairs // (maxima + 1), return_counts=True)
    return numbers[found > 1]


def _tops(height: np.ndarray, labels: np.ndarray, least: float) -> np.ndarray:
    """Return where no neighbour in the same object is higher, boolean `(*spatial)`.

    Pixels of other objects are neighbours only where they share a corner, and are left out.
    """
    tops = (labels > 0) & (height >= least)
    for axis in range(height.ndim):
        before, after = ((slice(None),) * axis + (part,) for part in (slice(-1), slice(1, None)))
        tops[before] &= height[before] >= height[after]
        tops[after] &= height[after] >= height[before]
    at = np.nonzero(tops)
    kept = np.ones(len(at[0]), dtype=bool)
    for step in itertools.product((-1, 0, 1), repeat=height.ndim):
        if np.abs(step).sum() > 1:  # the others are done
            beside = tuple(
                np.clip(index + by, 0, side - 1)
                for index, by, side in zip(at, step, height.shape, strict=True)
            )
            kept &= (labels[beside] != labels[at]) | (height[beside] <= height[at])
    tops[at] = kept
    return tops
