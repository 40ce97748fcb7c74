"""Options that several verbs share, and how they write their figures."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from lib.errors import InputError
from lib.files import write_json
from monailabel_app.config import SHIPPED_MODELS

if TYPE_CHECKING:  # it imports torch, and every verb imports this module
    from lib.data.case import Evaluation, Report

Command = TypeVar("Command", bound=Callable[..., Any])

FOLDER = click.Path(path_type=Path, file_okay=False)
FILE = click.Path(path_type=Path, dir_okay=False)

studies = click.option("--studies", type=FOLDER, required=True, help="Folder of images and labels.")
weights = click.option("--weights", type=FILE, help="Weights; by default the live ones.")
models = click.option(
    "--models", type=FOLDER, default=SHIPPED_MODELS, help="Folder of live weights and versions."
)
device = click.option("--device", default="auto", show_default=True, help="cpu, cuda, cuda:N.")
precision = click.option(
    "--precision",
    type=click.Choice(["auto", "fp32", "bf16", "fp16"]),
    default="auto",
    show_default=True,
    help="Number format; auto takes what the hardware gains from.",
)
seed = click.option("--seed", type=click.IntRange(0), default=0, show_default=True)


def _check_folder(ctx: click.Context, option: click.Parameter, file: Path | None) -> Path | None:
    """Refuse a file in a folder that is not there, before hours of work are done."""
    if file is not None and not file.parent.is_dir():
        raise InputError(f"folder '{file.parent}' for --json does not exist; make it first")
    return file


json_file = click.option(
    "--json",
    "json_file",
    type=FILE,
    callback=_check_folder,
    help="Write the figures to this file.",
)


def save_json(file: Path | None, value: Mapping[str, Any]) -> None:
    """Write `value` to `file` where one was asked for."""
    if file is not None:
        write_json(file, value)


def show_report(evaluation: Evaluation, report: Report) -> None:
    """Print the figures of a report, and name on standard error what could not be answered."""
    for line in evaluation.lines(report):
        click.echo(line)
    for id, cause in report.as_dict().get("failed", {}).items():
        click.echo(f"not answered: {id}: {cause}", err=True)


def command_line() -> str:
    """Return the command as typed, for the record; folders are reduced to their names."""
    words = [Path(word).name if "/" in word else word for word in sys.argv[1:]]
    return " ".join(["python -m monailabel_app", *words])
