"""Small charts in a grid and their legend, which the pictures of all studies share."""

from __future__ import annotations

import math
from collections.abc import Container, Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lib.plots import BLUE, VERMILION

COLOURS = (BLUE, VERMILION)


def chart_grid(
    titles: Sequence[str], columns: int, size: tuple[float, float], **shared: Any
) -> tuple[Figure, list[Axes]]:
    """Return a figure with a chart for each title, at most `columns` side by side.

    Args:
        size: of a chart, width and height in inches.
        shared: which axes the charts share, see `matplotlib.figure.Figure.subplots`.
    """
    columns = min(columns, len(titles))
    rows = math.ceil(len(titles) / columns)
    width, height = size
    canvas = Figure(figsize=(width * columns, height * rows + 0.8), layout="constrained")
    charts = list(canvas.subplots(rows, columns, squeeze=False, **shared).flat)
    for chart, title in zip(charts, titles, strict=False):
        chart.set_title(title, fontsize=9)
        chart.grid(alpha=0.25)
        chart.tick_params(labelsize=7)
    for chart in charts[len(titles) :]:
        chart.set_visible(False)
    return canvas, charts[: len(titles)]


def colour(report: Mapping[str, Any], recipe: str) -> str:
    """Return the colour of a recipe."""
    return COLOURS[list(report["recipes"]).index(recipe) % len(COLOURS)]


def recipe_lines(report: Mapping[str, Any], shown: Container[str]) -> list[Line2D]:
    """Return the entries of a legend for the recipes that are shown."""
    return [
        Line2D([], [], color=colour(report, recipe), label=f"setting: {recipe}")
        for recipe in report["recipes"]
        if recipe in shown
    ]
