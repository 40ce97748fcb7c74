"""Objects of a prediction, each with its number, and how many and how large they are."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy import ndimage

from lib.image import Image
from lib.io.pixel_size import pixel_size
from lib.segmentation.maxima import corners_touch
from lib.segmentation.predictor import Prediction

ML = 1000.0  # cubic millimetres


def numbered_objects(prediction: Prediction, over_time: bool = False) -> np.ndarray:
    """Return the objects of a prediction, int32 `(*spatial)` numbered from 1, 0 is background.

    Where the task does not separate objects, each connected part of a structure is one; pixels that
    share a corner are connected.

    Args:
        over_time: whether the first of three axes is time, along which nothing is connected.
    """
    if prediction.instances is not None:
        return prediction.instances
    mask = prediction.mask
    connected = corners_touch(mask.ndim).copy()
    if over_time and mask.ndim == 3:
        connected[[0, 2]] = False
    objects, count = np.zeros(mask.shape, np.int32), 0
    for value in np.flatnonzero(np.bincount(mask.ravel())):
        if value:
            parts, found = ndimage.label(mask == value, connected)
            inside = parts > 0
            objects[inside] = parts[inside] + count
            count += found
    return objects


def values_of_objects(objects: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return the value in `mask` of each object, uint8 by number; 0 for numbers of no object."""
    values = np.zeros(int(objects.max(initial=0)) + 1, mask.dtype)
    inside = objects > 0
    values[objects[inside]] = mask[inside]
    return values


def counts_and_volumes(
    prediction: Prediction, labels: Mapping[str, int], image: Image
) -> dict[str, dict[str, float]]:
    """Return what an answer tells at a glance.

    Returns:
        Of an image ``counts``, the number of objects of each structure; of a volume ``volumes_ml``,
        the volume of each structure in millilitres, where the file tells the size of a voxel. Of a
        loop, whose frames show the same objects again, nothing.
    """
    if image.over_time:
        return {}
    if image.spatial_dims == 2:
        objects = numbered_objects(prediction)
        found = np.bincount(values_of_objects(objects, prediction.mask), minlength=256)
        return {"counts": {name: int(found[value]) for name, value in labels.items()}}
    size = pixel_size(image)
    if size is None:
        return {}
    voxels = np.bincount(prediction.mask.ravel(), minlength=256)
    voxel = float(np.prod(size)) / ML
    return {"volumes_ml": {name: round(voxels[v] * voxel, 6) for name, v in labels.items()}}
