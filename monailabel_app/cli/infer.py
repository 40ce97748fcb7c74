"""`infer`: segment image files, or answer on exams."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from lib.tasks.exam_spec import SALIENCY
from lib.tasks.registry import get_task
from monailabel_app.cli import options

RESULTS = ("instances", "mask", "probabilities")


@dataclass(frozen=True, kw_only=True)
class InferOptions(options.ModelOptions):
    """What `infer` is asked for."""

    task: str = options.task()
    files: tuple[Path, ...] = options.argument("files", type=options.FILE, nargs=-1, required=True)
    out: Path = options.out(required=True, help="Folder for the label images.")
    flips: bool = options.flips()
    result: str | None = options.option(
        "--result", type=click.Choice(RESULTS), help="By default instances, else mask."
    )
    suffix: str | None = options.option(
        "--format", "suffix", help="File type, such as .png or .nrrd; default the input's."
    )
    saliency: str = options.option(
        "--saliency",
        type=click.Choice(list(SALIENCY)),
        default="none",
        show_default=False,
        help="Density tasks: show where each view's network looks, as overlay PNG and scalar NRRD.",
    )
    json_file: Path | None = options.json_file()

    def about(self, weights: Path) -> dict[str, Any]:
        """Return task, weights and command, for the record."""
        command = options.command_line()
        return {"task": self.task, "weights": weights.name, "command": command}


@click.command()
@options.of(InferOptions)
def infer(chosen: InferOptions) -> None:
    """Segment FILES with TASK and write label images of the same names to OUT.

    For tasks on mammography exams FILES are views; OUT gets the answer on each exam as JSON, and
    label images of its dense tissue. Files that cannot be read are named and passed over; the exit
    status is then 2.
    """
    task = get_task(chosen.task)
    from lib.kinds import kind_of, resolve

    if resolve(kind_of(task).answer_files)(task, chosen):
        sys.exit(2)
