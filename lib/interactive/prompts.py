"""Clicks and boxes of a viewer's request, converted to the order of our arrays.

Viewers send indices of the image's grid in ITK's order: x (column), y (row), z (slice or frame; 0
for a 2D image). `lib.io.read` keeps ITK's grid, so the same numbers in reverse order are an array
index; but 3D Slicer counts the slices of some volumes from the last, see `slices_from_last`. See
docs/decisions/0011-clicks-and-scribbles.md.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lib.errors import InputError, choose
from lib.image import Geometry
from lib.interactive.clicks import Clicks

POSITIVE, NEGATIVE = "foreground", "background"
MAX_POINTS = 10_000
_INDEX = {"viewer": True, "file": False}  # whether slices may be counted from the last
_EXAMPLE = {2: "[[x, y, 0], ...]", 3: "[[x, y, z], ...]"}


def slices_from_last(request: Mapping[str, Any], geometry: Geometry) -> bool:
    """Tell whether a request counts the slices of a volume from the last of the file.

    3D Slicer reverses the slices of a volume whose axes are left-handed when it loads it
    (`vtkMRMLVolumeArchetypeStorageNode`, ForceRightHandedIJKCoordinateSystem), and sends indices of
    what it loaded. A request with ``index`` "file" has those of the file.

    Raises:
        NotFoundError: another ``index``.
    """
    from_viewer = choose("index", request.get("index") or "viewer", _INDEX)
    direction = np.reshape(geometry.direction, (len(geometry.size),) * 2)
    return from_viewer and len(direction) == 3 and bool(np.linalg.det(direction) < 0)


def read_points(
    request: Mapping[str, Any],
    shape: Sequence[int],
    labels: Sequence[str] = (),
    *,
    from_last_slice: bool = False,
) -> Clicks:
    """Read the clicks of a request: ``foreground``, ``background``, and one key for each label.

    A value may be a list of points, one point, either of them as JSON text, or nothing. A point of
    two numbers in a volume lies in the request's ``slice``. Fractions are rounded to the nearest
    pixel.

    Args:
        shape: of the image without its colour axis: rows and columns; of a volume, slices first.
        labels: names under which viewers send positive points to models of type deepedit.
        from_last_slice: whether slices are counted from the last, see `slices_from_last`.

    Raises:
        InputError: a value that is not numbers, or too many or too few of them; a point outside the
            image, or one that is both positive and negative.
    """
    keys = dict.fromkeys((POSITIVE, *(name for name in labels if name != NEGATIVE)))
    positive = np.concatenate([_points(request, key, shape) for key in keys])
    clicks = Clicks(positive, _points(request, NEGATIVE, shape))
    both = set(map(tuple, clicks.positive.tolist())) & set(map(tuple, clicks.negative.tolist()))
    if both:
        raise InputError(
            f"point {_shown(min(both)[::-1])} is both {POSITIVE} and {NEGATIVE}; expected one of "
            f"them; delete it, and in OHIF choose the structure's name before Run"
        )
    if from_last_slice and len(shape) == 3:
        for points in (clicks.positive, clicks.negative):
            points[:, 0] = shape[0] - 1 - points[:, 0]
    return clicks


def read_box(
    request: Mapping[str, Any], shape: Sequence[int], from_last_slice: bool = False
) -> tuple[slice, ...] | None:
    """Read ``roi``, a box that holds the structure, as a slice along each axis of the array.

    Viewers send x0, x1, y0, y1, z0, z1. The smaller number of a pair is not always first, and the
    larger belongs to the box. The answer is None where the request has no box.

    Raises:
        InputError: not six finite numbers (in 2D four are accepted), or a box outside the image.
    """
    value = _parsed("roi", request.get("roi"))
    if not value:
        return None
    dims = len(shape)
    numbers = _numbers(value)
    if numbers is None or len(numbers) not in {2 * dims, 6}:
        raise InputError(
            f"roi {_cut(value)} is no box; expected six numbers x0, x1, y0, y1, z0, z1 in pixels; "
            f"draw it again"
        )
    box = []
    for axis, side in enumerate(shape):
        ends = sorted(numbers[2 * (dims - 1 - axis) :][:2])
        extent = slice(max(round(ends[0]), 0), min(round(ends[1]) + 1, side))
        if extent.start >= extent.stop:
            raise InputError(
                f"roi {_cut(value)} lies outside the image of {_size(shape)} pixels; draw it again"
            )
        box.append(extent)
    if from_last_slice and dims == 3:
        box[0] = slice(shape[0] - box[0].stop, shape[0] - box[0].start)
    return tuple(box)


def _points(request: Mapping[str, Any], key: str, shape: Sequence[int]) -> np.ndarray:
    """Return the points under `key`, `(points, dims)` in array order."""
    value = _parsed(key, request.get(key))
    dims = len(shape)
    if not value and value != 0:
        return np.zeros((0, dims), dtype=np.int64)
    if not isinstance(value, (list, tuple)):
        raise _no_points(key, value, dims)
    points = value if any(isinstance(point, (list, tuple)) for point in value) else [value]
    if len(points) > MAX_POINTS:
        raise InputError(f"{key} holds {len(points)} points; at most {MAX_POINTS} are read")
    return np.array([_index(key, point, request, shape) for point in points], dtype=np.int64)


def _index(key: str, point: Any, request: Mapping[str, Any], shape: Sequence[int]) -> list[int]:
    """Return one point, x first, as an index into the array."""
    dims = len(shape)
    numbers = _numbers(point)
    if numbers is not None and len(numbers) == 2 and dims == 3:
        index = _numbers([request.get("slice")])
        numbers = None if index is None else [*numbers, *index]
    if numbers is None or len(numbers) not in {dims, 3}:
        raise _no_points(key, point, dims)
    whole = [math.floor(number + 0.5) for number in numbers]
    inside = all(0 <= at < side for at, side in zip(whole, shape[::-1], strict=False))
    if not inside or any(whole[dims:]):
        raise InputError(
            f"{key} point {_shown(point)} lies outside the image of {_size(shape)} pixels (x, y"
            f"{', z' if dims == 3 else ''}), counted from 0; click inside it"
        )
    return whole[:dims][::-1]


def _parsed(key: str, value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value) if value.strip() else None
    except (ValueError, RecursionError):
        raise InputError(f"{key} '{_cut(value)}' is no JSON; expected a list of numbers") from None


def _numbers(value: Any) -> list[float] | None:
    """Return finite numbers; None where `value` is not a list of such."""
    if not isinstance(value, (list, tuple)):
        return None
    for item in value:
        if isinstance(item, bool) or not isinstance(item, (int, float)):
            return None
        if not abs(item) < 2**31:  # also NaN; an int beyond could not be a float
            return None
    return [float(item) for item in value]


def _no_points(key: str, value: Any, dims: int) -> InputError:
    slice_too = ", or two numbers and 'slice'" if dims == 3 else ""
    return InputError(
        f"{key} {_cut(value)} is no point; expected {_EXAMPLE[dims]} in pixels, counted from 0"
        f"{slice_too}"
    )


def _shown(point: Sequence[Any]) -> str:
    return f"({', '.join(map(str, point))})"


def _size(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape[::-1]))


def _cut(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
