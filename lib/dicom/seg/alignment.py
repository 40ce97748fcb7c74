"""Alignment of segmentation frames: the source frame that each shows, and its grid."""

from __future__ import annotations

import numpy as np
import pydicom

from lib.dicom.geometry import group_items
from lib.dicom.header import tag_value
from lib.dicom.sources import Plane, Sources, plane_of
from lib.errors import InputError

_OFF_GRID = 0.2  # how far, in pixels, the first and the last pixel may be from one of the image
# how far a frame may be from the plane of its source frame
_OFF_PLANE = 0.1  # share of the distance between slices
_OFF_PLANE_MM = 0.01  # and at least this


def source_frame(name: str, data: pydicom.Dataset, index: int, sources: Sources) -> int:
    """Return the index of the source frame that a frame of a segmentation shows.

    It is the only frame that it refers to, else the one in the same plane.

    Args:
        name: of the segmentation, for messages.
        data: the segmentation.
        index: of its frame, from 0.

    Raises:
        InputError: the frame shows none of the sources, or it is not clear which.
    """
    referred, foreign = _referred(data, index, sources)
    if len(referred) == 1:
        return referred[0]
    candidates = referred or list(range(len(sources.frames)))
    if (found := _in_plane(plane_of(data, index), candidates, sources)) is not None:
        return found
    if len(sources.frames) == 1 and not foreign:
        return 0
    what = (
        "belongs to another image"
        if foreign and not referred
        else "gives neither the image that it belongs to nor its position"
    )
    raise InputError(
        f"{name}: frame {index + 1} {what}, expected one of {len(sources.frames)} frames of series "
        f"{sources.datasets[0].SeriesInstanceUID}; give the images that were labelled"
    )


def align(
    name: str, pixels: np.ndarray, plane: Plane | None, sources: Sources, target: int
) -> np.ndarray:
    """Return a frame of a segmentation on the grid of its source frame, 0 outside of it.

    The frame may be smaller or larger than the image, turned by right angles, and mirrored. By
    hand: highdicom's `PixelToPixelTransformer` refuses planes that are not exactly the same.

    Args:
        name: of the segmentation, for messages.
        pixels: `(rows, columns)` of the segmentation.
        plane: of these pixels; None takes them for the pixels of the image.
        target: index of the source frame.

    Returns:
        `(rows, columns)` of the sources.

    Raises:
        InputError: the size differs and there is no plane, pixels lie between those of the image,
            the frame is turned by other angles, or something is labelled outside of the image.
    """
    shape = (sources.rows, sources.columns)
    image_plane = sources.frames[target].plane
    if plane is None or image_plane is None or _is_foreign(plane, image_plane):
        if pixels.shape != shape:
            raise InputError(
                f"{name}: frames of {pixels.shape[0]} x {pixels.shape[1]} pixels without a "
                f"position, its image has {shape[0]} x {shape[1]}; label the image at its own size"
            )
        return pixels
    start, steps = _in_image_pixels(plane, image_plane)
    last = np.array(pixels.shape) - 1
    drift = np.abs(steps - np.rint(steps)) * last[:, None]
    whole = np.abs(np.rint(steps))
    if not (np.array_equal(whole, np.eye(2)) or np.array_equal(whole, np.eye(2)[::-1])):
        raise InputError(
            f"{name}: its pixels are turned or scaled against those of the image (steps of "
            f"{np.round(steps, 3).tolist()} pixels); resample it onto the image"
        )
    if (drift > _OFF_GRID).any() or (np.abs(start - np.rint(start)) > _OFF_GRID).any():
        raise InputError(
            f"{name}: its pixels lie between those of the image ({start[0]:.3f}, {start[1]:.3f}); "
            f"resample it onto the image"
        )
    if (
        pixels.shape == shape
        and np.array_equal(np.rint(steps), np.eye(2))
        and not np.rint(start).any()
    ):
        return pixels
    labelled = np.argwhere(pixels)
    positions = np.rint(start).astype(int) + labelled @ np.rint(steps).astype(int)
    inside = ((positions >= 0) & (positions < shape)).all(axis=1)
    if not inside.all():
        raise InputError(
            f"{name}: {int((~inside).sum())} of {len(inside)} labelled pixels lie beyond the image "
            f"of {shape[0]} x {shape[1]}; give the images that were labelled"
        )
    aligned = np.zeros(shape, pixels.dtype)
    aligned[tuple(positions.T)] = pixels[tuple(labelled.T)]
    return aligned


def _in_image_pixels(plane: Plane, image_plane: Plane) -> tuple[np.ndarray, np.ndarray]:
    """Return the first pixel of a frame `(2,)` and its steps `(2, 2)` in pixels of its image.

    The steps are those to the next row and to the next column; each is in rows and columns.
    """

    def axes(of: Plane) -> np.ndarray:
        """Return the directions of the next row and of the next column, `(2, 3)`."""
        return np.reshape(of.orientation, (2, 3))[::-1]

    offset = np.subtract(plane.position, image_plane.position)
    vectors = np.stack((offset, *(axes(plane) * np.reshape(plane.spacing, (2, 1)))))
    start, *steps = vectors @ axes(image_plane).T / image_plane.spacing
    return start, np.stack(steps)


def _referred(data: pydicom.Dataset, index: int, sources: Sources) -> tuple[list[int], bool]:
    """Return the source frames that a frame refers to, and whether it refers to others only."""
    references: list[tuple[str, tuple[int, ...]]] = []
    for derived in group_items(data, "DerivationImageSequence", index):
        for item in tag_value(derived, "SourceImageSequence") or []:
            numbers = tag_value(item, "ReferencedFrameNumber")
            frames: np.ndarray = np.atleast_1d(
                [] if numbers is None else np.array(numbers, dtype=int)
            )
            uid = str(tag_value(item, "ReferencedSOPInstanceUID") or "")
            references.append((uid, tuple(int(number) for number in frames)))
    found = [
        number
        for number, frame in enumerate(sources.frames)
        for uid, numbers in references
        if uid == frame.uid and (not numbers or (frame.number or 1) in numbers)
    ]
    return list(dict.fromkeys(found)), bool(references) and not found


def _in_plane(plane: Plane | None, candidates: list[int], sources: Sources) -> int | None:
    """Return the only one of the candidates in the same plane; None if there is none, or more."""
    if plane is None:
        return None
    planes = {number: frame.plane for number, frame in enumerate(sources.frames) if frame.plane}
    steps = np.diff(np.sort([one.offset for one in planes.values()]))
    step = float(steps[steps > 1e-4].min()) if (steps > 1e-4).any() else 0.0
    tolerance = max(_OFF_PLANE_MM, _OFF_PLANE * step)
    near = [
        number
        for number in candidates
        if (one := planes.get(number))
        and not _is_foreign(plane, one)
        and abs(float(plane.normal @ one.normal)) > 0.999
        and abs(float(np.dot(one.normal, np.subtract(plane.position, one.position)))) <= tolerance
    ]
    return near[0] if len(near) == 1 else None


def _is_foreign(plane: Plane, image_plane: Plane) -> bool:
    """Tell whether two planes lie in different frames of reference; an unnamed one fits all."""
    found = {plane.frame_of_reference, image_plane.frame_of_reference} - {""}
    return len(found) > 1
