"""Evaluation of a classification by the views of exams, and its figures in words."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lib.classification.cases import exams_of
from lib.classification.evaluation import ExamReport, ScoredExam, report_on, score_exams
from lib.classification.predictor import ExamPredictor
from lib.data.case import Evaluation
from lib.data.studies import Item

SHOWN = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "kappa": "quadratic kappa",
    "auc": "AUC",
    "calibration_error": "calibration error",
    "likelihood": "likelihood of the truth",
}


def evaluate(
    predictor: ExamPredictor,
    items: Sequence[Item],
    seed: int = 0,
    on_case: Callable[[Any], object] | None = None,
    about: dict[str, Any] | None = None,
) -> ExamReport:
    """Return the figures of the exams that labelled views make up; see `report_on`."""
    task = predictor.task
    scored, failed = score_exams(predictor, exams_of(items), on_case)
    known = {
        "task": task.name,
        "device": str(predictor.device),
        "precision": str(predictor.dtype).removeprefix("torch."),
        "temperature": predictor.temperature,
        "input_size": task.input.size,
    }
    return report_on(scored, task.exam_rules, seed, failed, {**known, **(about or {})})


def pool(folds: Iterable[tuple[ExamPredictor, Sequence[Item]]], seed: int) -> ExamReport:
    """Return one report on the exams of several folds, each answered by its own predictor."""
    scored: list[ScoredExam] = []
    failed: dict[str, str] = {}
    for predictor, items in folds:
        answered, causes = score_exams(predictor, exams_of(items))
        scored, failed, rules = scored + answered, failed | causes, predictor.task.exam_rules
    return report_on(scored, rules, seed, failed)


def lines(report: ExamReport) -> list[str]:
    """Return the figures of exams, breasts and views, and the confusion matrix of the exams."""
    text = [f"{'':24} {'exam, 95 % interval':26}{'breast':10}{'view':8}"]
    for name, title in SHOWN.items():
        exam, breast, view = (report.levels[level] for level in ("exam", "breast", "view"))
        low, high = exam["intervals"][name]
        whole = f"{exam['figures'][name]:.4f}  {low:.4f}..{high:.4f}"
        text.append(
            f"{title:24} {whole:26}{breast['figures'][name]:.4f}    {view['figures'][name]:.4f}"
        )
    for name, part in report.by_view.items():
        text.append(f"{name} alone: accuracy {part['figures']['accuracy']:.4f} of {part['cases']}")
    text += [
        f"needs no reader: {report.sure['exams']:.0f} exams ({report.sure['share']:.0%}), accuracy "
        f"{report.sure['accuracy']:.4f}; always the commonest class: {report.commonest:.4f}",
        f"exams of class by answer ({', '.join(report.classes)}):",
    ]
    for name, row in zip(report.classes, report.levels["exam"]["confusion"], strict=True):
        text.append(f"  {name:12} {' '.join(f'{count:5}' for count in row)}")
    return text


def plots(folder: Path, report: dict[str, Any], prefix: str, *answered: Any) -> list[Path]:
    """Draw the charts of `lib.classification.plots`, which imports matplotlib."""
    from lib.classification.plots import draw_all

    return draw_all(folder, report, prefix)


def benchmark_figures(report: ExamReport) -> dict[str, Any]:
    """Return what a benchmark keeps of a report."""
    return {
        "classes": list(report.classes),
        "size": report.about["input_size"],
        "temperature": report.about["temperature"],
        "exam_figures": report.levels["exam"]["figures"],
        "exams": report.exams,
        "not_answered": report.failed,
    }


def outcome(figures: Mapping[str, Any]) -> str:
    """Return `benchmark_figures` as one line of text."""
    exam = figures["exam_figures"]
    return (
        f"accuracy {exam['accuracy']:.4f}, kappa {exam['kappa']:.4f} on "
        f"{len(figures['exams'])} unseen exams"
    )


EXAM_EVALUATION = Evaluation(
    evaluate=evaluate,
    count=lambda report: len(report.exams),
    lines=lines,
    pool=pool,
    plots=plots,
    figures=benchmark_figures,
    outcome=outcome,
)
