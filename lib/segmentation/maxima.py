"""The maxima of heights, by which objects are split; pixels that share a corner are neighbours.

What is found is what `reconstruction` and `local_maxima` of scikit-image find, bit by bit. For
the small boxes around single objects they take a fraction of the time: a few passes over the box,
where those sort its pixels and queue them one by one.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from scipy import ndimage
from skimage.morphology import reconstruction

PASSES = 64  # then heights spread far, and sorting all pixels takes over


@cache
def corners_touch(dims: int) -> np.ndarray:
    """Return the structuring element under which pixels that share a corner are neighbours.

    It cannot be written to: all callers share it.
    """
    element: np.ndarray = ndimage.generate_binary_structure(dims, dims)
    element.flags.writeable = False
    return element


def lower_maxima(height: np.ndarray, depth: float) -> np.ndarray:
    """Return `height` with its maxima lowered by `depth`, cut off where they are less deep.

    That is the reconstruction by dilation of `height - depth` under `height` (Soille 2003, section
    6.2): between two maxima that are one afterwards was no saddle as deep as `depth`.

    Args:
        height: floating point `(*spatial)`.
    """
    level = height - depth
    for _ in range(PASSES):  # each spreads what is high by a pixel
        raised = np.minimum(_highest_around(level), height)
        if (raised == level).all():
            return level
        level = raised
    return np.asarray(reconstruction(level, height), height.dtype)


def regional_maxima(height: np.ndarray) -> np.ndarray:
    """Return where connected pixels of one height are higher than all around, boolean `(*spatial)`.

    Pixels beyond the border count as lower.
    """
    around = _highest_around(height)
    tops = height >= around
    # a part of a level area of which another part lies beside something higher
    ledges = tops & (_highest_around(np.where(tops, -np.inf, height)) == height)
    if not ledges.any():
        return tops
    areas, _ = ndimage.label(tops, corners_touch(height.ndim))
    lost = np.zeros(int(areas.max()) + 1, dtype=bool)
    lost[areas[ledges]] = True
    lost[0] = True
    kept: np.ndarray = ~lost[areas]
    return kept


def _highest_around(height: np.ndarray) -> np.ndarray:
    """Return the highest value among each pixel and its neighbours."""
    for axis in range(height.ndim):
        if height.shape[axis] > 1:
            rows = height.swapaxes(0, axis)
            pairs = np.maximum(rows[:-1], rows[1:])
            height = np.empty(height.shape, height.dtype)
            out = height.swapaxes(0, axis)
            out[0], out[-1] = pairs[0], pairs[-1]
            np.maximum(pairs[:-1], pairs[1:], out=out[1:-1])
    return height
