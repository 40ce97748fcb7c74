"""Cells and tables of Markdown pages."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

YES, NO, NONE = "✓", "✗", "-"


def number(value: float | None, scale: float = 1, digits: int = 4) -> str:
    """Return a number for a cell, a dash where there is none."""
    return NONE if value is None else f"{value * scale:.{digits}f}"


def interval(bounds: Sequence[float], scale: float = 1, digits: int = 4) -> str:
    """Return the bounds of an interval in brackets."""
    low, high = (number(bound, scale, digits) for bound in bounds)
    return f"({low} to {high})"


def value(
    figures: Mapping[str, Mapping[str, float]],
    name: str,
    intervals: Mapping[str, Sequence[float]] | None = None,
    scale: float = 1,
    digits: int = 4,
) -> str:
    """Return a figure with its standard deviation over seeds, or its interval over images."""
    if name not in figures:
        return NONE
    shown = number(figures[name]["mean"], scale, digits)
    if "sd" in figures[name]:
        return f"{shown} ± {number(figures[name]['sd'], scale, digits)}"
    if intervals and name in intervals:
        return f"{shown} {interval(intervals[name], scale, digits)}"
    return shown


def table(text: str, left: int = 1) -> str:
    """Return the Markdown table of lines of cells, the first of which is the head.

    Args:
        text: cells are separated by "|"; a line that ends with "|" goes on in the next one.
        left: so many columns are aligned to the left, the others to the right.
    """
    lines = re.sub(r"\|\s*\n", "| ", text).splitlines()
    head, *rows = [[cell.strip() for cell in ln.split("|")] for ln in lines if ln.strip()]
    for row in rows:
        if len(row) != len(head):
            raise ValueError(f"{len(row)} cells in the row {row}, {len(head)} in the head {head}")
    rule = ["---" if column < left else "---:" for column in range(len(head))]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in (head, rule, *rows))
