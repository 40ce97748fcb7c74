"""The ellipse of a mask: how long it is, and filled."""

from __future__ import annotations

import numpy as np
from scipy.special import ellipe
from skimage.draw import ellipse
from skimage.measure import regionprops

from lib.segmentation.metrics import dice

LEAST_OVERLAP = 0.9  # Dice with its ellipse of a mask that is one


def circumference(mask: np.ndarray, spacing: tuple[float, float] = (1.0, 1.0)) -> float:
    """Return the length of the ellipse that has the same second moments as a mask; 0 for none.

    It is 4 a E(e^2), with the longer half axis a, the eccentricity e and the complete elliptic
    integral of the second kind E. Of a structure that the frame cuts it is too short.

    Args:
        mask: boolean `(rows, columns)`.
        spacing: of rows and columns; it gives the unit of the answer.
    """
    if not mask.any():
        return 0.0
    (region,) = regionprops(mask.astype(np.uint8), spacing=spacing)
    long, short = region.axis_major_length / 2, region.axis_minor_length / 2
    return float(4 * long * ellipe(1 - (short / long) ** 2)) if long > 0 else 0.0


def filled_ellipse(mask: np.ndarray) -> np.ndarray:
    """Return the ellipse with the same second moments as a mask, inside the image.

    A mask that is far from any ellipse, such as that of a structure that the frame cuts in half,
    stays as it is.

    Args:
        mask: boolean `(rows, columns)`, one object or none.
    """
    if not mask.any():
        return mask
    (region,) = regionprops(mask.astype(np.uint8))
    half_axes = region.axis_major_length / 2, region.axis_minor_length / 2
    if min(half_axes) <= 0:
        return mask
    filled = np.zeros_like(mask)
    filled[ellipse(*region.centroid, *half_axes, mask.shape, region.orientation)] = True
    return filled if dice(mask, filled) >= LEAST_OVERLAP else mask
