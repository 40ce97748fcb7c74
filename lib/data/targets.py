"""Make the training target of a label image: one map for each name in the task's spec.

Binary maps hold 0 and 1. "distance" is the depth inside an object relative to the object's deepest
point, so that it does not depend on magnification (after Naylor et al. 2019, "Segmentation of
nuclei in histopathology images by deep regression of the distance map", section III). The network
does not predict the maps whose names end in "_weight"; they weight its loss. The others are
`UNKNOWN` where nobody labelled, and where they depend on what might be there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
from scipy import ndimage
from skimage.measure import label as connected_components

from lib.data.ignore import IGNORE, UNKNOWN
from lib.errors import choose
from lib.tasks.image_spec import PRESENCE, STRUCTURE, TargetSpec

BORDER_RADIUS = 1
WEIGHT_PEAK, WEIGHT_SIGMA = 10.0, 5.0
_WEIGHT_REACH = 4 * WEIGHT_SIGMA
_ROWS_AT_ONCE = 1024
_LARGEST_NUMBER = 1 << 20  # labels above this are numbered anew before boxes are made


def as_instances(label: np.ndarray) -> np.ndarray:
    """Return a label image whose objects are numbered.

    A label image with one value only is taken as a mask: its connected components (diagonals
    count) become the objects. Others are returned as they are. What is ignored is background.

    Args:
        label: `(*spatial)` integers, 0 is background.
    """
    label = np.where(label == IGNORE, 0, label)
    top = label.max(initial=0)
    if top > 0 and ((label == 0) | (label == top)).all():
        return connected_components(label > 0, connectivity=label.ndim).astype(np.int32)
    return label


def typical_diameter(objects: np.ndarray) -> float:
    """Return the diameter such that half of the foreground lies in objects at least as large.

    Specks, and pieces of larger objects, count by their area. The diameter is that of a circle of
    equal area.

    Args:
        objects: `(rows, columns)` integers, 0 is background.

    Returns:
        Pixels; 0 if there are no objects.
    """
    top = int(objects.max(initial=0))
    if top > _LARGEST_NUMBER:
        values, areas = np.unique(objects, return_counts=True)
        areas = areas[values > 0]
    else:  # by rows: counting takes eight bytes for each pixel
        areas = np.zeros(top + 1, np.int64)
        for row in range(0, len(objects), _ROWS_AT_ONCE):
            areas += np.bincount(objects[row : row + _ROWS_AT_ONCE].ravel(), minlength=top + 1)
        areas = areas[1:]
    areas = np.sort(areas[areas > 0])
    if not len(areas):
        return 0.0
    reached = np.cumsum(areas)
    middle = areas[np.searchsorted(reached, reached[-1] / 2)]
    return 2 * math.sqrt(float(middle) / math.pi)


def make_target(label: np.ndarray, spec: TargetSpec) -> np.ndarray:
    """Return the training target of a label image `(*spatial)`.

    Returns:
        `(maps, *spatial)`, one map per name in `spec.maps`; uint8, or int8 if something is unknown,
        where all are binary, else float16.
    """
    ignored = label == IGNORE
    label = np.where(ignored, 0, label)
    target = np.stack([_get_map(name)(label, spec) for name in spec.maps])
    binary = all(is_binary(name) for name in spec.maps)
    if not ignored.any():
        return target.astype(np.uint8 if binary else np.float16)
    target = target.astype(np.int8 if binary else np.float16)
    for name, values in zip(spec.maps, target, strict=True):
        if name in spec.answered:
            values[ignored | _hidden(name, values, label, ignored, spec)] = UNKNOWN
    return target


def _hidden(
    name: str, values: np.ndarray, label: np.ndarray, ignored: np.ndarray, spec: TargetSpec
) -> np.ndarray | bool:
    """Return the pixels whose value in a map depends on what is ignored."""
    if name == PRESENCE:
        return not label.any()
    if name == "foreground" and spec.gap > 0:  # an object there would clear a gap here
        beside = _cut(label, ignored) & _near_two(label, spec.gap)
        return beside | ((values == 1) & _grown(ignored, spec.gap))
    if name == "border":  # an object there would make a border here
        return (values == 0) & _grown(ignored, BORDER_RADIUS)
    if name == "distance":
        return _cut(as_instances(label), ignored)
    return False


def _cut(objects: np.ndarray, ignored: np.ndarray) -> np.ndarray:
    """Return the pixels of the objects that touch what is ignored, and may go on there."""
    cut = np.unique(objects[_grown(ignored, 1)])
    return np.isin(objects, cut[cut > 0])


def _grown(mask: np.ndarray, radius: int) -> np.ndarray:
    return ndimage.maximum_filter(mask, size=2 * radius + 1)


def foreground(label: np.ndarray, spec: TargetSpec) -> np.ndarray:
    """Return the pixels that belong to any object.

    If `spec.gap` is above 0, pixels that have two objects within that radius are cleared; objects
    that would disappear are kept whole.
    """
    found = label > 0
    if spec.gap > 0:
        eroded = found & ~_near_two(label, spec.gap)
        gone = np.setdiff1d(np.unique(label), np.unique(label[eroded]))
        found = eroded | (found & np.isin(label, gone))
    return found


def presence(label: np.ndarray, spec: TargetSpec) -> np.ndarray:
    """Return 1 everywhere if there is any object, else 0.

    For a training patch, `lib.data.transforms.draw_patch` sets the map by what the patch shows.
    """
    return np.full(label.shape, bool(label.any()))


def border(label: np.ndarray, spec: TargetSpec) -> np.ndarray:
    """Return the pixels that have two objects within `BORDER_RADIUS`, background included."""
    return _near_two(as_instances(label), BORDER_RADIUS)


def distance(label: np.ndarray, spec: TargetSpec) -> np.ndarray:
    """Return each pixel's depth inside its object, 1 at the object's deepest pixel; float32."""
    result = np.zeros(label.shape, np.float32)
    for inside, box in _objects(as_instances(label), margin=1):
        depth = ndimage.distance_transform_edt(inside)
        result[box] = np.where(inside, depth / depth.max(), result[box])
    return result


def border_weight(label: np.ndarray, spec: TargetSpec) -> np.ndarray:
    """Return the weight map of U-Net 2015, eq. 2, with w0 = 10, sigma = 5 pixels and w_c = 1.

    The distances to the nearest and the second nearest object are exact up to 4 sigma; beyond, the
    term is below 1e-3 of its peak.
    """
    nearest = np.full(label.shape, np.inf, np.float32)
    second = nearest.copy()
    for inside, box in _objects(as_instances(label), margin=int(_WEIGHT_REACH)):
        away = ndimage.distance_transform_edt(~inside).astype(np.float32)
        first = nearest[box]
        second[box] = np.minimum(second[box], np.maximum(first, away))
        nearest[box] = np.minimum(first, away)
    term = WEIGHT_PEAK * np.exp(-((nearest + second) ** 2) / (2 * WEIGHT_SIGMA**2))
    return np.where(label > 0, 1.0, 1.0 + term).astype(np.float32)


MAPS: dict[str, Callable[[np.ndarray, TargetSpec], np.ndarray]] = {
    "foreground": foreground,
    "border": border,
    "distance": distance,
    "border_weight": border_weight,
    PRESENCE: presence,
}
_BINARY = frozenset({"foreground", "border", PRESENCE})


def is_binary(name: str) -> bool:
    """Tell whether the map holds only 0 and 1."""
    return name in _BINARY or name.startswith(STRUCTURE)


def _get_map(name: str) -> Callable[[np.ndarray, TargetSpec], np.ndarray]:
    if name.startswith(STRUCTURE):
        return lambda label, spec: label == spec.structures[name]
    return choose("target map", name, MAPS)


def _near_two(label: np.ndarray, radius: int) -> np.ndarray:
    """Return the pixels that have two objects within `radius` along every axis."""
    size, background = 2 * radius + 1, np.iinfo(label.dtype).max
    lowest = ndimage.minimum_filter(np.where(label > 0, label, background), size=size)
    highest = ndimage.maximum_filter(label, size=size)
    return (lowest != highest) & (lowest != background)


def _objects(label: np.ndarray, margin: int) -> Iterator[tuple[np.ndarray, tuple[slice, ...]]]:
    """Yield each object's mask within its box, and the box; it is `margin` pixels larger all round.

    At the image's border the box ends with the image: what lies beyond is unknown.
    """
    if label.max(initial=0) > _LARGEST_NUMBER:  # find_objects makes a box for every number below
        values, numbers = np.unique(label, return_inverse=True)
        label = numbers.reshape(label.shape) + (values[0] != 0)
    for number, box in enumerate(ndimage.find_objects(label.astype(np.int32)), start=1):
        if box is not None:
            wide = tuple(slice(max(0, s.start - margin), s.stop + margin) for s in box)
            yield label[wide] == number, wide
