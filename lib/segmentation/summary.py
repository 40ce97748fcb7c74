"""The figures of a segmentation in words, for terminals and benchmarks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lib.data.case import Evaluation
from lib.segmentation.evaluation import Report, evaluate

SHOWN = {
    "mean_iou": "two-class mean IoU",
    "fg_iou": "foreground IoU",
    "bg_iou": "background IoU",
    "fg_dice": "foreground Dice",
    "accuracy": "accuracy",
    "precision": "precision",
    "recall": "recall",
    "ap50": "AP at IoU 0.5",
    "ap": "AP at IoU 0.5:0.95",
}


def lines(report: Report) -> list[str]:
    """Return pooled figures with their intervals, means over images, and figures of groups."""
    text = [f"{'':22} pooled  95 % interval    mean over images"]
    for name, title in SHOWN.items():
        if name in report.pooled:
            low, high = report.intervals[name]
            text.append(
                f"{title:22} {report.pooled[name]:.4f}  {low:.4f}..{high:.4f}  "
                f"{report.mean[name]:.4f}"
            )
    for group, figures in report.groups.items():
        pooled = figures["pooled"]
        shown = [name for name in ("mean_iou", "fg_dice", "ap50") if name in pooled]
        values = ", ".join(f"{SHOWN[name]} {pooled[name]:.4f}" for name in shown)
        text.append(f"{group} images alone ({figures['images']}): {values}")
    return text


def benchmark_figures(report: Report) -> dict[str, Any]:
    """Return what a benchmark keeps of a report."""
    figures = {name: value for name, value in report.as_dict().items() if name != "about"}
    seed = report.about["seed"]
    return {**figures, "test_images": len(report.images), "bootstrap_seed": seed}


def outcome(figures: Mapping[str, Any]) -> str:
    """Return `benchmark_figures` as one line of text."""
    low, high = figures["intervals"]["mean_iou"]
    found = [f"mean IoU {figures['pooled']['mean_iou']:.4f} ({low:.4f}..{high:.4f})"]
    if "dice_kaggle" in (presence := figures.get("presence", {})):
        found.append(f"Kaggle Dice {presence['dice_kaggle']:.4f}")
    return f"{', '.join(found)} on unseen images"


SEGMENTATION_EVALUATION = Evaluation(
    evaluate=evaluate,
    count=lambda report: len(report.images),
    lines=lines,
    figures=benchmark_figures,
    outcome=outcome,
)
