"""The fan of a curved array: beams that spread from its surface, and the picture made of them.

Echoes are formed beam by beam and brought to the picture by scan conversion (Szabo, Diagnostic
Ultrasound Imaging: Inside Out, 2nd ed., 2014, ch. 10), so speckle is wider where the beams are
farther apart. Outside the fan the picture is black.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage


@dataclass(frozen=True, kw_only=True)
class Sector:
    """A curved array; its beams lie in the plane of rows and columns.

    Attributes:
        radius: of its surface, mm.
        half_angle: of the outermost beams, degrees, 0..80.
        swept: half the angle by which a volume's slices are swept, degrees; 0 moves them in
            parallel.
    """

    radius: float
    half_angle: float
    swept: float = 0.0


class Fan:
    """A sector on the grid `([slices,] rows, columns)`; its uppermost corners lie on the first row.

    Attributes:
        spacing: of slices, if any, and along and across the beams, mm.
        visible: bool in the shape of the grid, the fan.
    """

    def __init__(self, sector: Sector, size: tuple[int, ...], spacing: tuple[float, ...]) -> None:
        rows, columns = size[-2:]
        down, right = spacing[-2:]
        half = np.radians(sector.half_angle)
        # the first row lies that far from the centre of the array's circle
        lift = sector.radius * np.cos(half)
        deep = rows * down + lift - sector.radius
        across = right / (sector.radius + deep / 2)
        beams = max(2, round(2 * half / across))
        self.spacing = (*spacing[:-2], deep / rows, right)
        y = (np.arange(rows) + 0.5)[:, None] * down + lift
        x = (np.arange(columns) - (columns - 1) / 2) * right
        depth, angle = np.hypot(y, x) - sector.radius, np.arctan2(x, y)
        seen = (depth >= 0) & (depth <= deep) & (np.abs(angle) <= half)
        self.visible = np.broadcast_to(seen, size)
        if sector.swept and len(size) == 3:
            swept = np.radians(sector.swept)
            z = (np.arange(size[0]) - (size[0] - 1) / 2)[:, None] * spacing[0]
            below = (np.arange(rows) + 0.5) * down + sector.radius * np.cos(swept)
            self.visible = seen & (np.abs(np.arctan2(z, below)) <= swept)[..., None]
        self._on_beams = np.stack(
            (depth / self.spacing[-2] - 0.5, (angle + half) * (beams - 1) / (2 * half))
        )
        along = (np.arange(rows) + 0.5)[:, None] * self.spacing[-2] + sector.radius
        angles = np.linspace(-half, half, beams)
        self._on_picture = np.stack(
            (
                (along * np.cos(angles) - lift) / down - 0.5,
                along * np.sin(angles) / right + (columns - 1) / 2,
            )
        )

    def to_beams(self, picture: np.ndarray) -> np.ndarray:
        """Return a map of the grid as the beams meet it: samples along a beam, and beams."""
        return _sampled(picture, self._on_picture)

    def to_picture(self, echoes: np.ndarray) -> np.ndarray:
        """Return the picture of echoes along the beams, float32, 0 outside the fan."""
        return _sampled(echoes, self._on_beams) * self.visible


def _sampled(values: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Return `([slices,] rows, columns)` at `places`, `(2, rows, columns)`, plane by plane."""
    planes = values.reshape(-1, *values.shape[-2:])
    taken = [
        ndimage.map_coordinates(plane, places, np.float32, order=1, mode="nearest")
        for plane in planes
    ]
    return np.stack(taken).reshape(*values.shape[:-2], *places.shape[1:])
