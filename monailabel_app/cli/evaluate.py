"""`evaluate`: figures of weights on labelled images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import click

from lib.errors import InputError
from lib.tasks.registry import get_task
from monailabel_app.cli import options


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions(options.ModelOptions):
    """What `evaluate` is asked for."""

    task: str = options.task()
    studies: Path = options.studies()
    readers: str = options.readers()
    split: str = options.split()
    val_split: float | None = options.option(
        "--val-split", type=float, help="Share held out; by default the recipe's."
    )
    channel: str = options.channel()
    flips: bool = options.flips()
    diameter: float = options.diameter()
    seed: int = options.seed()
    json_file: Path | None = options.json_file()
    plots: Path | None = options.option(
        "--plots",
        type=options.FOLDER,
        help="Folder for pictures: the reliability diagram, and the ten images answered worst; of "
        "exams the confusion matrix and, for two classes, the ROC curve.",
    )


@click.command()
@options.of(EvaluateOptions)
def evaluate(chosen: EvaluateOptions) -> None:
    """Compare TASK's answers with the labels of a studies folder.

    Prints pooled figures with 95 % bootstrap intervals over images, and the mean over images. For
    tasks on exams it prints figures per exam, breast and view, with intervals over patients.
    """
    spec = get_task(chosen.task)
    from tqdm import tqdm

    from lib.data.studies import split_items
    from lib.files import sha256
    from lib.kinds import kind_of, list_labelled
    from monailabel_app.cli.predictors import load_predictor, show_report

    kind = kind_of(spec)
    evaluation = kind.evaluation
    if chosen.plots and evaluation.plots is None:
        raise InputError(f"--plots: nothing is drawn of '{spec.name}' ({spec.kind}); leave it away")
    predictor, path = load_predictor(spec, chosen, chosen.flips, chosen.diameter)
    items, left_out = kind.matching(list_labelled(chosen.studies, spec, chosen.readers), spec)
    options.say_passed_over(chosen.studies)
    options.show_left_out(left_out)
    items = options.in_channel(items, chosen.channel, spec)
    if chosen.split == "validation":
        share = spec.training.val_split if chosen.val_split is None else chosen.val_split
        items = split_items(items, share)[1]
    about = {
        "split": chosen.split,
        "weights": path.name,
        "weights_sha256": sha256(path),
        "command": options.command_line(),
        **({"diameter": chosen.diameter} if chosen.diameter else {}),
        **({"left_out": left_out} if left_out else {}),
    }
    samples = len({item.sample for item in items})
    with tqdm(total=samples, unit=kind.unit, disable=None) as bar:
        report = evaluation.evaluate(
            predictor, items, chosen.seed, lambda case: bar.update(), about
        )
    count = evaluation.count(report)
    click.echo(f"{spec.name} on {count} {kind.unit}s of {chosen.studies.name} ({chosen.split})")
    show_report(evaluation, report)
    options.save_json(chosen.json_file, report.as_dict())
    if chosen.plots and evaluation.plots:
        answered = predictor, items
        for file in evaluation.plots(chosen.plots, report.as_dict(), f"{spec.name}_", *answered):
            click.echo(f"{file} written")
