"""What the tables of a study's page are made of: names, figures and marks as Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.harness.tables import NO, NONE, YES

Report = Mapping[str, Any]


def variant_of(report: Report, row: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the variant of a run, or of a row of the summary."""
    found: Mapping[str, Any] = next(v for v in report["variants"] if v["name"] == row["variant"])
    return found


def bounds_of(report: Report, row: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return what is asked of a row of the summary; nothing where it is not judged."""
    variant = variant_of(report, row)
    single = [variant["bound"]] if variant.get("bound") else []  # as earlier reports have it
    return variant.get("bounds", single) if row["judged"] else []


def asked(report: Report, row: Mapping[str, Any]) -> str:
    """Return what is asked of a row of the summary, for a cell."""
    shown = [
        f"{bound['value']:.4f}"
        if bound["metric"] == "mean_iou"
        else f"{bound['metric']} {bound['value']:.4f}"
        for bound in bounds_of(report, row)
    ]
    return ", ".join(shown) or NONE


def title(row: Mapping[str, Any]) -> str:
    """Return the name of a run, or of a row of the summary."""
    return f"{row['variant']} ({row['recipe']})"


def reached_mark(row: Mapping[str, Any]) -> str:
    """Return whether all runs of a row of the summary reached what was asked for."""
    if row["failed"] == row["runs"]:
        return f"{NO} failed"
    if not row["judged"]:
        return NONE
    mark = YES if row["reached"] == row["runs"] else NO
    return mark if row["runs"] == 1 else f"{mark} {row['reached']}/{row['runs']}"
