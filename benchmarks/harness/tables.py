"""Numbers and tables of Markdown pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

YES, NO, NONE = "✓", "✗", "-"


def number(value: float | None, scale: float = 1, digits: int = 4) -> str:
    """Return a number for a cell, a dash where there is none."""
    return NONE if value is None else f"{value * scale:.{digits}f}"


def value(
    figures: Mapping[str, Mapping[str, float]],
    name: str,
    intervals: Mapping[str, Sequence[float]] | None = None,
    scale: float = 1,
    digits: int = 4,
) -> str:
    """Return a figure with its interval over images, or its deviation over seeds."""
    if name not in figures:
        return NONE
    shown = number(figures[name]["mean"], scale, digits)
    if "sd" in figures[name]:
        return f"{shown} ± {number(figures[name]['sd'], scale, digits)}"
    if intervals and name in intervals:
        low, high = (number(bound, scale, digits) for bound in intervals[name])
        return f"{shown} ({low} to {high})"
    return shown


def table(head: Sequence[str], rows: Sequence[Sequence[str]], left: int) -> str:
    """Return a Markdown table, its first `left` columns aligned to the left."""
    rule = ["---" if place < left else "---:" for place in range(len(head))]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, rule, *rows))
