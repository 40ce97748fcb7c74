"""Where the image lies in an ultrasound frame, among scales, names, logos and colour bars."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage

SPATIAL_2D = 1  # RegionSpatialFormat (0018,6012)
TISSUE = 1  # RegionDataType (0018,6014)
CENTIMETRES = 3  # PhysicalUnitsXDirection (0018,6024), PhysicalUnitsYDirection (0018,6026)
LEAST_SHARE = 0.1  # of the frame; a smaller area that was found is not trusted


@dataclass(frozen=True)
class Crop:
    """A rectangle of a frame, in pixels.

    Attributes:
        top, left: of its first pixel in the frame, from 0.
        rows, columns: its size.
    """

    top: int
    left: int
    rows: int
    columns: int

    @staticmethod
    def whole(rows: int, columns: int) -> Crop:
        """Return the crop that takes nothing away."""
        return Crop(0, 0, rows, columns)

    def apply(self, frames: np.ndarray) -> np.ndarray:
        """Return the rectangle out of `(..., rows, columns)`, as a view."""
        return frames[..., self.top : self.top + self.rows, self.left : self.left + self.columns]

    def undo(self, mask: np.ndarray, full_shape: tuple[int, int]) -> np.ndarray:
        """Return `mask` in the full frame, 0 outside the rectangle.

        Args:
            mask: `(..., rows, columns)` of the rectangle.
            full_shape: rows and columns of the frame.

        Raises:
            ValueError: the mask is not of the rectangle's size, or the frame too small for it.
        """
        if mask.shape[-2:] != (self.rows, self.columns):
            raise ValueError(
                f"mask has {mask.shape[-2]} rows and {mask.shape[-1]} columns, the crop has "
                f"{self.rows} and {self.columns}"
            )
        if self.top + self.rows > full_shape[0] or self.left + self.columns > full_shape[1]:
            raise ValueError(f"{self} does not fit a frame of {full_shape}; give the frame's size")
        full = np.zeros((*mask.shape[:-2], *full_shape), dtype=mask.dtype)
        self.apply(full)[...] = mask
        return full


@dataclass(frozen=True)
class Region:
    """An item of SequenceOfUltrasoundRegions (PS3.3 C.8.5.5) that shows tissue in 2D.

    Attributes:
        spacing: between rows and between columns, mm; None where the item has no lengths.
    """

    crop: Crop
    spacing: tuple[float, float] | None


def tissue_regions(data: Any, rows: int, columns: int) -> list[Region]:
    """Return the 2D tissue regions of a dataset, the largest first; malformed items are left out.

    Args:
        data: a pydicom dataset.
        rows, columns: of the frame; regions are cut off there.
    """
    found = []
    for item in data.get("SequenceOfUltrasoundRegions") or []:
        try:
            if (item.RegionSpatialFormat, item.RegionDataType) != (SPATIAL_2D, TISSUE):
                continue
            left, right = sorted((int(item.RegionLocationMinX0), int(item.RegionLocationMaxX1)))
            top, bottom = sorted((int(item.RegionLocationMinY0), int(item.RegionLocationMaxY1)))
        except (AttributeError, TypeError, ValueError):
            continue
        top, left = max(top, 0), max(left, 0)
        height, width = min(bottom + 1, rows) - top, min(right + 1, columns) - left
        if height > 1 and width > 1:
            found.append(Region(Crop(top, left, height, width), _spacing(item)))
    return sorted(found, key=lambda region: -region.crop.rows * region.crop.columns)


def _spacing(item: Any) -> tuple[float, float] | None:
    units = item.get("PhysicalUnitsYDirection"), item.get("PhysicalUnitsXDirection")
    try:
        steps = abs(float(item.PhysicalDeltaY)) * 10, abs(float(item.PhysicalDeltaX)) * 10
    except (AttributeError, TypeError, ValueError):
        return None
    usable = units == (CENTIMETRES, CENTIMETRES) and min(steps) > 0 and np.isfinite(steps).all()
    return steps if usable else None


def find_region(frames: np.ndarray) -> Crop | None:
    """Return the bounding box of the image in grey `(frames, rows, columns)`; None if unclear.

    In a loop it is what moves, in a single frame what differs from the background around it. Of
    several such areas the largest is taken: letters and scales are small.
    """
    _, rows, columns = frames.shape
    top = float(frames.max())
    if top <= float(frames.min()):
        return None
    if len(frames) > 1:
        some = frames[np.linspace(0, len(frames) - 1, min(len(frames), 32)).astype(int)]
        active = np.ptp(some.astype(np.float32), axis=0) > 0.04 * top
        if not active.any():  # a still loop
            active = _differs(frames[0], top)
    else:
        active = _differs(frames[0], top)
    reach = max(1, min(rows, columns) // 60)
    joined = ndimage.binary_closing(np.pad(active, 2 * reach), iterations=reach)
    opened = ndimage.binary_opening(joined, iterations=2 * reach)
    opened = opened[2 * reach : -2 * reach, 2 * reach : -2 * reach]
    parts, count = ndimage.label(opened)
    if count == 0:
        return None
    largest = 1 + int(np.argmax(np.bincount(parts.ravel())[1:]))
    down, right = ndimage.find_objects(parts)[largest - 1]
    box = Crop(
        int(down.start),
        int(right.start),
        int(down.stop - down.start),
        int(right.stop - right.start),
    )
    return box if box.rows * box.columns >= LEAST_SHARE * rows * columns else None


def _differs(frame: np.ndarray, top: float) -> np.ndarray:
    """Tell which pixels differ from the background: the value that prevails on the frame's rim."""
    rim = np.concatenate((frame[0], frame[-1], frame[:, 0], frame[:, -1]))
    values, counts = np.unique(rim, return_counts=True)
    if counts.max() < 0.3 * rim.size:  # an image up to its rim
        return np.ones(frame.shape, bool)
    background = float(values[np.argmax(counts)])
    return np.abs(frame.astype(np.float32) - background) > 0.04 * top
