"""Training of breast density on accepted answers, by exam."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from monailabel.datastore.local import LocalDatastore
from monailabel.interfaces.datastore import Datastore

from lib.data.studies import Item
from lib.errors import InputError
from lib.kinds import kind_of
from lib.tasks.spec import TaskSpec
from trainers.base import LiveTrain, Parameter, TrainingFolders


class ClassificationTrain(LiveTrain):
    """Trains on exams whose density is told by the label of any view, or of the exam.

    A parameter of its own is ``input_size``, pixels. Of several labels of an exam the newest counts
    (see `lib.mammography.exams`), and a patient is never on both sides of the split.
    """

    def own_parameters(self) -> dict[str, Parameter]:
        """Return ``input_size``."""
        return {"input_size": Parameter(max(self.task.input.sides), int, 1)}

    def with_own(self, values: Mapping[str, Any]) -> TaskSpec:
        """Return the row with its input size; as it is given, sides that differ are kept."""
        if values["input_size"] == max(self.task.input.sides):
            return self.task
        return replace(self.task, input=replace(self.task.input, size=values["input_size"]))

    def items(self, datastore: Datastore, task: TaskSpec) -> list[Item]:
        """Return the views of labelled exams."""
        if isinstance(datastore, TrainingFolders):
            return kind_of(task).cases.list(datastore.training_folder(task.kind), task, True)
        if not isinstance(datastore, LocalDatastore):
            raise InputError(
                f"'{self.task.name}' trains on exams of a studies folder or of a DICOMweb archive; "
                f"serve one of these with --studies"
            )
        return kind_of(task).cases.list(Path(datastore._datastore.image_path()), task, True)
