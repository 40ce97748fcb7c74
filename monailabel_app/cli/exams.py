"""What `infer`, `evaluate` and `train` do on tasks that answer on mammography exams."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lib.errors import InputError
from lib.tasks.spec import TaskSpec
from monailabel_app.cli import options

if TYPE_CHECKING:
    from lib.classification.answer import ViewAnswer
    from lib.classification.evaluation import ExamReport
    from lib.classification.predictor import ExamPredictor

SHOWN = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "kappa": "quadratic kappa",
    "auc": "AUC",
    "calibration_error": "calibration error",
    "likelihood": "likelihood of the truth",
}


def evaluate_exams(
    task: TaskSpec,
    predictor: ExamPredictor,
    studies: Path,
    held_out: float | None,
    seed: int,
    about: dict[str, Any],
) -> ExamReport:
    """Return the figures of the labelled exams of a studies folder.

    Args:
        held_out: only those that training with this validation share holds out; None is all.
    """
    from tqdm import tqdm

    from lib.classification.cases import list_task_exams, views_of
    from lib.classification.evaluation import report_on, score_exams
    from lib.data.studies import split_items

    exams = list_task_exams(studies, task, labelled=True)
    if held_out is not None:
        _, validation = split_items(views_of(exams, task), held_out)
        kept = {item.group for item in validation}
        exams = [exam for exam in exams if exam.patient in kept]
    with tqdm(total=len(exams), unit="exam", disable=not sys.stderr.isatty()) as bar:
        scored, failed = score_exams(predictor, exams, lambda exam: bar.update())
    known = {
        "task": task.name,
        "device": str(predictor.device),
        "precision": str(predictor.dtype).removeprefix("torch."),
        "temperature": predictor.temperature,
        "input_size": predictor.task.input.size,
    }
    return report_on(scored, task.exam_rules, seed, failed, {**known, **about})


def show_report(report: ExamReport) -> None:
    """Print the figures of exams, breasts and views, and the confusion matrix of the exams."""
    click.echo(f"{'':24} {'exam, 95 % interval':26}{'breast':10}{'view':8}")
    for name, title in SHOWN.items():
        exam, breast, view = (report.levels[level] for level in ("exam", "breast", "view"))
        low, high = exam["intervals"][name]
        whole = f"{exam['figures'][name]:.4f}  {low:.4f}..{high:.4f}"
        click.echo(
            f"{title:24} {whole:26}{breast['figures'][name]:.4f}    {view['figures'][name]:.4f}"
        )
    for name, part in report.by_view.items():
        click.echo(f"{name} alone: accuracy {part['figures']['accuracy']:.4f} of {part['cases']}")
    click.echo(
        f"needs no reader: {report.sure['exams']:.0f} exams ({report.sure['share']:.0%}), accuracy "
        f"{report.sure['accuracy']:.4f}; always the commonest class: {report.commonest:.4f}"
    )
    click.echo(f"exams of class by answer ({', '.join(report.classes)}):")
    for name, row in zip(report.classes, report.levels["exam"]["confusion"], strict=True):
        click.echo(f"  {name:12} {' '.join(f'{count:5}' for count in row)}")
    for id, cause in report.failed.items():
        click.echo(f"not answered: {id}: {cause}", err=True)


def infer_exams(
    task: TaskSpec,
    predictor: ExamPredictor,
    files: Sequence[Path],
    out: Path,
    about: dict[str, Any],
    json_file: Path | None,
    saliency: Sequence[str] = (),
) -> None:
    """Answer on the exams that `files` make up, into JSON and label images of the dense tissue.

    Args:
        saliency: methods of `lib.classification.saliency` to explain each view by.

    Exits with 2 where an exam, or a file, could not be answered.
    """
    from tqdm import tqdm

    from lib.classification.files import write_exam_files
    from lib.datasets.mammograms import safe
    from lib.files import write_json
    from lib.mammography.exams import group_exams

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
        sure = answer.probabilities[answer.place]
        used = ", ".join(answer.views)
        click.echo(f"{exam.id or 'exam'}: {answer.label} ({sure:.2f}) from {used}{doubt}")
    for name, cause in failed.items():
        click.echo(f"Error: {name}: {cause}", err=True)
    options.save_json(json_file, {**about, "exams": answers, "failed": failed})
    if failed:
        sys.exit(2)


def _others(others: Sequence[tuple[Path, str]]) -> list[Path]:
    return [path for path, _ in others]


def _free(target: Path, image: Path, inputs: Sequence[Path]) -> Path:
    """Return `target`, the result for `image`, if it is none of the inputs."""
    if target.resolve() in {file.resolve() for file in inputs}:
        raise InputError(
            f"{image.name}: its result would overwrite '{target}', an input; choose another --out"
        )
    return target
