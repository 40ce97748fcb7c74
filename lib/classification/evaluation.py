"""Evaluation of a classifier on labelled exams: figures of views, breasts and exams.

Confidence intervals come from a bootstrap over patients.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lib.classification.answer import ExamAnswer
from lib.classification.metrics import class_figures, confusions, reliability, roc
from lib.classification.predictor import ExamPredictor
from lib.errors import InputError
from lib.files import fingerprint
from lib.mammography.exams import Exam
from lib.statistics import CONFIDENCE, RESAMPLES, bootstrap_weights, interval
from lib.tasks.exam_spec import ExamSpec
from lib.weights.checkpoint import versions

LEVELS = ("view", "breast", "exam")
DIGITS = 6  # of the probabilities in a row: every figure can be computed again from them


@dataclass(frozen=True, kw_only=True)
class ScoredExam:
    """An exam with its true class and its answer.

    Attributes:
        truth: index of the true class.
        views: probabilities `(classes)` of each answered view, by name.
        breasts: probabilities `(classes)` of each breast, "R" and "L".
        whole: probabilities `(classes)` of the exam.
        uncertain: whether the answer needs a reader.
        row: the exam as plain data for a report; probabilities have `DIGITS` digits.
        files: the files of the views and of the label; empty if the exam was read from a row.
    """

    id: str
    patient: str
    truth: int
    views: Mapping[str, np.ndarray]
    breasts: Mapping[str, np.ndarray]
    whole: np.ndarray
    uncertain: bool
    row: dict[str, Any]
    files: tuple[Path, ...] = ()

    @classmethod
    def of(cls, exam: Exam, truth: int, answer: ExamAnswer) -> ScoredExam:
        """Return the record of an answer, without its pixels."""
        row = {
            "id": exam.id,
            "patient": exam.patient,
            "truth": answer.names[truth],
            **answer.as_dict(DIGITS),
        }
        return cls(
            id=exam.id,
            patient=exam.patient,
            truth=truth,
            views={name: view.probabilities for name, view in answer.views.items()},
            breasts=dict(answer.breasts),
            whole=answer.probabilities,
            uncertain=bool(answer.uncertain),
            row=row,
            files=(*exam.views.values(), *([exam.label] if exam.label else [])),
        )

    @classmethod
    def from_row(cls, row: Mapping[str, Any], names: Sequence[str]) -> ScoredExam:
        """Return the exam that `row` of a report describes; `names` are its classes in order."""

        def read(answer: Mapping[str, Any]) -> np.ndarray:
            return np.array([answer["probabilities"][name] for name in names])

        return cls(
            id=row["id"],
            patient=row["patient"],
            truth=list(names).index(row["truth"]),
            views={name: read(view) for name, view in row["views"].items()},
            breasts={side: read(breast) for side, breast in row["breasts"].items()},
            whole=read(row),
            uncertain=row["uncertain"],
            row=dict(row),
        )

    def probabilities(self, level: str) -> list[np.ndarray]:
        """Return the probabilities of the exam's cases at one of `LEVELS`, such as its views."""
        return {
            "view": list(self.views.values()),
            "breast": list(self.breasts.values()),
            "exam": [self.whole],
        }[level]


@dataclass(frozen=True, kw_only=True)
class ExamReport:
    """Figures of one evaluation.

    Attributes:
        classes: names of the classes.
        levels: for each of `LEVELS`: number of cases, figures, their bootstrap intervals over
            patients, confusion matrix (a row for each true class), the shares of each row with
            their intervals, bins of the reliability plot, and for two classes the ROC curve of the
            second.
        by_view: the same for each of the four views alone.
        by_breast: the same for each breast, "R" and "L".
        sure: number, share and accuracy of the exams whose answer needs no reader.
        commonest: accuracy of always answering the commonest class, over exams.
        exams: one row for each exam.
        failed: for each exam that could not be answered, by its id, the reason.
        about: versions, seed, data fingerprint, weights and command.
    """

    classes: tuple[str, ...]
    levels: dict[str, dict[str, Any]]
    by_view: dict[str, dict[str, Any]]
    by_breast: dict[str, dict[str, Any]]
    sure: dict[str, float]
    commonest: float
    exams: list[dict[str, Any]]
    failed: dict[str, str] = field(default_factory=dict)
    about: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return the report as plain data."""
        return {"confidence": CONFIDENCE, **vars(self)}


def score_exams(
    predictor: ExamPredictor,
    exams: Sequence[Exam],
    on_exam: Callable[[Exam], object] | None = None,
) -> tuple[list[ScoredExam], dict[str, str]]:
    """Answer every exam.

    Args:
        exams: labelled exams whose densities are classes of the task.

    Returns:
        The answered exams; and for each exam that could not be answered, by its id, the reason.

    Raises:
        InputError: the label of an exam is no class of the task.
    """
    scored, failed = [], {}
    for exam in exams:
        truth = predictor.task.exam_rules.class_index(exam.density, exam.scale)
        if truth is None:
            raise InputError(
                f"exam '{exam.id}' has density {exam.density}, expected a label that is one of "
                f"the classes {', '.join(predictor.task.exam_rules.names)}"
            )
        try:
            scored.append(ScoredExam.of(exam, truth, predictor(exam, tissue=False)))
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
        about: facts to record beside those of the exams.

    Raises:
        InputError: no exam was answered.
    """
    if not scored:
        causes = "; ".join((failed or {}).values())
        raise InputError(f"nothing to evaluate: no labelled exam could be answered ({causes})")
    truth = [case.truth for case in scored]
    sure = [case for case in scored if not case.uncertain]
    right = sum(int(case.whole.argmax()) == case.truth for case in sure)
    files = [path for case in scored for path in case.files]
    return ExamReport(
        classes=rules.names,
        levels={
            level: _figures(
                [(case, answer) for case in scored for answer in case.probabilities(level)], seed
            )
            for level in LEVELS
        },
        by_view=_by_name([(case, case.views) for case in scored], seed),
        by_breast=_by_name([(case, case.breasts) for case in scored], seed),
        sure={
            "exams": len(sure),
            "share": len(sure) / len(scored),
            "accuracy": right / len(sure) if sure else 0.0,
        },
        commonest=Counter(truth).most_common(1)[0][1] / len(truth),
        exams=[case.row for case in scored],
        failed=dict(failed or {}),
        about={
            "exams": len(scored),
            "patients": len({case.patient for case in scored}),
            **({"data": fingerprint(files)} if files else {}),
            "seed": seed,
            "bootstrap_resamples": RESAMPLES,
            "rule": rules.rule,
            "versions": versions(),
            **(about or {}),
        },
    )


def _by_name(
    cases: Sequence[tuple[ScoredExam, Mapping[str, np.ndarray]]], seed: int
) -> dict[str, dict[str, Any]]:
    """Return the figures for each name of an answer (a view or a breast) alone, sorted by name."""
    names = sorted({name for _, answers in cases for name in answers})
    return {
        name: _figures([(case, answers[name]) for case, answers in cases if name in answers], seed)
        for name in names
    }


def _figures(cases: Sequence[tuple[ScoredExam, np.ndarray]], seed: int) -> dict[str, Any]:
    """Return the entry of `ExamReport.levels` for the cases of one level."""
    truth = np.array([case.truth for case, _ in cases])
    probabilities = np.stack([answer for _, answer in cases])
    classes = probabilities.shape[1]
    weights = bootstrap_weights([case.patient for case, _ in cases], RESAMPLES, seed)
    figures = class_figures(truth, probabilities, weights)
    matrices = confusions(truth, probabilities.argmax(1), classes, weights)
    shares = matrices / np.maximum(matrices.sum(2, keepdims=True), 1e-12)
    low, high = interval(shares[1:])
    summary = {
        "cases": len(cases),
        "figures": {name: float(values[0]) for name, values in figures.items()},
        "intervals": {name: interval(values[1:]) for name, values in figures.items()},
        "confusion": matrices[0].astype(int).tolist(),
        "confusion_shares": {
            "share": shares[0].tolist(),
            "low": low.tolist(),
            "high": high.tolist(),
        },
        "reliability": reliability(truth, probabilities),
    }
    if classes == 2 and len(set(truth.tolist())) == 2:
        summary["roc"] = roc(truth == 1, probabilities[:, 1])
    return summary
