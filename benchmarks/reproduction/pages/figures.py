"""The pictures of a study on segmentation, from its report and the masks that the runs kept."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from benchmarks.reproduction.pages.charts import chart_grid, colour, recipe_lines
from benchmarks.reproduction.testing import PANEL
from lib.plots import GREY, save

DASHES: tuple[Literal["-", "--", ":", "-."], ...] = ("-", "--", ":", "-.")
COLUMNS = 4
PANEL_COLUMNS = 7
TILE = 256  # pixels of an image shown along each side
HIT, EXTRA, MISSED = (255, 255, 255), (213, 94, 0), (0, 114, 178)

Images = dict[str, tuple[np.ndarray, np.ndarray]]


def draw(report: Mapping[str, Any], out: Path, page: Path) -> tuple[dict[str, str], list[str]]:
    """Draw curves and masks beside the page.

    Returns:
        File names by what they show, and what is missing.
    """
    absent = "always_empty" in report
    curves = {"loss": "training loss", "mean_iou": "mean IoU, validation images"}
    if absent:
        curves["dice_kaggle"] = "Kaggle Dice, validation images"
    pictures = {
        name: draw_curves(page.with_name(f"{page.stem}_{name}.png"), report, name, label).name
        for name, label in curves.items()
    }
    images = panel_images(out, report["panel"])
    if not images:
        return pictures, ["no panel of masks: their arrays are not in the folder of the runs"]
    path = page.with_name(f"{page.stem}_panel.png")
    pictures["panel"] = draw_panel(path, images, _panel_masks(out, report), absent).name
    return pictures, []


def draw_curves(path: Path, report: Mapping[str, Any], figure: str, label: str) -> Path:
    """Draw `figure` against the step, a small chart for each variant, a line for each run.

    Args:
        figure: "loss" or a figure of the validation images; beside the mean IoU the printed value
            is drawn too.
        label: of the vertical axis.
    """
    runs = [run for run in report["runs"] if run["status"] == "done"]
    variants = [v for v in report["variants"] if any(r["variant"] == v["name"] for r in runs)]
    names = [variant["name"] for variant in variants]
    width = 2.6 * max(1, 2 / len(names))
    canvas, charts = chart_grid(names, COLUMNS, (width, 2.0), sharex=True, sharey=figure != "loss")
    for chart, variant in zip(charts, variants, strict=True):
        for run in (run for run in runs if run["variant"] == variant["name"]):
            chart.plot(
                run["history"]["step"],
                run["history"][figure],
                color=colour(report, run["recipe"]),
                linestyle=DASHES[report["seeds"].index(run["seed"]) % len(DASHES)],
                marker="." if len(run["history"]["step"]) == 1 else None,
                linewidth=1.3,
            )
        if printed := variant["printed"].get(figure) if figure == "mean_iou" else None:
            chart.axhline(printed, color=GREY, linewidth=0.9, dashes=(1, 2))
    canvas.supxlabel("step", fontsize=9)
    canvas.supylabel(label, fontsize=9)
    entries = recipe_lines(report, {run["recipe"] for run in runs})
    entries += [
        Line2D([], [], color=GREY, linestyle=DASHES[i % len(DASHES)], label=f"seed {seed}")
        for i, seed in enumerate(report["seeds"])
    ]
    if figure == "mean_iou":
        entries.append(Line2D([], [], color=GREY, dashes=(1, 2), linewidth=0.9, label="printed"))
    columns = 3 if len(names) < 3 else 6
    canvas.legend(handles=entries, loc="outside upper center", ncols=columns, fontsize=8)
    return save(canvas, path)


def draw_panel(
    path: Path,
    images: Mapping[str, tuple[np.ndarray, np.ndarray]],
    masks: Sequence[tuple[str, Mapping[str, np.ndarray]]],
    whole: bool = False,
) -> Path:
    """Draw each image, its truth and the mask of every run.

    Args:
        images: for each group, uint8 pixels `(rows, columns[, 3])` and the truth `(rows, columns)`.
        masks: title of each run and its masks `(rows, columns)` by group.
        whole: show whole images, made smaller, and not their middle.
    """
    shown = _smaller if whole else _middle
    tiles = 2 + len(masks)
    columns = min(PANEL_COLUMNS, tiles)
    rows = math.ceil(tiles / columns)
    sides = [truth.shape for _, truth in images.values()]
    tall = max(high / wide for high, wide in sides) if whole else 1.0
    size = (1.5 * columns, (1.5 * tall + 0.22) * rows * len(images) + 0.4)
    canvas = Figure(figsize=size, layout="constrained")
    charts = canvas.subplots(rows * len(images), columns, squeeze=False)
    for chart in charts.flat:
        chart.set_axis_off()
    for number, (group, (pixels, truth)) in enumerate(images.items()):
        block = charts[number * rows : (number + 1) * rows].flat
        _show(block[0], shown(pixels), group)
        _show(block[1], shown(truth) * np.uint8(255), "ground truth")
        for chart, (title, answers) in zip(block[2:], masks, strict=False):
            if group in answers:
                _show(chart, compare(shown(answers[group]), shown(truth)), title)
    colours = {"right": HIT, "too much": EXTRA, "missed": MISSED}
    entries = [
        Patch(facecolor="#{:02x}{:02x}{:02x}".format(*rgb), edgecolor=GREY, label=name)
        for name, rgb in colours.items()
    ]
    canvas.legend(handles=entries, loc="outside lower center", ncols=3, fontsize=8)
    return save(canvas, path)


def compare(mask: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return `(rows, columns, 3)` uint8: right foreground white, both kinds of error coloured."""
    picture = np.zeros((*mask.shape, 3), dtype=np.uint8)
    picture[(mask > 0) & (truth > 0)] = HIT
    picture[(mask > 0) & (truth == 0)] = EXTRA
    picture[(mask == 0) & (truth > 0)] = MISSED
    return picture


def _show(chart: Axes, pixels: np.ndarray, title: str) -> None:
    chart.imshow(pixels, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    chart.set_title(title, fontsize=7)


def _middle(pixels: np.ndarray) -> np.ndarray:
    """Return the middle of an image, at most `TILE` pixels on each side."""
    top, left = (max(0, (side - TILE) // 2) for side in pixels.shape[:2])
    return pixels[top : top + TILE, left : left + TILE]


def _smaller(pixels: np.ndarray) -> np.ndarray:
    """Return every nth pixel of an image, so that about `TILE` are left on the longer side."""
    step = math.ceil(max(pixels.shape[:2]) / TILE)
    return pixels[::step, ::step]


def panel_images(out: Path, panel: Mapping[str, str]) -> Images:
    """Return pixels and truth of each group of images in the panel, as far as they were kept."""
    arrays = _arrays(out / PANEL)
    return {
        group: (arrays[f"{group}_image"], arrays[f"{group}_truth"])
        for group in panel
        if f"{group}_image" in arrays
    }


def _panel_masks(out: Path, report: Mapping[str, Any]) -> list[tuple[str, dict[str, np.ndarray]]]:
    """Return title and masks by group of every run of the first seed."""
    shown = []
    for run in report["runs"]:
        if run["status"] != "done" or run["seed"] != report["seeds"][0]:
            continue
        arrays = _arrays(out / run["folder"] / PANEL)
        masks = {group: arrays[id] for group, id in report["panel"].items() if id in arrays}
        title = run["variant"]
        if run["recipe"] != "ours":
            title += f" ({run['recipe']})"
        if masks:
            shown.append((title, masks))
    return shown


def _arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path) as content:
            return dict(content)
    except (OSError, ValueError):
        return {}
