"""Answers on objects of other sizes: labelled images made smaller and larger, answered three times.

Each image and its label are resampled by `FACTORS`, and answered in three ways by the same weights:
without regard to the size of objects; by the task as it is, which estimates the size and resamples
images of objects that its network does not know (`InputSpec.object_sizes`); and by the task that is
told the diameter of the labelled objects, as a user may tell it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.speed.fixtures import SEED
from lib.data.grid import Grid
from lib.data.labels import read_item_label
from lib.data.studies import Item, fingerprint_of, read_item, split_items
from lib.data.targets import as_instances, typical_diameter
from lib.errors import InputError, UnpublishedError
from lib.files import sha256
from lib.image import Geometry, Image
from lib.kinds import kind_of
from lib.segmentation.metrics import (
    average_precision,
    matched_counts,
    pixel_counts,
    pixel_scores,
)
from lib.segmentation.predictor import Predictor
from lib.statistics import RESAMPLES, bootstrap_weights, interval
from lib.tasks.registry import get_task
from lib.tasks.spec import TaskSpec
from lib.weights.checkpoint import load_checkpoint
from lib.weights.store import ModelStore

TASK = "nuclei"
FACTORS = (0.35, 0.5, 1.0, 2.0, 3.0)
MOST = 2_500_000  # pixels of a resampled image; larger ones are left out
WAYS = ("as it is", "resampled", "told")

_Counts = Mapping[str, int | np.ndarray]


def run(
    on_round: Callable[[], object],
    store: ModelStore,
    studies: Path | None = None,
    split: str = "all",
    task: str = TASK,
) -> dict[str, Any]:
    """Measure, and return the figures of each factor.

    Args:
        studies: folder of images whose objects are labelled.
        split: "all" images, or those that training holds out ("validation").

    Raises:
        InputError: there are no images, or the task keeps all images as they are.
        UnpublishedError: it has no weights.
    """
    row = get_task(task)
    if not row.input.object_sizes:
        raise InputError(f"'{task}' answers objects of all sizes as they are; choose {TASK}")
    if studies is None:
        raise InputError("sizes: give --studies a folder of images whose objects are labelled")
    weights = store.served_path(task)
    if weights is None:
        raise UnpublishedError(f"'{task}' has no weights yet; train it first")
    items = kind_of(row).cases.list(studies, row, True)
    if split == "validation":
        items = split_items(items, row.training.val_split)[1]
    checkpoint = load_checkpoint(weights)
    plain = replace(row, input=replace(row.input, object_sizes=()))
    predictors = [Predictor.from_checkpoint(one, checkpoint) for one in (plain, row)]
    figures = []
    for factor in FACTORS:
        figures.append({"factor": factor, **_measure(predictors, items, factor)})
        on_round()
    return {
        "what": f"{len(items)} images of {studies.name} ({split}), made smaller and larger",
        "task": task,
        "weights_sha256": sha256(weights),
        "data": fingerprint_of(items),
        "object_sizes": row.input.object_sizes,
        "resamples": RESAMPLES,
        "figures": figures,
    }


def resampled(image: Image, label: np.ndarray, factor: float) -> tuple[Image, np.ndarray]:
    """Return an image of two axes with its label, `factor` times as large."""
    shape = tuple(max(8, round(side * factor)) for side in image.shape)
    grid = Grid(image.shape, (slice(0, image.shape[0]), slice(0, image.shape[1])), shape)
    channels = image.pixels if image.colour else image.pixels[..., np.newaxis]
    values = grid.apply(np.moveaxis(channels, -1, 0).astype(np.float32))
    pixels = np.moveaxis(values, 0, -1).round().astype(image.pixels.dtype)
    made = Image(
        pixels if image.colour else pixels[..., 0],
        Geometry.flat(*shape),
        image.path,
        colour=image.colour,
    )
    return made, grid.apply_label(label)


def _measure(
    predictors: Sequence[Predictor], items: Sequence[Item], factor: float
) -> dict[str, Any]:
    """Return figures of `WAYS` at one factor.

    Args:
        predictors: without and with regard to the size of objects.
    """
    plain, sized = predictors
    task: TaskSpec = sized.task
    groups, sizes = [], []
    magnified = [0 for _ in WAYS]
    pixels: list[list[_Counts]] = [[] for _ in WAYS]
    objects: list[list[_Counts]] = [[] for _ in WAYS]
    for item in items:
        image = read_item(item, task)
        if image.spatial_dims != 2 or np.prod(image.shape) * factor**2 > MOST:
            continue
        made, label = resampled(image, as_instances(read_item_label(item, image, task)), factor)
        groups.append(item.key)
        sizes.append(diameter := typical_diameter(label))
        told = min(max(1.0, diameter), max(made.shape)) if diameter else 0.0
        for way, found in enumerate((plain(made), sized(made), sized(made, diameter=told))):
            assert found.instances is not None
            pixels[way].append(pixel_counts(found.mask > 0, label > 0))
            objects[way].append(matched_counts(found.instances, label))
            magnified[way] += found.magnification != 1
    if not groups:
        raise InputError(f"sizes: no image of at most {MOST} pixels at {factor} times its size")
    weights = bootstrap_weights(groups, RESAMPLES, SEED)
    return {
        "images": len(groups),
        "diameter": round(float(np.median([size for size in sizes if size])), 1),
        "resampled_images": magnified[1],
        "told_images": magnified[2],
        **{
            name: {"ap50": _ap50(one, weights), "fg_dice": _fg_dice(other, weights)}
            for name, one, other in zip(WAYS, objects, pixels, strict=True)
        },
    }


def _pooled(counts: Sequence[_Counts], weights: np.ndarray) -> dict[str, np.ndarray]:
    """Return weighted sums of counts, the first of all images once, `(resamples + 1, ...)`."""
    return {name: weights @ np.stack([one[name] for one in counts]) for name in counts[0]}


def _ap50(counts: Sequence[_Counts], weights: np.ndarray) -> dict[str, Any]:
    return _figure(average_precision(_pooled(counts, weights))["ap50"])


def _fg_dice(counts: Sequence[_Counts], weights: np.ndarray) -> dict[str, Any]:
    return _figure(pixel_scores(_pooled(counts, weights))["fg_dice"])


def _figure(values: np.ndarray) -> dict[str, Any]:
    """Return the value of all images, the first, and the bounds of its bootstrap interval."""
    ends = [round(float(end), 3) for end in interval(values[1:])]
    return {"value": round(float(values[0]), 3), "interval": ends}


def cell(figure: dict[str, Any]) -> str:
    """Return a figure with its interval, as docs/models/nuclei.md shows it."""
    low, high = figure["interval"]
    return f"{figure['value']:.3f} ({low:.3f} to {high:.3f})"


def table(report: dict[str, Any]) -> list[str]:
    """Return lines of the figures; reports of before have none of images whose size is told."""
    lines = []
    for row in report["figures"]:
        before, now, *told = (cell(row[way]["ap50"]) for way in WAYS if way in row)
        lines.append(
            f"{row['factor']:4} times, diameter {row['diameter']:5} pixels: AP at IoU 0.5 "
            f"{before}, resampled {now} ({row['resampled_images']} of {row['images']} images)"
            + "".join(f", told {one} ({row['told_images']})" for one in told)
        )
    return lines


def card_rows(report: dict[str, Any], name: str) -> list[str]:
    """Return the rows of the table in docs/models/nuclei.md, in Markdown.

    Args:
        name: of the images.
    """
    rows = []
    for row in report["figures"]:
        count, images = row["resampled_images"], row["images"]
        told = (cell(row["told"]["ap50"]), str(row["told_images"])) if "told" in row else ("-", "-")
        before, now = (cell(row[way]["ap50"]) for way in WAYS[:2])
        cells = f"{name}, {row['factor']:g}", f"{row['diameter']:g}", f"{count} of {images}"
        rows.append(f"| {' | '.join((*cells, before, now, told[1], told[0]))} |")
    return rows
