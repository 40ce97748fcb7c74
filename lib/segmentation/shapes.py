"""How well the outlines of structures agree: Dice, Hausdorff distance, and their circumference.

They say what pooled pixels do not: each structure by itself, and errors in millimetres, where the
file tells the size of a pixel.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from scipy import ndimage

from lib.image import Image
from lib.io.pixel_size import pixel_size
from lib.segmentation.ellipse import circumference
from lib.segmentation.metrics import dice
from lib.statistics import RESAMPLES, bootstrap_weights, interval
from lib.tasks.spec import TaskSpec

OUTER_SHARE = 95  # percentile of the robust Hausdorff distance


def shape_figures(
    mask: np.ndarray, truth: np.ndarray, task: TaskSpec, image: Image, labelled: np.ndarray
) -> dict[str, Any]:
    """Return the figures of each structure in one image.

    Args:
        mask, truth: `(*spatial)` integers with the values of the task's labels; with one label,
            whatever is not 0 is the structure.
        labelled: boolean, the pixels that are counted.

    Returns:
        By structure: ``dice``; and where both have it, all of the image is labelled and it is 2D,
        ``hausdorff`` and ``hausdorff95`` (the largest and the 95th percentile of the distances
        between the outlines, in both directions) in ``unit``, mm or pixels. For a task whose
        structure is an ellipse also ``circumference`` and ``expected_circumference``.
    """
    size = pixel_size(image) if image.spatial_dims == 2 else None
    figures = {}
    for name, value in task.labels.items():
        alone = len(task.labels) == 1
        found, expected = ((part > 0) if alone else (part == value) for part in (mask, truth))
        row: dict[str, Any] = {"dice": dice(found, expected, labelled)}
        row["shown"] = bool((expected & labelled).any())
        if image.spatial_dims == 2 and labelled.all() and found.any() and expected.any():
            spacing = (size[1], size[0]) if size else (1.0, 1.0)
            row["unit"] = "mm" if size else "pixels"
            row["hausdorff"], row["hausdorff95"] = hausdorff(found, expected, spacing)
            if task.output.shape == "ellipse":
                row["circumference"] = circumference(found, spacing)
                row["expected_circumference"] = circumference(expected, spacing)
        figures[name] = row
    return figures


def hausdorff(
    found: np.ndarray, expected: np.ndarray, spacing: tuple[float, float]
) -> tuple[float, float]:
    """Return the Hausdorff distance of the outlines of two masks, and its 95th percentile.

    Args:
        found, expected: boolean `(rows, columns)`, neither empty.
        spacing: of rows and columns; it gives the unit of the answer.
    """
    edges = [mask & ~ndimage.binary_erosion(mask) for mask in (found, expected)]
    away = [ndimage.distance_transform_edt(~one, sampling=spacing) for one in edges]
    ways = (away[1][edges[0]], away[0][edges[1]])
    return (
        float(max(way.max() for way in ways)),
        float(max(np.percentile(way, OUTER_SHARE) for way in ways)),
    )


def pool_shapes(rows: Sequence[Mapping[str, Any]], seed: int) -> dict[str, dict[str, Any]]:
    """Return means over the images that show a structure, with intervals, by structure.

    Args:
        rows: one for each image, with its ``structures`` (`shape_figures`) and its ``group``: the
            bootstrap draws groups, as images of one are alike.
        seed: of the bootstrap.

    Returns:
        ``images`` with the structure, the mean ``dice`` (0 where it was not found); over the images
        where it was found (``measured``) the means of the distances, and of circumferences the mean
        absolute error and the mean error, found less expected; each with its ``intervals``.
    """
    pooled = {}
    for name in rows[0]["structures"]:
        parts = [(row["structures"][name], row["group"]) for row in rows]
        shown = [(part, group) for part, group in parts if part["shown"]]
        if not shown:
            continue
        entry: dict[str, Any] = {"images": len(shown), "intervals": {}}
        pooled[name] = entry
        _add_mean(entry, "dice", shown, lambda part: float(part["dice"]), seed)
        units = {part["unit"] for part, _ in shown if "unit" in part}
        if len(units) != 1:  # a mean of millimetres and pixels is neither
            continue
        measured = [(part, group) for part, group in shown if "unit" in part]
        entry |= {"measured": len(measured), "unit": units.pop()}
        _add_mean(entry, "hausdorff", measured, lambda part: float(part["hausdorff"]), seed)
        _add_mean(entry, "hausdorff95", measured, lambda part: float(part["hausdorff95"]), seed)
        if "circumference" in measured[0][0]:
            _add_mean(entry, "circumference_absolute_error", measured, _off, seed)
            _add_mean(entry, "circumference_error", measured, _difference, seed)
    return pooled


SHOWN = {
    "dice": "Dice",
    "hausdorff": "Hausdorff distance",
    "hausdorff95": "95th percentile",
    "circumference_absolute_error": "circumference off by",
    "circumference_error": "on average",
}


def shape_lines(structures: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return `pool_shapes` as text, a line for each structure."""
    lines = []
    for name, entry in structures.items():
        shown = []
        for figure, title in SHOWN.items():
            if figure in entry:
                low, high = entry["intervals"][figure]
                unit = "" if figure == "dice" else f" {entry['unit']}"
                shown.append(f"{title} {entry[figure]:.4g} ({low:.4g}..{high:.4g}){unit}")
        lines.append(f"{name} in {entry['images']} images: {', '.join(shown)}")
    return lines


def _difference(row: Mapping[str, Any]) -> float:
    return float(row["circumference"] - row["expected_circumference"])


def _off(row: Mapping[str, Any]) -> float:
    return abs(_difference(row))


def _add_mean(
    entry: dict[str, Any],
    name: str,
    rows: Sequence[tuple[Mapping[str, Any], str]],
    figure: Callable[[Mapping[str, Any]], float],
    seed: int,
) -> None:
    """Add the mean of a figure over rows, and its interval over their groups, to `entry`."""
    values = np.array([figure(row) for row, _ in rows])
    weights = bootstrap_weights([group for _, group in rows], RESAMPLES, seed)
    means = weights @ values / weights.sum(1)
    entry[name] = float(means[0])
    entry["intervals"][name] = interval(means[1:])
