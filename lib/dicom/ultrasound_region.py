"""The part of an ultrasound frame that shows the image, apart from scales, names and logos."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage

from lib.dicom.geometry import number
from lib.dicom.header import tag_value

_SPATIAL_2D = 1  # RegionSpatialFormat (0018,6012)
_TISSUE = 1  # RegionDataType (0018,6014)
_CENTIMETRES = 3  # PhysicalUnitsXDirection (0018,6024), PhysicalUnitsYDirection (0018,6026)
_EDGES = ("MinX0", "MinY0", "MaxX1", "MaxY1")
_LEAST_SHARE = 0.1  # of the frame; a smaller area that was found is not trusted
_VIEW_SHARE = 0.25  # of the largest area; a smaller one is not a view


@dataclass(frozen=True)
class Crop:
    """A rectangle of a frame, in pixels.

    Attributes:
        top, left: row and column of its first pixel in the frame, from 0.
        rows, columns: its size.
    """

    top: int
    left: int
    rows: int
    columns: int

    @staticmethod
    def whole(rows: int, columns: int) -> Crop:
        """Return the crop that is the whole frame."""
        return Crop(0, 0, rows, columns)

    @property
    def slices(self) -> tuple[slice, slice]:
        """Its rows and columns."""
        return (
            slice(self.top, self.top + self.rows),
            slice(self.left, self.left + self.columns),
        )


def around(crops: Sequence[Crop]) -> Crop:
    """Return the smallest rectangle that holds all of `crops`, at least one."""
    top, left = min(crop.top for crop in crops), min(crop.left for crop in crops)
    bottom = max(crop.top + crop.rows for crop in crops)
    right = max(crop.left + crop.columns for crop in crops)
    return Crop(top, left, bottom - top, right - left)


@dataclass(frozen=True)
class Region:
    """An item of SequenceOfUltrasoundRegions (PS3.3 C.8.5.5) that shows tissue in 2D.

    Attributes:
        spacing: between rows and between columns, mm; None where the item gives no lengths.
    """

    crop: Crop
    spacing: tuple[float, float] | None


def tissue_regions(data: Any, rows: int, columns: int) -> list[Region]:
    """Return the 2D tissue regions of a dataset, the largest first; malformed items are left out.

    Args:
        data: a pydicom dataset.
        rows, columns: size of the frame; regions end there.
    """
    found = []
    for item in tag_value(data, "SequenceOfUltrasoundRegions") or []:
        shown = tag_value(item, "RegionSpatialFormat"), tag_value(item, "RegionDataType")
        if shown != (_SPATIAL_2D, _TISSUE):
            continue
        try:
            left, top, right, bottom = (int(tag_value(item, f"RegionLocation{e}")) for e in _EDGES)
        except (TypeError, ValueError):
            continue
        (left, right), (top, bottom) = sorted((left, right)), sorted((top, bottom))
        top, left = max(top, 0), max(left, 0)
        height, width = min(bottom + 1, rows) - top, min(right + 1, columns) - left
        if height > 1 and width > 1:
            found.append(Region(Crop(top, left, height, width), _spacing(item)))
    return sorted(found, key=lambda region: -region.crop.rows * region.crop.columns)


def _spacing(item: Any) -> tuple[float, float] | None:
    units = [tag_value(item, f"PhysicalUnits{axis}Direction") for axis in "YX"]
    down, across = (abs(number(item, f"PhysicalDelta{axis}")) * 10 for axis in "YX")
    lengths = min(down, across) > 0 and math.isfinite(down + across)
    return (down, across) if units == [_CENTIMETRES] * 2 and lengths else None


def find_region(frames: np.ndarray) -> Crop | None:
    """Return the bounding box of the image in grey `(frames, rows, columns)`; None if unclear.

    In a loop the image is what moves; in a single frame it is what differs from the background.
    Of several such areas, the box holds those of at least `_VIEW_SHARE` of the largest: a frame
    may show two views side by side, while letters and scales are far smaller.
    """
    _, rows, columns = frames.shape
    top = float(frames.max())
    if top <= float(frames.min()):
        return None
    if len(frames) > 1:
        sample = frames[np.linspace(0, len(frames) - 1, min(len(frames), 32)).astype(int)]
        active = np.ptp(sample.astype(np.float32), axis=0) > 0.04 * top
        if not active.any():  # a still loop
            active = _differs(frames[0], top)
    else:
        active = _differs(frames[0], top)
    reach = max(1, min(rows, columns) // 60)
    joined = ndimage.binary_closing(np.pad(active, 2 * reach), iterations=reach)
    opened = ndimage.binary_opening(joined, iterations=2 * reach)
    opened = opened[2 * reach : -2 * reach, 2 * reach : -2 * reach]
    components, count = ndimage.label(opened)
    if count == 0:
        return None
    areas = np.bincount(components.ravel())[1:]
    box = around(
        [
            Crop(down.start, right.start, down.stop - down.start, right.stop - right.start)
            for area, (down, right) in zip(areas, ndimage.find_objects(components), strict=True)
            if area >= _VIEW_SHARE * areas.max()
        ]
    )
    return box if box.rows * box.columns >= _LEAST_SHARE * rows * columns else None


def _differs(frame: np.ndarray, top: float) -> np.ndarray:
    """Return where a frame differs from its background: the most frequent value of its border."""
    rim = np.concatenate((frame[0], frame[-1], frame[:, 0], frame[:, -1]))
    values, counts = np.unique(rim, return_counts=True)
    if counts.max() < 0.3 * rim.size:  # the image fills the frame
        return np.ones(frame.shape, bool)
    background = float(values[np.argmax(counts)])
    return np.abs(frame.astype(np.float32) - background) > 0.04 * top
