"""The pectoral muscle in an oblique view: the corner at the chest wall, beyond a long edge."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image as PillowImage
from scipy import ndimage
from skimage.draw import polygon2mask
from skimage.feature import peak_local_max
from skimage.graph import route_through_array

SURE = 0.57  # least steadiness of a muscle's edge, 0..1; 194 films without a muscle stay below
ROWS = 256  # rows of the small copy in which the edge is sought; lengths below are its pixels
SMOOTH = 2.5  # sd of the smoothing before the gradient
NEAR = 10  # sd of the neighbourhood by whose contrast a gradient is divided
FLAT = 0.006  # gradient, in grey per pixel, that is noise
SKIN = (4, 10)  # depths at which an edge begins to count, and counts fully
LEAN = (4, 62)  # degrees off the vertical that the edge may lean
LENGTH = 1.1  # how much more an edge counts that is as long as the breast is high
BESIDE = 16  # how far the edge may lie from its straight line
FOOT = 1.0  # how far the muscle reaches beyond the steepest place of its edge
LEAST_STEP = 0.05  # of grey, from the tissue beside the edge to the muscle
LARGEST = 0.5  # share of the breast that a muscle may cover


@dataclass(frozen=True)
class _Edges:
    """Edges of the small copy, each divided by the contrast around it; all `(rows, columns)`."""

    smooth: np.ndarray
    down: np.ndarray
    across: np.ndarray

    def along(self, rows: np.ndarray, columns: np.ndarray, normal: _Vector) -> np.ndarray:
        """Return the rise of grey at points, in the direction `normal`; 1 is a clear edge."""
        down, across = (
            ndimage.map_coordinates(field, (rows, columns), order=1, mode="nearest")
            for field in (self.down, self.across)
        )
        return np.asarray(down * normal[0] + across * normal[1])


_Vector = tuple[np.ndarray, np.ndarray]  # down and across


def find_muscle(pixels: np.ndarray, breast: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the mask of the muscle in the upper right corner, and its certainty, 0..1.

    Where there is no muscle, the mask is empty and the certainty is 0.

    First the straight line is found along which the grey rises most steadily towards the corner
    (the idea of Karssemeijer, Automated classification of parenchymal patterns in mammograms, Phys.
    Med. Biol. 43:365, 1998). Each rise is divided by the contrast around it, so that a faint edge
    counts as much as a strong one if it is as long, and texture counts little. Then the cheapest
    path beside the line, by dynamic programming, follows the muscle's true, curved edge.

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
    edges = _edges(grey, inside > 0.5)
    for at_top, at_right, steadiness in _straight_lines(edges):
        outline = _curved(edges, at_top, at_right)
        if _is_muscle(edges.smooth, outline, inside > 0.5):
            mask = polygon2mask(breast.shape, outline * factor + (top, left)) & breast
            return mask, steadiness
    return none, 0.0


def _edges(grey: np.ndarray, inside: np.ndarray) -> _Edges:
    nearest = ndimage.distance_transform_edt(~inside, return_distances=False, return_indices=True)
    smooth = ndimage.gaussian_filter(grey[tuple(nearest)], SMOOTH)  # the skin is no edge
    down, across = ndimage.sobel(smooth, 0) / 8, ndimage.sobel(smooth, 1) / 8
    around = np.sqrt(ndimage.gaussian_filter(down**2 + across**2, NEAR) + FLAT**2)
    # the edges of the image do not count as skin
    depth = ndimage.distance_transform_edt(np.pad(inside, 1, mode="edge"))[1:-1, 1:-1]
    counts = np.clip((depth - SKIN[0]) / (SKIN[1] - SKIN[0]), 0, 1)
    return _Edges(smooth, *(np.clip(field / around, -2, 2) * counts for field in (down, across)))


def _straight_lines(edges: _Edges) -> list[tuple[float, float, float]]:
    """Return where steady edges meet the top, and the right, and their steadiness, 0..1.

    The best comes first: a long edge before a short one that is as steady.
    """
    rows, columns = edges.smooth.shape
    tops = np.linspace(0.08, 0.97, 60)[:, None, None] * columns
    rights = np.linspace(0.12, 1.25, 72)[:, None] * rows
    share = (np.arange(64) + 0.5) / 64
    length = np.hypot(columns - tops, rights)
    y, x = share * rights, tops + share * (columns - tops)
    y, x = np.broadcast_arrays(y, x)
    normal = (tops - columns) / length, rights / length
    rise = np.clip(edges.along(y, x, normal), -0.5, 1.2)
    seen = y < 0.95 * rows
    steadiness = (rise * seen).sum(-1) / seen.sum(-1) / 1.2
    lean = np.degrees(np.arctan2(columns - tops, rights))[..., 0]
    steadiness[(lean < LEAN[0]) | (lean > LEAN[1])] = 0
    score = steadiness * (1 + LENGTH * length[..., 0] / ROWS)
    peaks = peak_local_max(
        np.where(steadiness >= SURE, score, 0), min_distance=3, exclude_border=False, num_peaks=8
    )
    return [(float(tops[i, 0, 0]), float(rights[j, 0]), float(steadiness[i, j])) for i, j in peaks]


def _curved(edges: _Edges, at_top: float, at_right: float) -> np.ndarray:
    """Return the outline of the muscle whose edge lies near a line: `(points, 2)`, row, column."""
    rows, columns = edges.smooth.shape
    length = np.hypot(columns - at_top, at_right)
    forward = at_right / length, (columns - at_top) / length
    normal = -forward[1], forward[0]
    along = np.arange(-0.1 * length, length)
    beside = np.arange(-BESIDE, BESIDE + 1)
    y = along[:, None] * forward[0] + beside * normal[0]
    x = at_top + along[:, None] * forward[1] + beside * normal[1]
    outside = (y < 0) | (x > columns - 1) | (y > rows - 1)
    rise = np.where(outside, 0, edges.along(y, x, normal))
    cost = np.exp(-2 * np.clip(rise, -0.3, 1.2)) + 0.02 + 0.3 * (beside / BESIDE) ** 2
    free = np.pad(cost, ((1, 1), (0, 0)), constant_values=1e-3)  # begins and ends at any distance
    path, _ = route_through_array(free, (0, BESIDE), (len(free) - 1, BESIDE))
    steps, places = np.array(path).T
    steps = np.clip(steps - 1, 0, len(along) - 1)
    inner = (np.array(path)[:, 0] > 0) & (np.array(path)[:, 0] < len(free) - 1)
    count = np.bincount(steps[inner], minlength=len(along))
    offset = np.bincount(steps[inner], places[inner], len(along)) / count - BESIDE
    y, x = _points(along, offset, at_top, forward, normal)
    # beyond the top and the chest wall, parallel to the line
    first = int(np.argmax((y >= 0) & (x <= columns - 1)))
    walls = np.flatnonzero(x[first:] > columns - 1)
    last = first + int(walls[0]) if len(walls) else len(along) - 1
    offset[:first], offset[last:] = offset[first], offset[last]
    offset = ndimage.gaussian_filter1d(offset, 3, mode="nearest") - FOOT
    y, x = _points(along, offset, at_top, forward, normal)
    corner = [(y[-1], 2.0 * columns), (min(y[0], 0) - 5, 2.0 * columns), (min(y[0], 0) - 5, x[0])]
    return np.concatenate((np.stack((y, x), 1), corner))


def _points(
    along: np.ndarray,
    beside: np.ndarray,
    at_top: float,
    forward: tuple[float, float],
    normal: tuple[float, float],
) -> tuple[np.ndarray, np.ndarray]:
    """Return rows and columns of points given by their place along a line and beside it."""
    return (
        along * forward[0] + beside * normal[0],
        at_top + along * forward[1] + beside * normal[1],
    )


def _is_muscle(smooth: np.ndarray, outline: np.ndarray, inside: np.ndarray) -> bool:
    """Tell whether an outline encloses a corner of possible size, brighter than what is beside."""
    muscle = polygon2mask(smooth.shape, outline)
    if not 0 < (muscle & inside).sum() <= LARGEST * inside.sum():
        return False
    within = ndimage.distance_transform_edt(muscle) - ndimage.distance_transform_edt(~muscle)
    band, tissue = ((d > 2) & (d < 16) & inside for d in (within, -within))
    if not (band.any() and tissue.any()):
        return False
    return float(smooth[band].mean() - smooth[tissue].mean()) > LEAST_STEP
