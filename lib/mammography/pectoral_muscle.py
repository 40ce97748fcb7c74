"""The pectoral muscle in an oblique view: a bright triangle in the corner at the chest wall."""

from __future__ import annotations

import numpy as np
from PIL import Image as PillowImage
from scipy import ndimage
from skimage.draw import polygon2mask
from skimage.feature import canny
from skimage.transform import hough_line, hough_line_peaks

SURE = 0.3  # least certainty of a muscle's edge, 0..1; 194 films without a muscle reach 0.24
ROWS = 256  # rows of the small copy in which the edge is sought


def find_muscle(pixels: np.ndarray, breast: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the mask of the muscle in the upper right corner, and its certainty, 0..1.

    Where there is no muscle, the mask is empty and the certainty is 0.

    A Hough transform finds the straight line on which most edge pixels of a smoothed copy lie, and
    beyond which the corner is brighter (Karssemeijer, Automated classification of parenchymal
    patterns in mammograms, Phys. Med. Biol. 43:365, 1998).

    Args:
        pixels: float32 `(rows, columns)`, chest wall at the right.
        breast: boolean, of the same shape.
    """
    none = np.zeros(breast.shape, bool)
    rows, columns = np.flatnonzero(breast.any(1)), np.flatnonzero(breast.any(0))
    if not len(rows):
        return none, 0.0
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    factor = (bottom - top) / ROWS
    size = max(round((right - left) / factor), 8), ROWS
    box = (left, top, right, bottom)
    grey, inside = (
        np.asarray(
            PillowImage.fromarray(image).resize(size, PillowImage.Resampling.BILINEAR, box=box)
        )
        for image in (pixels, breast.astype(np.float32))
    )
    triangle, certainty = _triangle(grey, inside > 0.5)
    if triangle is None:
        return none, 0.0
    polygon = [(r * factor + top, c * factor + left) for r, c in triangle]
    return polygon2mask(breast.shape, np.array(polygon)) & breast, certainty


def _triangle(
    grey: np.ndarray, inside: np.ndarray
) -> tuple[list[tuple[float, float]] | None, float]:
    """Return the muscle's corners as (row, column), None if there is none, and its certainty."""
    rows, columns = grey.shape
    smooth = ndimage.gaussian_filter(grey, 3.0)
    down, across = ndimage.sobel(smooth, 0), ndimage.sobel(smooth, 1)
    y, x = np.mgrid[:rows, :columns]
    # far from the skin; the edges of the image do not count as skin
    deep = ndimage.distance_transform_edt(np.pad(inside, 1, mode="edge"))[1:-1, 1:-1] > 6
    edges = canny(grey, sigma=3.0, mask=deep & (y < 0.85 * rows)) & (across > 0) & (down < 0)
    if edges.sum() < 20:
        return None, 0.0
    near = ndimage.binary_dilation(edges, iterations=2)
    # the line's normal points to the upper right corner; it leans 5 to 60 degrees off the vertical
    votes = hough_line(edges, np.deg2rad(np.linspace(-60, -5, 56)))
    best: tuple[list[tuple[float, float]] | None, float] = None, 0.0
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
        spread = float(smooth[muscle].std())
        certainty = covered * np.clip(step / 0.15, 0, 1) * np.clip(1.3 - spread / 0.25, 0, 1)
        if certainty >= SURE and certainty > best[1]:
            corners = [(0.0, at_top), (at_right, float(columns)), (0.0, float(columns))]
            best = corners, float(certainty)
    return best
