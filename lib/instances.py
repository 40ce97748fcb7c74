"""From a foreground probability map to separated, numbered objects."""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from skimage.measure import label as connected_components
from skimage.morphology import h_maxima, remove_small_objects
from skimage.segmentation import relabel_sequential, watershed

from lib.tasks import OutputSpec


def foreground_mask(probability: np.ndarray, spec: OutputSpec) -> np.ndarray:
    """Threshold `(rows, columns)` probabilities and drop objects below `spec.min_area` pixels."""
    mask = probability >= spec.threshold
    if spec.min_area > 1 and mask.any():
        mask = remove_small_objects(mask, max_size=spec.min_area - 1, connectivity=1)
    return mask


def separate(mask: np.ndarray, spec: OutputSpec) -> np.ndarray:
    """Split touching objects by watershed on the distance transform.

    Seeds are the maxima of the smoothed distance transform that rise at least `spec.depth` pixels
    above the saddle to their neighbour (h-maxima), as in Vincent and Soille 1991 with markers.

    Args:
        mask: `(rows, columns)` boolean.

    Returns:
        int32 `(rows, columns)`, 0 is background, objects numbered from 1 without gaps; the
        foreground is exactly `mask`.
    """
    result = np.zeros(mask.shape, dtype=np.int32)
    components = connected_components(mask, connectivity=1)
    count = 0
    for component, box in enumerate(ndimage.find_objects(components), start=1):
        region = components[box] == component
        labels = _split(region, spec)
        result[box][region] = labels[region] + count
        count += int(labels.max())
    return relabel_sequential(result)[0].astype(np.int32)


def _split(region: np.ndarray, spec: OutputSpec) -> np.ndarray:
    """Split one connected region given in its own bounding box."""
    if region.all():  # a filled box has no neck to cut
        return region.astype(np.int32)
    distance = ndimage.distance_transform_edt(np.pad(region, 1))[1:-1, 1:-1]
    if spec.smoothing > 0:
        distance = ndimage.gaussian_filter(distance, spec.smoothing) * region
    seeds = connected_components(h_maxima(distance, spec.depth) & region, connectivity=2)
    if seeds.max() <= 1:
        return region.astype(np.int32)
    return watershed(-distance, seeds, mask=region).astype(np.int32)
