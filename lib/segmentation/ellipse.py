"""The ellipse of a mask, and how long it is."""

from __future__ import annotations

import numpy as np
from scipy.special import ellipe
from skimage.measure import regionprops


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
