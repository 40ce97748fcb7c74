"""The text of the page of a study on segmentation in Markdown, from its report alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.harness.pages import render
from benchmarks.harness.tables import NO, NONE, YES

Report = Mapping[str, Any]
Row = dict[str, Any]

PRESENCE = {
    "mean_iou": "mean IoU",
    "dice_kaggle": "Kaggle Dice",
    "dice_positive": "positive Dice",
    "presence_auc": "presence AUC",
    "found": "found",
}


def text(
    report: Report, pictures: Mapping[str, str], json_name: str, missing: Sequence[str] = ()
) -> str:
    """Return the page.

    Args:
        pictures: file names of "loss", "mean_iou", "dice_kaggle" and "panel", as far as they were
            drawn.
        json_name: file of the report, beside the page.
        missing: what could not be drawn.
    """
    variants = {variant["name"]: variant for variant in report["variants"]}
    rows = [_with_variant(row, variants[row["variant"]]) for row in report["summary"]]
    return render(
        Path(__file__).with_name("segmentation.md.j2"),
        report=report,
        rows=rows,
        several_bounds=any(len(row["bounds"]) > 1 for row in rows),
        options=option_rows(report),
        presence=PRESENCE,
        pictures=pictures,
        json_name=json_name,
        missing=missing,
    )


def _with_variant(row: Mapping[str, Any], variant: Mapping[str, Any]) -> Row:
    """Return a row of the summary with its variant, what is asked of it and what it reached."""
    single = [variant["bound"]] if variant.get("bound") else []  # as earlier reports have it
    bounds = variant.get("bounds", single) if row["judged"] else []
    asked = [
        f"{bound['metric']} {bound['value']:.4f}".removeprefix("mean_iou ") for bound in bounds
    ]
    return {
        **row,
        "of": variant,
        "bounds": bounds,
        "asked": ", ".join(asked) or NONE,
        "all_reached": row["judged"] and row["runs"] and row["reached"] == row["runs"],
        "mark": _mark(row),
        "empty_mark": _empty_mark(row),
    }


def _mark(row: Mapping[str, Any]) -> str:
    """Return whether all runs of a row of the summary reached what was asked for."""
    if row["failed"] == row["runs"]:
        return f"{NO} failed"
    if not row["judged"]:
        return NONE
    mark = YES if row["reached"] == row["runs"] else NO
    return mark if row["runs"] == 1 else f"{mark} {row['reached']}/{row['runs']}"


def _empty_mark(row: Mapping[str, Any]) -> str:
    """Return whether the runs of a row of the summary collapsed to the empty mask."""
    done = row["runs"] - row["failed"]
    if not done:
        return NONE
    if not (empty := row.get("empty")):  # which earlier reports lack
        return "no"
    return "**collapsed**" if done == 1 else f"**collapsed** {empty}/{done}"


def option_rows(report: Report) -> list[Row]:
    """Return the options in which the settings differ; `rows` is "all" where these are."""
    ours = [row for row in report["summary"] if row["recipe"] == "ours"]
    everyone = [{row[name] for row in ours} for name in ("task", "variant")]
    return [
        {**entry, "rows": "all" if set(entry["rows"]) in everyone else ", ".join(entry["rows"])}
        for entry in report["differences"]["options"]
    ]
