"""Answers on mammography exams and on their views."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lib.mammography.breast import PreparedBreast
from lib.mammography.dense_tissue import DenseTissue
from lib.mammography.views import View


@dataclass(frozen=True)
class ViewAnswer:
    """The answer on one view.

    Attributes:
        probabilities: `(classes)`, 0..1, summing to 1.
        prepared: what the network saw.
        maps: the network's last, `(channels, rows, columns)`, that this answer was made of.
        tissue: dense tissue by classical means, on the grid of `prepared`; None if not asked for.
        picture: see `lib.classification.overlays.grey_picture`; None if not asked for.
    """

    view: View
    path: Path
    probabilities: np.ndarray
    prepared: PreparedBreast
    maps: torch.Tensor
    tissue: DenseTissue | None = None
    picture: np.ndarray | None = None


@dataclass(frozen=True)
class ExamAnswer:
    """The answer on one exam.

    Attributes:
        exam: its id.
        names: of the classes.
        probabilities: of the exam, `(classes)`, by the task's rule; of ``denser_breast`` those of
            the denser breast.
        breasts: the same of the breasts "R" and "L" that have a view.
        views: answered ones, by name, in the order of the exam.
        left_out: reason for each standard view without an answer, by name.
        uncertain: why a reader should look at it; empty where the answer may stand.
        threshold: probability below which an answer is uncertain.
        temperature: that the logits were divided by.
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
    def place(self) -> int:
        """The answered class, as a number from 0."""
        return int(self.probabilities.argmax())

    @property
    def label(self) -> str:
        """The answered class by name."""
        return self.names[self.place]

    def as_dict(self, digits: int = 4) -> dict[str, Any]:
        """Return the answer as plain data, without pixels, probabilities with so many digits."""
        views = {
            name: {
                "file": answer.path.name,
                **self._told(answer.probabilities, digits),
                **(
                    {"percent_density": round(answer.tissue.percent_density, 1)}
                    if answer.tissue
                    else {}
                ),
                "notes": list(answer.prepared.notes),
                "doubts": list(answer.prepared.doubts),
            }
            for name, answer in self.views.items()
        }
        return {
            "exam": self.exam,
            **self._told(self.probabilities, digits),
            "uncertain": bool(self.uncertain),
            "reasons": list(self.uncertain),
            "threshold": self.threshold,
            "temperature": round(self.temperature, 4),
            "breasts": {side: self._told(answer, digits) for side, answer in self.breasts.items()},
            "views": views,
            "views_used": list(self.views),
            "left_out": dict(self.left_out),
            "seconds": {name: round(value, 4) for name, value in self.seconds.items()},
        }

    def _told(self, probabilities: np.ndarray, digits: int) -> dict[str, Any]:
        return {
            "class": self.names[int(probabilities.argmax())],
            "probabilities": {
                name: round(float(value), digits)
                for name, value in zip(self.names, probabilities, strict=True)
            },
        }
