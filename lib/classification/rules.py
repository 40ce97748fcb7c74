"""From the probabilities of single views to those of breasts and of the exam."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lib.mammography.views import View
from lib.tasks.exam_spec import ExamSpec


@dataclass(frozen=True)
class Combined:
    """Probabilities of an exam and its breasts.

    Attributes:
        exam: `(classes)`, 0..1, summing to 1.
        breasts: the same for "R" and "L", those with a view.
    """

    exam: np.ndarray
    breasts: dict[str, np.ndarray]


def combine(rules: ExamSpec, views: Sequence[View], probabilities: np.ndarray) -> Combined:
    """Return the exam's probabilities by the task's rule.

    Of breasts of one class the denser is that of the greater expected class.

    Args:
        views: those that were answered, at least one.
        probabilities: `(views, classes)`, 0..1, each row summing to 1.
    """
    if len(views) == 0 or len(views) != len(probabilities):
        raise ValueError(f"{len(views)} views with {len(probabilities)} rows of probabilities")
    sides = sorted({view.laterality or "?" for view in views}, reverse=True)
    breasts: dict[str, np.ndarray] = {
        side: probabilities[[(view.laterality or "?") == side for view in views]].mean(0)
        for side in sides
    }
    if rules.rule == "mean":
        return Combined(probabilities.mean(0), breasts)
    denser = max(breasts.values(), key=lambda breast: (int(breast.argmax()), expected(breast)))
    return Combined(denser, breasts)


def expected(probabilities: np.ndarray) -> float:
    """Return the mean class, 0 for the least dense, of probabilities `(classes)`."""
    return float(probabilities @ np.arange(len(probabilities)))


def reasons_to_doubt(
    rules: ExamSpec, exam: np.ndarray, views: dict[str, np.ndarray], doubts: dict[str, str]
) -> tuple[str, ...]:
    """Return why a reader should look at an exam, one sentence each; none if the answer is sure.

    Args:
        exam: probabilities of the exam, `(classes)`.
        views: those of each view, by its name.
        doubts: what is odd about a view, by its name.
    """
    reasons = []
    sure = float(exam.max())
    if sure < rules.least_confidence:
        reasons.append(
            f"probability {sure:.2f} of {rules.names[int(exam.argmax())]}, below the threshold "
            f"{rules.least_confidence:g}"
        )
    classes = {name: int(answer.argmax()) for name, answer in views.items()}
    if max(classes.values()) - min(classes.values()) >= rules.disagreement:
        told = ", ".join(f"{name} {rules.names[place]}" for name, place in classes.items())
        reasons.append(f"the views disagree: {told}")
    reasons.extend(f"{name}: {doubt}" for name, doubt in doubts.items())
    return tuple(reasons)
