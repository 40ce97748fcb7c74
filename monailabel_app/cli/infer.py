"""`infer`: segment image files, or answer on exams."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lib.errors import InputError
from lib.files import in_file_name, write_json
from lib.tasks.exam_spec import SALIENCY
from lib.tasks.fits import require_fit
from lib.tasks.image_kind import ImageKind
from lib.tasks.registry import get_task
from lib.tasks.spec import TaskSpec
from monailabel_app import __version__
from monailabel_app.cli import export_options, options

if TYPE_CHECKING:  # every verb's help would load numpy
    from lib.classification.answer import ViewAnswer

RESULTS = ("instances", "mask", "probabilities")


@dataclass(frozen=True, kw_only=True)
class InferOptions(options.ModelOptions):
    """What `infer` is asked for."""

    task: str = options.task()
    files: tuple[Path, ...] = options.argument("files", type=options.IMAGE, nargs=-1, required=True)
    out: Path = options.out(required=True, help="Folder for the label images.")
    channel: str = options.channel()
    flips: bool = options.flips()
    diameter: float = options.diameter()
    any_modality: bool = options.any_modality()
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
    exports: dict[str, Path] = export_options.exports()
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


def answer_images(task: TaskSpec, chosen: InferOptions) -> dict[str, str]:
    """Segment image files, and write label images of the same names.

    Returns:
        The reasons of the files that could not be answered, by path.
    """
    from tqdm import tqdm

    from infer.large import check_large
    from lib.exports.answer import answer_of
    from lib.exports.formats import option_of
    from lib.exports.targets import Exporter, write_joint
    from lib.io.facts import dicom_facts
    from lib.io.masks import result_extension, write_mask, write_probabilities
    from lib.io.read import read_image, stem
    from lib.io.rows import large_image
    from lib.segmentation.answer import MASK, label_image
    from lib.segmentation.measures import counts_and_volumes
    from lib.weights.familiarity import doubts
    from monailabel_app.cli.large import answer_with_bar
    from monailabel_app.cli.predictors import load_predictor

    files, out = chosen.files, chosen.out
    if SALIENCY[chosen.saliency]:
        raise InputError(
            f"--saliency is for tasks on mammography exams; '{task.name}' is for segmentation, its "
            f"mask shows what it found: leave it away, or ask for --result probabilities"
        )
    export_options.check_exports(chosen.exports, task, len(files) == 1)
    exporter = Exporter(chosen.exports)
    predictor, weights = load_predictor(task, chosen, chosen.flips, chosen.diameter)
    result = chosen.result or ("instances" if task.output.instances else "mask")
    if result == "instances" and not task.output.instances:
        raise InputError(
            f"--result instances: '{task.name}' does not number objects; ask for mask, or leave it "
            f"away"
        )
    asked = chosen.suffix or (".nrrd" if result == "probabilities" else None)
    out.mkdir(parents=True, exist_ok=True)
    taken = {file.resolve() for file in files}
    written, failed = [], {}
    for file in tqdm(files, unit="image", disable=None):
        try:
            suffix = result_extension(asked, file, task.network.spatial_dims)
            target = out / f"{stem(file)}{suffix}"
            if target.resolve() in taken:
                raise InputError(
                    f"{file.name}: its result would overwrite '{target}', an input or another "
                    f"result; choose another --out or --format, or rename the file"
                )
            kind = ImageKind() if chosen.any_modality else ImageKind(dicom_facts(file)[0])
            unfit = require_fit(task, kind, "--any-modality")
            large = large_image(file, task.input.max_pixels, chosen.channel)
            if large is not None:
                exports, told = list(chosen.exports), chosen.diameter
                check_large(file.name, result, suffix, exports, option_of, told)
                row = answer_with_bar(predictor, large, target, result, chosen.exports)
                for note in (*row.get("notes", ()), *row["warnings"], *([unfit] if unfit else [])):
                    click.echo(f"{file.name}: {note}", err=True)
                taken.add(target.resolve())
                written.append({"file": file.name, "result": target.name, **row})
                continue
            image = read_image(file, task.input.max_pixels, task.image_dims, chosen.channel)
            separated = result != "probabilities" or bool(chosen.exports)
            prediction = predictor(image, instances=separated)
            if chosen.exports:
                kind_of_label = MASK if result == "probabilities" else result
                made = kind_of_label, weights.name, __version__
                exporter(answer_of(task, image, prediction, *made))
            if result == "probabilities":
                write_probabilities(target, prediction.probabilities[0], image.geometry)
            else:
                label = label_image(prediction, result, image.over_time)
                write_mask(target, label, image.geometry)
        except InputError as error:
            failed[str(file)] = str(error)
            click.echo(f"Error: {error}", err=True)
            continue
        doubted = doubts(prediction.strangeness)
        for note in (*image.notes, *doubted["warnings"], *([unfit] if unfit else [])):
            click.echo(f"{file.name}: {note}", err=True)
        taken.add(target.resolve())
        row = {"file": file.name, "result": target.name, "seconds": prediction.seconds}
        row |= image.facts | doubted
        if separated:
            row |= counts_and_volumes(prediction, task.labels, image)
        if prediction.presence is not None:
            row["presence"] = round(prediction.presence, 4)
        if prediction.instances is not None:
            row["objects"] = int(prediction.instances.max(initial=0))
        if prediction.magnification != 1:
            row["magnification"] = round(prediction.magnification, 3)
        if chosen.diameter:
            row["diameter"] = chosen.diameter
        written.append(row)
    write_joint(chosen.exports, exporter.pieces)
    click.echo(f"{len(written)} of {len(files)} images segmented into {out}")
    for name, path in chosen.exports.items():
        click.echo(f"{name}: {path}")
    about = {**chosen.about(weights), "backend": predictor.backend.name}
    summary = {**about, "images": written, "failed": failed}
    options.save_json(chosen.json_file, summary)
    return failed


def answer_exams(task: TaskSpec, chosen: InferOptions) -> dict[str, str]:
    """Answer on the exams that files make up, into JSON and label images of the dense tissue.

    Returns:
        The reasons of the exams, and of the files, that could not be answered, by name.
    """
    from tqdm import tqdm

    from lib.classification.files import write_exam_files
    from lib.mammography.exams import group_exams
    from monailabel_app.cli.predictors import load_predictor

    files, out, saliency = chosen.files, chosen.out, SALIENCY[chosen.saliency]
    export_options.check_exports(chosen.exports, task, len(files) == 1)
    options.check_channel(chosen.channel, task)
    if chosen.result or chosen.suffix:
        raise InputError(
            f"--result and --format are for segmentation, '{task.name}' answers JSON; leave them "
            f"away"
        )
    predictor, weights = load_predictor(task, chosen, chosen.flips, chosen.diameter)
    about = chosen.about(weights)
    if missing := [file for file in files if not file.is_file()]:
        raise InputError(f"{missing[0].name}: no such file")
    exams = group_exams(files)
    grouped = {path for exam in exams for path in exam.views.values()}
    grouped |= {path for exam in exams for path, _ in exam.others}
    failed = {
        file.name: "neither tags nor name state its exam and view, as EXAM_R-CC.png would"
        for file in files
        if file not in grouped
    }
    out.mkdir(parents=True, exist_ok=True)
    answers = []
    for exam in tqdm(exams, unit="exam", disable=None):
        try:
            answer = predictor(exam, pictures=bool(saliency))
        except InputError as error:
            failed[exam.id] = str(error)
            continue
        row = {**answer.as_dict(), "notes": list(exam.notes), "model": about}
        stem = in_file_name(exam.id or "exam")

        def target(name: str, view: ViewAnswer, stem: str = stem) -> Path:
            return _unless_input(out / f"{stem}_{name}", view.path, files)

        row |= write_exam_files(predictor, answer, target, saliency)
        write_json(out / f"{stem}.json", row)
        answers.append(row)
        doubt = f"; needs a reader: {'; '.join(answer.uncertain)}" if answer.uncertain else ""
        probability = answer.probabilities[answer.class_index]
        click.echo(
            f"{exam.id or 'exam'}: {answer.label} ({probability:.2f}) from "
            f"{', '.join(answer.views)}{doubt}"
        )
        for warning in answer.warnings:
            click.echo(f"{exam.id or 'exam'}: {warning}", err=True)
    for name, cause in failed.items():
        click.echo(f"Error: {name}: {cause}", err=True)
    options.save_json(chosen.json_file, {**about, "exams": answers, "failed": failed})
    return failed


def _unless_input(target: Path, image: Path, inputs: Sequence[Path]) -> Path:
    """Return `target`, the file of a result for `image`; refuse one that is an input."""
    if target.resolve() in {file.resolve() for file in inputs}:
        raise InputError(
            f"{image.name}: its result would overwrite '{target}', an input; choose another --out"
        )
    return target
