"""Plots of a classifier's figures: reliability, confusion matrix and ROC curve.

Each plot has a small chart for every set of figures. A set is what `lib.classification.evaluation`
reports for one level: views, breasts or exams.
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
SIDE = 3.3  # side of a chart, inches
DARK = 0.55  # share from which the text in a cell of the confusion matrix is white

Level = Mapping[str, Any]


def draw_all(folder: Path, report: Mapping[str, Any], prefix: str = "") -> list[Path]:
    """Draw the plots of a report of `lib.classification.evaluation`, with a chart for each level.

    Args:
        folder: created if it is missing.
        prefix: start of the file names.
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
        confidence = [entry["confidence"] for entry in bins]
        accuracy = [entry["accuracy"] for entry in bins]
        counts = [entry["cases"] for entry in bins]
        starts = [min(int(value * BINS), BINS - 1) / BINS for value in confidence]
        below = chart.twinx()
        below.bar(starts, counts, width=1 / BINS, align="edge", color=GREY, alpha=0.18)
        below.set_ylim(0, 3.2 * max(counts))  # the bars stay in the lowest third
        below.set_yticks([])
        for start, count in zip(starts, counts, strict=True):
            below.text(start + 0.5 / BINS, 0, str(count), fontsize=7, ha="center", va="bottom")
        chart.set_zorder(below.get_zorder() + 1)
        chart.patch.set_visible(False)
        chart.plot([0, 1], [0, 1], color=GREY, linewidth=0.9, dashes=(4, 3))
        chart.plot(confidence, accuracy, color=BLUE, marker="o", markersize=4, linewidth=1.3)
        chart.set_xlim(max(0.0, min(starts) - 0.02), 1.01)
        chart.set_ylim(-0.03, 1.05)
        error = _with_interval(level, "calibration_error")
        chart.set_title(f"{title}\ncalibration error {error}", fontsize=8)

    return _charts(
        path, levels.items(), draw, "probability of the answered class", "accuracy; grey: cases"
    )


def draw_confusion(path: Path, levels: Sequence[tuple[str, Level, Sequence[str]]]) -> Path:
    """Draw confusion matrices: in each cell the cases, their share of the true class, its interval.

    Args:
        levels: for each chart its title, its figures and the names of its classes.
    """
    classes = max(len(names) for *_, names in levels)

    def draw(chart: Axes, title: str, level: Level, names: Sequence[str]) -> None:
        counts, shares = np.array(level["confusion"]), level["confusion_shares"]
        chart.imshow(shares["share"], cmap="Blues", vmin=0, vmax=1)
        for row, column in np.ndindex(*counts.shape):
            share, low, high = (shares[key][row][column] for key in ("share", "low", "high"))
            text = str(counts[row, column])
            if counts[row, column]:
                text += f"\n{share:.0%}\n({low:.0%} to {high:.0%})"
            colour = "white" if share > DARK else "black"
            chart.text(column, row, text, ha="center", va="center", fontsize=7, color=colour)
        ticks = range(len(names))
        chart.set_xticks(ticks, names, fontsize=8)
        chart.set_yticks(ticks, names, fontsize=8, rotation=90, va="center")
        chart.set_title(f"{title}\naccuracy {_with_interval(level, 'accuracy')}", fontsize=8)

    side = max(SIDE, 0.85 * classes + 0.8)
    return _charts(path, levels, draw, "answered class", "true class", side, grid=False)


def draw_roc(path: Path, levels: Mapping[str, Level], positive: str) -> Path:
    """Draw the ROC curves of levels with two classes.

    Args:
        positive: name of the positive class; empty if it differs between the charts.
    """
    curves = [(title, level) for title, level in levels.items() if "roc" in level]

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
        chart.set_title(f"{title}\nAUC {_with_interval(level, 'auc')}", fontsize=8)

    of_class = f" of {positive}" if positive else " of the denser class"
    return _charts(path, curves, draw, "false positive rate", f"true positive rate{of_class}")


def _with_interval(level: Level, name: str) -> str:
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
    """Draw one chart for each entry of `content`.

    Args:
        content: entries of a title and further arguments of `draw`.
        draw: takes the axes and an entry's title and arguments.
        across: label of the horizontal axis.
        up: label of the vertical axis.
    """
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
