"""Pictures of an evaluation: the images that were answered worst, and the reliability diagram."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from skimage.segmentation import find_boundaries
from skimage.transform import resize

from lib.data.ignore import split_ignored
from lib.data.labels import read_item_label
from lib.data.studies import Item, read_item
from lib.image import Image
from lib.plots import BLUE, GREY, save
from lib.segmentation.predictor import Predictor

WORST = 10
ROWS, COLUMNS = 5, 4  # of the picture: two for each image, without and with outlines
SHOWN = 256  # longest side of an image, pixels
SCORE = "fg_dice"
REFERENCE, ANSWER, BOTH = (0, 170, 255), (255, 120, 0), (255, 255, 255)
_DARKEST, _BRIGHTEST = 0.5, 99.8  # percent of the values, shown as black and white


def draw_failures(
    folder: Path,
    report: Mapping[str, Any],
    prefix: str,
    predictor: Predictor,
    items: Sequence[Item],
) -> list[Path]:
    """Draw the worst images and the reliability diagram of a report, and return the files.

    Args:
        folder: created if it is missing.
        report: as `lib.segmentation.evaluation.Report.as_dict` returns it.
        prefix: start of the file names.
        predictor: answers on the worst images again.
        items: that were evaluated.
    """
    folder.mkdir(parents=True, exist_ok=True)
    return [
        draw_worst(folder / f"{prefix}worst.png", report["images"], predictor, items),
        draw_reliability(folder / f"{prefix}reliability.png", report["reliability"]),
    ]


def worst(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the rows with the lowest Dice, the worst first; of equal ones by id."""
    return sorted(rows, key=lambda row: (row[SCORE], row["id"]))[:WORST]


def draw_worst(
    path: Path, rows: Sequence[Mapping[str, Any]], predictor: Predictor, items: Sequence[Item]
) -> Path:
    """Draw the worst images, each alone and with the outlines of reference and answer.

    Of a volume or loop it is the slice with most of the reference, or the middle one.

    Args:
        rows: of all images, as in a report.
    """
    by_id = {item.id: item for item in items}
    canvas = Figure(figsize=(8.4, 10), layout="constrained")
    charts = canvas.subplots(ROWS, COLUMNS).flat
    for chart in charts:
        chart.set_axis_off()
    for number, row in enumerate(worst(rows)):
        item = by_id[row["id"]]
        image = read_item(item, predictor.task)
        truth, _ = split_ignored(read_item_label(item, image, predictor.task), item.label_name)
        answer = predictor(image)
        found = answer.mask if answer.instances is None else answer.instances
        picture, reference, answered = shown(image, truth, found)
        alone, outlined = charts[2 * number], charts[2 * number + 1]
        alone.imshow(picture)
        alone.set_title(_short(item.id), fontsize=6)
        outlined.imshow(with_outlines(picture, reference, answered))
        outlined.set_title(f"Dice {row[SCORE]:.2f}", fontsize=7)
    canvas.suptitle(
        "The images answered worst. Blue: reference, orange: answer, white: both", fontsize=9
    )
    return save(canvas, path)


def shown(
    image: Image, truth: np.ndarray, found: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return picture, reference and answer of an image, or a slice of it, at the size shown.

    Returns:
        uint8 `(rows, columns, 3)` and two integer arrays `(rows, columns)`.
    """
    pixels = image.pixels
    if image.spatial_dims == 3:
        sizes = np.count_nonzero(truth, axis=(1, 2))
        index = int(sizes.argmax()) if sizes.any() else len(sizes) // 2
        pixels, truth, found = pixels[index], truth[index], found[index]
    low, high = np.percentile(pixels, (_DARKEST, _BRIGHTEST)).tolist()
    scaled = np.clip((pixels.astype(np.float32) - low) / (high - low or 1), 0, 1)
    if not image.colour:
        scaled = np.repeat(scaled[..., np.newaxis], 3, axis=-1)
    factor = min(1.0, SHOWN / max(truth.shape))
    size = tuple(max(1, round(side * factor)) for side in truth.shape)
    picture = resize(scaled[..., :3], (*size, 3), anti_aliasing=factor < 1)
    rows, columns = (
        np.minimum((np.arange(small) + 0.5) * side / small, side - 1).astype(int)
        for small, side in zip(size, truth.shape, strict=True)
    )
    grid = np.ix_(rows, columns)
    return np.rint(255 * picture).astype(np.uint8), truth[grid], found[grid]


def with_outlines(picture: np.ndarray, reference: np.ndarray, answer: np.ndarray) -> np.ndarray:
    """Return a copy of `picture`, uint8 `(rows, columns, 3)`, with the edges of both labels."""
    edges = [
        find_boundaries(np.pad(label, 1), mode="inner")[1:-1, 1:-1] for label in (reference, answer)
    ]
    drawn = picture.copy()
    drawn[edges[0]], drawn[edges[1]] = REFERENCE, ANSWER
    drawn[edges[0] & edges[1]] = BOTH
    return drawn


def draw_reliability(path: Path, reliability: Mapping[str, Any]) -> Path:
    """Draw the observed share of foreground against the predicted probability of pixels."""
    canvas = Figure(figsize=(3.6, 3.6), layout="constrained")
    chart: Axes = canvas.subplots()
    bins = reliability["bins"]
    total = sum(one["pixels"] for one in bins)
    chart.plot([0, 1], [0, 1], color=GREY, linewidth=0.9, dashes=(4, 3))
    across, up = ([one[name] for one in bins] for name in ("predicted", "observed"))
    chart.plot(across, up, color=BLUE, marker="o", markersize=4, linewidth=1.3)
    for one in bins:
        place = one["predicted"], one["observed"]
        chart.annotate(
            f"{one['pixels'] / total:.1%}", place, (4, -9), textcoords="offset points", fontsize=6
        )
    chart.set_xlim(-0.03, 1.12)
    chart.set_ylim(-0.03, 1.05)
    chart.grid(alpha=0.25)
    chart.tick_params(labelsize=7)
    chart.set_xlabel("probability of foreground; share of pixels", fontsize=8)
    chart.set_ylabel("share that is foreground", fontsize=8)
    chart.set_title(f"calibration error {reliability['calibration_error']:.4f}", fontsize=8)
    return save(canvas, path)


def _short(id: str, most: int = 24) -> str:
    return id if len(id) <= most else f"{id[: most - 1]}…"
