"""From a foreground probability map to separated, numbered objects."""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from skimage.morphology import local_maxima, reconstruction
from skimage.segmentation import watershed

from lib.tasks import OutputSpec

_TOUCHING = np.ones((3, 3), dtype=bool)


def foreground_mask(probability: np.ndarray, spec: OutputSpec) -> np.ndarray:
    """Threshold `(rows, columns)` probabilities and drop objects below `spec.min_area` pixels."""
    mask = probability >= spec.threshold
    if spec.min_area > 1 and mask.any():
        labels, _ = ndimage.label(mask)  # scikit-image names this differently by version
        large = np.bincount(labels.ravel()) >= spec.min_area
        large[0] = False
        mask = large[labels]
    return mask


def separate(mask: np.ndarray, spec: OutputSpec) -> np.ndarray:
    """Split touching objects by watershed on the distance transform.

    Seeds are the maxima of the smoothed distance transform that rise at least `spec.depth` pixels
    above the saddle to their neighbour (h-maxima: Soille 2003, section 6.3.4).

    Args:
        mask: `(rows, columns)` boolean.

    Returns:
        int32 `(rows, columns)`, 0 is background, objects numbered from 1 without gaps; the
        foreground is exactly `mask`.
    """
    labels, count = ndimage.label(mask)
    labels = labels.astype(np.int32)
    if count == 0:
        return labels
    distance = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1].astype(np.float32)
    if spec.smoothing > 0:
        distance = ndimage.gaussian_filter(distance, spec.smoothing) * mask
    boxes = ndimage.find_objects(labels)
    for component in _with_several_maxima(distance, mask, labels, count):
        box = boxes[component - 1]
        region = labels[box] == component
        height = np.where(region, distance[box], 0)
        # all maxima lowered by the depth; what is one top then had no saddle as deep as that
        levelled = reconstruction(height - spec.depth, height)
        seeds, found = ndimage.label(local_maxima(levelled) & region, structure=_TOUCHING)
        if found > 1:
            parts = watershed(-height, seeds, mask=region)
            fresh = np.arange(found + 1, dtype=np.int32) + count - 1
            fresh[1] = component
            labels[box][region] = fresh[parts[region]]
            count += found - 1
    return labels


def _with_several_maxima(
    distance: np.ndarray, mask: np.ndarray, labels: np.ndarray, count: int
) -> np.ndarray:
    """Return the components with more than one local maximum; others cannot be split."""
    tops = (distance == ndimage.maximum_filter(distance, size=3)) & mask
    regions, maxima = ndimage.label(tops, structure=_TOUCHING)
    first = np.zeros(maxima + 1, dtype=np.int64)
    rows, columns = np.nonzero(tops)
    first[regions[rows, columns]] = labels[rows, columns]
    return np.nonzero(np.bincount(first[1:], minlength=count + 1) > 1)[0]
