"""`evaluate`: figures of weights on labelled images."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from lib.errors import InputError
from lib.tasks.registry import get_task
from monailabel_app.cli import options


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

    Prints pooled figures with 95 % bootstrap intervals over images, and the mean over images. For
    tasks on exams it prints figures per exam, breast and view, with intervals over patients.
    """
    spec = get_task(task)
    from tqdm import tqdm

    from lib.data.studies import split_items
    from lib.files import sha256
    from lib.kinds import kind_of
    from monailabel_app.cli.predictors import load_predictor

    kind = kind_of(spec)
    evaluation = kind.evaluation
    if plots and evaluation.plots is None:
        raise InputError(f"--plots is for tasks on exams; leave it away for '{task}'")
    predictor, path = load_predictor(spec, weights, models, device, precision, flips)
    items = kind.cases.list(studies, spec, True)
    if split == "validation":
        items = split_items(items, spec.training.val_split if val_split is None else val_split)[1]
    about = {
        "split": split,
        "weights": path.name,
        "weights_sha256": sha256(path),
        "command": options.command_line(),
    }
    samples = len({item.sample for item in items})
    with tqdm(total=samples, unit=kind.unit, disable=not sys.stderr.isatty()) as bar:
        report = evaluation.evaluate(predictor, items, seed, lambda case: bar.update(), about)
    count = evaluation.count(report)
    click.echo(f"{spec.name} on {count} {kind.unit}s of {studies.name} ({split})")
    options.show_report(evaluation, report)
    options.save_json(json_file, report.as_dict())
    if plots and evaluation.plots:
        for file in evaluation.plots(plots, report.as_dict(), f"{spec.name}_"):
            click.echo(f"{file} written")


COMMANDS = {"evaluate": evaluate}
