"""What the verbs that answer with a model share: its predictor, and how its figures are shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from lib.data.case import Evaluation, Report
from lib.errors import InputError, UnpublishedError
from lib.kinds import kind_of
from lib.tasks.spec import TaskSpec
from lib.weights.checkpoint import load_checkpoint
from lib.weights.store import ModelStore
from monailabel_app.cli.options import ModelOptions
from monailabel_app.config import SHIPPED_MODELS


def load_predictor(task: TaskSpec, model: ModelOptions, flips: bool = False) -> tuple[Any, Path]:
    """Return a predictor with the weights asked for, or those served, and the file of the weights.

    Raises:
        UnpublishedError: there are no weights.
        InputError: `flips` for a task whose images must not be mirrored.
    """
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
    options = {"flips": True} if flips else {}
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


def show_report(evaluation: Evaluation, report: Report) -> None:
    """Print the figures of a report, and name on standard error what could not be answered."""
    for line in evaluation.lines(report):
        click.echo(line)
    for id, cause in report.as_dict().get("failed", {}).items():
        click.echo(f"not answered: {id}: {cause}", err=True)
