"""`infer`: segment image files, or answer on exams."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from lib.classification.files import SALIENCY
from lib.errors import InputError
from lib.tasks.registry import get_task
from monailabel_app.cli import options

RESULTS = ("instances", "mask", "probabilities")


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

    Of tasks on mammography exams FILES are views; OUT has the answer of each exam as JSON, and
    label images of its dense tissue. Files that cannot be read are named and passed over; the exit
    status is then 2.
    """
    spec = get_task(task)
    if spec.kind == "classification":
        from monailabel_app.cli.exams import infer_exams
        from monailabel_app.cli.predictors import load_exam_predictor

        if result or suffix:
            raise InputError(f"--result and --format are for segmentation, '{task}' answers JSON")
        answering, path = load_exam_predictor(spec, weights, models, device, precision, flips)
        about = {"task": task, "weights": path.name, "command": options.command_line()}
        infer_exams(spec, answering, files, out, about, json_file, SALIENCY[saliency])
        return
    if SALIENCY[saliency]:
        raise InputError(
            f"--saliency is for tasks that answer on mammography exams, '{task}' is a segmentation "
            f"and its mask shows what it found; leave it away, or ask for --result probabilities"
        )
    from tqdm import tqdm

    from lib.io.masks import write_mask, write_probabilities
    from lib.io.read import read_image, stem
    from monailabel_app.cli.predictors import load_predictor

    predictor, path = load_predictor(spec, weights, models, device, precision, flips)
    wanted = result or ("instances" if spec.output.instances else "mask")
    out.mkdir(parents=True, exist_ok=True)
    taken = {file.resolve() for file in files}
    written, failed = [], {}
    for file in tqdm(files, unit="image", disable=not sys.stderr.isatty()):
        try:
            target = out / f"{stem(file)}{_suffix(wanted, suffix, file, spec.network.spatial_dims)}"
            if target.resolve() in taken:
                raise InputError(
                    f"{file.name}: its result would overwrite '{target}', an input or another "
                    f"result; choose another --out or --format, or rename the file"
                )
            image = read_image(file, spec.input.max_pixels, spec.image_dims)
            prediction = predictor(image, instances=wanted == "instances")
            if wanted == "probabilities":
                write_probabilities(target, prediction.probabilities[0], image.geometry)
            else:
                label = prediction.instances if wanted == "instances" else prediction.mask
                assert label is not None
                write_mask(target, label, image.geometry)
        except InputError as error:
            failed[str(file)] = str(error)
            click.echo(f"Error: {error}", err=True)
            continue
        taken.add(target.resolve())
        row = {"file": file.name, "result": target.name, "seconds": prediction.seconds}
        if prediction.presence is not None:
            row["presence"] = round(prediction.presence, 4)
        if prediction.instances is not None:
            row["objects"] = int(prediction.instances.max(initial=0))
        written.append(row)
    click.echo(f"{len(written)} of {len(files)} images segmented into {out}")
    options.save_json(
        json_file,
        {
            "task": spec.name,
            "weights": path.name,
            "command": options.command_line(),
            "images": written,
            "failed": failed,
        },
    )
    if failed:
        sys.exit(2)


def _suffix(wanted: str, suffix: str | None, file: Path, spatial_dims: int) -> str:
    """Return the extension of the result for `file`."""
    from lib.io.masks import result_extension

    chosen = suffix or (".nrrd" if wanted == "probabilities" else None)
    return result_extension(chosen, file, spatial_dims)


COMMANDS = {"infer": infer}
