"""The pictures of a study on exams, drawn with matplotlib from its report."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from benchmarks.reproduction.pages.charts import chart_grid, colour, recipe_lines
from benchmarks.reproduction.pages.exam_text import measured, title, typical
from lib.classification.plots import draw_confusion, draw_reliability, draw_roc
from lib.plots import GREY, save

COLUMNS = 2
LEVELS: dict[str, Literal["-", ":"]] = {"exam": "-", "view": ":"}


def draw(report: Mapping[str, Any], page: Path) -> tuple[dict[str, str], list[str]]:
    """Draw accuracy by size, reliability, confusion and ROC beside the page.

    Returns:
        File names by `benchmarks.reproduction.pages.exam_text.CAPTIONS`, and what is missing.
    """
    rows = typical(report)
    exams = {title(row): row["levels"]["exam"] for row in rows}

    def beside(name: str) -> Path:
        return page.with_name(f"{page.stem}_{name}.png")

    drawn = {
        "sizes": draw_sizes(beside("sizes"), report),
        "reliability": draw_reliability(beside("reliability"), exams),
        "confusion": draw_confusion(
            beside("confusion"),
            [(title(row), row["levels"]["exam"], row["classes"]) for row in rows],
        ),
    }
    if any("roc" in level for level in exams.values()):
        drawn["roc"] = draw_roc(beside("roc"), exams, "")
    return {name: path.name for name, path in drawn.items()}, []


def draw_sizes(path: Path, report: Mapping[str, Any]) -> Path:
    """Draw accuracy against input size, a chart for each task, with what is printed in grey."""
    rows = measured(report)
    tasks = list(dict.fromkeys(row["task"] for row in rows))
    width = 4.2 * max(1, 1.4 / len(tasks))
    canvas, charts = chart_grid(tasks, COLUMNS, (width, 2.9), sharey=True)
    for chart, task in zip(charts, tasks, strict=True):
        _draw_printed(chart, [v for v in report["variants"] if v["task"] == task])
        series: dict[tuple[str, int, int], list[Any]] = {}
        for row in rows:
            if row["task"] == task:
                series.setdefault((row["recipe"], row["seed"], row["folds"]), []).append(row)
        for number, ((recipe, *_), runs) in enumerate(series.items()):
            _draw_series(chart, runs, colour(report, recipe), 5 * number)
    entries = recipe_lines(report, {row["recipe"] for row in rows})
    entries += [
        Line2D([], [], color=GREY, linestyle=style, label=f"per {level}")
        for level, style in LEVELS.items()
    ]
    entries += [
        Line2D([], [], color=GREY, linestyle="", marker="x", label="printed, exam"),
        Line2D([], [], color=GREY, linestyle="", marker=".", label="printed, a view"),
    ]
    canvas.legend(handles=entries, loc="outside upper center", ncols=3, fontsize=8)
    canvas.supxlabel("input size, pixels", fontsize=9)
    canvas.supylabel("accuracy", fontsize=9)
    return save(canvas, path)


def _draw_printed(chart: Axes, variants: list[Any]) -> None:
    """Draw the printed accuracy of exams as crosses, that of each view as dots."""
    for variant in variants:
        for name, value in variant["accuracy"].items():
            if name == "exam":
                chart.plot(variant["size"], value, color=GREY, marker="x", markersize=5)
            elif "-" in name:
                chart.plot(variant["size"], value, color=GREY, marker=".", markersize=4, alpha=0.6)


def _draw_series(chart: Axes, rows: list[Any], colour: str, offset: int) -> None:
    """Draw the accuracies of one setting and seed, moved by `offset` so that bars stay apart."""
    for level, style in LEVELS.items():
        found = [row["levels"][level] for row in rows]
        right = np.array([figures["figures"]["accuracy"] for figures in found])
        low, high = np.array([figures["intervals"]["accuracy"] for figures in found]).T
        moved = offset + (8 if level == "view" else 0)
        chart.errorbar(
            [row["size"] + moved for row in rows],
            right,
            yerr=np.maximum([right - low, high - right], 0),
            color=colour,
            linestyle=style,
            marker="o",
            markersize=4,
            linewidth=1.3,
            elinewidth=1.0,
            capsize=2,
        )
