"""The pectoral muscle in an oblique view: the bright triangle in the corner at the chest wall."""

from __future__ import annotations

import numpy as np
from PIL import Image as PillowImage
from scipy import ndimage
from skimage.draw import polygon2mask
from skimage.feature import canny
from skimage.transform import hough_line, hough_line_peaks

SURE = 0.3  # least certainty of a muscle's edge, 0..1; of 194 films without one the most has 0.24
ROWS = 256  # of the copy that it is sought in


def find_muscle(pixels: np.ndarray, breast: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the muscle in the upper right corner, and how sure it is, 0 where there is none.

    The straight edge that most border pixels of a smoothed copy lie on, brighter towards the
    corner, found by a Hough transform (Karssemeijer, Automated classification of parenchymal
    patterns in mammograms, Phys. Med. Biol. 43:365, 1998).

    Args:
        pixels: float32 `(rows, columns)`, chest wall at the right.
        breast: bool, the same shape.
    """
    none = np.zeros(breast.shape, bool)
    lines = np.flatnonzero(breast.any(1))
    places = np.flatnonzero(breast.any(0))
    if not len(lines):
        return none, 0.0
    top, bottom, left, right = lines[0], lines[-1] + 1, places[0], places[-1] + 1
    factor = (bottom - top) / ROWS
    size = max(round((right - left) / factor), 8), ROWS
    box = (left, top, right, bottom)
    grey = np.asarray(
        PillowImage.fromarray(pixels).resize(size, PillowImage.Resampling.BILINEAR, box=box)
    )
    inside = (
        np.asarray(
            PillowImage.fromarray(breast.astype(np.float32)).resize(
                size, PillowImage.Resampling.BILINEAR, box=box
            )
        )
        > 0.5
    )
    line = _edge(grey, inside)
    if line is None:
        return none, 0.0
    corner, sure = line
    polygon = [(r * factor + top, c * factor + left) for r, c in corner]
    return polygon2mask(breast.shape, np.array(polygon)) & breast, sure


def _edge(grey: np.ndarray, inside: np.ndarray) -> tuple[list[tuple[float, float]], float] | None:
    """Return the muscle's outline as (row, column) and how sure it is; None where there is none."""
    rows, columns = grey.shape
    smooth = ndimage.gaussian_filter(grey, 3.0)
    down, across = ndimage.sobel(smooth, 0), ndimage.sobel(smooth, 1)
    y, x = np.mgrid[:rows, :columns]
    # away from the skin; the image's own edges are none of the breast's
    deep = ndimage.distance_transform_edt(np.pad(inside, 1, mode="edge"))[1:-1, 1:-1] > 6
    edges = canny(grey, sigma=3.0, mask=deep & (y < 0.85 * rows)) & (across > 0) & (down < 0)
    if edges.sum() < 20:
        return None
    near = ndimage.binary_dilation(edges, iterations=2)
    # the line's normal points to the upper right corner; it leans 5 to 60 degrees off the vertical
    votes = hough_line(edges, np.deg2rad(np.linspace(-60, -5, 56)))
    best: tuple[list[tuple[float, float]], float] | None = None
    for _, angle, rho in zip(*hough_line_peaks(*votes, num_peaks=8, threshold=12), strict=True):
        at_top = rho / np.cos(angle)
        at_right = (rho - columns * np.cos(angle)) / np.sin(angle)
        if not (0.1 * columns < at_top < 0.97 * columns and 0.15 * rows < at_right < 1.2 * rows):
            continue
        beyond = x * np.cos(angle) + y * np.sin(angle) - rho  # above 0 towards the corner
        along = (np.abs(beyond) < 0.8) & inside
        muscle, tissue = (beyond > 4) & inside, (beyond < -4) & (beyond > -20) & inside
        if along.sum() < 20 or muscle.sum() < 0.01 * inside.sum() or tissue.sum() < 20:
            continue
        covered = float(near[along].mean())
        band = muscle & (beyond < 20)
        step = float(smooth[band].mean() - smooth[tissue].mean())
        even = float(smooth[muscle].std())
        sure = covered * np.clip(step / 0.15, 0, 1) * np.clip(1.3 - even / 0.25, 0, 1)
        if best is None or sure > best[1]:
            best = [(0.0, at_top), (at_right, float(columns)), (0.0, float(columns))], float(sure)
    return best if best and best[1] >= SURE else None
