"""Measures of numbered objects, in pixels and, where the file tells a size, micrometres."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from skimage.measure import find_contours, regionprops_table

from lib.image import Image
from lib.io.all_channels import read_channels

UM = 1000.0  # micrometres of a millimetre
ML = 1e12  # cubic micrometres of a millilitre
FLAT = (
    *("id", "structure", "frame", "centroid_x_px", "centroid_y_px", "area_px", "area_um2"),
    *("perimeter_px", "perimeter_um", "eccentricity"),
)
SOLID = (
    *("id", "structure", "centroid_x_px", "centroid_y_px", "centroid_z_px"),
    *("volume_voxels", "volume_um3", "volume_ml"),
)


def measure(
    image: Image,
    objects: np.ndarray,
    structures: Sequence[str],
    pixel_size: Sequence[float] | None,
) -> list[dict[str, Any]]:
    """Return one row for each object, in the order of their numbers.

    Rows of an image, and of each frame of a loop, have `FLAT`; those of a volume have `SOLID`. All
    have ``mean_intensity`` and ``integrated_intensity`` (mean and sum of the file's values over the
    object's pixels), for each channel with its name behind an underscore where there are several.
    Coordinates count from 0 at the centre of the first pixel; frames count from 1. The perimeter in
    pixels is scikit-image's (Benkrid and Crookes 2000), round holes too; it is multiplied by the
    size of a pixel, or, where pixels are no squares, taken along the contour between pixels
    (marching squares). Eccentricity is that of the ellipse with the object's second moments, 0 for
    a circle, below 1, in micrometres where they are known.

    Args:
        image: whose values are measured.
        objects: int32 of the image's shape, 0 is background.
        structures: name by number, "" for numbers of no object.
        pixel_size: along x, y[, z] in mm; None leaves what is in micrometres empty.

    Raises:
        InputError: another channel of the image cannot be read.
    """
    inside = objects > 0
    numbers = objects[inside]
    count = len(structures)
    pixels = np.bincount(numbers, minlength=count)
    size = None if pixel_size is None else np.array(pixel_size, dtype=float) * UM
    centres = [
        np.bincount(numbers, weights=axis, minlength=count) / np.maximum(pixels, 1)
        for axis in reversed(np.nonzero(inside))
    ]  # x, y[, z]
    sums = {
        name: np.bincount(numbers, weights=values[inside], minlength=count)
        for name, values in read_channels(image).items()
    }
    solid = image.spatial_dims == 3 and not image.over_time
    shapes = {} if solid else _shapes(objects, size)
    rows = []
    for number in np.flatnonzero(pixels).tolist():
        row: dict[str, Any] = {"id": number, "structure": structures[number]}
        one = float(np.prod(size)) if size is not None else None
        if not solid:
            frame = round(float(centres[2][number])) + 1 if image.over_time else None
            row["frame"] = frame
        for axis, centre in zip("xyz" if solid else "xy", centres, strict=False):
            row[f"centroid_{axis}_px"] = float(centre[number])
        amount = None if one is None else int(pixels[number]) * one
        if solid:
            row |= {"volume_voxels": int(pixels[number]), "volume_um3": amount}
            row["volume_ml"] = None if amount is None else amount / ML
        else:
            row |= {"area_px": int(pixels[number]), "area_um2": amount, **shapes[number]}
        for name, total in sums.items():
            end = f"_{name}" if name else ""
            row[f"mean_intensity{end}"] = float(total[number] / pixels[number])
            row[f"integrated_intensity{end}"] = float(total[number])
        rows.append(row)
    return rows


def _shapes(objects: np.ndarray, size: np.ndarray | None) -> dict[int, dict[str, Any]]:
    """Return perimeter and eccentricity by number; `size` of a pixel is in micrometres, x first."""
    found: dict[int, dict[str, Any]] = {}
    step = (1.0, 1.0) if size is None else (float(size[1]), float(size[0]))
    square = abs(step[0] / step[1] - 1) < 1e-6
    for frame in objects[np.newaxis] if objects.ndim == 2 else objects:
        flat = regionprops_table(frame, properties=("label", "perimeter"))
        real = regionprops_table(frame, properties=("label", "eccentricity"), spacing=step)
        around = None if square else _contours(frame, step)
        for n, number in enumerate(flat["label"].tolist()):
            length = float(flat["perimeter"][n])
            real_length = length * step[0] if around is None else around[number]
            found[number] = {
                "perimeter_px": length,
                "perimeter_um": None if size is None else real_length,
                "eccentricity": float(real["eccentricity"][n]),
            }
    return found


def _contours(frame: np.ndarray, step: tuple[float, float]) -> dict[int, float]:
    """Return the length of the contour of each object, by number, in the unit of `step`."""
    found = {}
    for region in _crops(frame):
        number, mask = region
        edges = find_contours(np.pad(mask, 1).astype(float), 0.5)
        found[number] = sum(
            float(np.hypot(*(np.diff(edge, axis=0) * step).T).sum()) for edge in edges
        )
    return found


def _crops(frame: np.ndarray) -> list[tuple[int, np.ndarray]]:
    """Return number and mask of each object, within its bounding box."""
    table = regionprops_table(frame, properties=("label", "image"))
    return list(zip(table["label"].tolist(), table["image"], strict=True))
