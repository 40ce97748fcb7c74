"""Where a frame of a DICOM segmentation belongs: to which source frame, and how it lies on it."""

from __future__ import annotations

import numpy as np
import pydicom

from lib.dicom.pixels import tag_value
from lib.dicom.sources import Plane, Sources, plane_of
from lib.errors import InputError

_OFF_GRID = 0.2  # pixels that the first and the last pixel may lie beside those of the image
_OFF_PLANE = 0.1  # of the distance of neighbours, and mm at least of a hundredth


def source_frame(name: str, data: pydicom.Dataset, index: int, sources: Sources) -> int:
    """Return the index of the source frame that a frame of a segmentation lies on.

    Args:
        name: of the segmentation, for messages.
        index: of its frame, from 0.

    Raises:
        InputError: none of the sources, or it is not told which.
    """
    referred, foreign = _referred(data, index, sources)
    if len(referred) == 1:
        return referred[0]
    among = referred or list(range(len(sources.frames)))
    if (at := _at_place(plane_of(data, index), among, sources)) is not None:
        return at
    if len(sources.frames) == 1 and not foreign:
        return 0
    what = (
        "belongs to another image"
        if foreign and not referred
        else "tells neither the image that it belongs to nor its place"
    )
    raise InputError(
        f"{name}: frame {index + 1} {what}, expected one of {len(sources.frames)} frames of series "
        f"{sources.datasets[0].SeriesInstanceUID}; give the images that were labelled"
    )


def put(
    name: str, pixels: np.ndarray, plane: Plane | None, sources: Sources, target: int
) -> np.ndarray:
    """Return a frame of a segmentation on the grid of its source frame, 0 beyond it.

    It may be a part of the image, larger, turned by right angles or mirrored, but not in between.

    Args:
        pixels: `(rows, columns)` of the segmentation.
        plane: where they lie; None takes them for those of the image.
        target: index of the source frame.

    Raises:
        InputError: of another size and nowhere, between the pixels, turned by other angles, or
            with something beyond the image.
    """
    shape = (sources.rows, sources.columns)
    own = sources.frames[target].plane
    if plane is None or own is None or _foreign(plane, own):
        if pixels.shape != shape:
            raise InputError(
                f"{name}: frames of {pixels.shape[0]} x {pixels.shape[1]} pixels without a place, "
                f"its image has {shape[0]} x {shape[1]}; label the image at its own size"
            )
        return pixels
    start, down, across = _on_grid(plane, own)
    steps = np.stack((down, across))
    last = np.array(pixels.shape) - 1
    reach = np.abs(steps - np.rint(steps)) * last[:, None]
    whole = np.abs(np.rint(steps))
    if not (np.array_equal(whole, np.eye(2)) or np.array_equal(whole, np.eye(2)[::-1])):
        raise InputError(
            f"{name}: its pixels are turned or scaled against those of the image (steps of "
            f"{np.round(steps, 3).tolist()} pixels); resample it onto the image"
        )
    if (reach > _OFF_GRID).any() or (np.abs(start - np.rint(start)) > _OFF_GRID).any():
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
    steps = np.rint(steps).astype(int)
    held = np.argwhere(pixels)
    places = np.rint(start).astype(int) + held @ steps
    inside = ((places >= 0) & (places < shape)).all(axis=1)
    if not inside.all():
        raise InputError(
            f"{name}: {int((~inside).sum())} of {len(inside)} labelled pixels lie beyond the image "
            f"of {shape[0]} x {shape[1]}; give the images that were labelled"
        )
    placed = np.zeros(shape, pixels.dtype)
    placed[places[:, 0], places[:, 1]] = pixels[held[:, 0], held[:, 1]]
    return placed


def _on_grid(plane: Plane, own: Plane) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return where a frame begins and what its steps are, in rows and columns of the other."""
    rows, columns = np.array(own.orientation[3:]), np.array(own.orientation[:3])
    away = np.subtract(plane.position, own.position)

    def in_pixels(way: np.ndarray) -> np.ndarray:
        return np.array([way @ rows / own.spacing[0], way @ columns / own.spacing[1]])

    down = np.array(plane.orientation[3:]) * plane.spacing[0]
    across = np.array(plane.orientation[:3]) * plane.spacing[1]
    return in_pixels(away), in_pixels(down), in_pixels(across)


def _referred(data: pydicom.Dataset, index: int, sources: Sources) -> tuple[list[int], bool]:
    """Return the source frames that a frame refers to, and whether it refers to others only."""
    single = tag_value(data, "PerFrameFunctionalGroupsSequence") or []
    shared = tag_value(data, "SharedFunctionalGroupsSequence") or []
    wanted: list[tuple[str, tuple[int, ...]]] = []
    for groups in (*single[index : index + 1], *shared[:1]):
        for derived in tag_value(groups, "DerivationImageSequence") or []:
            for item in tag_value(derived, "SourceImageSequence") or []:
                numbers = tag_value(item, "ReferencedFrameNumber")
                frames: np.ndarray = np.atleast_1d(
                    [] if numbers is None else np.array(numbers, dtype=int)
                )
                uid = str(tag_value(item, "ReferencedSOPInstanceUID") or "")
                wanted.append((uid, tuple(int(number) for number in frames)))
    found = [
        at
        for at, frame in enumerate(sources.frames)
        for uid, numbers in wanted
        if uid == frame.uid and (not numbers or (frame.number or 1) in numbers)
    ]
    return list(dict.fromkeys(found)), bool(wanted) and not found


def _at_place(plane: Plane | None, among: list[int], sources: Sources) -> int | None:
    """Return the one source frame in the same plane; None if there is none, or several."""
    if plane is None:
        return None
    known = [(at, own) for at in among if (own := sources.frames[at].plane) is not None]
    all_planes = [frame.plane for frame in sources.frames if frame.plane is not None]
    if not known:
        return None
    offsets = np.sort([own.offset for own in all_planes])
    steps = np.diff(offsets)
    step = float(steps[steps > 1e-4].min()) if (steps > 1e-4).any() else 0.0
    tolerance = max(0.01, _OFF_PLANE * step)
    near = [
        at
        for at, own in known
        if not _foreign(plane, own)
        and abs(float(plane.normal @ own.normal)) > 0.999
        and abs(float(np.dot(own.normal, np.subtract(plane.position, own.position)))) <= tolerance
    ]
    return near[0] if len(near) == 1 else None


def _foreign(plane: Plane, own: Plane) -> bool:
    both = plane.frame_of_reference and own.frame_of_reference
    return bool(both) and plane.frame_of_reference != own.frame_of_reference
