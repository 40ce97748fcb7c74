"""Evaluation of a segmentation on labelled images: figures, their intervals, and as text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lib.data.case import Evaluation
from lib.data.ignore import labelled_objects, split_ignored
from lib.data.labels import read_item_label
from lib.data.studies import Item, fingerprint_of, read_item
from lib.data.targets import as_instances
from lib.errors import InputError
from lib.image import is_coloured
from lib.segmentation.metrics import (
    PIXEL_COUNTS,
    average_precision,
    image_scores,
    matched_counts,
    pixel_counts,
    pixel_scores,
)
from lib.segmentation.predictor import Predictor
from lib.segmentation.reliability import Reliability
from lib.segmentation.shapes import pool_shapes, shape_figures, shape_lines
from lib.statistics import CONFIDENCE, RESAMPLES, bootstrap_weights, interval
from lib.tasks.image_spec import PRESENCE
from lib.weights.checkpoint import versions


@dataclass(frozen=True, kw_only=True)
class Report:
    """Figures of one evaluation.

    Attributes:
        images: one row for each image: id, size, figures, seconds.
        pooled: each figure over all pixels (and all objects) of the images together.
        mean: the mean of each figure over the images.
        intervals: for each pooled figure, the bounds of its bootstrap interval over images.
        presence: `lib.segmentation.metrics.image_scores` with their intervals, the numbers of
            images with and without the structure, and the same figures of a mask that is always
            empty. Empty if all images have the structure and the task does not answer presence.
        structures: `lib.segmentation.shapes.pool_shapes`, for tasks that number no objects.
        reliability: of the probabilities of foreground, see `lib.segmentation.reliability`.
        groups: pooled figures and numbers of images of grey and of coloured images alone; empty if
            all images are of one group.
        about: versions, seed, data fingerprint, weights and command.
    """

    images: list[dict[str, Any]]
    pooled: dict[str, float]
    mean: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    presence: dict[str, Any] = field(default_factory=dict)
    structures: dict[str, dict[str, Any]] = field(default_factory=dict)
    reliability: dict[str, Any] = field(default_factory=dict)
    groups: dict[str, dict[str, Any]] = field(default_factory=dict)
    about: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return the report as plain data, pooled figures first."""
        return {
            "pooled": self.pooled,
            "confidence": CONFIDENCE,
            "intervals": self.intervals,
            "mean_over_images": self.mean,
            "presence": self.presence,
            "structures": self.structures,
            "reliability": self.reliability,
            "groups": self.groups,
            "about": self.about,
            "images": self.images,
        }


def evaluate(
    predictor: Predictor,
    items: Sequence[Item],
    seed: int = 0,
    on_case: Callable[[Item], object] | None = None,
    about: dict[str, Any] | None = None,
) -> Report:
    """Run `predictor` on every item and compare its answer with the item's label.

    Args:
        seed: of the bootstrap.

    Raises:
        InputError: an item without a label, or a file that cannot be read.
    """
    if not items:
        raise InputError("nothing to evaluate: no labelled images")
    rows: list[dict[str, Any]] = []
    pixels: list[dict[str, int]] = []
    objects: list[dict[str, np.ndarray]] = []
    task, reliability = predictor.task, Reliability()
    for item in items:
        if item.label is None:
            raise InputError(f"'{item.id}' has no label; evaluation needs one for every image")
        image = read_item(item, task)
        truth, labelled = split_ignored(read_item_label(item, image, task), item.label_name)
        prediction = predictor(image)
        counts = pixel_counts(prediction.mask > 0, truth > 0, labelled)
        reliability.add(prediction.probabilities[0], truth, labelled)
        axes = ("slices", "rows", "columns")[-image.spatial_dims :]
        row: dict[str, Any] = {
            "id": item.id,
            "group": item.key,
            **dict(zip(axes, image.shape, strict=True)),
        }
        row["kind"] = "coloured" if is_coloured(image) else "grey"
        row |= {name: float(value) for name, value in pixel_scores(counts).items()}
        pixels.append(counts)
        if task.output.instances and prediction.instances is not None:
            seen = labelled_objects(prediction.instances, labelled)
            matched = matched_counts(seen, as_instances(truth))
            objects.append(matched)
            row |= {name: float(value) for name, value in average_precision(matched).items()}
        if not task.output.instances:
            row["structures"] = shape_figures(prediction.mask, truth, task, image, labelled)
            if task.target.structures:
                row |= {f"dice_{name}": part["dice"] for name, part in row["structures"].items()}
        presence, probability = prediction.presence, prediction.probabilities[0][labelled].max()
        row["presence"] = round(float(probability if presence is None else presence), 6)
        row["labelled"] = round(float(labelled.mean()), 6)
        row["seconds"] = round(sum(prediction.seconds.values()), 4)
        rows.append(row)
        if on_case:
            on_case(item)

    pooled, intervals = _pool(pixels, objects, seed)
    return Report(
        images=rows,
        pooled=pooled,
        mean=_means(rows, pooled),
        intervals=intervals,
        presence=presence_figures(rows, pixels, PRESENCE in task.target.answered, seed),
        structures={} if task.output.instances else pool_shapes(rows, seed),
        reliability=reliability.as_dict(),
        groups=_by_colour(rows, pixels, objects),
        about={
            "task": task.name,
            "images": len(items),
            "data": fingerprint_of(items),
            "seed": seed,
            "bootstrap_resamples": RESAMPLES,
            "device": str(predictor.device),
            "precision": str(predictor.dtype).removeprefix("torch."),
            "backend": predictor.backend.name,
            "flips": predictor.flips,
            "versions": versions(),
            **(about or {}),
        },
    )


def presence_figures(
    rows: Sequence[dict[str, Any]], pixels: Sequence[dict[str, int]], answered: bool, seed: int
) -> dict[str, Any]:
    """Return `Report.presence`.

    Args:
        rows: one for each image, with its "presence" and the share that is "labelled".
        pixels: `pixel_counts` of each image.
        answered: whether the task answers presence.
        seed: of the bootstrap over images.
    """
    counts = {name: np.array([case[name] for case in pixels]) for name in PIXEL_COUNTS}
    present = counts["tp"] + counts["fn"] > 0
    whole = np.array([row.get("labelled", 1) == 1 for row in rows])
    if present.all() and not answered:
        return {}
    presence = np.array([row["presence"] for row in rows])
    draws = np.random.default_rng(seed).integers(len(rows), size=(RESAMPLES, len(rows)))
    weights = np.stack([np.bincount(draw, minlength=len(rows)) for draw in draws])
    resampled = image_scores(counts, presence, weights, whole)
    empty = {**counts, "tp": 0 * present, "fp": 0 * present, "fn": counts["tp"] + counts["fn"]}
    return {
        "images_with": int(present.sum()),
        "images_without": int((~present & whole).sum()),
        **{name: float(v) for name, v in image_scores(counts, presence, whole=whole).items()},
        "intervals": {name: interval(values) for name, values in resampled.items()},
        "always_empty": {name: float(value) for name, value in image_scores(empty).items()},
    }


def _means(rows: Sequence[dict[str, Any]], names: Iterable[str]) -> dict[str, float]:
    return {name: float(np.mean([row[name] for row in rows])) for name in names}


def _by_colour(
    rows: Sequence[dict[str, Any]],
    pixels: Sequence[dict[str, int]],
    objects: Sequence[dict[str, np.ndarray]],
) -> dict[str, dict[str, Any]]:
    """Return `Report.groups`."""
    colours = sorted({row["kind"] for row in rows})
    groups: dict[str, dict[str, Any]] = {}
    for colour in colours if len(colours) > 1 else ():
        chosen = [index for index, row in enumerate(rows) if row["kind"] == colour]
        pooled, _ = _pool(
            [pixels[index] for index in chosen],
            [objects[index] for index in chosen] if objects else [],
            seed=0,
        )
        means = _means([rows[index] for index in chosen], pooled)
        groups[colour] = {"images": len(chosen), "pooled": pooled, "mean_over_images": means}
    return groups


def _pool(
    pixels: Sequence[dict[str, int]],
    objects: Sequence[dict[str, np.ndarray]],
    seed: int,
) -> tuple[dict[str, float], dict[str, tuple[float, float]]]:
    """Return pooled figures and their percentile bootstrap intervals over images."""
    weights = bootstrap_weights(range(len(pixels)), RESAMPLES, seed)
    pooled = {n: weights @ np.array([case[n] for case in pixels], float) for n in PIXEL_COUNTS}
    scores = pixel_scores(pooled)
    if objects:
        matched = {n: weights @ np.stack([case[n] for case in objects]) for n in ("tp", "fp", "fn")}
        scores |= average_precision(matched)
    figures = {name: float(values[0]) for name, values in scores.items()}
    return figures, {name: interval(values[1:]) for name, values in scores.items()}


SHOWN = {
    "mean_iou": "two-class mean IoU",
    "fg_iou": "foreground IoU",
    "bg_iou": "background IoU",
    "fg_dice": "foreground Dice",
    "accuracy": "accuracy",
    "precision": "precision",
    "recall": "recall",
    "ap50": "AP at IoU 0.5",
    "ap": "AP at IoU 0.5:0.95",
}


def lines(report: Report) -> list[str]:
    """Return pooled figures with their intervals, means over images, and figures of groups."""
    text = [f"{'':22} pooled  95 % interval    mean over images"]
    for name, title in SHOWN.items():
        if name in report.pooled:
            low, high = report.intervals[name]
            text.append(
                f"{title:22} {report.pooled[name]:.4f}  {low:.4f}..{high:.4f}  "
                f"{report.mean[name]:.4f}"
            )
    text += shape_lines(report.structures)
    parts = [row["labelled"] for row in report.images if row["labelled"] < 1]
    if parts:
        text.append(
            f"{len(parts)} images are labelled in part ({np.mean(parts):.0%} of their pixels on "
            f"average); the rest of them is left out"
        )
    for group, figures in report.groups.items():
        pooled = figures["pooled"]
        shown = [name for name in ("mean_iou", "fg_dice", "ap50") if name in pooled]
        values = ", ".join(f"{SHOWN[name]} {pooled[name]:.4f}" for name in shown)
        text.append(f"{group} images alone ({figures['images']}): {values}")
    return text


def plots(folder: Path, report: dict[str, Any], prefix: str, *answered: Any) -> list[Path]:
    """Draw what `lib.segmentation.failures.draw_failures` does, which imports matplotlib."""
    from lib.segmentation.failures import draw_failures

    return draw_failures(folder, report, prefix, *answered)


def benchmark_figures(report: Report) -> dict[str, Any]:
    """Return what a benchmark keeps of a report."""
    figures = {name: value for name, value in report.as_dict().items() if name != "about"}
    seed = report.about["seed"]
    return {**figures, "test_images": len(report.images), "bootstrap_seed": seed}


def outcome(figures: Mapping[str, Any]) -> str:
    """Return `benchmark_figures` as one line of text."""
    low, high = figures["intervals"]["mean_iou"]
    found = [f"mean IoU {figures['pooled']['mean_iou']:.4f} ({low:.4f}..{high:.4f})"]
    if "dice_kaggle" in (presence := figures.get("presence", {})):
        found.append(f"Kaggle Dice {presence['dice_kaggle']:.4f}")
    return f"{', '.join(found)} on unseen images"


SEGMENTATION_EVALUATION = Evaluation(
    evaluate=evaluate,
    count=lambda report: len(report.images),
    lines=lines,
    plots=plots,
    figures=benchmark_figures,
    outcome=outcome,
)
