"""The grid of a DICOM image: spacing, position in the patient, and the axis of its frames."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pydicom

from lib.dicom.header import frame_count, tag_value
from lib.dicom.stacking import even_step
from lib.errors import InputError
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


def frame_axis(
    name: str, data: pydicom.Dataset, default: FrameAxis, frames: Sequence[int]
) -> tuple[FrameAxis, float | None, list[str]]:
    """Return the axis of frames, their distance in ms or mm, None where not given, and notes.

    Args:
        name: of the file, for errors.
        default: the axis of several frames where the file does not tell it.
        frames: indices of the frames of one volume or loop, in order.

    Raises:
        InputError: the frames lie at uneven distances, or shifted against each other.
    """
    if frame_count(data) == 1:
        return "none", None, []
    for tag in ("FrameTime", "FrameTimeVector"):
        if times := _positive(data, tag):
            return "time", sum(times) / len(times), []
    positions = frame_positions(data)
    if positions is not None and len(frames) > 1:
        places, normal = positions[list(frames)], frame_normal(data, frames[0])
        if not np.ptp(places @ normal) > 1e-3:
            return "time", None, []
        try:
            step, notes = even_step(places, normal, min(pixel_spacing(data) or (1.0,)))
        except ValueError as error:
            raise InputError(f"{name}: {error}") from None
        return "space", step, notes
    if (given := _slice_step(data)) is not None:
        return "space", given, []
    for tag in ("CineRate", "RecommendedDisplayFrameRate"):
        if rate := _positive(data, tag):
            return "time", 1000 / rate[0], []
    return default, None, []


def dicom_geometry(
    data: pydicom.Dataset,
    flat: tuple[float, float] | None,
    step: float | None,
    frames: Sequence[int] = (0,),
) -> Geometry:
    """Return the grid of frames of a dataset; a single one has a third axis of size 1.

    Where the tags tell nothing, the spacing is 1, the position the origin, and the directions are
    those of the axes.

    Args:
        flat: spacing of rows and columns, mm.
        step: spacing of frames, mm. None takes 1, and for a single frame its thickness.
        frames: indices of the frames, in order.
    """
    first, last = frames[0], frames[-1]
    down, across = flat or (1.0, 1.0)
    if step is None and frame_count(data) == 1:
        step = _slice_step(data, ("SliceThickness",))
    direction = _direction(data, first)
    positions = frame_positions(data)
    if (
        positions is not None
        and (positions[last] - positions[first]) @ frame_normal(data, first) < 0
    ):
        direction[:, 2] *= -1
    origin = frame_numbers(data, first, "PlanePositionSequence", "ImagePositionPatient", 3)
    return Geometry(
        (int(data.Columns), int(data.Rows), len(frames)),
        (across, down, step or 1.0),
        origin or (0.0, 0.0, 0.0),
        tuple(float(cosine) for cosine in direction.ravel()),
    )


def frame_positions(data: pydicom.Dataset) -> np.ndarray | None:
    """Return the position of each of several frames, `(frames, 3)`, mm; None if unknown.

    An ultrasound volume gives positions in a coordinate system of the probe; distances are the
    same in it.
    """
    count = frame_count(data)
    if count == 1:
        return None
    if offsets := numbers(data, "GridFrameOffsetVector", count):
        return np.array(offsets)[:, None] * frame_normal(data)
    for sequence in _POSITIONS:
        if positions := _frame_positions(data, sequence):
            return np.array(positions)
    return None


def frame_normal(data: pydicom.Dataset, index: int = 0) -> np.ndarray:
    """Return the normal of a frame, unit vector `(3,)`, in the system of `frame_positions`."""
    for item in group_items(data, "PlaneOrientationVolumeSequence", index):
        if cosines := numbers(item, "ImageOrientationVolume", 6):
            return np.cross(cosines[:3], cosines[3:])
    return np.asarray(_direction(data, index)[:, 2])


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


def _direction(data: pydicom.Dataset, index: int = 0) -> np.ndarray:
    """Return the directions of columns, rows and frames as the columns of a 3 x 3 matrix."""
    cosines = frame_numbers(data, index, "PlaneOrientationSequence", "ImageOrientationPatient", 6)
    along_row, along_column = np.split(np.array(cosines or _STRAIGHT), 2)
    normal = np.cross(along_row, along_column)
    direction = np.stack((along_row, along_column, normal), axis=1)
    # cosines that are not two unit vectors at a right angle are no direction
    return direction if abs(np.linalg.det(direction) - 1) <= 0.01 else np.eye(3)


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
