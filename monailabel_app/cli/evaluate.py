"""`evaluate`: figures of weights on labelled images."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from lib.tasks import get_task
from monailabel_app.cli import options

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
) -> None:
    """Compare TASK's answers with the labels of a studies folder.

    Prints pooled figures with 95 % bootstrap intervals over images, and the mean over images.
    """
    spec = get_task(task)
    from tqdm import tqdm

    from lib.datasets.studies import list_items, split_items, volumes_only
    from lib.evaluation import evaluate as score
    from lib.files import sha256
    from monailabel_app.cli.predictors import load_predictor

    items = volumes_only(list_items(studies, labelled=True), spec.image_dims)
    if split == "validation":
        share = spec.training.val_split if val_split is None else val_split
        items = split_items(items, share)[1]
    predictor, path = load_predictor(spec, weights, models, device, precision, flips)
    with tqdm(total=len(items), unit="image", disable=not sys.stderr.isatty()) as bar:
        report = score(
            predictor,
            items,
            seed,
            on_item=lambda item: bar.update(),
            about={
                "split": split,
                "weights": path.name,
                "weights_sha256": sha256(path),
                "command": options.command_line(),
            },
        )
    click.echo(f"{spec.name} on {len(items)} images of {studies.name} ({split})")
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


COMMANDS = {"evaluate": evaluate}
