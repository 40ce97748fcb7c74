"""`evaluate`: figures of weights on labelled images."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lib.errors import InputError
from lib.tasks.registry import get_task
from monailabel_app.cli import options

if TYPE_CHECKING:
    from lib.segmentation.evaluation import Report
    from lib.segmentation.predictor import Predictor

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


@click.command()
@click.argument("task")
@options.studies
@options.weights
@options.models
@click.option(
    "--split",
    type=click.Choice(["all", "validation"]),
    default="all",
    show_default=True,
    help="All labelled images, or those that training holds out.",
)
@click.option("--val-split", type=float, help="Share held out; by default the recipe's.")
@click.option("--flips", is_flag=True, help="Average over mirrored copies.")
@options.device
@options.precision
@options.seed
@options.json_file
@click.option(
    "--plots",
    type=options.FOLDER,
    help="Exams: folder for reliability diagram, confusion matrix and, of two classes, ROC curve.",
)
def evaluate(
    task: str,
    studies: Path,
    weights: Path | None,
    models: Path,
    split: str,
    val_split: float | None,
    flips: bool,
    device: str,
    precision: str,
    seed: int,
    json_file: Path | None,
    plots: Path | None,
) -> None:
    """Compare TASK's answers with the labels of a studies folder.

    Prints pooled figures with 95 % bootstrap intervals over images, and the mean over images; of
    tasks on exams those per exam, breast and view, with intervals over patients.
    """
    spec = get_task(task)
    if plots and spec.kind != "classification":
        raise InputError(f"--plots is of tasks on exams; '{task}' is for segmentation")
    share = spec.training.val_split if val_split is None else val_split
    held_out = share if split == "validation" else None
    from lib.files import sha256
    from monailabel_app.cli.predictors import load_exam_predictor, load_predictor

    def about(path: Path) -> dict[str, Any]:
        return {
            "split": split,
            "weights": path.name,
            "weights_sha256": sha256(path),
            "command": options.command_line(),
        }

    chosen = (spec, weights, models, device, precision, flips)
    if spec.kind == "classification":
        from monailabel_app.cli.exams import evaluate_exams, show_report

        answering, path = load_exam_predictor(*chosen)
        found = evaluate_exams(spec, answering, studies, held_out, seed, about(path))
        click.echo(f"{spec.name} on {len(found.exams)} exams of {studies.name} ({split})")
        show_report(found)
        options.save_json(json_file, found.as_dict())
        if plots:
            from lib.classification.plots import draw_all

            for file in draw_all(plots, found.as_dict(), f"{spec.name}_"):
                click.echo(f"{file} written")
        return
    predictor, path = load_predictor(*chosen)
    report = _evaluate_images(predictor, studies, held_out, seed, about(path))
    click.echo(f"{spec.name} on {len(report.images)} images of {studies.name} ({split})")
    click.echo(f"{'':22} pooled  95 % interval    mean over images")
    for name, title in SHOWN.items():
        if name in report.pooled:
            low, high = report.intervals[name]
            click.echo(
                f"{title:22} {report.pooled[name]:.4f}  {low:.4f}..{high:.4f}  "
                f"{report.mean[name]:.4f}"
            )
    for kind, group in report.groups.items():
        figures = ", ".join(
            f"{SHOWN[name]} {group['pooled'][name]:.4f}"
            for name in ("mean_iou", "fg_dice", "ap50")
            if name in group["pooled"]
        )
        click.echo(f"{kind} images alone ({group['images']}): {figures}")
    options.save_json(json_file, report.as_dict())


def _evaluate_images(
    predictor: Predictor,
    studies: Path,
    held_out: float | None,
    seed: int,
    about: dict[str, Any],
) -> Report:
    """Return the figures of the labelled images of a studies folder, or of those held out."""
    from tqdm import tqdm

    from lib.data.studies import split_items
    from lib.kinds import case_kind
    from lib.segmentation.evaluation import evaluate as score

    items = case_kind(predictor.task).list(studies, predictor.task, True)
    if held_out is not None:
        items = split_items(items, held_out)[1]
    with tqdm(total=len(items), unit="image", disable=not sys.stderr.isatty()) as bar:
        return score(predictor, items, seed, lambda item: bar.update(), about)


COMMANDS = {"evaluate": evaluate}
