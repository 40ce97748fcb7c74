"""Score weights on labelled exams: per view, per breast and per exam, with intervals by patient."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lib.checkpoints import versions
from lib.class_metrics import bootstrap_weights, class_figures, confusions, reliability
from lib.classification import ExamPredictor
from lib.errors import InputError
from lib.evaluation import CONFIDENCE, RESAMPLES
from lib.exam_answers import ExamAnswer
from lib.exam_specs import ExamSpec
from lib.exams import Exam
from lib.files import fingerprint

LEVELS = ("view", "breast", "exam")


@dataclass(frozen=True)
class ScoredExam:
    """An exam with its true class and its answer."""

    exam: Exam
    truth: int
    answer: ExamAnswer

    def probabilities(self, level: str) -> list[np.ndarray]:
        """Return the probabilities of each case that the exam is at a level of `LEVELS`."""
        return {
            "view": [view.probabilities for view in self.answer.views.values()],
            "breast": list(self.answer.breasts.values()),
            "exam": [self.answer.probabilities],
        }[level]

    def as_row(self, names: Sequence[str]) -> dict[str, Any]:
        """Return the exam as a row of a report."""
        return {
            "id": self.exam.id,
            "patient": self.exam.patient,
            "truth": names[self.truth],
            **self.answer.as_dict(),
        }


@dataclass(frozen=True)
class ExamReport:
    """Figures of one evaluation.

    Attributes:
        levels: of `LEVELS`: number of cases, figures, their bootstrap intervals by patient,
            confusion matrix (rows are the truth) and bins of the reliability plot.
        by_view: the figures of each view of the four alone.
        sure: exams whose answer needs no reader: number, share, accuracy.
        commonest: accuracy of always answering the commonest class, per exam.
        exams: one row per exam.
        failed: id and reason of exams that could not be answered.
        about: versions, seed, data fingerprint, weights and command.
    """

    classes: tuple[str, ...]
    levels: dict[str, dict[str, Any]]
    by_view: dict[str, dict[str, Any]]
    sure: dict[str, float]
    commonest: float
    exams: list[dict[str, Any]]
    failed: dict[str, str] = field(default_factory=dict)
    about: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return the report as plain data, pooled figures first."""
        return {"confidence": CONFIDENCE, **vars(self)}


def score_exams(
    predictor: ExamPredictor,
    exams: Sequence[Exam],
    on_exam: Callable[[Exam], object] | None = None,
) -> tuple[list[ScoredExam], dict[str, str]]:
    """Answer every exam.

    Args:
        exams: labelled ones, whose densities are classes of the task.
        on_exam: called after each, for progress.

    Returns:
        The answered exams, and the reasons of those that could not be answered, by id.

    Raises:
        InputError: an exam without a class of the task.
    """
    scored, failed = [], {}
    for exam in exams:
        truth = predictor.task.exam_rules.place_of(exam.density, exam.scale)
        if truth is None:
            raise InputError(
                f"exam '{exam.id}' has density {exam.density}, expected a label that is one of "
                f"the classes {', '.join(predictor.task.exam_rules.names)}"
            )
        try:
            scored.append(ScoredExam(exam, truth, predictor(exam, tissue=False)))
        except InputError as error:
            failed[exam.id] = str(error)
        if on_exam:
            on_exam(exam)
    return scored, failed


def report_on(
    scored: Sequence[ScoredExam],
    rules: ExamSpec,
    seed: int = 0,
    failed: dict[str, str] | None = None,
    about: dict[str, Any] | None = None,
) -> ExamReport:
    """Return the figures of answered exams.

    Args:
        seed: of the bootstrap.

    Raises:
        InputError: no exam was answered.
    """
    if not scored:
        causes = "; ".join((failed or {}).values())
        raise InputError(f"nothing to evaluate: no labelled exam could be answered ({causes})")
    truth = [case.truth for case in scored]
    sure = [case for case in scored if not case.answer.uncertain]
    files = [path for case in scored for path in case.exam.views.values()]
    labels = [case.exam.label for case in scored if case.exam.label]
    views = sorted({name for case in scored for name in case.answer.views})
    return ExamReport(
        rules.names,
        {
            level: _figures(
                [(case, answer) for case in scored for answer in case.probabilities(level)], seed
            )
            for level in LEVELS
        },
        {
            name: _figures(
                [
                    (case, case.answer.views[name].probabilities)
                    for case in scored
                    if name in case.answer.views
                ],
                seed,
            )
            for name in views
        },
        {
            "exams": len(sure),
            "share": len(sure) / len(scored),
            "accuracy": _share([case.answer.place == case.truth for case in sure]),
        },
        Counter(truth).most_common(1)[0][1] / len(truth),
        [case.as_row(rules.names) for case in scored],
        dict(failed or {}),
        {
            "exams": len(scored),
            "patients": len({case.exam.patient for case in scored}),
            "data": fingerprint([*files, *labels]),
            "seed": seed,
            "bootstrap_resamples": RESAMPLES,
            "rule": rules.rule,
            "versions": versions(),
            **(about or {}),
        },
    )


def _figures(cases: Sequence[tuple[ScoredExam, np.ndarray]], seed: int) -> dict[str, Any]:
    """Return figures, intervals, confusion matrix and reliability of cases of one level."""
    truth = np.array([case.truth for case, _ in cases])
    probabilities = np.stack([answer for _, answer in cases])
    weights = bootstrap_weights([case.exam.patient for case, _ in cases], RESAMPLES, seed)
    figures = class_figures(truth, probabilities, weights)
    tail = 100 * (1 - CONFIDENCE) / 2
    matrix = confusions(truth, probabilities.argmax(1), probabilities.shape[1], weights[:1])[0]
    return {
        "cases": len(cases),
        "figures": {name: float(values[0]) for name, values in figures.items()},
        "intervals": {
            name: tuple(float(v) for v in np.percentile(values[1:], (tail, 100 - tail)))
            for name, values in figures.items()
        },
        "confusion": matrix.astype(int).tolist(),
        "reliability": reliability(truth, probabilities),
    }


def _share(right: Sequence[bool]) -> float:
    return sum(right) / len(right) if right else 0.0
