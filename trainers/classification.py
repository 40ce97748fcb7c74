"""Training of breast density on accepted answers, by exam."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from lib.tasks.spec import TaskSpec
from trainers.base import ModelTrain, Parameter


class ClassificationTrain(ModelTrain):
    """Trains on exams with a density label, of any view or of the exam.

    A parameter of its own is ``input_size``, pixels. Of several labels of an exam the newest counts
    (see `lib.mammography.exams`), and a patient is never on both sides of the split.
    """

    def own_parameters(self) -> dict[str, Parameter]:
        """Return ``input_size``."""
        return {"input_size": Parameter(max(self.task.input.sides), int, 1)}

    def with_own(self, values: Mapping[str, Any]) -> TaskSpec:
        """Return the row with the input size; unequal sides stay if their larger one is asked."""
        if values["input_size"] == max(self.task.input.sides):
            return self.task
        return replace(self.task, input=replace(self.task.input, size=values["input_size"]))
