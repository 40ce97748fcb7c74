"""What the verbs that answer with a model share: its predictor, and how its figures are shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from lib.data.case import Evaluation, Report
from lib.data.diameter import DIAMETER, read_diameter, require_sized
from lib.errors import InputError, UnpublishedError
from lib.kinds import kind_of
from lib.tasks.spec import TaskSpec
from lib.weights.checkpoint import load_checkpoint
from lib.weights.store import ModelStore
from monailabel_app.cli.options import ModelOptions
from monailabel_app.config import SHIPPED_MODELS


def load_predictor(
    task: TaskSpec, model: ModelOptions, flips: bool = False, diameter: float = 0.0
) -> tuple[Any, Path]:
    """Return a predictor with the weights asked for, or those served, and the file of the weights.

    Raises:
        UnpublishedError: there are no weights.
        InputError: `flips` for a task whose images must not be mirrored, or `diameter` for one that
            resamples no images for it.
    """
    told = told_diameter(task, diameter)
    kind = kind_of(task)
    if flips and not kind.mirrored:
        raise InputError(
            f"--flips is for segmentation: a breast of '{task.name}' has its chest wall at one "
            f"side; leave it away"
        )
    path = model.weights or ModelStore(model.models, SHIPPED_MODELS).served_path(task.name)
    if path is None:
        raise UnpublishedError(
            f"'{task.name}' has no weights yet; train it first, or give --weights FILE"
        )
    options: dict[str, Any] = {"flips": True} if flips else {}
    if told:
        options[DIAMETER] = told
    predictor = kind.predictor.from_checkpoint(
        task,
        load_checkpoint(path),
        model.device,
        model.precision,
        model.backend,
        model.models,
        **options,
    )
    return predictor, path


def told_diameter(task: TaskSpec, diameter: float) -> float:
    """Return the diameter that `--diameter` tells; 0 where it is estimated.

    Raises:
        InputError: it is none, or the task takes none.
    """
    if told := read_diameter(diameter, "--diameter"):
        require_sized(task, "--diameter")
    return told


def show_report(evaluation: Evaluation, report: Report) -> None:
    """Print the figures of a report, and name on standard error what could not be answered."""
    for line in evaluation.lines(report):
        click.echo(line)
    for id, cause in report.as_dict().get("failed", {}).items():
        click.echo(f"not answered: {id}: {cause}", err=True)
