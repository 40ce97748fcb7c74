"""Training of breast density on accepted answers, by exam."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from lib.tasks.spec import TaskSpec
from trainers.base import ModelTrain
from trainers.parameters import Parameter


class ClassificationTrain(ModelTrain):
    """Trains on exams; the density label belongs to the exam or to any of its views.

    The kind's parameter is ``input_size``, in pixels. If an exam has several labels the newest
    counts (see `lib.mammography.exams`). A patient is never on both sides of the split.
    """

    def kind_parameters(self) -> dict[str, Parameter]:
        """Return ``input_size``."""
        return {"input_size": Parameter(max(self.task.input.sides), int, 1, 8192)}

    def changed_task(self, kind_values: Mapping[str, Any]) -> TaskSpec:
        """Return the row with the input size; unequal sides stay if the larger is asked for."""
        size = kind_values["input_size"]
        if size == max(self.task.input.sides):
            return self.task
        return replace(self.task, input=replace(self.task.input, size=size))
