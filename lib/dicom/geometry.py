"""The grid of a DICOM image: spacing, position in the patient, and the axis of its frames."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pydicom

from lib.dicom.header import frame_count, tag_value
from lib.image import Geometry, itk_geometry

FrameAxis = Literal["time", "space", "none"]

_POSITIONS = {
    "PlanePositionSequence": "ImagePositionPatient",
    "PlanePositionVolumeSequence": "ImagePositionVolume",
}
_STRAIGHT = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def pixel_spacing(data: pydicom.Dataset) -> tuple[float, float] | None:
    """Return the spacing of rows and columns in mm from PixelSpacing; None where there is none."""
    for holder in (data, *group_items(data, "PixelMeasuresSequence")):
        for tag in ("PixelSpacing", "ImagerPixelSpacing"):
            found = numbers(holder, tag, 2)
            if found and min(found) > 0:
                return found[0], found[1]
    return None


def frame_axis(data: pydicom.Dataset, default: FrameAxis) -> tuple[FrameAxis, float | None]:
    """Return the axis of the frames, and their distance in ms or mm; None where not given.

    Args:
        default: the axis of several frames where the file does not tell it.
    """
    if frame_count(data) == 1:
        return "none", None
    for tag in ("FrameTime", "FrameTimeVector"):
        if times := _positive(data, tag):
            return "time", sum(times) / len(times)
    offsets = _offsets(data)
    if offsets is not None:
        steps = np.diff(offsets)
        if not steps.any():
            return "time", None
        even = np.abs(steps - steps.mean()) <= 0.01 * abs(steps.mean())
        return "space", float(abs(steps.mean())) if even.all() else _slice_step(data)
    if (step := _slice_step(data)) is not None:
        return "space", step
    for tag in ("CineRate", "RecommendedDisplayFrameRate"):
        if rate := _positive(data, tag):
            return "time", 1000 / rate[0]
    return default, None


def dicom_geometry(
    data: pydicom.Dataset, flat: tuple[float, float] | None, step: float | None
) -> Geometry:
    """Return the grid of a dataset; a single frame has a third axis of size 1.

    Where the tags tell nothing, the spacing is 1, the position the origin, and the directions are
    those of the axes.

    Args:
        flat: spacing of rows and columns, mm.
        step: spacing of frames, mm. None takes 1, and for a single frame its thickness.
    """
    frames = frame_count(data)
    down, across = flat or (1.0, 1.0)
    if step is None and frames == 1:
        step = _slice_step(data, ("SliceThickness",))
    direction = _direction(data)
    offsets = _offsets(data)
    if offsets is not None and offsets[-1] < offsets[0]:
        direction[:, 2] *= -1
    origin = frame_numbers(data, 0, "PlanePositionSequence", "ImagePositionPatient", 3)
    return Geometry(
        (int(data.Columns), int(data.Rows), frames),
        (across, down, step or 1.0),
        origin or (0.0, 0.0, 0.0),
        tuple(float(cosine) for cosine in direction.ravel()),
    )


def itk_grid(path: Path, data: pydicom.Dataset, measured: Geometry) -> Geometry:
    """Return the grid on which ITK, and so 3D Slicer, shows a file: with the spacing that it reads.

    ITK (GDCM) chooses the tag of the spacing by the SOP class, and takes that of ultrasound regions
    and of the thickness of slices for none. Frames that tell their own positions lie at these.

    Args:
        measured: the grid by the tags, which stays where ITK reads no such frames.
    """
    found = None if _frame_positions(data, "PlanePositionSequence") else itk_geometry(path)
    return found if found and found.size == measured.size else measured


def numbers(data: pydicom.Dataset, tag: str, count: int | None = None) -> tuple[float, ...]:
    """Return the numbers of a tag; nothing where it is absent or malformed, or one is not finite.

    Args:
        count: how many there must be; None for any number of them.
    """
    try:
        found = np.atleast_1d(np.array(tag_value(data, tag), dtype=float))
    except (TypeError, ValueError):
        return ()
    right = np.isfinite(found).all() and count in (None, len(found))
    return tuple(float(number) for number in found) if right else ()


def number(data: pydicom.Dataset, tag: str, default: float = 0.0) -> float:
    """Return the number of a tag; `default` where it is absent, malformed or not finite."""
    return (numbers(data, tag, 1) or (default,))[0]


def group_items(data: pydicom.Dataset, sequence: str, index: int = 0) -> Iterator[Any]:
    """Yield the items of a functional group: of one frame, then those that all frames share.

    Args:
        sequence: keyword of the group, such as ``PixelMeasuresSequence``.
        index: of the frame, from 0.
    """
    frames = tag_value(data, "PerFrameFunctionalGroupsSequence") or []
    shared = tag_value(data, "SharedFunctionalGroupsSequence") or []
    for groups in (*frames[index : index + 1], *shared[:1]):
        yield from tag_value(groups, sequence) or []


def frame_numbers(
    data: pydicom.Dataset, index: int, sequence: str, tag: str, count: int
) -> tuple[float, ...]:
    """Return `count` numbers of a frame: of its functional groups, else of the dataset itself."""
    for holder in (*group_items(data, sequence, index), data):
        if found := numbers(holder, tag, count):
            return found
    return ()


def _direction(data: pydicom.Dataset) -> np.ndarray:
    """Return the directions of columns, rows and frames as the columns of a 3 x 3 matrix."""
    cosines = frame_numbers(data, 0, "PlaneOrientationSequence", "ImageOrientationPatient", 6)
    along_row, along_column = np.split(np.array(cosines or _STRAIGHT), 2)
    normal = np.cross(along_row, along_column)
    direction = np.stack((along_row, along_column, normal), axis=1)
    # cosines that are not two unit vectors at a right angle are no direction
    return direction if abs(np.linalg.det(direction) - 1) <= 0.01 else np.eye(3)


def _offsets(data: pydicom.Dataset) -> np.ndarray | None:
    """Return the offset of each of several frames along their normal, mm; None if unknown.

    An ultrasound volume gives positions in a coordinate system of the probe; distances are the
    same in it.
    """
    frames = frame_count(data)
    if frames == 1:
        return None
    if offsets := numbers(data, "GridFrameOffsetVector", frames):
        return np.array(offsets)
    for sequence in _POSITIONS:
        if positions := _frame_positions(data, sequence):
            return np.array(positions) @ _direction(data)[:, 2]
    return None


def _frame_positions(data: pydicom.Dataset, sequence: str) -> list[tuple[float, ...]]:
    """Return the positions of all frames from a functional group; empty unless each has one."""
    positions = [
        numbers(item, _POSITIONS[sequence], 3)
        for groups in tag_value(data, "PerFrameFunctionalGroupsSequence") or []
        for item in tag_value(groups, sequence) or []
    ]
    return positions if len(positions) == frame_count(data) and all(positions) else []


def _slice_step(
    data: pydicom.Dataset, tags: tuple[str, ...] = ("SpacingBetweenSlices", "SliceThickness")
) -> float | None:
    for holder in (data, *group_items(data, "PixelMeasuresSequence")):
        for tag in tags:
            if steps := _positive(holder, tag):
                return steps[0]
    return None


def _positive(data: pydicom.Dataset, tag: str) -> tuple[float, ...]:
    """Return the numbers above 0 of a tag; the first of a vector of frame times is 0."""
    return tuple(value for value in numbers(data, tag) if value > 0)
