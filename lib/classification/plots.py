"""Pictures of a classifier's figures: reliability, confusion matrix and ROC curve.

Each draws a small chart for every set of figures, as `lib.classification.evaluation` reports those
of one level (views, breasts or exams).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lib.classification.metrics import BINS
from lib.plots import BLUE, GREY, VERMILION, save

COLUMNS = 3
SIDE = 3.3  # of a chart, inches
DARK = 0.55  # share from which a cell of the confusion matrix is written in white

Level = Mapping[str, Any]


def draw_all(folder: Path, report: Mapping[str, Any], prefix: str = "") -> list[Path]:
    """Draw the pictures of a report of `lib.classification.evaluation`, a chart for each level.

    Args:
        folder: is made where it is missing.
        prefix: of the file names.
    """
    folder.mkdir(parents=True, exist_ok=True)
    levels = {f"per {name}": report["levels"][name] for name in ("exam", "breast", "view")}
    names = report["classes"]
    files = [
        draw_reliability(folder / f"{prefix}reliability.png", levels),
        draw_confusion(folder / f"{prefix}confusion.png", [(*c, names) for c in levels.items()]),
    ]
    if any("roc" in level for level in levels.values()):
        files.append(draw_roc(folder / f"{prefix}roc.png", levels, names[1]))
    return files


def draw_reliability(path: Path, levels: Mapping[str, Level]) -> Path:
    """Draw accuracy against confidence in bins, with the number of cases of each bin."""

    def draw(chart: Axes, title: str, level: Level) -> None:
        bins = level["reliability"]
        sure = [entry["confidence"] for entry in bins]
        right = [entry["accuracy"] for entry in bins]
        counts = [entry["cases"] for entry in bins]
        places = [min(int(value * BINS), BINS - 1) / BINS for value in sure]
        below = chart.twinx()
        below.bar(places, counts, width=1 / BINS, align="edge", color=GREY, alpha=0.18)
        below.set_ylim(0, 3.2 * max(counts))  # the bars stay in the lowest third
        below.set_yticks([])
        for place, count in zip(places, counts, strict=True):
            below.text(place + 0.5 / BINS, 0, str(count), fontsize=7, ha="center", va="bottom")
        chart.set_zorder(below.get_zorder() + 1)
        chart.patch.set_visible(False)
        chart.plot([0, 1], [0, 1], color=GREY, linewidth=0.9, dashes=(4, 3))
        chart.plot(sure, right, color=BLUE, marker="o", markersize=4, linewidth=1.3)
        chart.set_xlim(max(0.0, min(places) - 0.02), 1.01)
        chart.set_ylim(-0.03, 1.05)
        told = _told(level, "calibration_error")
        chart.set_title(f"{title}\ncalibration error {told}", fontsize=8)

    return _charts(
        path, levels.items(), draw, "probability of the answered class", "accuracy; grey: cases"
    )


def draw_confusion(path: Path, levels: Sequence[tuple[str, Level, Sequence[str]]]) -> Path:
    """Draw the confusion matrix: cases, and the share of each true class with its interval.

    Args:
        levels: title, figures and names of the classes.
    """
    classes = max(len(names) for *_, names in levels)

    def draw(chart: Axes, title: str, level: Level, names: Sequence[str]) -> None:
        counts, shares = np.array(level["confusion"]), level["confusion_shares"]
        chart.imshow(shares["share"], cmap="Blues", vmin=0, vmax=1)
        for row, column in np.ndindex(*counts.shape):
            share, low, high = (shares[key][row][column] for key in ("share", "low", "high"))
            told = str(counts[row, column])
            if counts[row, column]:
                told += f"\n{share:.0%}\n({low:.0%} to {high:.0%})"
            colour = "white" if share > DARK else "black"
            chart.text(column, row, told, ha="center", va="center", fontsize=7, color=colour)
        places = range(len(names))
        chart.set_xticks(places, names, fontsize=8)
        chart.set_yticks(places, names, fontsize=8, rotation=90, va="center")
        chart.set_title(f"{title}\naccuracy {_told(level, 'accuracy')}", fontsize=8)

    side = max(SIDE, 0.85 * classes + 0.8)
    return _charts(path, levels, draw, "answered class", "true class", side, grid=False)


def draw_roc(path: Path, levels: Mapping[str, Level], positive: str) -> Path:
    """Draw the ROC curve of tasks of two classes.

    Args:
        positive: the class that is found; empty where it differs from chart to chart.
    """
    shown = [(title, level) for title, level in levels.items() if "roc" in level]

    def draw(chart: Axes, title: str, level: Level) -> None:
        curve = level["roc"]
        chart.plot([0, 1], [0, 1], color=GREY, linewidth=0.9, dashes=(4, 3))
        chart.plot(
            curve["false_positive_rate"],
            curve["true_positive_rate"],
            color=VERMILION,
            linewidth=1.5,
            clip_on=False,
        )
        chart.set_xlim(-0.02, 1.02)
        chart.set_ylim(-0.02, 1.02)
        chart.set_aspect("equal")
        chart.set_title(f"{title}\nAUC {_told(level, 'auc')}", fontsize=8)

    found = f" of {positive}" if positive else " of the denser class"
    return _charts(path, shown, draw, "false positive rate", f"true positive rate{found}")


def _told(level: Level, name: str) -> str:
    low, high = level["intervals"][name]
    return f"{level['figures'][name]:.3f} ({low:.3f} to {high:.3f})"


def _charts(
    path: Path,
    content: Any,
    draw: Callable[..., None],
    across: str,
    up: str,
    side: float = SIDE,
    grid: bool = True,
) -> Path:
    """Draw a chart for each entry of `content`, whose first part is its title."""
    entries = list(content)
    columns = min(COLUMNS, len(entries))
    rows = math.ceil(len(entries) / columns)
    canvas = Figure(figsize=(side * columns + 0.4, (side + 0.8) * rows + 0.1), layout="constrained")
    charts = canvas.subplots(rows, columns, squeeze=False)
    for chart, (title, *more) in zip(charts.flat, entries, strict=False):
        draw(chart, title, *more)
        chart.tick_params(labelsize=7)
        if grid:
            chart.grid(alpha=0.25)
    for chart in charts.flat[len(entries) :]:
        chart.set_visible(False)
    canvas.supxlabel(across, fontsize=9)
    canvas.supylabel(up, fontsize=9)
    return save(canvas, path)
