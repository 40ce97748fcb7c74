"""`infer`: segment image files, or answer on exams."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from lib.classification.files import SALIENCY
from lib.tasks.registry import get_task
from monailabel_app.cli import options
from monailabel_app.cli.answers import FileRequest
from monailabel_app.cli.images import RESULTS


@click.command()
@click.argument("task")
@click.argument("files", type=options.FILE, nargs=-1, required=True)
@click.option("--out", type=options.FOLDER, required=True, help="Folder for the label images.")
@options.weights
@options.models
@options.device
@options.precision
@click.option("--flips", is_flag=True, help="Average over mirrored copies.")
@click.option("--result", type=click.Choice(RESULTS), help="By default instances, else mask.")
@click.option("--format", "suffix", help="File type, such as .png or .nrrd; default the input's.")
@click.option(
    "--saliency",
    type=click.Choice(list(SALIENCY)),
    default="none",
    help="Density tasks: show where each view's network looks, as overlay PNG and scalar NRRD.",
)
@options.json_file
def infer(
    task: str,
    files: tuple[Path, ...],
    out: Path,
    weights: Path | None,
    models: Path,
    device: str,
    precision: str,
    flips: bool,
    result: str | None,
    suffix: str | None,
    saliency: str,
    json_file: Path | None,
) -> None:
    """Segment FILES with TASK and write label images of the same names to OUT.

    For tasks on mammography exams FILES are views; OUT gets the answer on each exam as JSON, and
    label images of its dense tissue. Files that cannot be read are named and passed over; the exit
    status is then 2.
    """
    spec = get_task(task)
    from lib.kinds import kind_of, resolve
    from monailabel_app.cli.predictors import load_predictor

    request = FileRequest(
        task=spec,
        files=files,
        load=lambda: load_predictor(spec, weights, models, device, precision, flips),
        out=out,
        result=result,
        suffix=suffix,
        saliency=SALIENCY[saliency],
        json_file=json_file,
    )
    if resolve(kind_of(spec).answer_files)(request):
        sys.exit(2)


COMMANDS = {"infer": infer}
