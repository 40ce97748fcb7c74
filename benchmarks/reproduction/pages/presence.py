"""The table of a study whose structure is often absent, beside the mask that is always empty."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.harness.tables import NONE, number, table, value
from benchmarks.reproduction.pages.cells import Report, asked, reached_mark, title, variant_of

FIGURES = {
    "mean_iou": "mean IoU",
    "dice_kaggle": "Kaggle Dice",
    "dice_positive": "positive Dice",
    "presence_auc": "presence AUC",
    "found": "found",
}


def presence_section(report: Report) -> list[str]:
    """Return heading, what the columns mean, the table and what the runs started from."""
    printed = any(variant["printed"]["mean_iou"] for variant in report["variants"])
    what = "mean IoU, Dice and presence"
    told = [
        "Mean IoU: two-class, over all pixels of the test images. Kaggle Dice: mean over images, "
        "an empty mask of an image without the structure counting 1. Positive Dice: mean over "
        "images with the structure. Presence AUC: area under the ROC curve of the answered "
        "presence, or of the greatest probability where none is answered. Found: share of images "
        "with the structure whose mask is not empty. With the 95 % bootstrap interval over images, "
        "or the standard deviation over seeds."
    ]
    if printed:
        told.append(
            "Printed: every step that the publication gives; that whose mask it shows is bold."
        )
    starts = [
        f"- {title(run)}, seed {run['seed']}, starts from {run['prior']['weights']} (task "
        f"`{run['prior']['task']}`, step {run['prior']['step']}): "
        f"{run['prior']['tensors_taken']} tensors taken, "
        f"{len(run['prior']['tensors_fresh'])} left at random."
        for run in report["runs"]
        if "prior" in run
    ]
    return [
        f"## {report['tables'][0]}: {what}"
        if report["tables"]
        else f"## {what[0].upper()}{what[1:]}",
        " ".join(told),
        _presence_table(report, printed),
        *(["\n".join(starts)] if starts else []),
    ]


def _presence_table(report: Report, printed: bool) -> str:
    head = ["variant", "setting"]
    head += ["mean IoU, printed", "loss, printed"] if printed else []
    head += [*FIGURES.values(), "asked for", "reached", "empty mask", "loss"]
    empty = report["always_empty"]
    rows = [
        [
            "always the empty mask",
            NONE,
            *([NONE, NONE] if printed else []),
            *(number(empty[name]) for name in FIGURES),
            *(NONE, NONE, "always", NONE),
        ]
    ]
    for row in report["summary"]:
        variant = variant_of(report, row)
        rows.append(
            [
                row["variant"],
                row["recipe"],
                *([_moments(variant, "mean_iou"), _moments(variant, "loss")] if printed else []),
                *(value(row["figures"], name, row["interval"]) for name in FIGURES),
                asked(report, row),
                reached_mark(row),
                _collapsed(row),
                value(row["last_loss"], "loss"),
            ]
        )
    return table(head, rows, left=2)


def _moments(variant: Mapping[str, Any], name: str) -> str:
    """Return a printed figure at each step that it is printed of."""
    best = variant["printed"]
    if best[name] is None:
        return NONE
    moments = sorted([best, *variant["other_steps"]], key=lambda moment: moment["steps"] or 0)
    several = len(moments) > 1
    shown = []
    for moment in moments:
        figure = number(moment[name])
        figure = f"**{figure}**" if several and moment is best else figure
        shown.append(f"{figure} at {moment['steps']}" if moment["steps"] else figure)
    return ", ".join(shown)


def _collapsed(row: Mapping[str, Any]) -> str:
    """Return whether the runs of a row of the summary collapsed to the empty mask."""
    done = row["runs"] - row["failed"]
    if not done:
        return NONE
    if row["empty"]:
        return "**collapsed**" if done == 1 else f"**collapsed** {row['empty']}/{done}"
    return "no"
