"""`infer` for tasks that answer on mammography exams."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lib.errors import InputError
from lib.tasks.exam_spec import SALIENCY
from lib.tasks.spec import TaskSpec
from monailabel_app.cli import options
from monailabel_app.cli.answers import InferOptions

if TYPE_CHECKING:
    from lib.classification.answer import ViewAnswer


def answer_exams(task: TaskSpec, chosen: InferOptions) -> dict[str, str]:
    """Answer on the exams that files make up, into JSON and label images of the dense tissue.

    Returns:
        The reasons of the exams, and of the files, that could not be answered, by name.
    """
    from tqdm import tqdm

    from lib.classification.files import write_exam_files
    from lib.datasets.mammograms import safe
    from lib.files import write_json
    from lib.mammography.exams import group_exams
    from monailabel_app.cli.predictors import load_predictor

    files, out, saliency = chosen.files, chosen.out, SALIENCY[chosen.saliency]
    if chosen.result or chosen.suffix:
        raise InputError(f"--result and --format are for segmentation, '{task.name}' answers JSON")
    predictor, weights = load_predictor(task, chosen, chosen.flips)
    about = chosen.about(weights)
    if missing := [file for file in files if not file.is_file()]:
        raise InputError(f"{missing[0].name}: no such file")
    exams = group_exams(files)
    known = {path for exam in exams for path in (*exam.views.values(), *_others(exam.others))}
    failed = {
        file.name: "neither tags nor name tell its exam and view, as EXAM_R-CC.png would"
        for file in files
        if file not in known
    }
    out.mkdir(parents=True, exist_ok=True)
    answers = []
    for exam in tqdm(exams, unit="exam", disable=not sys.stderr.isatty()):
        try:
            answer = predictor(exam, pictures=bool(saliency))
        except InputError as error:
            failed[exam.id] = str(error)
            continue
        row = {**answer.as_dict(), "notes": list(exam.notes), "model": about}
        stem = safe(exam.id or "exam")

        def target(name: str, view: ViewAnswer, stem: str = stem) -> Path:
            return _free(out / f"{stem}_{name}", view.path, files)

        row |= write_exam_files(predictor, answer, target, saliency)
        write_json(out / f"{stem}.json", row)
        answers.append(row)
        doubt = f"; needs a reader: {'; '.join(answer.uncertain)}" if answer.uncertain else ""
        sure = answer.probabilities[answer.class_index]
        used = ", ".join(answer.views)
        click.echo(f"{exam.id or 'exam'}: {answer.label} ({sure:.2f}) from {used}{doubt}")
    for name, cause in failed.items():
        click.echo(f"Error: {name}: {cause}", err=True)
    options.save_json(chosen.json_file, {**about, "exams": answers, "failed": failed})
    return failed


def _others(others: Sequence[tuple[Path, str]]) -> list[Path]:
    return [path for path, _ in others]


def _free(target: Path, image: Path, inputs: Sequence[Path]) -> Path:
    """Return `target`, the result for `image`, if it is none of the inputs."""
    if target.resolve() in {file.resolve() for file in inputs}:
        raise InputError(
            f"{image.name}: its result would overwrite '{target}', an input; choose another --out"
        )
    return target
