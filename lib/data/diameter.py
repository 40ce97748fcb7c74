"""The typical diameter of objects as a user tells it: read, and held against task and image."""

from __future__ import annotations

import math

from lib.data.grid import fits_objects, magnification, network_grid
from lib.errors import InputError, shown
from lib.image import Image
from lib.tasks.spec import TaskSpec

DIAMETER = "diameter"  # of a request


def read_diameter(value: object, name: str = DIAMETER) -> float:
    """Return a diameter that a user gave, in pixels; 0, None and an empty text are 0: estimate it.

    Args:
        name: of the option, for the message.

    Raises:
        InputError: no number, or none of at least one pixel.
    """
    if value is None or (isinstance(value, str) and not value.strip()):
        return 0.0
    found = math.nan
    if isinstance(value, (int, float, str)) and not isinstance(value, bool):
        try:
            found = float(value)
        except (ValueError, OverflowError):  # no number, or a whole one beyond all bounds
            pass
    if found == 0 or 1 <= found < math.inf:
        return found
    raise InputError(
        f"{name}: expected the typical diameter of the objects in pixels of the image, a number "
        f"from 1, or 0 to estimate it, found '{shown(value)}'; measure some objects, or leave it "
        f"away"
    )


def require_sized(task: TaskSpec, name: str = DIAMETER) -> None:
    """Refuse a diameter for a task that resamples no images for the size of their objects.

    Raises:
        InputError: it does not.
    """
    if not task.input.object_sizes:
        raise keeps_sizes(task.name, name)


def keeps_sizes(model: str, name: str = DIAMETER) -> InputError:
    """Return the error for a diameter that a model does not take."""
    return InputError(f"{name}: '{shown(model)}' resamples no images for it; leave it away")


def told_magnification(image: Image, task: TaskSpec, diameter: float) -> float:
    """Return by how much an image is resampled for a diameter that a user told; 1 leaves it.

    Args:
        diameter: of its objects, pixels, above 0.

    Raises:
        InputError: the task or the image is not resampled, or no object of the image can have that
            diameter, or the image would become larger or smaller than the task takes.
    """
    diameter, spec = read_diameter(diameter), task.input
    require_sized(task)
    told = f"{image.path.name}: {DIAMETER} {diameter:g}"
    size = " x ".join(str(side) for side in reversed(image.shape))
    if not fits_objects(image, spec):
        raise InputError(
            f"{told} is for single images; this one has {size} voxels and is answered as it is: "
            f"leave it away"
        )
    if diameter > max(image.shape):
        raise InputError(
            f"{told} pixels is more than the image, which has {size} pixels; give the typical "
            f"diameter of its objects in pixels, or 0 to estimate it"
        )
    factor, known = magnification(diameter, spec), network_grid(image, spec).shape
    rows, columns = (round(side * factor) for side in known)
    if factor > 1 and rows * columns > spec.max_pixels:
        raise InputError(
            f"{told} would make its {size} pixels {columns} x {rows}, expected at most "
            f"{spec.max_pixels} in all; crop the image, or leave it away"
        )
    if factor < 1 and min(rows, columns) < spec.min_side:
        raise InputError(
            f"{told} would make its {size} pixels {columns} x {rows}, expected at least "
            f"{spec.min_side} rows and columns; take a larger part of the image, or leave it away"
        )
    return max(network_grid(image, spec, diameter).shape) / max(known)
