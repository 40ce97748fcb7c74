"""Labels put on the grid of their image, by where both lie in space."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import product

import numpy as np

from lib.errors import InputError
from lib.image import Geometry

# how far, in pixels, the corners of grids may be apart that count as the same: below one half, each
# pixel's nearest neighbour is the same either way
OFF_GRID = 0.45
_UNPLACED = "the label does not tell which part of the image it is"
_ADVICE = "label the image itself, or resample the label onto it"


def same_grid(grid: Geometry, other: Geometry) -> bool:
    """Tell whether the pixels of two grids lie on each other, first on first."""
    if grid.size != other.size:
        return False
    apart = _corners_in(grid, other) - _corner_indices(other)
    return bool((np.abs(apart) <= OFF_GRID).all())


def aligned(
    name: str,
    label: np.ndarray,
    grid: Geometry,
    image: Geometry,
    measured: Sequence[float] | None = None,
) -> np.ndarray:
    """Return a label on the grid of its image, by nearest neighbours; 0 where it does not reach.

    A label may be flipped, turned, cropped, oblique, or of other pixels. As it lies is taken one on
    the image's grid; and one of the same size without a place of its own (unit spacing from the
    origin): many programs drop it.

    Args:
        name: of the label, for messages.
        label: int32 `(rows, columns)` or `(slices, rows, columns)`.
        grid: of the label; a single slice may have a third axis.
        image: the grid of the image; likewise.
        measured: spacing of the image along its axes where that of `image` is not the measured one;
            a label may have either.

    Returns:
        int32 `image_shape(image)`; the pixels of `label` themselves where it is taken as it lies.

    Raises:
        InputError: it does not lie on the image, something is labelled outside of it or is too
            small for its pixels, or a label without a place has another size.
    """
    shape = image_shape(image)
    if len(grid.size) != len(image.size):
        if not (_is_axial(grid) and _is_axial(image)):  # two axes cannot tell how it lies
            if grid.size[:2] == image.size[:2]:
                return label.reshape(shape)
            raise _refused(name, grid, image, _UNPLACED)
        grid, image = _flat(grid), _flat(image)
    if grid.size == image.size:
        spacings = {image.spacing, tuple(measured or image.spacing)[: len(image.size)]}
        if any(same_grid(grid, replace(image, spacing=one)) for one in spacings):
            return label.reshape(shape)
        if _is_placeless(grid) and not _fills(grid, image):
            return label.reshape(shape)
        if _differs_in_spacing(grid, image):
            raise _refused(name, grid, image, "they differ in nothing but their spacing")
    elif _is_placeless(grid):
        raise _refused(name, grid, image, _UNPLACED)
    return _resampled(name, label.reshape(grid.size[::-1]), grid, image).reshape(shape)


def image_shape(grid: Geometry) -> tuple[int, ...]:
    """Return `(rows, columns)` or `(slices, rows, columns)` of the pixels on a grid."""
    return grid.size[: 2 if grid.size[2:] in ((), (1,)) else 3][::-1]


def described(grid: Geometry) -> str:
    """Return a grid in words, for messages."""
    axes = np.reshape(grid.direction, (len(grid.size),) * 2).T
    turned = not np.allclose(axes, np.eye(len(axes)), atol=1e-6)
    directions = f", axes {' '.join(map(_numbers, axes.tolist()))}" if turned else ""
    size, spacing = " x ".join(map(str, grid.size)), " x ".join(f"{s:.4g}" for s in grid.spacing)
    return f"{size} pixels of {spacing} mm from {_numbers(grid.origin)}{directions}"


def _resampled(name: str, label: np.ndarray, grid: Geometry, image: Geometry) -> np.ndarray:
    """Return a label `(*grid.size[::-1])` on the grid of its image.

    Raises:
        InputError: something of it would be lost.
    """
    import SimpleITK as sitk

    grid, image = (
        # ITK inverts no matrix that holds numbers such as 1e-320
        replace(one, direction=tuple(c if abs(c) > 1e-12 else 0.0 for c in one.direction))
        for one in (grid, image)
    )

    def on(pixels: np.ndarray, own: Geometry, other: Geometry) -> np.ndarray:
        moving = sitk.GetImageFromArray(pixels, isVector=False)
        moving.SetSpacing(own.spacing)
        moving.SetOrigin(own.origin)
        moving.SetDirection(own.direction)
        found = sitk.Resample(
            moving,
            other.size,
            sitk.Transform(),
            sitk.sitkNearestNeighbor,
            other.origin,
            other.spacing,
            other.direction,
        )
        return sitk.GetArrayFromImage(found)

    covered = on(np.ones(image.size[::-1], np.uint8), image, grid) > 0
    if not covered.any():
        raise _refused(name, grid, image, "no pixel of it lies on the image")
    labelled = label > 0
    if outside := int((labelled & ~covered).sum()):
        what = f"{outside} of {int(labelled.sum())} labelled pixels lie outside of the image"
        raise _refused(name, grid, image, what)
    result = on(label, grid, image)
    if lost := sorted(set(np.unique(label)) - set(np.unique(result)) - {0}):
        what = f"value {lost[0]} is too small for the pixels of the image and would be lost"
        raise _refused(name, grid, image, what)
    return result


def _refused(name: str, grid: Geometry, image: Geometry, why: str) -> InputError:
    return InputError(
        f"{name}: label of {described(grid)}, its image has {described(image)}: {why}; {_ADVICE}"
    )


def _is_placeless(grid: Geometry) -> bool:
    """Tell whether a grid is that of a file without any; NIfTI of such a one may be mirrored."""
    axes = np.reshape(grid.direction, (len(grid.size),) * 2)
    mirrored = np.diag((-1.0, -1.0, 1.0)[: len(axes)])
    return (
        set(grid.spacing) == {1.0}
        and not np.any(grid.origin)
        and any(np.array_equal(axes, one) for one in (np.eye(len(axes)), mirrored))
    )


def _fills(grid: Geometry, image: Geometry) -> bool:
    """Tell whether a grid has the corners of the image's, in whatever order."""
    corners = _corners_in(grid, image)
    ends = _corner_indices(image)
    far = np.abs(corners[:, None] - ends).max(axis=2) > OFF_GRID
    return not far.all(axis=0).any()


def _differs_in_spacing(grid: Geometry, image: Geometry) -> bool:
    """Tell whether two grids of one size have the same first pixel and the same directions."""
    start = _corners_in(grid, image)[0]
    return bool((np.abs(start) <= OFF_GRID).all()) and np.allclose(
        grid.direction, image.direction, atol=1e-4
    )


def _corner_indices(grid: Geometry) -> np.ndarray:
    """Return the indices of the corner pixels, x first, `(corners, axes)`."""
    return np.array(list(product(*((0, side - 1) for side in grid.size))), float)


def _corners_in(grid: Geometry, other: Geometry) -> np.ndarray:
    """Return the corner pixels of a grid as indices of another, `(corners, axes)`."""
    points = grid.origin + _corner_indices(grid) @ _steps(grid).T
    return np.linalg.solve(_steps(other), (points - other.origin).T).T


def _steps(grid: Geometry) -> np.ndarray:
    """Return the step to the next pixel along each axis, the columns of a matrix, mm."""
    return np.reshape(grid.direction, (len(grid.size),) * 2) * grid.spacing


def _is_axial(grid: Geometry) -> bool:
    """Tell whether a grid has two axes, or a third across the plane of the others in space."""
    plane = np.reshape(grid.direction, (len(grid.size),) * 2)[:2, :2]
    return np.allclose(plane @ plane.T, np.eye(2), atol=1e-3)


def _flat(grid: Geometry) -> Geometry:
    """Return the grid of a single slice in its own plane."""
    plane = np.reshape(grid.direction, (len(grid.size),) * 2)[:2, :2]
    direction = tuple(plane.ravel().tolist())
    return Geometry(grid.size[:2], grid.spacing[:2], grid.origin[:2], direction)


def _numbers(values: Sequence[float]) -> str:
    return f"({', '.join(f'{value:.4g}' for value in values)})"
