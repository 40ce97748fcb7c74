"""`infer` for tasks that answer on images."""

from __future__ import annotations

from pathlib import Path

import click

from lib.errors import InputError
from lib.tasks.exam_spec import SALIENCY
from lib.tasks.spec import TaskSpec
from monailabel_app.cli import options
from monailabel_app.cli.infer import InferOptions


def answer_images(task: TaskSpec, chosen: InferOptions) -> dict[str, str]:
    """Segment image files, and write label images of the same names.

    Returns:
        The reasons of the files that could not be answered, by path.
    """
    from tqdm import tqdm

    from lib.io.masks import write_mask, write_probabilities
    from lib.io.read import read_image, stem
    from monailabel_app.cli.predictors import load_predictor

    files, out = chosen.files, chosen.out
    if SALIENCY[chosen.saliency]:
        raise InputError(
            f"--saliency is for tasks on mammography exams; '{task.name}' is for segmentation, its "
            f"mask shows what it found: leave it away, or ask for --result probabilities"
        )
    predictor, weights = load_predictor(task, chosen, chosen.flips)
    result = chosen.result or ("instances" if task.output.instances else "mask")
    out.mkdir(parents=True, exist_ok=True)
    taken = {file.resolve() for file in files}
    written, failed = [], {}
    for file in tqdm(files, unit="image", disable=None):
        try:
            suffix = _suffix(result, chosen.suffix, file, task.network.spatial_dims)
            target = out / f"{stem(file)}{suffix}"
            if target.resolve() in taken:
                raise InputError(
                    f"{file.name}: its result would overwrite '{target}', an input or another "
                    f"result; choose another --out or --format, or rename the file"
                )
            image = read_image(file, task.input.max_pixels, task.image_dims)
            prediction = predictor(image, instances=result == "instances")
            if result == "probabilities":
                write_probabilities(target, prediction.probabilities[0], image.geometry)
            else:
                label = prediction.instances if result == "instances" else prediction.mask
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
    summary = {**chosen.about(weights), "images": written, "failed": failed}
    options.save_json(chosen.json_file, summary)
    return failed


def _suffix(result: str, suffix: str | None, file: Path, spatial_dims: int) -> str:
    """Return the extension of the result for `file`."""
    from lib.io.masks import result_extension

    chosen = suffix or (".nrrd" if result == "probabilities" else None)
    return result_extension(chosen, file, spatial_dims)
