"""`infer`: segment image files, or answer on exams."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import click

from lib.tasks.exam_spec import SALIENCY
from lib.tasks.registry import get_task
from monailabel_app.cli import options
from monailabel_app.cli.answers import FileRequest
from monailabel_app.cli.images import RESULTS


@dataclass(frozen=True, kw_only=True)
class InferOptions(options.ModelOptions):
    """What `infer` is asked for."""

    task: str = options.task()
    files: tuple[Path, ...] = options.argument("files", type=options.FILE, nargs=-1, required=True)
    out: Path = options.option(
        "--out", type=options.FOLDER, required=True, help="Folder for the label images."
    )
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
        help="Density tasks: show where each view's network looks, as overlay PNG and scalar NRRD.",
    )
    json_file: Path | None = options.json_file()


@click.command()
@options.of(InferOptions)
def infer(chosen: InferOptions) -> None:
    """Segment FILES with TASK and write label images of the same names to OUT.

    For tasks on mammography exams FILES are views; OUT gets the answer on each exam as JSON, and
    label images of its dense tissue. Files that cannot be read are named and passed over; the exit
    status is then 2.
    """
    spec = get_task(chosen.task)
    from lib.kinds import kind_of, resolve
    from monailabel_app.cli.predictors import load_predictor

    request = FileRequest(
        task=spec,
        files=chosen.files,
        load=lambda: load_predictor(spec, chosen, chosen.flips),
        out=chosen.out,
        result=chosen.result,
        suffix=chosen.suffix,
        saliency=SALIENCY[chosen.saliency],
        json_file=chosen.json_file,
    )
    if resolve(kind_of(spec).answer_files)(request):
        sys.exit(2)


COMMANDS = {"infer": infer}
