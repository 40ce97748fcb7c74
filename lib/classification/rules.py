"""How the probabilities of single views become those of breasts and of the exam."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lib.mammography.views import View
from lib.tasks.exam_spec import ExamSpec


@dataclass(frozen=True)
class Combined:
    """Probabilities of an exam and of its breasts.

    Attributes:
        exam: `(classes)`, 0..1, with a sum of 1.
        breasts: the same for each breast, "R" and "L", that has a view.
    """

    exam: np.ndarray
    breasts: dict[str, np.ndarray]


def combine(rules: ExamSpec, views: Sequence[View], probabilities: np.ndarray) -> Combined:
    """Return the probabilities of an exam, combined by the task's rule.

    If both breasts have the same class, the one with the greater expected class is the denser.

    Args:
        views: the answered views, at least one.
        probabilities: `(views, classes)`, 0..1; each row has a sum of 1.
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
    """Return the expected class index, 0 for the least dense, of probabilities `(classes)`."""
    return float(probabilities @ np.arange(len(probabilities)))


def reasons_to_doubt(
    rules: ExamSpec, exam: np.ndarray, views: dict[str, np.ndarray], doubts: dict[str, str]
) -> tuple[str, ...]:
    """Return why a reader should look at an exam, one sentence each; empty if the answer is sure.

    Args:
        exam: probabilities of the exam, `(classes)`.
        views: probabilities of each view, by its name.
        doubts: what is odd about a view, by its name.
    """
    reasons = []
    confidence = float(exam.max())
    if confidence < rules.least_confidence:
        reasons.append(
            f"probability {confidence:.2f} of {rules.names[int(exam.argmax())]}, below the "
            f"threshold {rules.least_confidence:g}"
        )
    classes = {name: int(answer.argmax()) for name, answer in views.items()}
    if max(classes.values()) - min(classes.values()) >= rules.disagreement:
        answers = ", ".join(f"{name} {rules.names[index]}" for name, index in classes.items())
        reasons.append(f"the views disagree: {answers}")
    reasons.extend(f"{name}: {doubt}" for name, doubt in doubts.items())
    return tuple(reasons)
