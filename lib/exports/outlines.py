"""Outlines of objects along the edges of their pixels: their areas are those of the masks."""

from __future__ import annotations

import numpy as np
import shapely
from scipy import ndimage

# bright, to be seen on dark nuclei in fluorescence and in stained sections
COLOURS = (*((255, 230, 0), (0, 229, 255), (255, 122, 0), (0, 230, 118), (255, 45, 85)),)


def outlines(plane: np.ndarray, at: tuple[int, int] = (0, 0)) -> dict[int, shapely.Geometry]:
    """Return the outline of each object of `plane`, integers `(rows, columns)`, by its number.

    Coordinates are x and y in pixels from the image's upper left corner, as ImageJ and QuPath have
    them: the first pixel is the square from (0, 0) to (1, 1). Holes stay holes; parts that touch at
    a corner alone are polygons of their own. Outer rings run counterclockwise (RFC 7946).

    Args:
        at: row and column of the image at which `plane` begins.
    """
    found = {}
    for index, box in enumerate(ndimage.find_objects(plane), start=1):
        if box is not None:
            rows, columns = box
            shape = _outline(plane[box] == index)
            begin = at[1] + columns.start, at[0] + rows.start
            moved = shapely.transform(shape, lambda xy, begin=begin: xy + begin)
            found[index] = shapely.orient_polygons(moved)
    return found


def polygons(outline: shapely.Geometry) -> list[list[np.ndarray]]:
    """Return the polygons of an outline: rings `(points, 2)`, not closed, the outer one first."""
    parts = outline.geoms if isinstance(outline, shapely.MultiPolygon) else [outline]
    return [
        [np.asarray(ring.coords)[:-1].astype(int) for ring in (part.exterior, *part.interiors)]
        for part in parts
    ]


def _outline(mask: np.ndarray) -> shapely.Geometry:
    """Return the union of the runs of pixels in each row."""
    steps = np.diff(np.pad(mask, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    rows, first = np.nonzero(steps == 1)
    _, last = np.nonzero(steps == -1)
    boxes = shapely.box(first, rows, last, rows + 1)
    return shapely.simplify(shapely.union_all(boxes), 0)
