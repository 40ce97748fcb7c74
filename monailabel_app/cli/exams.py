"""`infer` for tasks that answer on mammography exams."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lib.errors import InputError
from lib.files import in_file_name, write_json
from lib.tasks.exam_spec import SALIENCY
from lib.tasks.spec import TaskSpec
from monailabel_app.cli import options
from monailabel_app.cli.infer import InferOptions

if TYPE_CHECKING:
    from lib.classification.answer import ViewAnswer


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
    if chosen.result or chosen.suffix:
        raise InputError(
            f"--result and --format are for segmentation, '{task.name}' answers JSON; leave them "
            f"away"
        )
    predictor, weights = load_predictor(task, chosen, chosen.flips)
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
