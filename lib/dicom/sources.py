"""The images that a DICOM segmentation or report is about, frame by frame, with their planes."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import numpy as np
import pydicom

from lib.dicom.frames import Choose, chosen_group, frame_groups
from lib.dicom.geometry import frame_numbers, group_items, numbers
from lib.dicom.header import check_frame_count, frame_count, open_dicom, tag_value
from lib.errors import InputError
from lib.image import MAX_VOXELS

Source: TypeAlias = "str | os.PathLike[str] | pydicom.Dataset"
_Source = TypeVar("_Source", bound=Source)

_UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPClassUID", "SOPInstanceUID")


@dataclass(frozen=True)
class Plane:
    """The plane of one frame: where its pixels lie in the patient.

    Attributes:
        position: of the centre of the first pixel, (x, y, z), LPS, mm.
        orientation: cosines along a row (to the next column), then along a column.
        spacing: between rows and between columns, mm.
        frame_of_reference: UID; empty where there is none.
    """

    position: tuple[float, ...]
    orientation: tuple[float, ...]
    spacing: tuple[float, float]
    frame_of_reference: str = ""

    @property
    def normal(self) -> np.ndarray:
        """Unit vector `(3,)` along row x column."""
        return np.cross(self.orientation[:3], self.orientation[3:])

    @property
    def offset(self) -> float:
        """Distance of the plane from the origin along the normal, mm."""
        return float(np.dot(self.normal, self.position))


@dataclass(frozen=True)
class SourceFrame:
    """One frame of the sources.

    Attributes:
        data: header of its instance.
        number: its frame number, from 1; None for the only frame of an instance.
        plane: None where the file does not give it.
    """

    data: pydicom.Dataset
    number: int | None
    plane: Plane | None

    @property
    def uid(self) -> str:
        """SOP instance UID."""
        return str(self.data.SOPInstanceUID)


@dataclass(frozen=True)
class Sources:
    """Frames of one series, in the order in which a label array lists them."""

    datasets: tuple[pydicom.Dataset, ...]
    frames: tuple[SourceFrame, ...]
    rows: int
    columns: int

    @property
    def shape(self) -> tuple[int, ...]:
        """`(rows, columns)` of one frame, else `(frames, rows, columns)`."""
        flat = (self.rows, self.columns)
        return flat if len(self.frames) == 1 else (len(self.frames), *flat)


def read_sources(
    sources: Source | Sequence[Source] | Sources, choose: Choose | None = None
) -> Sources:
    """Return the frames of one image, loop or volume, or of the slices of a series, in their order.

    Args:
        sources: files or datasets, with or without pixels; `in_order` sorts those of a series.
        choose: which volume of a file of several; None takes all frames as they are stored.

    Raises:
        InputError: no source; one is unreadable, without an image or without the UIDs to refer to
            it; they are of several series or sizes, or the same twice; or they have more than
            `MAX_VOXELS` pixels.
    """
    if isinstance(sources, Sources):
        return sources
    if isinstance(sources, (str, os.PathLike, pydicom.Dataset)):
        sources = [sources]
    datasets = tuple(_header(source) for source in sources)
    if not datasets:
        raise InputError("no source images: expected the images that the label belongs to")
    _check_one_series(datasets)
    frames = tuple(frame for data in datasets for frame in _frames(data, choose))
    rows, columns = int(datasets[0].Rows), int(datasets[0].Columns)
    if len(frames) * rows * columns > MAX_VOXELS:
        raise InputError(
            f"{len(frames)} frames of {rows} x {columns} pixels are too many; at most {MAX_VOXELS} "
            f"pixels are accepted; take a part of them"
        )
    return Sources(datasets, frames, rows, columns)


def in_order(sources: Sequence[_Source]) -> list[_Source]:
    """Return the single-frame images of a series sorted along their normal, as ITK stacks them.

    Where an image has no plane, they are sorted by InstanceNumber; where one has no such number
    either, or several, they keep their order.

    Raises:
        InputError: an image cannot be read.
    """
    headers = [_header(source) for source in sources]
    planes = [plane_of(data, 0) for data in headers]
    instance_numbers = [numbers(data, "InstanceNumber", 1) for data in headers]
    keys: list[float]
    if planes and all(plane is not None for plane in planes):
        normal = planes[0].normal  # type: ignore[union-attr]
        keys = [float(np.dot(normal, plane.position)) for plane in planes]  # type: ignore[union-attr]
    elif all(instance_numbers):
        keys = [number for (number,) in instance_numbers]
    else:
        keys = [0.0] * len(headers)
    return [sources[index] for index in sorted(range(len(keys)), key=keys.__getitem__)]


def plane_of(data: pydicom.Dataset, index: int) -> Plane | None:
    """Return the plane of a frame of an image or of a segmentation; None where it is not given.

    Args:
        index: of the frame, from 0.
    """
    orientation = orientation_of(data, index)
    spacing = frame_numbers(data, index, "PixelMeasuresSequence", "PixelSpacing", 2)
    frames = frame_count(data)
    in_groups = (
        numbers(item, "ImagePositionPatient", 3)
        for item in group_items(data, "PlanePositionSequence", index)
    )
    position = next(filter(None, in_groups), ())
    if not position and (position := numbers(data, "ImagePositionPatient", 3)) and frames > 1:
        steps = numbers(data, "GridFrameOffsetVector", frames)  # from the first frame, mm
        if not (steps and orientation):
            return None
        normal = np.cross(orientation[:3], orientation[3:])
        position = tuple(float(value) for value in np.add(position, steps[index] * normal))
    if not (position and orientation and spacing and min(spacing) > 0):
        return None
    reference = str(tag_value(data, "FrameOfReferenceUID") or "")
    return Plane(position, orientation, (spacing[0], spacing[1]), reference)


def orientation_of(data: pydicom.Dataset, index: int) -> tuple[float, ...]:
    """Return the six cosines of a frame; nothing unless they are two orthogonal unit vectors."""
    cosines = frame_numbers(data, index, "PlaneOrientationSequence", "ImageOrientationPatient", 6)
    if not cosines:
        return ()
    row, column = np.array(cosines[:3]), np.array(cosines[3:])
    straight = abs(row @ column) < 0.01 and all(
        math.isclose(float(np.linalg.norm(side)), 1, abs_tol=0.01) for side in (row, column)
    )
    return cosines if straight else ()


def _frames(data: pydicom.Dataset, choose: Choose | None) -> list[SourceFrame]:
    """Return the frames of an instance in the order in which its image is read."""
    if frame_count(data) == 1:
        return [SourceFrame(data, None, plane_of(data, 0))]
    groups = frame_groups(data)
    indices: Iterable[int] = range(frame_count(data))
    if choose or len(groups) == 1:
        indices = chosen_group(str(data.SOPInstanceUID), data, choose).indices
    return [SourceFrame(data, index + 1, plane_of(data, index)) for index in indices]


def _header(source: Source) -> pydicom.Dataset:
    if isinstance(source, pydicom.Dataset):
        data: Any = source
        name = str(tag_value(data, "SOPInstanceUID") or "image")
        try:
            sides = int(data.Rows), int(data.Columns), frame_count(data)
        except (AttributeError, TypeError, ValueError):
            sides = (0, 0, 0)
        if min(sides) < 1:
            raise InputError(f"{name}: no image of at least 1 x 1 pixels; give images as sources")
        check_frame_count(name, sides[2])
    else:
        data, name = open_dicom(Path(source), header_only=True), Path(source).name
    if missing := [tag for tag in _UIDS if not tag_value(data, tag)]:
        raise InputError(
            f"{name}: without {', '.join(missing)} nothing can refer to it; export it again with "
            f"its identifiers"
        )
    return data


def _check_one_series(datasets: Sequence[pydicom.Dataset]) -> None:
    for what, tags in (("series", ("SeriesInstanceUID",)), ("size", ("Rows", "Columns"))):
        found = list(
            dict.fromkeys(tuple(str(data[tag].value) for tag in tags) for data in datasets)
        )
        if len(found) > 1:
            shown = ", ".join(" x ".join(values) for values in found[:3])
            raise InputError(
                f"source images of more than one {what} ({shown}); expected one; store a label for "
                f"each"
            )
    uids = [str(data.SOPInstanceUID) for data in datasets]
    if len(set(uids)) < len(uids):
        raise InputError(
            f"{len(uids)} source images, {len(set(uids))} different ones; give each image once"
        )
