"""The text of the page of a study on exams in Markdown, from its report alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.harness.pages import render
from benchmarks.harness.tables import NONE, interval, number
from benchmarks.reproduction.pages.segmentation_text import Report, option_rows

CASES = {
    "R-CC": "R-CC",
    "L-CC": "L-CC",
    "R-MLO": "R-MLO",
    "L-MLO": "L-MLO",
    "view": "all views",
    "R": "right breast",
    "L": "left breast",
    "breast": "both breasts",
    "exam": "exam",
}
FIGURES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "kappa": "quadratic kappa",
    "auc": "AUC",
    "calibration_error": "calibration error",
    "likelihood": "likelihood",
}
CAPTIONS = {
    "sizes": "Accuracy by input size, with 95 % intervals over patients; what is printed has none.",
    "reliability": "Reliability: accuracy of the exams against the probability of their answered "
    "class, in bins; grey bars and numbers are cases.",
    "confusion": "Exams of each true class by answered class: cases, share of the true class, 95 % "
    "interval over patients.",
    "roc": "ROC curve of the exams, tasks of two classes.",
}

Row = Mapping[str, Any]


def exam_text(
    report: Report, pictures: Mapping[str, str], json_name: str, missing: Sequence[str] = ()
) -> str:
    """Return the page.

    Args:
        pictures: file names by `CAPTIONS`, as far as they were drawn.
        json_name: file of the report, beside the page.
        missing: what could not be drawn.
    """
    return render(
        Path(__file__).with_name("exams.md.j2"),
        report=report,
        measured=measured(report),
        typical=typical(report),
        by_setting=_by_setting(report),
        options=option_rows(report),
        accuracy_rows=_accuracy_rows,
        figures=FIGURES,
        captions=CAPTIONS,
        title=title,
        with_interval=with_interval,
        pictures=pictures,
        json_name=json_name,
        missing=missing,
    )


def measured(report: Report) -> list[Row]:
    """Return the rows of the summary that have figures."""
    return [row for row in report["summary"] if "levels" in row]


def title(row: Row) -> str:
    """Return the name of a row of the summary."""
    seed = f", seed {row['seed']}" if row["seed"] else ""
    return f"{row['variant']} ({row['recipe']}{seed})"


def typical(report: Report) -> list[Row]:
    """Return a row for each task and setting: the slides' best size, else the nearest run.

    The size is not chosen by our figures, which would flatter; of several seeds the first counts.
    """

    def distance(row: Row) -> tuple[int, int]:
        return abs(row["size"] - report["own_sizes"][row["task"]]), row["seed"]

    best: dict[tuple[str, str], Row] = {}
    for row in measured(report):
        key = row["task"], row["recipe"]
        best[key] = min(best.get(key, row), row, key=distance)
    return list(best.values())


def _by_setting(report: Report) -> dict[tuple[str, str, int, int], list[Row]]:
    """Return the rows, one for each size, by task, setting, seed and number of folds."""
    groups: dict[tuple[str, str, int, int], list[Row]] = {}
    for row in measured(report):
        key = row["task"], row["recipe"], row["seed"], row["folds"]
        groups.setdefault(key, []).append(row)
    return groups


def _accuracy_rows(rows: Sequence[Row]) -> list[list[str]]:
    """Return the cells of the printed accuracies and of ours, a column for each of `rows`."""
    lines = []
    for name, shown in CASES.items():
        levels = [row["levels"] | row["by_view"] | row["by_breast"] for row in rows]
        if not any(name in level for level in levels):  # no such view was answered
            continue
        printed = [number(row["printed"].get(name), 100, 1) for row in rows]
        if any(cell != NONE for cell in printed):
            lines.append([shown, "printed", *printed])
        lines.append([shown, "ours"])
        for level in levels:
            ours = with_interval(level[name], "accuracy", 100, 1) if name in level else NONE
            lines[-1].append(ours)
    return lines


def with_interval(found: Mapping[str, Any], name: str, scale: float, digits: int) -> str:
    """Return a figure and its interval over patients."""
    bounds = interval(found["intervals"][name], scale, digits)
    return f"{number(found['figures'][name], scale, digits)} {bounds}"
