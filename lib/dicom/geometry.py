"""Where the pixels of a DICOM image lie: spacing, place in the patient, and what frames follow."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
import pydicom

from lib.dicom.pixels import frame_count, tag_value
from lib.image import Geometry

FrameAxis = Literal["time", "space", "none"]

_STRAIGHT = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def pixel_spacing(data: pydicom.Dataset) -> tuple[float, float] | None:
    """Return the spacing of rows and columns in mm from PixelSpacing; None where there is none."""
    for place in (data, *_groups(data, "PixelMeasuresSequence")):
        for tag in ("PixelSpacing", "ImagerPixelSpacing"):
            found = numbers(place, tag, 2)
            if found and min(found) > 0:
                return found[0], found[1]
    return None


def frame_axis(data: pydicom.Dataset, default: FrameAxis) -> tuple[FrameAxis, float | None]:
    """Return what the frames follow and how far they lie apart, ms or mm; None where not given.

    Args:
        default: of several frames of which the file does not say it.
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
    """Return the grid of a dataset, of a single frame with a third axis of size 1.

    What its tags do not tell is neutral: spacing 1, the origin, no turn.

    Args:
        flat: spacing of rows and columns, mm.
        step: spacing of frames, mm; of a single frame its thickness is taken.
    """
    frames = frame_count(data)
    down, across = flat or (1.0, 1.0)
    if step is None and frames == 1:
        step = _slice_step(data, ("SliceThickness",))
    direction = _direction(data)
    offsets = _offsets(data)
    if offsets is not None and offsets[-1] < offsets[0]:
        direction[:, 2] *= -1
    origin = numbers(data, "ImagePositionPatient", 3)
    for place in _groups(data, "PlanePositionSequence"):
        origin = origin or numbers(place, "ImagePositionPatient", 3)
    return Geometry(
        (int(data.Columns), int(data.Rows), frames),
        (across, down, step or 1.0),
        origin or (0.0, 0.0, 0.0),
        tuple(float(cosine) for cosine in direction.ravel()),
    )


def numbers(data: pydicom.Dataset, tag: str, count: int) -> tuple[float, ...]:
    """Return the finite numbers of a tag; nothing where it is absent or malformed."""
    try:
        found = tuple(float(value) for value in np.atleast_1d(tag_value(data, tag)))
    except (TypeError, ValueError):
        return ()
    return found if len(found) == count and np.isfinite(found).all() else ()


def _direction(data: pydicom.Dataset) -> np.ndarray:
    """Return the directions of columns, rows and frames as the columns of a 3 x 3 matrix."""
    cosines = numbers(data, "ImageOrientationPatient", 6)
    for place in _groups(data, "PlaneOrientationSequence"):
        cosines = cosines or numbers(place, "ImageOrientationPatient", 6)
    turned = np.array(cosines or _STRAIGHT)
    along_row, along_column = turned[:3], turned[3:]
    normal = np.cross(along_row, along_column)
    direction = np.stack((along_row, along_column, normal), axis=1)
    # what are not two unit vectors at a right angle is no direction
    return direction if abs(np.linalg.det(direction) - 1) <= 0.01 else np.eye(3)


def _offsets(data: pydicom.Dataset) -> np.ndarray | None:
    """Return where each of several frames lies along the normal of the first, mm; None if unknown.

    Positions of an ultrasound volume are those in the probe's own frame, of which distances hold.
    """
    frames = frame_count(data)
    if frames == 1:
        return None
    if offsets := numbers(data, "GridFrameOffsetVector", frames):
        return np.array(offsets)
    for sequence, kind in (
        ("PlanePositionSequence", "Patient"),
        ("PlanePositionVolumeSequence", "Volume"),
    ):
        positions = [
            numbers(place, f"ImagePosition{kind}", 3)
            for groups in tag_value(data, "PerFrameFunctionalGroupsSequence") or []
            for place in tag_value(groups, sequence) or []
        ]
        if len(positions) == frames and all(positions):
            return np.array(positions) @ _direction(data)[:, 2]
    return None


def _slice_step(
    data: pydicom.Dataset, tags: tuple[str, ...] = ("SpacingBetweenSlices", "SliceThickness")
) -> float | None:
    for place in (data, *_groups(data, "PixelMeasuresSequence")):
        for tag in tags:
            if steps := _positive(place, tag):
                return steps[0]
    return None


def _groups(data: pydicom.Dataset, sequence: str) -> Iterator[Any]:
    """Yield the items of a functional group: what all frames share, else of the first frame."""
    shared = tag_value(data, "SharedFunctionalGroupsSequence") or []
    single = tag_value(data, "PerFrameFunctionalGroupsSequence") or []
    for groups in (*shared, *single[:1]):
        yield from tag_value(groups, sequence) or []


def _positive(data: pydicom.Dataset, tag: str) -> tuple[float, ...]:
    """Return the finite numbers above 0 of a tag: of a vector of times the first is 0."""
    try:
        found = np.atleast_1d(np.array(tag_value(data, tag), dtype=float))
    except (TypeError, ValueError):
        return ()
    return tuple(float(number) for number in found if np.isfinite(number) and number > 0)
