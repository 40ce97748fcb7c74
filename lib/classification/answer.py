"""Answers on mammography exams: how those on single views become one, and why to doubt it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lib.mammography.breast import PreparedBreast
from lib.mammography.dense_tissue import DenseTissue
from lib.mammography.views import View
from lib.tasks.exam_spec import ExamSpec
from lib.weights.familiarity import strangeness_told, warnings_of


@dataclass(frozen=True, kw_only=True)
class ViewAnswer:
    """The answer on one view.

    Attributes:
        path: the view's file.
        probabilities: `(classes)`, 0..1, with a sum of 1.
        prepared: the image that the network saw.
        maps: the last maps of the network, `(channels, rows, columns)`, which its head classified.
        tissue: dense tissue, on the grid of `prepared`; None if not asked for.
        picture: see `lib.classification.overlays.grey_picture`; None if not asked for.
        strangeness: how unlike the views trained on this one is, above 1 too unlike; None where
            that is not known. See `lib.weights.familiarity.Familiarity.strangeness`.
    """

    view: View
    path: Path
    probabilities: np.ndarray
    prepared: PreparedBreast
    maps: torch.Tensor
    tissue: DenseTissue | None = None
    picture: np.ndarray | None = None
    strangeness: float | None = None


@dataclass(frozen=True, kw_only=True)
class ExamAnswer:
    """The answer on one exam.

    Attributes:
        exam: id of the exam.
        names: names of the classes.
        probabilities: `(classes)` of the exam, combined by the task's rule; with ``denser_breast``
            those of the denser breast.
        breasts: `(classes)` of each breast, "R" and "L", that has a view.
        views: the answered views by name, in the order of the exam.
        left_out: the reason for each standard view without an answer, by name.
        uncertain: why a reader should look at the exam; empty if the answer is sure.
        threshold: probability below which an answer is uncertain.
        temperature: divisor of the logits.
        seconds: wall time by phase: "read" (with the dense tissue) and "infer".
    """

    exam: str
    names: tuple[str, ...]
    probabilities: np.ndarray
    breasts: Mapping[str, np.ndarray]
    views: Mapping[str, ViewAnswer]
    left_out: Mapping[str, str]
    uncertain: tuple[str, ...]
    threshold: float
    temperature: float
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def class_index(self) -> int:
        """The index of the answered class."""
        return int(self.probabilities.argmax())

    @property
    def label(self) -> str:
        """The name of the answered class."""
        return self.names[self.class_index]

    @property
    def warnings(self) -> list[str]:
        """A sentence on the views that are unlike those that the model was trained on."""
        strange = {
            name: answer.strangeness
            for name, answer in self.views.items()
            if answer.strangeness is not None and answer.strangeness > 1
        }
        verb = "looks" if len(strange) == 1 else "look"
        return warnings_of(max(strange.values(), default=None), f"{', '.join(strange)} {verb}")

    def as_dict(self, digits: int = 4) -> dict[str, Any]:
        """Return the answer as plain data, without pixels; probabilities have so many `digits`."""
        views = {
            name: {
                "file": answer.path.name,
                **self._class_and_probabilities(answer.probabilities, digits),
                **(
                    {"percent_density": round(answer.tissue.percent_density, 1)}
                    if answer.tissue
                    else {}
                ),
                **strangeness_told(answer.strangeness),
                "notes": list(answer.prepared.notes),
                "doubts": list(answer.prepared.doubts),
            }
            for name, answer in self.views.items()
        }
        return {
            "exam": self.exam,
            **self._class_and_probabilities(self.probabilities, digits),
            "uncertain": bool(self.uncertain),
            "reasons": list(self.uncertain),
            "warnings": self.warnings,
            "threshold": self.threshold,
            "temperature": round(self.temperature, 4),
            "breasts": {
                side: self._class_and_probabilities(answer, digits)
                for side, answer in self.breasts.items()
            },
            "views": views,
            "views_used": list(self.views),
            "left_out": dict(self.left_out),
            "seconds": {name: round(value, 4) for name, value in self.seconds.items()},
        }

    def _class_and_probabilities(self, probabilities: np.ndarray, digits: int) -> dict[str, Any]:
        return {
            "class": self.names[int(probabilities.argmax())],
            "probabilities": {
                name: round(float(value), digits)
                for name, value in zip(self.names, probabilities, strict=True)
            },
        }


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
